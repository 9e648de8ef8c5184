/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The job's files, as Git sees them. They are read while jobs write: a file that goes away
 * meanwhile is taken as gone, one that keeps changing its size is read again a few times and then
 * an error.
 */
#include "workflow/clean.h"
#include "workflow/seen.h"

#include <base/cleanup.h>
#include <base/clock.h>
#include <base/err.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define PIECE     (256u << 10)
#define ATTEMPTS  5
#define RULES_MAX (1u << 20) /* of a .gitignore or .gitattributes */

static const char *name_of(const struct wf_item *item)
{
	return item->path + item->name_at;
}

static void became_nothing(struct wf_item *item)
{
	item->work = (struct wf_node){0};
	item->upper = NULL;
}

static int hash_pieces(struct wf *w, int fd, uint64_t size, struct digest *digest)
{
	_cleanup_free_ char *piece = malloc(PIECE);
	uint64_t at = 0;
	int r = 0;

	if (!piece)
		return -ENOMEM;
	while (r == 0) {
		ssize_t n = pread(fd, piece, PIECE, (off_t)at);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 0)
			return at == size ? 0 : -ESTALE;
		if (n < 0)
			continue;
		at += (uint64_t)n;
		r = at > size ? -ESTALE : wf_check(w);
		if (r == 0)
			r = digest_update(digest, piece, (size_t)n);
	}
	return r;
}

int wf_hash_file(struct wf *w, int fd, uint64_t size, struct oid *ret_oid)
{
	struct digest *digest;
	struct oid oid = {0};
	int r = digest_new_object(&digest, DIGEST_SHA1, OBJECT_BLOB, size);

	if (r < 0)
		return r;
	r = hash_pieces(w, fd, size, digest);
	if (r == 0)
		r = digest_final(digest, oid.bytes, &oid.len);
	digest_free(digest);
	if (r == 0)
		*ret_oid = oid;
	return r;
}

static struct wf_seen_file seen_file(const struct stat *st, enum wf_clean how)
{
	return (struct wf_seen_file){st->st_ino, (uint64_t)st->st_size, st->st_ctim, how};
}

/* Its content was just read: as it was before and is now, it needs no second reading. */
static void remember(struct wf *w, const struct wf_item *item, int fd, const struct stat *before,
	uint64_t began_ns)
{
	const struct wf_seen_file file = seen_file(before, item->clean);
	struct stat now;

	if (w->seen && fstat(fd, &now) == 0 && now.st_size == before->st_size &&
		now.st_ctim.tv_sec == before->st_ctim.tv_sec &&
		now.st_ctim.tv_nsec == before->st_ctim.tv_nsec)
		wf_seen_add(w->seen, &file, &item->work.oid, began_ns);
}

/* A file that was read before, and has not changed since. */
static bool recall(struct wf *w, struct wf_item *item)
{
	const struct ovl_upper_entry *u = item->upper;

	return w->seen && item->work.size_known &&
	       wf_seen_find(w->seen, &(struct wf_seen_file){u->ino, u->size, u->ctime, item->clean},
		       &item->work.oid);
}

static int with_file(struct wf *w, struct wf_item *item, bool store)
{
	int r = -ESTALE;

	for (unsigned i = 0; i < ATTEMPTS && r == -ESTALE; i++) {
		uint64_t began_ns = clock_wall_ns(&clock_system);
		_cleanup_close_ int fd = -1;
		struct stat st;
		bool lasting;

		r = ovl_upper_open(&item->level->upper, name_of(item), &fd);
		if (r < 0)
			return r;
		if (fstat(fd, &st) < 0)
			return -errno;
		item->work.size = (uint64_t)st.st_size;
		r = wf_clean_content(
			w, item, &(struct wf_content){fd, (uint64_t)st.st_size, store}, &lasting);
		if (r == 0 && lasting)
			remember(w, item, fd, &st, began_ns);
	}
	if (r == -ESTALE)
		return err_set(
			w->e, -EBUSY, "FILE_CHANGING", "%.256s is being written", item->path);
	return r;
}

static int with_link(struct wf *w, struct wf_item *item, bool store)
{
	char target[PATH_MAX];
	ssize_t n = ovl_upper_readlink(&item->level->upper, name_of(item), target, sizeof(target));

	if (n < 0)
		return (int)n;
	item->work.size = (uint64_t)n;
	item->work.size_known = true;
	if (store)
		return wf_odb_write(w, WF_BLOB, target, (size_t)n, &item->work.oid);
	return digest_object(DIGEST_SHA1, OBJECT_BLOB, target, (size_t)n, &item->work.oid);
}

