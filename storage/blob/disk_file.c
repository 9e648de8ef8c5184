/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files of large blobs: open, publish, remove, and the LRU of descriptors.
 *
 * One lock serialises every change of a name together with its index entry and its cached
 * descriptor, opening included. So a descriptor in the cache always belongs to the file that has
 * the name now, and an entry never outlives its file. Descriptors in use by readers and pins live
 * on after they left the cache; the cache itself never exceeds DISK_FILE_FDS_MAX.
 */
#include "blob/disk_file.h"

#include "base/cancel.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/list.h"
#include "blob/disk_write.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define BUCKETS     256
#define BLOCK       4096u
#define PROVE_CHUNK (256u * 1024)

struct cached_file {
	struct disk_handle handle; /* first: a handle is its file */
	struct disk_key key;
	uint64_t size;
	struct timespec mtime; /* when it was opened */
	struct list lru;       /* both guarded by files->lock; in no list once out of the cache */
	struct list bucket;
};

struct disk_files {
	int dirfd, tmpfd;
	struct disk_index *index;
	struct disk_space *space;
	struct timespec stamp; /* const after open, as are all above */
	struct counter next_tmp;
	struct lock lock;
	struct list bucket[BUCKETS]; /* all below guarded by lock */
	struct list lru;             /* most recent first */
	unsigned count;
};

uint64_t disk_file_cost(uint64_t size)
{
	return (size + BLOCK - 1) & ~(uint64_t)(BLOCK - 1);
}

const char *disk_file_name(const struct disk_key *key, uint64_t size, char *buf)
{
	struct oid half = oid_from_bytes(key->bytes, DISK_KEY_BYTES);
	char hex[OID_HEX_MAX];

	(void)snprintf(buf, DISK_FILE_NAME_BYTES, "%02x/%s.%u.%" PRIx64, key->bytes[0],
		oid_hex(&half, hex), key->oid_len, size);
	return buf;
}

/* The part after the slash. */
static bool parse_name(
	const char *dir, const char *name, struct disk_key *ret_key, uint64_t *ret_size)
{
	char hex[2 * DISK_KEY_BYTES + 1], expect[DISK_FILE_NAME_BYTES], full[DISK_FILE_NAME_BYTES];
	struct oid half;
	unsigned oid_len;
	uint64_t size;

	if (sscanf(name, "%40[0-9a-f].%u.%" SCNx64, hex, &oid_len, &size) != 3 ||
		oid_parse(hex, &half) < 0 || (oid_len != 20 && oid_len != 32) ||
		size > DISK_SIZE_MAX)
		return false;
	*ret_key = (struct disk_key){.oid_len = (uint8_t)oid_len};
	memcpy(ret_key->bytes, half.bytes, DISK_KEY_BYTES);
	*ret_size = size;
	if (snprintf(full, sizeof(full), "%s/%s", dir, name) >= (int)sizeof(full))
		return false;
	return strcmp(disk_file_name(ret_key, size, expect), full) == 0;
}

static void close_dir(DIR **d)
{
	if (*d)
		(void)closedir(*d); /* only read from */
}

/* Calls `fn` for every name but . and .. */
static int each_name(
	int dirfd, const char *name, int (*fn)(void *arg, DIR *dir, const char *name), void *arg)
{
	__attribute__((cleanup(close_dir))) DIR *dir = NULL;
	int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	struct dirent *de;

	if (fd < 0)
		return -errno;
	dir = fdopendir(fd);
	if (!dir) {
		(void)close(fd);
		return -ENOMEM;
	}
	while (errno = 0, (de = readdir(dir))) {
		int r = de->d_name[0] == '.' ? 0 : fn(arg, dir, de->d_name);

		if (r < 0)
			return r;
	}
	return -errno;
}

struct scan {
	struct disk_files *files;
	const char *dir;
};

static int scan_file(void *arg, DIR *dir, const char *name)
{
	const struct scan *scan = arg;
	struct disk_place place = {0};
	struct disk_key key;
	int r;

	if (!parse_name(scan->dir, name, &key, &place.size)) {
		(void)unlinkat(dirfd(dir), name,
			0); /* not ours: this directory is a cache that belongs to us */
		return 0;
	}
	r = disk_index_add(scan->files->index, &key, &place);
	if (r == -EEXIST) { /* the limit between small and large has been changed; one copy is
			       enough */
		(void)unlinkat(dirfd(dir), name, 0);
		return 0;
	}
	if (r == 0)
		disk_space_force(scan->files->space, disk_file_cost(place.size));
	return r;
}

static int scan_fan(void *arg, DIR *dir, const char *name)
{
	struct scan *scan = arg;
	int r;

	scan->dir = name;
	r = each_name(dirfd(dir), name, scan_file, scan);
	return r == -ENOTDIR || r == -ELOOP ? 0 : r;
}

