/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See lfs.h. A content is copied first and named after that: what a job writes meanwhile is in the
 * copy or not, and the name is right for it. Copies are charged to the workspace like its objects.
 */
#include "workflow/lfs.h"

#include "workflow/attr.h"
#include "workflow/commits.h"

#include <base/cleanup.h>
#include <base/io.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <storage/origin.h>
#include <storage/storage.h>
#include <string.h>
#include <sys/stat.h>

#define PIECE       (256u << 10)
#define POINTER_MAX 200u /* longer than any */
#define NAME_BYTES  80u
#define DIR         "lfs"

static bool has_lfs(const struct wf *w)
{
	return w->origin && (origin_caps(w->origin) & ORIGIN_CAP_LFS);
}

int wf_lfs_wanted(const struct wf *w, const struct wf_attr *filter, bool *ret_wanted)
{
	bool named = filter->state == WF_ATTR_VALUE && strcmp(filter->value, "lfs") == 0;

	if (named && !w->origin)
		return err_set(w->e, -EHOSTUNREACH, "ORIGIN_UNAVAILABLE",
			"origin %s is not configured or cannot be opened: nobody can say whether "
			"files are sent to its LFS server",
			w->use->origin);
	*ret_wanted = named && has_lfs(w);
	return 0;
}

/* ---- pointers ---- */

static int pointer_text(const struct origin_lfs *lfs, char text[POINTER_MAX])
{
	int len = snprintf(
		text, POINTER_MAX, "version https://git-lfs.github.com/spec/v1\noid sha256:");

	for (unsigned i = 0; i < sizeof(lfs->sha256); i++)
		len += snprintf(text + len, POINTER_MAX - (size_t)len, "%02x", lfs->sha256[i]);
	return len +
	       snprintf(text + len, POINTER_MAX - (size_t)len, "\nsize %" PRIu64 "\n", lfs->size);
}

static void content_name(const struct origin_lfs *lfs, char name[NAME_BYTES])
{
	int len = snprintf(name, NAME_BYTES, DIR "/");

	for (unsigned i = 0; i < sizeof(lfs->sha256); i++)
		len += snprintf(name + len, NAME_BYTES - (size_t)len, "%02x", lfs->sha256[i]);
}

/* Is it one already? */
static int is_pointer(int fd, uint64_t size, bool *ret_is)
{
	char text[POINTER_MAX];
	struct origin_lfs lfs;
	int r;

	*ret_is = size == 0;
	if (size == 0 || size >= sizeof(text))
		return 0;
	r = wf_read_exactly(fd, (size_t)size, text);
	*ret_is = r == 0 && origin_lfs_parse(text, (size_t)size, &lfs);
	return r;
}

static int sha256_of(struct wf *w, int fd, uint64_t size, struct origin_lfs *ret_lfs)
{
	_cleanup_free_ char *piece = malloc(PIECE);
	struct digest *digest;
	uint64_t at = 0;
	uint8_t len;
	int r = piece ? digest_new(&digest, DIGEST_SHA256) : -ENOMEM;

	if (r < 0)
		return r;
	while (r == 0 && at <= size) {
		ssize_t n = pread(fd, piece, PIECE, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			r = n < 0 ? -errno : 0;
			break;
		}
		at += (uint64_t)n;
		r = wf_check(w);
		if (r == 0)
			r = digest_update(digest, piece, (size_t)n);
	}
	if (r == 0 && at != size)
		r = -ESTALE;
	if (r == 0)
		r = digest_final(digest, ret_lfs->sha256, &len);
	digest_free(digest);
	ret_lfs->size = size;
	return r;
}

/* ---- keeping contents ---- */

