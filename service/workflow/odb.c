/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The workspace's own Git objects in <workspace>/git/objects, which is outside what the job sees.
 * There are no alternates: what the base has stays in the storage. Loose ones are
 * written and read through libgit2; a verb that may write many puts those after the first hundred
 * into one pack, which is there as a whole once it is sealed.
 *
 * Every object is charged to the workspace's quota by its size before compression, in whole blocks,
 * so that a tenant cannot fill the node through commits.
 */
#include "mount/mounts_internal.h"
#include "workflow/pack.h"
#include "workflow/pack_read.h"
#include "workflow/walk.h"

#include <base/cleanup.h>
#include <errno.h>
#include <fcntl.h>
#include <git2.h>
#include <git2/sys/odb_backend.h>
#include <stdio.h>
#include <string.h>

#define BLOCK     4096u
#define WHOLE_MAX (1u << 20) /* larger files are streamed */
#define PIECE     (256u << 10)
#define LOOSE_MAX 100u /* of one verb; as git's transfer.unpackLimit */
#define PACKS_MAX 64u  /* each is open while a verb runs; with more, all is loose again */

_Static_assert((int)WF_COMMIT == (int)GIT_OBJECT_COMMIT && (int)WF_BLOB == (int)GIT_OBJECT_BLOB,
	"object types are libgit2's");

struct wf_odb {
	git_odb *db; /* the loose ones */
	struct wf_packs *packs;
	int dirfd; /* its directory's parent */
	/* of a batch */
	bool batch;
	unsigned loose_count;
	struct wf_pack *pack; /* NULL: no object was put into one since the last was sealed */
	uint64_t pack_bytes;  /* charged for what is in it */
};

struct wf_odb *wf_odb_free(struct wf_odb *odb)
{
	if (odb) {
		git_odb_free(odb->db);
		(void)wf_packs_free(odb->packs);
		(void)wf_pack_free(odb->pack);
		if (odb->dirfd >= 0)
			(void)close(odb->dirfd); /* a directory */
	}
	free(odb);
	return NULL;
}

static int open_loose(struct wf_odb *odb, const char *path)
{
	git_odb_backend *backend;

	if (git_odb_new(&odb->db) < 0)
		return -ENOMEM;
	if (git_odb_backend_loose(&backend, path, -1, 0, 0, 0) < 0)
		return -EIO;
	if (git_odb_add_backend(odb->db, backend, 1) == 0)
		return 0;
	backend->free(backend);
	return -ENOMEM;
}

static int open_in(int dirfd, struct wf_odb *odb)
{
	char path[64], real[4096];
	ssize_t len;
	int r;

	odb->dirfd = fcntl(dirfd, F_DUPFD_CLOEXEC, 0);
	if (odb->dirfd < 0)
		return -errno;
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", dirfd);
	len = readlink(path, real, sizeof(real) - sizeof("/objects"));
	if (len < 0)
		return -errno;
	memcpy(real + len, "/objects", sizeof("/objects"));
	r = open_loose(odb, real);
	return r < 0 ? r : wf_packs_open(dirfd, &odb->packs);
}

int wf_odb_open(int dirfd, struct wf_odb **ret_odb)
{
	struct wf_odb *odb = calloc(1, sizeof(*odb));
	int r;

	if (!odb)
		return -ENOMEM;
	odb->dirfd = -1;
	r = open_in(dirfd, odb);
	if (r < 0)
		(void)wf_odb_free(odb);
	else
		*ret_odb = odb;
	return r;
}

static int to_git(const struct oid *oid, git_oid *ret_id)
{
	if (oid->len != GIT_OID_RAWSZ)
		return -EINVAL;
	memcpy(ret_id->id, oid->bytes, GIT_OID_RAWSZ);
	return 0;
}

/* libgit2 leaves the errno of the call that failed in its message only; errno itself may be that of
 * what it cleaned up afterwards. */
static bool failed_with(int number)
{
	const git_error *last = git_error_last();

	return errno == number ||
	       (last && last->message && strstr(last->message, strerrordesc_np(number)));
}

static int errno_of(int code)
{
	if (code == GIT_ENOTFOUND)
		return -ENOENT;
	if (failed_with(ENOSPC) || failed_with(EDQUOT))
		return -ENOSPC;
	return failed_with(ENOMEM) ? -ENOMEM : -EIO;
}

static bool is_packing(const struct wf_odb *odb, const struct oid *oid)
{
	uint64_t size;

	return odb->pack && wf_pack_has(odb->pack, oid, &size);
}

