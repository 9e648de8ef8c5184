/* SPDX-License-Identifier: Apache-2.0 */
/* See mount_change_files.h. By the claimer of the mount. */
#include "mount_change_files.h"

#include <base/buf.h>
#include <base/cleanup.h>
#include <base/io.h>
#include <base/path.h>
#include <errno.h>
#include <stdlib.h>
#include <storage/patch.h>
#include <string.h>
#include <sys/stat.h>

#define SOURCE_MAX   (1u << 30)
#define GITLINKS_MAX (64u << 20)

int change_files_failed(struct change_files *f, int r, const char *path)
{
	struct change_work *w = f->work;

	if (w->e && w->e->code == r)
		return r; /* told already */
	if (r == -EDQUOT)
		return err_set(w->e, r, "QUOTA_EXCEEDED",
			"what the change list makes has no room in the mount's quota: %.200s",
			path);
	if (r == -ENOSPC)
		return err_set(w->e, r, "DISK_FULL",
			"no room on the node's disk for what the change list makes: %.200s", path);
	if (r == -EFBIG)
		return err_set(w->e, -EMSGSIZE, "CHANGE_LIST_TOO_LARGE",
			"\"%.200s\" is larger than %u MiB", path, PATCH_CONTENT_MAX >> 20);
	return err_set(w->e, r, "", "\"%.200s\" of the change list: %s", path, strerror(-r));
}

int change_files_init(struct change_files *f, struct change_work *w)
{
	int r;

	*f = (struct change_files){.work = w, .oid_len = w->next->root.len};
	hashmap_init(&f->map);
	r = io_random(f->hash_key, sizeof(f->hash_key));
	if (r == 0)
		r = mount_kept_begin(w->mt, w->next, &f->kept);
	return r < 0 ? change_files_failed(f, r, "") : 0;
}

void change_files_fini(struct change_files *f)
{
	for (size_t i = 0; i < f->count; i++)
		free(f->all[i]);
	free(f->all);
	hashmap_fini(&f->map);
	mount_kept_free(f->kept);
}

int change_files_source(struct change_files *f, const char *name,
	const struct mount_change_source *given, struct storage_content *ret_content)
{
	int r = 0;

	if (given)
		r = mount_kept_put(f->kept, name, given->data, given->len);
	if (r == 0)
		r = mount_kept_get(
			f->kept, name, SOURCE_MAX, &ret_content->data, &ret_content->len);
	return r < 0 ? change_files_failed(f, r, name) : 0;
}

/* ---- paths ---- */

static int remember(struct change_files *f, struct change_path *p, uint64_t hash)
{
	struct change_path *first = hashmap_find(&f->map, hash);
	int r = 0;

	if (f->count == f->cap) {
		size_t cap = f->cap ? 2 * f->cap : 64;
		struct change_path **all = NULL;

		if (f->count >= LAYER_CHANGES_MAX)
			return change_too_large(f->work);
		all = reallocarray(f->all, cap, sizeof(struct change_path *));
		if (!all)
			return -ENOMEM;
		f->all = all;
		f->cap = cap;
	}
	if (first) {
		p->next_same = first->next_same;
		first->next_same = p;
	} else {
		r = hashmap_insert(&f->map, hash, p);
	}
	if (r == 0)
		f->all[f->count++] = p;
	return r;
}

static int look_up(struct change_files *f, const char *path, const char *inside, uint64_t hash,
	struct change_path **ret)
{
	struct change_work *w = f->work;
	size_t size = strlen(path) + 1;
	struct change_path *p = calloc(1, sizeof(*p) + size);
	int r = 0;

	if (!p)
		return -ENOMEM;
	memcpy(p->text, path, size);
	p->path = p->text;
	p->inside = p->text + (inside - path);
	if (!oid_is_none(&w->base))
		r = storage_find_entry(w->st, w->call->origin, &w->base, p->inside,
			w->call->deadline_ns, &p->base);
	p->before = p->now = p->base;
	if (r == 0)
		r = remember(f, p, hash);
	if (r < 0)
		free(p);
	else
		*ret = p;
	return r;
}