static int make_copy(struct wf *w, int fd, uint64_t size, const char *name, struct origin_lfs *ret)
{
	_cleanup_close_ int out =
		openat(w->dirfd, name, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	uint64_t copied = 0;
	int r;

	if (out < 0)
		return -errno;
	r = io_copy_range(fd, 0, out, 0, size, &copied);
	if (r == 0 && copied != size)
		r = -ESTALE;
	return r == 0 ? sha256_of(w, out, size, ret) : r;
}

static int keep(struct wf *w, int fd, uint64_t size, struct origin_lfs *ret_lfs)
{
	static const char tmp[] = DIR "/new"; /* verbs that change take turns */
	char name[NAME_BYTES];
	int r;

	if (mkdirat(w->dirfd, DIR, 0700) < 0 && errno != EEXIST)
		return -errno;
	r = wf_odb_charge(w, size);
	if (r < 0)
		return r;
	r = make_copy(w, fd, size, tmp, ret_lfs);
	if (r == 0) {
		content_name(ret_lfs, name);
		if (faccessat(w->dirfd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
			r = 1; /* it is there */
		else if (renameat(w->dirfd, tmp, w->dirfd, name) < 0)
			r = -errno;
	}
	if (r != 0) {
		(void)unlinkat(w->dirfd, tmp, 0); /* the next one replaces it */
		wf_odb_uncharge(w, size);
	}
	return r < 0 ? r : 0;
}

int wf_lfs_content(struct wf *w, const struct wf_content *content, struct oid *ret_oid)
{
	struct origin_lfs lfs;
	char text[POINTER_MAX];
	bool pointer;
	int r = is_pointer(content->fd, content->size, &pointer), len;

	if (r < 0)
		return r;
	if (pointer)
		return content->store ? wf_odb_write_file(w, content->fd, content->size, ret_oid)
				      : wf_hash_file(w, content->fd, content->size, ret_oid);
	r = content->store ? keep(w, content->fd, content->size, &lfs)
			   : sha256_of(w, content->fd, content->size, &lfs);
	if (r < 0)
		return r;
	len = pointer_text(&lfs, text);
	if (content->store)
		return wf_odb_write(w, WF_BLOB, text, (size_t)len, ret_oid);
	return digest_object(DIGEST_SHA1, OBJECT_BLOB, text, (size_t)len, ret_oid);
}

int wf_lfs_pointer(char **data, size_t *len)
{
	struct origin_lfs lfs = {.size = *len};
	struct digest *digest;
	char text[POINTER_MAX], *copy;
	uint8_t bytes;
	int r;

	if (*len == 0 || origin_lfs_parse(*data, *len, &lfs))
		return 0;
	r = digest_new(&digest, DIGEST_SHA256);
	if (r == 0) {
		r = digest_update(digest, *data, *len);
		if (r == 0)
			r = digest_final(digest, lfs.sha256, &bytes);
		digest_free(digest);
	}
	if (r < 0)
		return r;
	(void)pointer_text(&lfs, text);
	copy = strdup(text);
	if (!copy)
		return -ENOMEM;
	free(*data);
	*data = copy;
	*len = strlen(copy);
	return 0;
}

/* ---- contents of the workspace's own pointers ---- */

/* An own blob that is a pointer. False: it is none, or not ours. */
static bool own_pointer(struct wf *w, const struct oid *blob, struct origin_lfs *ret_lfs)
{
	void *data;
	uint64_t size;
	size_t len;
	bool is;

	if (wf_odb_size(w, blob, &size) < 0 || size >= POINTER_MAX ||
		wf_odb_read(w, blob, WF_BLOB, &data, &len) < 0)
		return false;
	is = origin_lfs_parse(data, len, ret_lfs);
	free(data);
	return is;
}

static int open_kept(const struct wf *w, const struct origin_lfs *lfs)
{
	char name[NAME_BYTES];
	int fd;

	content_name(lfs, name);
	fd = openat(w->dirfd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int each_of_file(struct wf *w, int fd, wf_piece fn, void *arg)
{
	_cleanup_free_ char *piece = malloc(PIECE);
	uint64_t at = 0;
	ssize_t n = 1;
	int r = piece ? 0 : -ENOMEM;

	while (r == 0 && n) {
		n = pread(fd, piece, PIECE, (off_t)at);
		if (n < 0 && errno == EINTR)
			continue;
		r = n < 0 ? -errno : n ? fn(arg, piece, (size_t)n, at) : 0;
		if (r == 0)
			r = wf_check(w);
		at += n > 0 ? (uint64_t)n : 0;
	}
	return r;
}

int wf_lfs_each(struct wf *w, const struct oid *blob, wf_piece fn, void *arg)
{
	struct oid key = storage_blob_key(w->storage, blob, has_lfs(w));
	struct origin_lfs lfs;

	if (has_lfs(w) && own_pointer(w, blob, &lfs)) {
		_cleanup_close_ int fd = open_kept(w, &lfs);

		if (fd >= 0)
			return each_of_file(w, fd, fn, arg);
	}
	return wf_blob_each(w, &key, fn, arg);
}

/* ---- pushing ---- */

struct push {
	struct wf *w;
	wf_lfs_fn fn;
	void *arg;
	uint64_t objects, bytes;
};

static int send(struct push *p, const struct origin_lfs *lfs, const char *path)
{
	struct wf *w = p->w;
	_cleanup_close_ int fd = open_kept(w, lfs);
	int r;

	if (fd == -ENOENT)
		return 0; /* not made here: the server has it, or the file was a pointer */
	if (fd < 0)
		return fd;
	r = p->fn ? p->fn(p->arg, p->objects, p->bytes) : 0;
	if (r == 0)
		r = origin_write_lfs(w->origin, lfs, fd, w->use->cancel, w->use->deadline_ns);
	if (r == -EACCES)
		return err_set(w->e, r, "PUSH_DENIED",
			"the LFS server of origin %s does not take the content of %.256s",
			w->use->origin, path);
	if (r < 0 && r != -ECANCELED && r != -ETIMEDOUT)
		return err_set(w->e, -EHOSTUNREACH, "ORIGIN_UNAVAILABLE",
			"the content of %.256s cannot be sent to the LFS server of origin %s: %s",
			path, w->use->origin, strerror(-r));
	p->objects += r == 0;
	p->bytes += r == 0 ? lfs->size : 0;
	return r;
}

static int visit(void *arg, struct wf_item *item)
{
	struct push *p = arg;
	struct origin_lfs lfs;

	if (!S_ISREG(item->index.mode) || oid_equal(&item->index.oid, &item->head.oid) ||
		!own_pointer(p->w, &item->index.oid, &lfs))
		return 0;
	return send(p, &lfs, item->path);
}

/* What a commit has and the one below has not. */
static int push_tree(struct push *p, const struct oid *below, const struct oid *tree)
{
	struct wf_walk *walk = calloc(1, sizeof(*walk));
	int r;

	if (!walk)
		return -ENOMEM;
	*walk = (struct wf_walk){
		.w = p->w, .head = *below, .index = *tree, .visit = visit, .arg = p};
	r = wf_walk(walk, NULL);
	free(walk);
	return r;
}

int wf_lfs_push(struct wf *w, const struct oid *head, wf_lfs_fn fn, void *arg)
{
	struct push p = {.w = w, .fn = fn, .arg = arg};
	struct oid at = *head, tree, below;
	int r;

	if (!has_lfs(w) || faccessat(w->dirfd, DIR, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
		return 0; /* there is nothing to send */
	r = wf_commit_tree(w, &at, &tree);
	while (r == 0 && !oid_equal(&at, &w->use->commit)) {
		r = wf_commit_parent(w, &at, &at);
		if (r == 0)
			r = wf_commit_tree(w, &at, &below);
		if (r == 0)
			r = push_tree(&p, &below, &tree);
		tree = below;
	}
	if (r == -ENOENT)
		r = -EIO; /* a commit of our own is gone */
	return r == 0 && p.objects && fn ? fn(arg, p.objects, p.bytes) : r;
}
