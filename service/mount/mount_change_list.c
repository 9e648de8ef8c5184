/* SPDX-License-Identifier: Apache-2.0 */
/* See mount_change_list.h. Stateless; runs where mounts are made, switched and brought back. */
#include "mount_change_list.h"

#include "mount_change_internal.h"
#include "mounts_internal.h"

#include <base/cleanup.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOLD_MAX 3 /* paths in the message */

static const struct change_ops *const kinds[MOUNT_CHANGE_KINDS] = {
	[MOUNT_CHANGE_RANGE] = &change_range,
	[MOUNT_CHANGE_REF] = &change_ref,
	[MOUNT_CHANGE_LINK] = &change_link,
	[MOUNT_CHANGE_PATCH] = &change_patch,
	[MOUNT_CHANGE_TAR] = &change_tar,
};

int mount_change_list_check(const struct mount_change_source *source, struct err *e)
{
	if (!source)
		return 0;
	if (source->kind <= MOUNT_CHANGE_NONE || source->kind >= MOUNT_CHANGE_KINDS)
		return err_field(e, "change_list", "names no source");
	return kinds[source->kind]->check(source, e);
}

/* Files are named by what they are. */
static int name_of_data(const struct mount_change_source *source, char ret_hex[65])
{
	struct digest *d;
	struct oid id = {0};
	int r = digest_new(&d, DIGEST_SHA256);

	if (r < 0)
		return r;
	r = digest_update(d, source->data, source->len);
	for (size_t i = 0; r == 0 && i < source->deleted_count; i++) {
		r = digest_update(d, "", 1);
		if (r == 0)
			r = digest_update(d, source->deleted[i], strlen(source->deleted[i]));
	}
	if (r == 0)
		r = digest_final(d, id.bytes, &id.len);
	digest_free(d);
	if (r == 0)
		(void)oid_hex(&id, ret_hex);
	return r;
}

int mount_change_list_choose(struct mount_record *next, const struct mount_change_source *source)
{
	const char *text = source ? source->text : NULL;
	char hex[65] = "";
	int err = 0;

	if (source && source->data) {
		err = name_of_data(source, hex);
		text = hex;
	}
	if (!err)
		err = mount_record_set_text(&next->change_text, text);
	if (!err)
		err = mount_record_set_text(&next->change_path, source ? source->path : NULL);
	if (err)
		return err;
	next->change_kind = source ? source->kind : MOUNT_CHANGE_NONE;
	next->change_from = next->change_to = (struct oid){0};
	next->change_paths = 0;
	next->change_exact = false;
	return 0;
}

bool mount_change_list_given(const struct mount_record *rec)
{
	return rec->change_kind != MOUNT_CHANGE_NONE;
}

bool mount_change_list_is_told(const struct mount_record *rec)
{
	return rec->change_kind == MOUNT_CHANGE_LINK && !oid_is_none(&rec->change_from) &&
	       rec->change_from.len != rec->commit.len;
}

const struct oid *mount_change_list_base(const struct mount_record *rec)
{
	return rec->change_exact ? &rec->change_to : &rec->commit;
}

/* ---- what does not apply ---- */

void change_conflict(struct change_work *w, const char *path, const char *reason)
{
	size_t len = strlen(w->told.message);

	if (w->conflicts++ < TOLD_MAX) /* or as much as fits */
		(void)snprintf(w->told.message + len, sizeof(w->told.message) - len,
			"%s\"%.100s\" %s", len ? "; " : "", path, reason);
	err_line(&w->told, path, reason);
}

void change_conflict_of_layer(void *work, const char *path, const char *reason)
{
	change_conflict(work, path, reason);
}

int change_does_not_apply(struct change_work *w)
{
	char count[24];

	(void)err_set(w->e, -ESTALE, "CHANGE_LIST_DOES_NOT_APPLY",
		"the change list does not apply to this revision: %zu of its paths do not fit: %s",
		w->conflicts, w->told.message);
	(void)snprintf(count, sizeof(count), "%zu", w->conflicts);
	err_meta(w->e, "paths", count);
	if (w->e)
		memcpy(w->e->lines, w->told.lines, sizeof(w->e->lines));
	return -ESTALE;
}

