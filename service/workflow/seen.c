/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See seen.h. The file is read as a whole: a head, then records in the order of their inodes, in
 * the byte order of the machine. What is new is kept apart until the end and merged then. Records
 * that no verb asked for are carried on until they are the larger half: their files may be gone.
 */
#include "workflow/seen.h"

#include <base/cleanup.h>
#include <base/clock.h>
#include <base/crc32c.h>
#include <base/io.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC       UINT64_C(0x31306e6565736663) /* "cfseen01" */
#define RECORDS_MAX 1000000u
#define NEW_MIN     16u               /* fewer are read again */
#define SETTLED_NS  (100 * NS_PER_MS) /* times of inodes move in steps of up to 10 ms */

struct head {
	uint64_t magic;
	uint32_t count, crc; /* of the records */
};
_Static_assert(sizeof(struct wf_seen_record) == 48 && sizeof(struct head) == 16, "no holes");

struct wf_seen {
	int dirfd; /* the caller's */
	char *memory;
	const struct wf_seen_record *old; /* in memory */
	size_t old_count, used_count;
	bool *used; /* of `old` */
	struct wf_seen_record *new;
	size_t new_count, new_cap;
};

const struct wf_seen_record *wf_seen_decode(const void *data, size_t len, size_t *ret_count)
{
	const struct wf_seen_record *records =
		(const void *)((const char *)data + sizeof(struct head));
	struct head head;

	if (len < sizeof(head))
		return NULL;
	memcpy(&head, data, sizeof(head));
	if (head.magic != MAGIC || head.count > RECORDS_MAX ||
		len != sizeof(head) + head.count * sizeof(*records) ||
		head.crc != crc32c(0, records, head.count * sizeof(*records)))
		return NULL;
	*ret_count = head.count;
	return records;
}

int wf_seen_open(int dirfd, struct wf_seen **ret_seen)
{
	struct wf_seen *s = calloc(1, sizeof(*s));
	size_t len;

	if (!s)
		return -ENOMEM;
	s->dirfd = dirfd;
	if (io_read_file(dirfd, "seen", sizeof(struct head) + RECORDS_MAX * sizeof(*s->old),
		    &s->memory, &len) == 0)
		s->old = wf_seen_decode(s->memory, len, &s->old_count);
	s->used = calloc(s->old_count + 1, sizeof(*s->used));
	if (!s->used) {
		free(s->memory);
		free(s);
		return -ENOMEM;
	}
	*ret_seen = s;
	return 0;
}

bool wf_seen_find(struct wf_seen *s, const struct wf_seen_file *file, struct oid *ret_oid)
{
	size_t low = 0, high = s->old_count;
	const struct wf_seen_record *r;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (s->old[mid].ino < file->ino)
			low = mid + 1;
		else
			high = mid;
	}
	r = &s->old[low];
	if (low == s->old_count || r->ino != file->ino)
		return false;
	if (r->size != file->size || r->ctime_s != file->ctime.tv_sec ||
		r->ctime_ns != (uint32_t)file->ctime.tv_nsec || r->how != (file->how & 3))
		return false;
	s->used_count += !s->used[low];
	s->used[low] = true;
	*ret_oid = oid_from_bytes(r->oid, sizeof(r->oid));
	return true;
}

static bool settled(const struct timespec *ctime, uint64_t began_ns)
{
	return ctime->tv_sec >= 0 &&
	       (uint64_t)ctime->tv_sec * NS_PER_S + (uint64_t)ctime->tv_nsec + SETTLED_NS <
		       began_ns;
}

void wf_seen_add(struct wf_seen *s, const struct wf_seen_file *file, const struct oid *oid,
	uint64_t began_ns)
{
	if (!settled(&file->ctime, began_ns) || s->new_count == RECORDS_MAX ||
		oid->len != sizeof(s->new->oid))
		return;
	if (s->new_count == s->new_cap) {
		size_t cap = s->new_cap ? 2 * s->new_cap : 256;
		struct wf_seen_record *grown = reallocarray(s->new, cap, sizeof(*grown));

		if (!grown)
			return; /* it will be read again */
		s->new = grown;
		s->new_cap = cap;
	}
	s->new[s->new_count] = (struct wf_seen_record){.ino = file->ino,
		.size = file->size,
		.ctime_s = file->ctime.tv_sec,
		.ctime_ns = (uint32_t)file->ctime.tv_nsec & 0x3fffffff,
		.how = file->how & 3};
	memcpy(s->new[s->new_count++].oid, oid->bytes, sizeof(s->new->oid));
}

static int by_inode(const void *a, const void *b)
{
	const struct wf_seen_record *x = a, *y = b;

	return (x->ino > y->ino) - (x->ino < y->ino);
}

/* Old and new by inode, of equals the new; those with hard links are several of one inode. */
static size_t merge(struct wf_seen *s, struct wf_seen_record *out)
{
	bool keep_unused = s->used_count + s->new_count >= s->old_count / 2;
	size_t count = 0, old = 0;

	for (size_t i = 0; i <= s->new_count; i++) {
		for (; old < s->old_count && (i == s->new_count || s->old[old].ino < s->new[i].ino);
			old++)
			if ((keep_unused || s->used[old]) && count < RECORDS_MAX)
				out[count++] = s->old[old];
		if (i == s->new_count)
			break;
		while (old < s->old_count && s->old[old].ino == s->new[i].ino)
			old++;
		if (count && out[count - 1].ino == s->new[i].ino)
			count--;
		if (count < RECORDS_MAX)
			out[count++] = s->new[i];
	}
	return count;
}

static void save(struct wf_seen *s)
{
	_cleanup_free_ char *data =
		malloc(sizeof(struct head) +
			(s->old_count + s->new_count) * sizeof(struct wf_seen_record));
	struct head head = {.magic = MAGIC};
	struct wf_seen_record *records;

	if (!data)
		return; /* everything here is only a cache */
	records = (void *)(data + sizeof(head));
	qsort(s->new, s->new_count, sizeof(*s->new), by_inode);
	head.count = (uint32_t)merge(s, records);
	head.crc = crc32c(0, records, head.count * sizeof(*records));
	memcpy(data, &head, sizeof(head));
	(void)io_write_file(s->dirfd, "seen", data, sizeof(head) + head.count * sizeof(*records),
		0600, false); /* as above */
}

struct wf_seen *wf_seen_close(struct wf_seen *s)
{
	if (!s)
		return NULL;
	if (s->new_count >= NEW_MIN)
		save(s);
	free(s->new);
	free(s->used);
	free(s->memory);
	free(s);
	return NULL;
}
