/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See storage/kept.h. Of each directory the ids are in memory, sorted, so that asking for what
 * nobody keeps (nearly always) costs no system call. A reader holds a reference while it reads, not
 * the lock.
 */
#include "storage_kept.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "base/ref.h"
#include "storage_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define PIECE (256u << 10)

struct storage_kept {
	struct ref ref;   /* who opened it, and readers */
	struct list node; /* in the table */
	struct kept_table *table;
	int fd;
	struct oid *oids; /* sorted */
	size_t count, cap;
	uint64_t bytes;
};

void kept_table_init(struct kept_table *t)
{
	lock_init(&t->mu, LOCK_RANK_LEAF);
	list_init(&t->dirs);
}

void kept_table_fini(struct kept_table *t)
{
	lock_fini(&t->mu);
}

static void kept_unref(struct storage_kept *k)
{
	if (!ref_put(&k->ref))
		return;
	if (k->fd >= 0)
		(void)close(k->fd); /* a directory: nothing was written */
	free(k->oids);
	free(k);
}

static int by_id(const void *a, const void *b)
{
	const struct oid *x = a, *y = b;

	return memcmp(x->bytes, y->bytes, sizeof(x->bytes));
}

static int add(struct storage_kept *k, const struct oid *oid)
{
	if (k->count == k->cap) {
		size_t cap = k->cap ? 2 * k->cap : 64;
		struct oid *oids = reallocarray(k->oids, cap, sizeof(*oids));

		if (!oids)
			return -ENOMEM;
		k->oids = oids;
		k->cap = cap;
	}
	k->oids[k->count++] = *oid;
	return 0;
}

static int scan(struct storage_kept *k)
{
	int fd = openat(k->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	int r = 0;

	if (!dir) {
		r = -errno;
		if (fd >= 0)
			(void)close(fd);
		return r;
	}
	for (const struct dirent *entry; r == 0 && (entry = readdir(dir));) {
		struct oid oid = {0};
		struct stat st;

		if (entry->d_name[0] == '.' ||
			fstatat(k->fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		k->bytes += (uint64_t)st.st_size;
		if (S_ISREG(st.st_mode) && oid_parse(entry->d_name, &oid) == 0)
			r = add(k, &oid);
	}
	(void)closedir(dir);
	if (r == 0 && k->count)
		qsort(k->oids, k->count, sizeof(*k->oids), by_id);
	return r;
}

int storage_kept_open(struct storage *st, const char *dir, struct storage_kept **ret_kept)
{
	struct storage_kept *k = calloc(1, sizeof(*k));
	int r;

	if (!k)
		return -ENOMEM;
	ref_init(&k->ref);
	list_init(&k->node);
	k->table = &st->kept;
	k->fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	r = k->fd < 0 ? -errno : scan(k);
	if (r < 0) {
		kept_unref(k);
		return r;
	}
	lock_acquire(&k->table->mu);
	list_push_back(&k->table->dirs, &k->node);
	lock_release(&k->table->mu);
	*ret_kept = k;
	return 0;
}

struct storage_kept *storage_kept_close(struct storage_kept *kept)
{
	if (!kept)
		return NULL;
	lock_acquire(&kept->table->mu);
	list_remove(&kept->node);
	lock_release(&kept->table->mu);
	kept_unref(kept);
	return NULL;
}

uint64_t storage_kept_bytes(const struct storage_kept *kept)
{
	return kept->bytes;
}

/* The first that has it, with a reference; or NULL. */
static struct storage_kept *find(struct kept_table *t, const struct oid *blob)
{
	LOCK_GUARD(&t->mu);
	list_for_each (it, &t->dirs) {
		struct storage_kept *k = list_entry(it, struct storage_kept, node);

		if (k->count && bsearch(blob, k->oids, k->count, sizeof(*k->oids), by_id)) {
			ref_get(&k->ref);
			return k;
		}
	}
	return NULL;
}

bool kept_has(struct kept_table *t, const struct oid *blob)
{
	struct storage_kept *k = find(t, blob);

	if (k)
		kept_unref(k);
	return k;
}

static int pour(int fd, struct blob_sink *sink)
{
	_cleanup_free_ char *piece = malloc(PIECE);
	struct stat st;
	int r;

	if (!piece)
		return -ENOMEM;
	if (fstat(fd, &st) < 0)
		return -errno;
	r = sink->begin(sink, (uint64_t)st.st_size);
	for (uint64_t at = 0; r == 0 && at < (uint64_t)st.st_size;) {
		uint64_t left = (uint64_t)st.st_size - at;
		size_t len = left < PIECE ? (size_t)left : PIECE;

		r = io_pread_full(fd, piece, len, at);
		if (r == 0)
			r = sink->write(sink, piece, len);
		at += len;
	}
	return r;
}

int kept_produce(struct kept_table *t, const struct oid *blob, struct blob_sink *sink)
{
	struct storage_kept *k = find(t, blob);
	_cleanup_close_ int fd = -1;
	char name[OID_HEX_MAX];
	int r;

	if (!k)
		return -ENOENT;
	fd = openat(k->fd, oid_hex(blob, name), O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	r = fd < 0 ? -EIO : pour(fd, sink); /* it was there: no origin has it */
	kept_unref(k);
	return r == -ENOENT ? -EIO : r;
}