static bool has(const struct wf_odb *odb, const struct oid *oid)
{
	git_oid id;

	return is_packing(odb, oid) || wf_packs_has(odb->packs, oid) ||
	       (to_git(oid, &id) == 0 &&
		       git_odb_exists_ext(odb->db, &id, GIT_ODB_LOOKUP_NO_REFRESH) == 1);
}

bool wf_odb_has(struct wf *w, const struct oid *oid)
{
	return w->odb && has(w->odb, oid);
}

int wf_odb_read(
	struct wf *w, const struct oid *oid, enum wf_object type, void **ret_data, size_t *ret_len)
{
	return wf_odb_has(w, oid) ? wf_odb_get(w->odb, oid, type, ret_data, ret_len) : -ENOENT;
}

int wf_odb_get(struct wf_odb *odb, const struct oid *oid, enum wf_object type, void **ret_data,
	size_t *ret_len)
{
	git_odb_object *object = NULL;
	git_oid id;
	size_t len;
	char *data;
	int r;

	if (to_git(oid, &id) < 0)
		return -ENOENT;
	if (is_packing(odb, oid))
		return wf_pack_read(odb->pack, oid, type, ret_data, ret_len);
	r = wf_packs_read(odb->packs, oid, type, ret_data, ret_len);
	if (r != -ENOENT)
		return r;
	errno = 0;
	r = git_odb_read(&object, odb->db, &id);
	if (r < 0)
		return errno_of(r);
	len = git_odb_object_size(object);
	data = (int)git_odb_object_type(object) == (int)type ? malloc(len + 1) : NULL;
	if (data) {
		memcpy(data, git_odb_object_data(object), len);
		data[len] = '\0';
		*ret_data = data;
		*ret_len = len;
		r = 0;
	} else {
		r = (int)git_odb_object_type(object) == (int)type ? -ENOMEM : -EIO;
	}
	git_odb_object_free(object);
	return r;
}

int wf_odb_size(struct wf *w, const struct oid *oid, uint64_t *ret_size)
{
	git_object_t type;
	git_oid id;
	size_t size;
	int r;

	if (!wf_odb_has(w, oid) || to_git(oid, &id) < 0)
		return -ENOENT;
	if (w->odb->pack && wf_pack_has(w->odb->pack, oid, ret_size))
		return 0;
	r = wf_packs_size(w->odb->packs, oid, ret_size);
	if (r != -ENOENT)
		return r;
	if (git_odb_read_header(&size, &type, w->odb->db, &id) < 0)
		return -EIO;
	*ret_size = size;
	return 0;
}

int wf_odb_charge(struct wf *w, uint64_t size)
{
	uint64_t bytes = (size / BLOCK + 1) * BLOCK;
	int r = quota_charge(&w->use->mount->quota, QUOTA_BYTES, bytes);

	if (r == 0)
		w->added_bytes += bytes;
	return r;
}

void wf_odb_uncharge(struct wf *w, uint64_t size)
{
	uint64_t bytes = (size / BLOCK + 1) * BLOCK;

	quota_release(&w->use->mount->quota, QUOTA_BYTES, bytes);
	w->added_bytes -= bytes;
}

/* ---- writing ---- */

static int object_id(enum wf_object type, const void *data, size_t len, struct oid *ret_oid)
{
	return digest_object(DIGEST_SHA1, wf_object_kind(type), data, len, ret_oid);
}

static int put_loose(struct wf_odb *odb, enum wf_object type, const void *data, size_t len)
{
	git_oid id;

	errno = 0;
	if (git_odb_write(&id, odb->db, data ? data : "", len, (git_object_t)type) < 0)
		return errno_of(GIT_ERROR);
	odb->loose_count++;
	return 0;
}

/* One that is not there. */
static int put(struct wf_odb *odb, enum wf_object type, const void *data, size_t len,
	const struct oid *oid)
{
	int r = 0;

	if (!odb->batch || odb->loose_count < LOOSE_MAX || wf_packs_count(odb->packs) >= PACKS_MAX)
		return put_loose(odb, type, data, len);
	if (!odb->pack)
		r = wf_pack_new(odb->dirfd, &odb->pack);
	if (r == -EOPNOTSUPP) {
		odb->batch = false;
		return put_loose(odb, type, data, len);
	}
	return r < 0 ? r : wf_pack_add(odb->pack, oid, type, data, len);
}

void wf_odb_batch(struct wf_odb *odb)
{
	odb->batch = true;
}

int wf_odb_seal(struct wf_odb *odb, bool durable)
{
	struct wf_packs *packs;
	int r;

	if (!odb->pack)
		return 0;
	r = wf_pack_seal(odb->pack, durable);
	if (r < 0)
		return r;
	odb->pack = wf_pack_free(odb->pack);
	odb->pack_bytes = 0;
	r = wf_packs_open(odb->dirfd, &packs);
	if (r < 0)
		return r;
	(void)wf_packs_free(odb->packs);
	odb->packs = packs;
	return 0;
}