int change_files_find(struct change_files *f, const char *path, struct change_path **ret)
{
	const char *inside = change_inside(f->work, path);
	struct change_path *p;
	uint64_t hash;
	int r;

	*ret = NULL;
	if (!path_relative_ok(path) || !*path)
		return err_set(f->work->e, -EINVAL, "INVALID_FIELD",
			"the change list has a path that leads outside: \"%.200s\"", path);
	if (!inside)
		return 0;
	hash = io_hash(path, strlen(path), f->hash_key);
	for (p = hashmap_find(&f->map, hash); p; p = p->next_same)
		if (strcmp(p->path, path) == 0)
			break;
	if (p) {
		*ret = p;
		return 0;
	}
	r = look_up(f, path, inside, hash, ret);
	return r < 0 ? change_files_failed(f, r, path) : 0;
}

/* ---- contents ---- */

int change_files_read(struct change_files *f, const struct layer_entry *entry,
	struct storage_content *ret_content)
{
	struct change_work *w = f->work;
	char name[OID_HEX_MAX];
	int r = mount_kept_get(f->kept, oid_hex(&entry->oid, name), PATCH_CONTENT_MAX,
		&ret_content->data, &ret_content->len);

	if (r != -ENOENT)
		return r;
	ret_content->max = PATCH_CONTENT_MAX;
	return storage_read_content(
		w->st, w->call->origin, &entry->oid, w->call->deadline_ns, ret_content);
}

int change_files_write(
	struct change_files *f, struct change_path *p, uint32_t mode, const void *data, size_t len)
{
	struct layer_entry now = {.mode = mode, .size_known = true, .size = len};
	char name[OID_HEX_MAX];
	int r = digest_object(
		f->oid_len == 20 ? DIGEST_SHA1 : DIGEST_SHA256, OBJECT_BLOB, data, len, &now.oid);

	if (r == 0 && !oid_equal(&now.oid, &p->base.oid))
		r = mount_kept_put(f->kept, oid_hex(&now.oid, name), data, len);
	if (r < 0)
		return change_files_failed(f, r, p->path);
	p->now = now;
	return 0;
}

void change_files_commit(struct change_files *f)
{
	for (size_t i = 0; i < f->count; i++) {
		f->all[i]->before = f->all[i]->now;
		f->all[i]->goes = f->all[i]->taken = false;
	}
}

/* ---- all of it ---- */

static bool is_link(const struct layer_entry *e)
{
	return S_ISDIR(e->mode) && oid_is_none(&e->oid);
}

static bool differs(const struct change_path *p)
{
	return p->now.mode != p->base.mode || !oid_equal(&p->now.oid, &p->base.oid) ||
	       !oid_is_none(&p->gitlink);
}

/* Commits of submodules, which the index does not keep, for who makes commits of this. */
static int keep_gitlinks(struct change_files *f)
{
	char hex[OID_HEX_MAX];
	struct buf text;
	int r = 0;

	buf_init(&text, GITLINKS_MAX);
	for (size_t i = 0; i < f->count; i++)
		if (is_link(&f->all[i]->now) && !oid_is_none(&f->all[i]->gitlink)) {
			(void)buf_printf(&text, "%s %s", oid_hex(&f->all[i]->gitlink, hex),
				f->all[i]->inside);
			(void)buf_putc(&text, '\0'); /* the buffer remembers a failure */
		}
	r = buf_error(&text);
	if (r == 0 && text.len)
		r = mount_kept_put(f->kept, "gitlinks", text.data, text.len);
	buf_fini(&text);
	return r;
}

static int fill(struct change_files *f, struct layer *l)
{
	struct change_work *w = f->work;

	for (size_t i = 0; i < f->count; i++) {
		const struct change_path *p = f->all[i];
		const struct layer_change change = {
			.path = p->inside, .put = p->now, .replaces = p->replaces};
		int r;

		if (!differs(p))
			continue;
		r = layer_add(l, &change);
		if (r == -EINVAL) /* .git, or a name that is too long */
			change_conflict(w, p->path, "is a path that cannot be");
		else if (r == -E2BIG)
			return change_too_large(w);
		else if (r < 0)
			return change_files_failed(f, r, p->path);
	}
	return w->conflicts ? change_does_not_apply(w) : 0;
}

int change_files_lay(struct change_files *f)
{
	struct change_work *w = f->work;
	struct layer *l = layer_new(f->oid_len);
	int r = l ? 0 : -ENOMEM;

	if (r == 0)
		r = fill(f, l);
	if (r == 0)
		r = keep_gitlinks(f);
	if (r == 0)
		r = mount_kept_finish(f->kept);
	if (r == 0) {
		w->next->change_paths = layer_count(l);
		w->next->change_exact = false;
		r = change_merge(w, &w->base, l, &w->next->root);
	}
	layer_free(l);
	return r < 0 ? change_files_failed(f, r, "") : 0;
}
