/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The names of one directory in the upper, in a hash table whose walk has a fixed order: the bucket
 * is the top bits of the hash and a bucket is sorted by hash and name, so walking the buckets walks
 * in order of (hash, name) whatever the table's size is. That makes a hash a position for readdir
 * that stays good while names come and go and after a restart.
 *
 * Pure; guarded by the directory's lock. Only `count` is read without it.
 */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "overlay/ovl_internal.h"

#define HASH_BITS        62 /* a position has 64, one of which is its sign */
#define MIN_BITS         3u
#define MAX_BITS         26u
#define NAMES_PER_BUCKET 2u /* aimed at when the table grows */

uint64_t ovl_name_hash(const char *name, size_t len)
{
	/* Fixed, because positions must survive a restart. Whoever finds names that collide slows
	 * down their own directory only. */
	static const uint64_t key[2] = {0x636f70706963652eull, 0x72656164646972ull};
	uint64_t hash = io_hash(name, len, key) >> (64 - HASH_BITS);

	return hash ? hash : 1;
}

void ovl_names_init(struct ovl_names *t)
{
	*t = (struct ovl_names){0};
}

void ovl_names_fini(struct ovl_names *t)
{
	struct ovl_child *next;

	for (size_t i = 0; t->bucket && i < (size_t)1 << t->bucket_bits; i++)
		for (struct ovl_child *c = t->bucket[i]; c; c = next) {
			next = c->next;
			free(c);
		}
	free(t->bucket);
	ovl_names_init(t);
}

static uint32_t names_count(const struct ovl_names *t)
{
	/* relaxed: under the directory's lock nobody changes it */
	return atomic_load_explicit(&t->count, memory_order_relaxed);
}

static size_t bucket_of(uint32_t bits, uint64_t hash)
{
	return (size_t)(hash >> (HASH_BITS - bits));
}

static int child_order(const struct ovl_child *c, uint64_t hash, const char *name, size_t len)
{
	int r;

	if (c->hash != hash)
		return c->hash < hash ? -1 : 1;
	r = memcmp(c->name, name, c->name_len < len ? c->name_len : len);
	if (r)
		return r;
	return c->name_len < len ? -1 : c->name_len > len;
}

/* Where `name` is linked in, or would be. */
static struct ovl_child **find_slot(
	const struct ovl_names *t, uint64_t hash, const char *name, size_t len)
{
	struct ovl_child **slot = &t->bucket[bucket_of(t->bucket_bits, hash)];

	while (*slot && child_order(*slot, hash, name, len) < 0)
		slot = &(*slot)->next;
	return slot;
}

struct ovl_child *ovl_names_find(const struct ovl_names *t, const char *name, size_t len)
{
	uint64_t hash;
	struct ovl_child *c;

	if (!names_count(t))
		return NULL;
	hash = ovl_name_hash(name, len);
	c = *find_slot(t, hash, name, len);
	return c && child_order(c, hash, name, len) == 0 ? c : NULL;
}

/* Move everything into a table of another size. Without memory the old one stays: it works, only
 * slower. */
static int resize(struct ovl_names *t, uint32_t bits)
{
	struct ovl_child **bucket = calloc((size_t)1 << bits, sizeof(*bucket));
	struct ovl_names old = {.bucket = t->bucket, .bucket_bits = t->bucket_bits};
	struct ovl_child **tail = NULL;
	size_t tail_at = 0;
	struct ovl_child *next;

	if (!bucket)
		return -ENOMEM;
	t->bucket = bucket;
	t->bucket_bits = bits;
	/* The old walk is in order, so appending keeps every new bucket sorted. */
	for (size_t i = 0; old.bucket && i < (size_t)1 << old.bucket_bits; i++)
		for (struct ovl_child *c = old.bucket[i]; c; c = next) {
			size_t at = bucket_of(bits, c->hash);

			next = c->next;
			if (!tail || at != tail_at)
				tail = &bucket[at];
			tail_at = at;
			*tail = c;
			c->next = NULL;
			tail = &c->next;
		}
	free(old.bucket);
	return 0;
}

static void count_type(struct ovl_names *t, uint8_t type, int by)
{
	if (type == DT_WHT)
		t->whiteouts += (uint32_t)by;
	else if (type == DT_DIR)
		t->subdirs += (uint32_t)by;
}

static void set_count(struct ovl_names *t, uint32_t count)
{
	/* release: a lookup without the lock that sees 0 also sees all that was done before; one
	 * that sees a name takes the lock */
	atomic_store_explicit(&t->count, count, memory_order_release);
}

static struct ovl_child *insert(
	struct ovl_names *t, struct ovl_child **slot, const struct ovl_child *key, const char *name)
{
	struct ovl_child *c = malloc(sizeof(*c) + key->name_len + 1u);

	if (!c)
		return NULL;
	*c = *key;
	memcpy(c->name, name, key->name_len);
	c->name[key->name_len] = 0;
	c->next = *slot;
	*slot = c;
	count_type(t, c->type, 1);
	set_count(t, names_count(t) + 1);
	return c;
}

struct ovl_child *ovl_names_put(struct ovl_names *t, const char *name, size_t len, uint8_t type)
{
	uint64_t hash = ovl_name_hash(name, len);
	struct ovl_child **slot, *c;

	if (!t->bucket && resize(t, MIN_BITS) != 0)
		return NULL;
	slot = find_slot(t, hash, name, len);
	c = *slot;
	if (c && child_order(c, hash, name, len) == 0) {
		count_type(t, c->type, -1);
		count_type(t, type, 1);
		c->type = type;
		return c;
	}
	if (names_count(t) >= NAMES_PER_BUCKET << t->bucket_bits && t->bucket_bits < MAX_BITS &&
		resize(t, t->bucket_bits + 1) == 0)
		slot = find_slot(t, hash, name, len);
	return insert(t, slot,
		&(struct ovl_child){.hash = hash, .type = type, .name_len = (uint16_t)len}, name);
}

void ovl_names_remove(struct ovl_names *t, const char *name, size_t len)
{
	uint64_t hash;
	struct ovl_child **slot, *c;

	if (!names_count(t))
		return;
	hash = ovl_name_hash(name, len);
	slot = find_slot(t, hash, name, len);
	c = *slot;
	if (!c || child_order(c, hash, name, len) != 0)
		return;
	*slot = c->next;
	count_type(t, c->type, -1);
	free(c);
	set_count(t, names_count(t) - 1);
	if (t->bucket_bits >= MIN_BITS + 2 && names_count(t) < 1u << (t->bucket_bits - 3))
		(void)resize(t, t->bucket_bits - 2); /* a table that stays too large is no fault */
}

static struct ovl_child *first_from(const struct ovl_names *t, size_t bucket)
{
	for (; bucket < (size_t)1 << t->bucket_bits; bucket++)
		if (t->bucket[bucket])
			return t->bucket[bucket];
	return NULL;
}

struct ovl_child *ovl_names_after(const struct ovl_names *t, uint64_t after)
{
	size_t bucket;

	if (!names_count(t) || after >= 1ull << HASH_BITS)
		return NULL;
	bucket = bucket_of(t->bucket_bits, after);
	for (struct ovl_child *c = t->bucket[bucket]; c; c = c->next)
		if (c->hash > after)
			return c;
	return first_from(t, bucket + 1);
}

struct ovl_child *ovl_names_next(const struct ovl_names *t, const struct ovl_child *c)
{
	return c->next ? c->next : first_from(t, bucket_of(t->bucket_bits, c->hash) + 1);
}