static int remove_tmp(void *arg, DIR *dir, const char *name)
{
	(void)arg;
	return unlinkat(dirfd(dir), name, 0) < 0 ? -errno : 0;
}

static int make_dir(int parent, const char *name, int *ret_fd)
{
	if (mkdirat(parent, name, 0700) < 0 && errno != EEXIST)
		return -errno;
	*ret_fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return *ret_fd < 0 ? -errno : 0;
}

int disk_files_open(struct disk_files **ret_files, const struct disk_files_config *config)
{
	struct disk_files *f = calloc(1, sizeof(*f));
	struct scan scan = {.files = f};
	int r;

	if (!f)
		return -ENOMEM;
	f->dirfd = f->tmpfd = -1;
	f->index = config->index;
	f->space = config->space;
	f->stamp = config->stamp;
	lock_init(&f->lock, LOCK_RANK_BLOB_TIER);
	list_init(&f->lru);
	for (unsigned i = 0; i < BUCKETS; i++)
		list_init(&f->bucket[i]);
	r = make_dir(config->parent_fd, "files", &f->dirfd);
	if (r == 0)
		r = make_dir(config->parent_fd, "tmp", &f->tmpfd);
	if (r == 0)
		r = each_name(f->tmpfd, ".", remove_tmp, NULL);
	if (r == 0)
		r = each_name(f->dirfd, ".", scan_fan, &scan);
	if (r < 0) {
		(void)disk_files_close(f);
		return r;
	}
	*ret_files = f;
	return 0;
}

static void cached_release(struct disk_handle *h)
{
	(void)close(h->fd); /* only read from */
	free(h);
}

/* Out of the cache; it closes with its last holder. */
static void uncache_locked(struct disk_files *f, struct cached_file *c)
{
	list_remove(&c->lru);
	list_remove(&c->bucket);
	f->count--;
	disk_handle_put(&c->handle);
}

struct disk_files *disk_files_close(struct disk_files *f)
{
	if (!f)
		return NULL;
	while (!list_empty(&f->lru))
		uncache_locked(f, list_entry(list_first(&f->lru), struct cached_file, lru));
	if (f->dirfd >= 0)
		(void)close(f->dirfd);
	if (f->tmpfd >= 0)
		(void)close(f->tmpfd);
	lock_fini(&f->lock);
	free(f);
	return NULL;
}

static struct list *bucket_of(struct disk_files *f, const struct disk_key *key)
{
	return &f->bucket[key->bytes[1]]; /* one bucket a descriptor on average; chosen ones cost
					     256 compares at worst */
}

static struct cached_file *cached_find_locked(struct disk_files *f, const struct disk_key *key)
{
	list_for_each (it, bucket_of(f, key)) {
		struct cached_file *c = list_entry(it, struct cached_file, bucket);

		if (c->key.oid_len == key->oid_len &&
			memcmp(c->key.bytes, key->bytes, DISK_KEY_BYTES) == 0)
			return c;
	}
	return NULL;
}

/* The least recently used one leaves, but for pinned ones: eviction must find them here. */
static void shrink_locked(struct disk_files *f)
{
	struct list *it = f->lru.prev;

	while (f->count > DISK_FILE_FDS_MAX && it != &f->lru) {
		struct cached_file *c = list_entry(it, struct cached_file, lru);

		it = it->prev;
		if (gauge_get(&c->handle.pins) == 0)
			uncache_locked(f, c);
	}
}

static int open_locked(struct disk_files *f, const struct disk_key *key, uint64_t size,
	struct cached_file **ret_cached)
{
	char name[DISK_FILE_NAME_BYTES];
	_cleanup_close_ int fd = -1;
	struct cached_file *c;
	struct stat st;

	fd = openat(f->dirfd, disk_file_name(key, size, name), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return errno == ENOENT ? -EAGAIN : -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != size)
		return -EIO;
	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	ref_init(&c->handle.ref);
	c->handle.fd = TAKE_FD(fd);
	c->handle.release = cached_release;
	c->key = *key;
	c->size = size;
	c->mtime = st.st_mtim;
	list_push_front(&f->lru, &c->lru);
	list_push_front(bucket_of(f, key), &c->bucket);
	f->count++;
	*ret_cached = c;
	return 0;
}

int disk_files_hold(struct disk_files *f, const struct disk_key *key,
	const struct disk_place *place, bool pin, struct disk_handle **ret_handle)
{
	struct cached_file *c;
	int r;

	LOCK_GUARD(&f->lock);
	c = cached_find_locked(f, key);
	if (c) {
		list_remove(&c->lru);
		list_push_front(&f->lru, &c->lru);
	} else {
		r = open_locked(f, key, place->size, &c);
		if (r < 0)
			return r;
	}
	ref_get(&c->handle.ref);
	if (pin)
		gauge_add(&c->handle.pins, 1);
	shrink_locked(f);
	*ret_handle = &c->handle;
	return 0;
}