static int take_content(struct wf *w, struct wf_item *item, bool store)
{
	enum wf_clean how;
	int r;

	if (!item->upper || !item->work.mode)
		return 0;
	if (item->work.mode == WF_MODE_LINK)
		r = with_link(w, item, store);
	else
		r = wf_clean_of(w, item, &how);
	if (r == 0 && item->work.mode != WF_MODE_LINK &&
		!(recall(w, item) && (!store || wf_odb_has(w, &item->work.oid))))
		r = with_file(w, item, store);
	if (r == -ENOENT) {
		became_nothing(item);
		return 0;
	}
	return r < 0 ? wf_failed_at(w, r, store ? "store" : "read", item->path) : 0;
}

int wf_work_hash(struct wf *w, struct wf_item *item)
{
	return oid_is_none(&item->work.oid) ? take_content(w, item, false) : 0;
}

int wf_work_store(struct wf *w, struct wf_item *item)
{
	return take_content(w, item, true);
}

int wf_work_differs(struct wf *w, struct wf_item *item, struct wf_node *node, bool *ret_differs)
{
	enum wf_clean how = WF_CLEAN_NONE;
	int r;

	if (!item->upper) {
		*ret_differs = !wf_same(&item->work, node);
		return 0;
	}
	*ret_differs = true;
	if (item->work.mode != node->mode)
		return 0;
	r = item->work.mode == WF_MODE_LINK ? 0 : wf_clean_of(w, item, &how);
	if (r < 0)
		return r;
	if (item->work.size_known && oid_is_none(&item->work.oid) && how == WF_CLEAN_NONE &&
		!recall(w, item)) {
		r = wf_blob_size(w, node);
		if (r < 0)
			return wf_failed_at(w, r, "learn the size of", item->path);
		if (node->size != item->work.size)
			return 0;
	}
	r = wf_work_hash(w, item);
	if (r == 0)
		*ret_differs = !wf_same(&item->work, node);
	return r;
}

static int read_file(int fd, size_t max, char **ret_data, size_t *ret_len)
{
	_cleanup_free_ char *data = NULL;
	struct stat st;
	size_t at = 0, cap;

	if (fstat(fd, &st) < 0)
		return -errno;
	if ((uint64_t)st.st_size > max)
		return -EFBIG;
	cap = (size_t)st.st_size;
	data = malloc(cap + 1);
	if (!data)
		return -ENOMEM;
	while (at < cap) {
		ssize_t n = pread(fd, data + at, cap - at, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break; /* it got shorter: what there is */
		at += (size_t)n;
	}
	data[at] = '\0';
	*ret_data = TAKE_PTR(data);
	*ret_len = at;
	return 0;
}

static int read_raw(
	struct wf *w, const struct wf_item *item, size_t max, char **ret_data, size_t *ret_len)
{
	_cleanup_close_ int fd = -1;
	char target[PATH_MAX];
	ssize_t n;
	int r;

	if (!item->upper)
		return wf_blob_read(w, &item->work.oid, max, ret_data, ret_len);
	if (item->work.mode == WF_MODE_LINK) {
		n = ovl_upper_readlink(&item->level->upper, name_of(item), target, sizeof(target));
		if (n < 0)
			return (int)n;
		*ret_data = strndup(target, (size_t)n);
		*ret_len = (size_t)n;
		return *ret_data ? 0 : -ENOMEM;
	}
	r = ovl_upper_open(&item->level->upper, name_of(item), &fd);
	return r < 0 ? r : read_file(fd, max, ret_data, ret_len);
}

int wf_work_read(struct wf *w, struct wf_item *item, size_t max, char **ret_data, size_t *ret_len)
{
	int r = read_raw(w, item, max, ret_data, ret_len);

	if (r < 0 || !item->upper || item->work.mode == WF_MODE_LINK)
		return r;
	r = wf_clean_data(w, item, ret_data, ret_len);
	if (r < 0)
		free(*ret_data);
	return r;
}

static const struct ovl_upper_entry *upper_named(const struct ovl_upper_dir *dir, const char *name)
{
	size_t low = 0, high = dir->count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int order = strcmp(dir->entries[mid].name, name);

		if (order == 0)
			return &dir->entries[mid];
		if (order < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}

int wf_level_read(
	struct wf *w, struct wf_level *level, const char *name, char **ret_text, size_t *ret_len)
{
	const struct ovl_upper_entry *upper = upper_named(&level->upper, name);
	const struct wf_dirent *lower =
		upper ? NULL : wf_dir_find(&level->lower, name, strlen(name));
	struct wf_item item = {.path = name, .level = level, .upper = upper};

	if (upper && S_ISREG(upper->mode))
		item.work.mode = WF_MODE_FILE;
	else if (lower && (lower->node.mode == WF_MODE_FILE || lower->node.mode == WF_MODE_EXEC))
		item.work = lower->node;
	else
		return -ENOENT;
	return read_raw(w, &item, RULES_MAX, ret_text, ret_len);
}

int wf_work_read_path(struct wf *w, const char *path, size_t max, char **ret_data, size_t *ret_len)
{
	_cleanup_close_ int fd = -1;
	int r = ovl_upper_open_path(w->ws, path, &fd);

	return r < 0 ? r : read_file(fd, max, ret_data, ret_len);
}