int change_too_large(struct change_work *w)
{
	return err_set(w->e, -EMSGSIZE, "CHANGE_LIST_TOO_LARGE",
		"the change list touches more than %u paths", LAYER_CHANGES_MAX);
}

/* ---- what the kinds need ---- */

int change_merge(
	struct change_work *w, const struct oid *base, struct layer *l, struct oid *ret_root)
{
	struct layer_report report = {.fn = change_conflict_of_layer, .arg = w};
	int err = storage_lay_over(
		w->st, w->call->origin, base, l, w->call->deadline_ns, &report, ret_root);

	if (err == -ESTALE) {
		w->conflicts = report.conflicts > w->conflicts ? report.conflicts : w->conflicts;
		return change_does_not_apply(w);
	}
	return err ? err_wrap(w->e, err, "lay the change list over the revision") : 0;
}

int change_subtree(struct change_work *w, const struct oid *root, struct oid *ret_tree)
{
	const char *path = w->next->path;
	struct err inner = {0};
	int err;

	*ret_tree = *root;
	if (!path || oid_is_none(root))
		return 0;
	err = storage_find_subtree(
		w->st, w->call->origin, root, path, w->call->deadline_ns, ret_tree, &inner);
	if (err == -ENOENT || err == -ENOTDIR) {
		*ret_tree = (struct oid){0};
		return 0;
	}
	if (err && w->e)
		*w->e = inner;
	return err;
}

const char *change_inside(const struct change_work *w, const char *path)
{
	const char *below = w->next->path ? w->next->path : "";
	size_t len = strlen(below);

	if (!len)
		return path;
	return strncmp(path, below, len) == 0 && path[len] == '/' ? path + len + 1 : NULL;
}

/* ---- laying ---- */

int mount_change_list_lay(struct mount *mt, const struct mount_change_call *call,
	struct mount_record *next, struct err *e)
{
	struct change_work *w = calloc(1, sizeof(*w));
	int err = 0;

	if (!w)
		return err_set(e, -ENOMEM, "", "no memory");
	w->mt = mt;
	w->call = call;
	w->next = next;
	w->st = mt->registry->config.storage;
	w->e = e;
	buf_init(&w->list, CHANGE_LIST_BYTES_MAX);
	if (call->source && kinds[next->change_kind]->pin)
		err = kinds[next->change_kind]->pin(w);
	if (!err)
		err = change_subtree(w, &next->root, &w->base);
	if (!err) /* a ref may turn out to be a link */
		err = kinds[next->change_kind]->lay(w);
	buf_fini(&w->list);
	free(w);
	return err;
}

static int root_of(
	struct mount *mt, const struct mount_change_call *call, struct oid *ret_root, struct err *e)
{
	struct origin_revision rev;
	char hex[OID_HEX_MAX];
	int err = storage_resolve(mt->registry->config.storage, call->origin,
		oid_hex(&mt->rec.commit, hex), call->deadline_ns, &rev, e);

	if (!err)
		*ret_root = rev.root;
	return err;
}

int mount_change_list_again(struct mount *mt, struct origin *o, uint64_t deadline_ns, struct err *e)
{
	const struct mount_change_call call = {.origin = o, .deadline_ns = deadline_ns};
	struct mount_record next;
	struct tree_view view;
	int err;

	if (!mount_change_list_given(&mt->rec))
		return 0;
	if (storage_tree_view(mt->registry->config.storage, &mt->rec.root, &view) == 0) {
		tree_view_end(&view);
		return 0;
	}
	err = mount_record_copy(&mt->rec, &next);
	if (err)
		return err_set(e, err, "", "no memory");
	err = root_of(mt, &call, &next.root, e);
	if (!err)
		err = mount_change_list_lay(mt, &call, &next, e);
	if (!err && !oid_equal(&next.root, &mt->rec.root))
		err = err_set(e, -EIO, "", "the change list gives another tree than before");
	mount_record_fini(&next);
	return err;
}