bool disk_file_trusted(const struct disk_files *f, const struct disk_handle *h)
{
	const struct cached_file *c = (const struct cached_file *)h;

	return f->stamp.tv_sec && c->mtime.tv_sec == f->stamp.tv_sec &&
	       c->mtime.tv_nsec == f->stamp.tv_nsec;
}

void disk_files_stamp(const struct disk_files *f, int fd)
{
	const struct timespec times[] = {{.tv_nsec = UTIME_OMIT}, f->stamp};

	if (f->stamp.tv_sec)
		(void)futimens(fd, times); /* without it the file is hashed once more */
}

static int hash_file(
	int fd, struct digest *d, uint64_t size, const struct cancel *cancel, uint64_t deadline_ns)
{
	_cleanup_free_ uint8_t *chunk = malloc(PROVE_CHUNK);
	int r = chunk ? 0 : -ENOMEM;

	for (uint64_t at = 0; r == 0 && at < size; at += PROVE_CHUNK) {
		size_t part = size - at < PROVE_CHUNK ? size - at : PROVE_CHUNK;

		r = cancel_check(cancel, deadline_ns);
		if (r == 0)
			r = io_pread_full(fd, chunk, part, at);
		if (r == 0)
			r = digest_update(d, chunk, part);
	}
	return r == -ENODATA ? -EBADMSG : r;
}

int disk_file_prove(const struct disk_files *f, const struct disk_handle *h, const struct oid *oid,
	const struct cancel *cancel, uint64_t deadline_ns)
{
	const struct cached_file *c = (const struct cached_file *)h;
	struct digest *d;
	enum digest_kind kind;
	int r;

	r = digest_kind_of(oid, &kind);
	if (r == 0)
		r = digest_new_object(&d, kind, OBJECT_BLOB, c->size);
	if (r < 0)
		return r;
	r = hash_file(h->fd, d, c->size, cancel, deadline_ns);
	if (r == 0)
		r = digest_matches(d, oid);
	(void)digest_free(d);
	if (r == 0)
		disk_files_stamp(f, h->fd);
	return r;
}

int disk_files_remove(struct disk_files *f, const struct disk_key *key,
	const struct disk_place *place, bool damaged, uint64_t *ret_freed)
{
	char name[DISK_FILE_NAME_BYTES];
	struct cached_file *c;

	LOCK_GUARD(&f->lock);
	c = cached_find_locked(f, key);
	if (c && !damaged && gauge_get(&c->handle.pins) > 0)
		return -EBUSY;
	if (!disk_index_drop(f->index, key, place))
		return -EAGAIN; /* someone else was quicker */
	if (c)
		uncache_locked(f, c);
	if (unlinkat(f->dirfd, disk_file_name(key, place->size, name), 0) < 0 && errno != ENOENT)
		return -errno; /* still on disk, so it stays charged */
	disk_space_release(f->space, disk_file_cost(place->size));
	if (ret_freed)
		*ret_freed = disk_file_cost(place->size);
	return 0;
}

int disk_files_temporary(struct disk_files *f, char *name, int *ret_fd)
{
	uint64_t number = atomic_fetch_add_explicit(&f->next_tmp.v, 1, memory_order_relaxed);

	(void)snprintf(name, DISK_FILE_NAME_BYTES, "%" PRIx64, number);
	*ret_fd = openat(f->tmpfd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	return *ret_fd < 0 ? -errno : 0;
}

void disk_files_discard(struct disk_files *f, const char *name)
{
	(void)unlinkat(f->tmpfd, name, 0); /* if it stays, the next start removes it */
}

static int rename_locked(struct disk_files *f, const char *tmp, const char *name)
{
	char fan[3] = {name[0], name[1], '\0'};

	if (renameat(f->tmpfd, tmp, f->dirfd, name) == 0)
		return 0;
	if (errno != ENOENT)
		return -errno;
	if (mkdirat(f->dirfd, fan, 0700) < 0 && errno != EEXIST)
		return -errno;
	return renameat(f->tmpfd, tmp, f->dirfd, name) < 0 ? -errno : 0;
}

int disk_files_publish(struct disk_files *f, const char *tmp, const struct disk_key *key,
	const struct disk_place *place, bool *ret_stored)
{
	struct disk_place there;
	char name[DISK_FILE_NAME_BYTES];
	int r;

	LOCK_GUARD(&f->lock);
	*ret_stored = false;
	if (disk_index_find(f->index, key, &there))
		return 0;
	r = rename_locked(f, tmp, disk_file_name(key, place->size, name));
	if (r < 0)
		return r;
	r = disk_index_add(f->index, key, place);
	if (r < 0)
		(void)unlinkat(f->dirfd, name, 0); /* without an entry nobody would find it */
	else
		*ret_stored = true;
	return r;
}
