/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Change lists that are commits of the origin: a range; a ref, whose changes are those since the
 * merge base; a link to one of a Mega server. Both ends are pinned in the record, and what is
 * between them is laid over the revision. On a Mega server a ref may name a change list
 * (mount_change_link.c). If the revision is what the first end has, nothing has to
 * be merged: the last end is shown as it is.
 */
#include "mount_change_internal.h"

#include <base/cleanup.h>
#include <base/path.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MAX 511

static int check_text(const struct mount_change_source *s, const char *field, struct err *e)
{
	if (!s->text || !s->text[0])
		return err_field(e, field, "is empty");
	if (strlen(s->text) > TEXT_MAX)
		return err_field(e, field, "is longer than %d bytes", TEXT_MAX);
	return 0;
}

/* ---- both ends ---- */

static int resolve(struct change_work *w, const char *revision, struct origin_revision *ret)
{
	return storage_resolve(w->st, w->call->origin, revision, w->call->deadline_ns, ret, w->e);
}

static int root_of(struct change_work *w, const struct oid *commit, struct oid *ret_root)
{
	struct origin_revision rev;
	char hex[OID_HEX_MAX];
	int err = resolve(w, oid_hex(commit, hex), &rev);

	if (!err)
		*ret_root = rev.root;
	return err;
}

/* What makes `to` of `from`, over w->base, which is where they are. */
static int lay_between(struct change_work *w, const struct oid *from, const struct oid *to)
{
	struct layer *l = NULL;
	uint8_t oid_len = w->next->root.len;
	int err;

	if (oid_is_none(&w->base) && oid_is_none(to))
		return err_set(w->e, -ENOENT, "PATH_NOT_FOUND",
			"there is no directory \"%s\" in this revision, nor after the change list",
			w->next->path);
	err = storage_diff(w->st, w->call->origin, from, to, oid_len, w->call->deadline_ns, &l);
	if (err == -E2BIG)
		return change_too_large(w);
	if (err)
		return err_wrap(w->e, err, "compare the commits of the change list");
	w->next->change_paths = layer_count(l);
	if (oid_equal(from, &w->base) && !oid_is_none(to))
		w->next->root = *to;
	else
		err = change_merge(w, &w->base, l, &w->next->root);
	layer_free(l);
	return err;
}

static int lay_commits(struct change_work *w)
{
	struct oid roots[2];
	int err = root_of(w, &w->next->change_from, &roots[0]);

	if (!err)
		err = root_of(w, &w->next->change_to, &roots[1]);
	/* of the whole revision: commits are */
	w->next->change_exact = !err && oid_equal(&roots[0], &w->next->root);
	for (unsigned i = 0; i < 2 && !err; i++)
		err = change_subtree(w, &roots[i], &roots[i]);
	return err ? err : lay_between(w, &roots[0], &roots[1]);
}

/* ---- a range ---- */

static const char *dots_of(const char *range)
{
	return strstr(range, "..");
}

static int check_range(const struct mount_change_source *s, struct err *e)
{
	const char *dots = s->text ? dots_of(s->text) : NULL;

	if (!dots || dots == s->text || !dots[2] || dots[2] == '.' || strstr(dots + 2, ".."))
		return err_field(e, change_range.field, "must be two commits, \"a..b\"");
	return check_text(s, change_range.field, e);
}

static int pin_range(struct change_work *w)
{
	const char *range = w->next->change_text, *dots = dots_of(range);
	_cleanup_free_ char *from = strndup(range, (size_t)(dots - range));
	struct origin_revision revs[2];
	int err;

	if (!from)
		return err_set(w->e, -ENOMEM, "", "no memory");
	err = resolve(w, from, &revs[0]);
	if (!err)
		err = resolve(w, dots + 2, &revs[1]);
	if (err)
		return err_wrap(w->e, err, "%s", change_range.field);
	w->next->change_from = revs[0].commit;
	w->next->change_to = revs[1].commit;
	return 0;
}

const struct change_ops change_range = {
	.field = "change_list.range", .check = check_range, .pin = pin_range, .lay = lay_commits};

/* ---- a ref ---- */

static int check_ref(const struct mount_change_source *s, struct err *e)
{
	return check_text(s, change_ref.field, e);
}

static int pin_ref(struct change_work *w)
{
	struct origin_revision rev;
	int err = 0;

	if (origin_caps(w->call->origin) & ORIGIN_CAP_CHANGE_LISTS) {
		err = change_pin_as_link(w);
		if (err || w->next->change_kind != MOUNT_CHANGE_REF)
			return err;
	}
	err = resolve(w, w->next->change_text, &rev);
	if (!err)
		err = origin_merge_base(w->call->origin,
			(struct oid[2]){w->next->commit, rev.commit}, w->call->deadline_ns,
			&w->next->change_from, w->e);
	if (err)
		return err_wrap(w->e, err, "%s", change_ref.field);
	w->next->change_to = rev.commit;
	return 0;
}

const struct change_ops change_ref = {
	.field = "change_list.ref", .check = check_ref, .pin = pin_ref, .lay = lay_commits};