void wf_odb_drop(struct wf *w)
{
	if (!w->odb || !w->odb->pack)
		return;
	quota_release(&w->use->mount->quota, QUOTA_BYTES, w->odb->pack_bytes);
	w->added_bytes -= w->odb->pack_bytes;
	w->odb->pack = wf_pack_free(w->odb->pack);
	w->odb->pack_bytes = 0;
}

int wf_odb_put(struct wf_odb *odb, enum wf_object type, const void *data, size_t len)
{
	struct oid oid;
	int r = object_id(type, data, len, &oid);

	if (r == 0 && odb->pack && wf_pack_is_full(odb->pack))
		r = wf_odb_seal(odb, false);
	return r < 0 || has(odb, &oid) ? r : put(odb, type, data, len, &oid);
}

/* What the pack would take with it is known. */
static int put_charged(
	struct wf *w, enum wf_object type, const void *data, size_t len, const struct oid *oid)
{
	uint64_t before = w->added_bytes;
	int r = wf_odb_charge(w, len);

	if (r < 0)
		return r;
	r = put(w->odb, type, data, len, oid);
	if (r < 0)
		wf_odb_uncharge(w, len);
	else if (w->odb->pack)
		w->odb->pack_bytes += w->added_bytes - before;
	return r;
}

int wf_odb_write(
	struct wf *w, enum wf_object type, const void *data, size_t len, struct oid *ret_oid)
{
	struct oid oid;
	int r = object_id(type, data, len, &oid);

	if (r == 0 && w->odb->pack && wf_pack_is_full(w->odb->pack))
		r = wf_odb_seal(w->odb, true);
	if (r == 0 && !wf_odb_has(w, &oid))
		r = put_charged(w, type, data, len, &oid);
	if (r == 0)
		*ret_oid = oid;
	return r;
}

/* Both ends of the file are looked at: it may be written meanwhile. */
int wf_read_exactly(int fd, size_t size, char *data)
{
	size_t at = 0;

	while (at <= size) {
		ssize_t n = pread(fd, data + at, size + 1 - at, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		at += (size_t)n;
	}
	return at == size ? 0 : -ESTALE;
}

static int stream_pieces(struct wf *w, git_odb_stream *stream, int fd, uint64_t size)
{
	_cleanup_free_ char *piece = malloc(PIECE);
	uint64_t at = 0;

	if (!piece)
		return -ENOMEM;
	while (at < size) {
		size_t want = size - at < PIECE ? (size_t)(size - at) : PIECE;
		ssize_t n = pread(fd, piece, want, (off_t)at);
		int r = wf_check(w);

		if (n < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return r;
		if (n <= 0)
			return n < 0 ? -errno : -ESTALE;
		errno = 0;
		r = git_odb_stream_write(stream, piece, (size_t)n);
		if (r < 0)
			return errno_of(r);
		at += (uint64_t)n;
	}
	return pread(fd, piece, 1, (off_t)at) == 0 ? 0 : -ESTALE;
}

static int write_large(struct wf *w, int fd, uint64_t size, struct oid *ret_oid)
{
	git_odb_stream *stream = NULL;
	git_oid id;
	int r = wf_odb_charge(w, size);

	if (r < 0)
		return r;
	errno = 0;
	r = git_odb_open_wstream(&stream, w->odb->db, (git_object_size_t)size, GIT_OBJECT_BLOB);
	r = r < 0 ? errno_of(r) : stream_pieces(w, stream, fd, size);
	if (r == 0) {
		errno = 0;
		r = git_odb_stream_finalize_write(&id, stream);
		r = r < 0 ? errno_of(r) : 0;
	}
	git_odb_stream_free(stream);
	if (r < 0)
		wf_odb_uncharge(w, size);
	else
		*ret_oid = oid_from_bytes(id.id, GIT_OID_RAWSZ);
	return r;
}

int wf_odb_write_file(struct wf *w, int fd, uint64_t size, struct oid *ret_oid)
{
	_cleanup_free_ char *data = NULL;
	int r;

	if (size > WHOLE_MAX)
		return write_large(w, fd, size, ret_oid);
	data = malloc((size_t)size + 1);
	if (!data)
		return -ENOMEM;
	r = wf_read_exactly(fd, (size_t)size, data);
	return r < 0 ? r : wf_odb_write(w, WF_BLOB, data, (size_t)size, ret_oid);
}
