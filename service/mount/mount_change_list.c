/* SPDX-License-Identifier: Apache-2.0 */
/* See mount_change_list.h. Stateless; runs where mounts are made and brought back. */
#include "mount_change_list.h"

#include "mount_codec.h"

#include <base/buf.h>
#include <base/cleanup.h>
#include <base/err.h>
#include <errno.h>
#include <stdlib.h>
#include <storage/layer.h>
#include <storage/storage.h>
#include <string.h>

#define RANGE_MAX 511
#define TOLD_MAX  3 /* paths in the message */

static const char *dots_of(const char *range)
{
	return strstr(range, "..");
}

int mount_change_list_check(const struct mount_change_source *source, struct err *e)
{
	const char *range, *dots;

	if (!source)
		return 0;
	range = source->range ? source->range : "";
	dots = dots_of(range);
	if (!dots || dots == range || !dots[2] || dots[2] == '.' || strstr(dots + 2, ".."))
		return err_field(e, "change_list.range", "must be two commits, \"a..b\"");
	if (strlen(range) > RANGE_MAX)
		return err_field(e, "change_list.range", "is longer than %d bytes", RANGE_MAX);
	return 0;
}

int mount_change_list_choose(struct mount_record *next, const struct mount_change_source *source)
{
	int err = mount_record_set_text(&next->change_range, source ? source->range : NULL);

	if (err)
		return err;
	next->change_from = next->change_to = (struct oid){0};
	next->change_paths = 0;
	return 0;
}

bool mount_change_list_given(const struct mount_record *rec)
{
	return rec->change_range != NULL;
}

/* ---- what does not apply, for a person ---- */

struct told {
	struct buf text;
	unsigned count;
};

static void tell(void *arg, const char *path, const char *reason)
{
	struct told *t = arg;

	if (t->count++ < TOLD_MAX) /* or as much as fits */
		(void)buf_printf(&t->text, "%s\"%s\" %s", t->count > 1 ? "; " : "", path, reason);
}

static int lay(struct storage *st, struct origin *o, const struct oid *base, struct layer *l,
	uint64_t deadline_ns, struct oid *ret_root, struct err *e)
{
	struct told told = {.count = 0};
	struct layer_report report = {.fn = tell, .arg = &told};
	int err;

	buf_init(&told.text, ERR_MESSAGE_MAX);
	err = storage_lay_over(st, o, base, l, deadline_ns, &report, ret_root);
	if (err == -ESTALE)
		(void)err_set(e, err, "CHANGE_LIST_DOES_NOT_APPLY",
			"the change list does not apply to this revision: %zu of its paths do not "
			"fit: %s",
			report.conflicts, buf_cstr(&told.text));
	else if (err)
		(void)err_wrap(e, err, "lay the change list over the revision");
	buf_fini(&told.text);
	return err;
}

struct range {
	struct storage *st;
	struct origin *origin;
	const char *path; /* only what is below it counts: a tenant may see no other */
	uint64_t deadline_ns;
};

/* None if this revision has no such directory. */
static int subtree(const struct range *r, struct oid *tree, struct err *e)
{
	struct err inner = {0};
	int err;

	if (!r->path)
		return 0;
	err = storage_find_subtree(r->st, r->origin, tree, r->path, r->deadline_ns, tree, &inner);
	if (err == -ENOENT || err == -ENOTDIR) {
		*tree = (struct oid){0};
		return 0;
	}
	if (err && e)
		*e = inner;
	return err;
}

/* roots: of the revision, and of both ends of the range. */
static int lay_range(const struct range *r, struct oid roots[3], struct oid *ret_root,
	uint64_t *ret_paths, struct err *e)
{
	uint8_t oid_len = roots[0].len;
	struct layer *l = NULL;
	int err = 0;

	for (unsigned i = 0; i < 3 && !err; i++)
		err = subtree(r, &roots[i], e);
	if (err)
		return err;
	if (oid_is_none(&roots[0]) && oid_is_none(&roots[2]))
		return err_set(e, -ENOENT, "PATH_NOT_FOUND",
			"there is no directory \"%s\" in this revision, nor after the change list",
			r->path);
	err = storage_diff(r->st, r->origin, &roots[1], &roots[2], oid_len, r->deadline_ns, &l);
	if (err == -E2BIG)
		return err_set(e, -EMSGSIZE, "CHANGE_LIST_TOO_LARGE",
			"the change list touches more than %u paths", LAYER_CHANGES_MAX);
	if (err)
		return err_wrap(e, err, "compare the commits of the change list");
	*ret_paths = layer_count(l);
	err = lay(r->st, r->origin, &roots[0], l, r->deadline_ns, ret_root, e);
	layer_free(l);
	return err;
}

int mount_change_list_lay(struct storage *st, struct origin *o, struct mount_record *next,
	uint64_t deadline_ns, struct err *e)
{
	const struct range r = {st, o, next->path, deadline_ns};
	const char *dots = dots_of(next->change_range);
	_cleanup_free_ char *from =
		strndup(next->change_range, (size_t)(dots - next->change_range));
	struct origin_revision revs[2];
	int err;

	if (!from)
		return err_set(e, -ENOMEM, "", "no memory");
	err = storage_resolve(st, o, from, deadline_ns, &revs[0], e);
	if (!err)
		err = storage_resolve(st, o, dots + 2, deadline_ns, &revs[1], e);
	if (err)
		return err_wrap(e, err, "change_list.range");
	next->change_from = revs[0].commit;
	next->change_to = revs[1].commit;
	return lay_range(&r, (struct oid[3]){next->root, revs[0].root, revs[1].root}, &next->root,
		&next->change_paths, e);
}

static int root_of(
	const struct range *r, const struct oid *commit, struct oid *ret_root, struct err *e)
{
	struct origin_revision rev;
	char hex[OID_HEX_MAX];
	int err = storage_resolve(r->st, r->origin, oid_hex(commit, hex), r->deadline_ns, &rev, e);

	if (!err)
		*ret_root = rev.root;
	return err;
}

int mount_change_list_again(struct storage *st, struct origin *o, const struct mount_record *rec,
	uint64_t deadline_ns, struct err *e)
{
	const struct range r = {st, o, rec->path, deadline_ns};
	struct oid roots[3], root;
	struct tree_view view;
	uint64_t paths;
	int err;

	if (!mount_change_list_given(rec))
		return 0;
	if (storage_tree_view(st, &rec->root, &view) == 0) {
		tree_view_end(&view);
		return 0;
	}
	err = root_of(&r, &rec->commit, &roots[0], e);
	if (!err)
		err = root_of(&r, &rec->change_from, &roots[1], e);
	if (!err)
		err = root_of(&r, &rec->change_to, &roots[2], e);
	if (!err)
		err = lay_range(&r, roots, &root, &paths, e);
	if (!err && !oid_equal(&root, &rec->root))
		err = err_set(e, -EIO, "", "the change list gives another tree than before");
	return err;
}
