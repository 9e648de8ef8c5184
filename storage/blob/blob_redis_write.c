// SPDX-License-Identifier: Apache-2.0
/*
 * Writing behind. The writer takes what has queued, packs it, sends it in one pipeline and forgets
 * it, whatever Redis says: what is lost is fetched again by someone. It also tends the leases.
 *
 *	round: take ──► pack ──► SET … PX, PEXPIRE … ──► large ones, piece by piece ──► leases
 *
 * When Redis refuses writes (out of memory without eviction, read-only), they are dropped for a
 * while without asking; reads go on. Threads: the writer; `l3_behind` is any thread's and never
 * waits.
 */
#include "base/clock.h"
#include "blob/blob_redis_codec.h"
#include "blob/blob_redis_internal.h"
#include "blob/blob_redis_key.h"

#include <errno.h>
#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <stdlib.h>

#define BATCH_ITEMS 64u
#define BATCH_BYTES (4u << 20)
#define ROUND_NS    (10 * NS_PER_S) /* the client's own deadlines are shorter */
#define TOUCH_PART  4
#define TEND_NS     (L3_LEASE_MS / 8 * NS_PER_MS) /* while a large one is written */

static uint32_t minutes_now(void)
{
	return (uint32_t)(clock_wall_ns(&clock_system) / (60 * NS_PER_S));
}

void l3_behind(struct blob_redis *r, struct l3_item *item)
{
	if (!l3_queue_push(&r->queue, item))
		counter_add(r->m.drop_full, 1);
}

void l3_touch_later(struct blob_redis *r, const struct oid *oid, enum l3_item_kind kind,
	uint32_t chunks, uint32_t written_min)
{
	uint64_t age_ns = (uint64_t)(uint32_t)(minutes_now() - written_min) * 60 * NS_PER_S;
	struct l3_item *item;

	if (age_ns < r->config.ttl_ns / TOUCH_PART)
		return;
	item = l3_item_new(L3_ITEM_TOUCH, oid, NULL, 0);
	if (!item)
		return; /* the next reader touches it */
	item->size = kind == L3_ITEM_TREE ? UINT64_MAX : chunks;
	l3_behind(r, item);
}

/* One command of a batch and what it points to. */
struct write {
	struct l3_key key;
	struct l3_arg argv[5];
	void *data; /* malloc'ed */
	size_t len;
};

struct batch {
	struct blob_redis *r;
	char ms[24];
	unsigned count, cap;
	struct write *writes;
	struct l3_call *calls;
};

static int batch_init(struct batch *b, struct blob_redis *r, unsigned cap)
{
	*b = (struct batch){.r = r, .cap = cap};
	(void)snprintf(b->ms, sizeof(b->ms), "%" PRIu64, r->config.ttl_ns / NS_PER_MS);
	b->writes = calloc(cap, sizeof(*b->writes));
	b->calls = calloc(cap, sizeof(*b->calls));
	return b->writes && b->calls ? 0 : -ENOMEM;
}

static void batch_fini(struct batch *b)
{
	for (unsigned i = 0; i < b->count; i++)
		free(b->writes[i].data);
	free(b->writes);
	free(b->calls);
}

static void add_call(struct batch *b, struct write *w, unsigned argc)
{
	b->calls[b->count++] = (struct l3_call){.argv = w->argv, .argc = argc, .slot = w->key.slot};
}

static int add_set(struct batch *b, const struct l3_key *key, const struct oid *oid,
	const struct l3_value *value, const void *plain, size_t len)
{
	struct write *w = &b->writes[b->count];
	int err;

	w->key = *key;
	err = l3_pack(b->r->packer, oid, value, plain, len, &w->data, &w->len);
	if (err < 0)
		return err;
	w->argv[0] = (struct l3_arg){"SET", 3};
	w->argv[1] = (struct l3_arg){w->key.text, w->key.len};
	w->argv[2] = (struct l3_arg){w->data, w->len};
	w->argv[3] = (struct l3_arg){"PX", 2};
	w->argv[4] = (struct l3_arg){b->ms, strlen(b->ms)};
	add_call(b, w, 5);
	return 0;
}

static void add_touch(struct batch *b, const struct l3_key *key)
{
	struct write *w = &b->writes[b->count];

	w->key = *key;
	w->data = NULL;
	w->argv[0] = (struct l3_arg){"PEXPIRE", 7};
	w->argv[1] = (struct l3_arg){w->key.text, w->key.len};
	w->argv[2] = (struct l3_arg){b->ms, strlen(b->ms)};
	add_call(b, w, 3);
}

/* What Redis says when it takes no writes at all, rather than not this one. */
static bool is_refusal(const redisReply *reply)
{
	static const char *const words[] = {"OOM", "READONLY", "MISCONF", "NOPERM", "NOREPLICAS"};

	for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strncmp(reply->str, words[i], strlen(words[i])) == 0)
			return true;
	return false;
}

static void count_result(struct batch *b, const struct l3_call *call, const struct write *w)
{
	struct blob_redis *r = b->r;

	if (call->result == 0 && call->reply->type != REDIS_REPLY_ERROR) {
		counter_add(r->m.written_bytes, w->data ? w->len : 0);
		(void)l3_breaker_succeeded(&r->refusals); /* edges of writes alone are not told */
		return;
	}
	if (call->result == 0) {
		counter_add(r->counters.errors, 1);
		if (is_refusal(call->reply))
			(void)l3_breaker_failed(&r->refusals);
		counter_add(r->m.drop_refused, 1);
	} else {
		if (call->result != -EHOSTUNREACH)
			counter_add(r->counters.errors, 1);
		counter_add(r->m.drop_failed, 1);
	}
}

/* True if all of it is stored. */
static bool batch_run(struct batch *b)
{
	uint64_t start_ns = clock_mono_ns(&clock_system);
	bool stored = true;

	if (!b->count)
		return true;
	l3_run(b->r->client, b->calls, b->count, 0, clock_after(&clock_system, ROUND_NS));
	histogram_observe(b->r->m.write, clock_mono_ns(&clock_system) - start_ns);
	for (unsigned i = 0; i < b->count; i++) {
		const struct l3_call *call = &b->calls[i];

		count_result(b, call, &b->writes[i]);
		stored = stored && call->result == 0 && call->reply->type != REDIS_REPLY_ERROR;
	}
	l3_calls_fini(b->calls, b->count);
	return stored;
}

/* ---- large blobs ---- */

static int write_chunk(
	struct blob_redis *r, const struct l3_item *item, uint32_t index, uint8_t *plain)
{
	const struct l3_value value = {
		.kind = L3_CHUNK, .index = index, .written_min = minutes_now()};
	uint64_t offset = (uint64_t)index * L3_CHUNK_BYTES;
	size_t len = item->size - offset < L3_CHUNK_BYTES ? (size_t)(item->size - offset)
							  : L3_CHUNK_BYTES;
	struct l3_key key = l3_key_chunk(&item->oid, index);
	struct batch b;
	int err;

	if (blob_read(item->bs, &item->oid, plain, len, offset) != (ssize_t)len)
		return -EAGAIN; /* evicted again */
	err = batch_init(&b, r, 1);
	if (err == 0)
		err = add_set(&b, &key, &item->oid, &value, plain, len);
	if (err == 0 && !batch_run(&b))
		err = -EIO;
	batch_fini(&b);
	return err;
}

/* The manifest last: whoever sees it finds the chunks. */
static int write_manifest(struct blob_redis *r, const struct l3_item *item)
{
	const struct l3_value value = {.kind = L3_MANIFEST, .written_min = minutes_now()};
	struct l3_key key = l3_key_value(&item->oid);
	uint8_t plain[L3_MANIFEST_BYTES];
	struct batch b;
	int err = batch_init(&b, r, 1);

	l3_manifest_make(item->size, plain);
	if (err == 0)
		err = add_set(&b, &key, &item->oid, &value, plain, sizeof(plain));
	if (err == 0 && !batch_run(&b))
		err = -EIO;
	batch_fini(&b);
	return err;
}

static bool stopping(struct blob_redis *r)
{
	LOCK_GUARD(&r->queue.mu);
	return r->queue.stopping;
}

/* One that fits into a value (64 to 512 KiB) goes into one. */
static int write_single(struct blob_redis *r, const struct l3_item *item, uint8_t *plain)
{
	const struct l3_value value = {.kind = L3_BLOB, .written_min = minutes_now()};
	struct l3_key key = l3_key_value(&item->oid);
	struct batch b;
	int err;

	if (blob_read(item->bs, &item->oid, plain, item->size, 0) != (ssize_t)item->size)
		return -EAGAIN;
	err = batch_init(&b, r, 1);
	if (err == 0)
		err = add_set(&b, &key, &item->oid, &value, plain, item->size);
	if (err == 0 && !batch_run(&b))
		err = -EIO;
	batch_fini(&b);
	return err;
}

/* Its own lease, too, lasts until all of it is there. */
static void tend_meanwhile(struct blob_redis *r, uint64_t *next_ns)
{
	uint64_t due_ns;

	if (clock_mono_ns(&clock_system) < *next_ns)
		return;
	l3_leases_tend(&r->leases, &due_ns);
	*next_ns = clock_after(&clock_system, TEND_NS);
}

static void write_large(struct blob_redis *r, const struct l3_item *item)
{
	uint64_t chunks = (item->size + L3_CHUNK_BYTES - 1) / L3_CHUNK_BYTES;
	uint8_t *plain = malloc(L3_CHUNK_BYTES);
	uint64_t tend_ns = 0;
	int err = 0;

	if (!plain || chunks > L3_CHUNKS_MAX)
		err = -ENOMEM;
	else if (chunks == 1)
		err = write_single(r, item, plain);
	for (uint32_t i = 0; err == 0 && chunks > 1 && i < chunks; i++) {
		err = stopping(r) ? -ECANCELED : write_chunk(r, item, i, plain);
		tend_meanwhile(r, &tend_ns);
	}
	if (err == 0 && chunks > 1)
		err = write_manifest(r, item);
	free(plain);
}

/* ---- the round ---- */

static void add_item(struct batch *b, const struct l3_item *item)
{
	struct l3_value value = {.written_min = minutes_now()};
	struct l3_key key = l3_key_value(&item->oid);
	int err = 0;

	if (item->kind == L3_ITEM_TOUCH) {
		if (item->size == UINT64_MAX)
			key = l3_key_tree(&item->oid);
		add_touch(b, &key);
		for (uint32_t i = 0;
			item->size != UINT64_MAX && i < item->size && b->count < b->cap; i++) {
			key = l3_key_chunk(&item->oid, i);
			add_touch(b, &key);
		}
		return;
	}
	value.kind = item->kind == L3_ITEM_TREE ? L3_TREE : L3_BLOB;
	if (item->kind == L3_ITEM_TREE)
		key = l3_key_tree(&item->oid);
	err = add_set(b, &key, &item->oid, &value, item->data, item->len);
	if (err < 0)
		counter_add(b->r->m.drop_failed, 1);
}

static unsigned calls_of(const struct l3_item *item)
{
	if (item->kind == L3_ITEM_LARGE)
		return 0;
	if (item->kind != L3_ITEM_TOUCH || item->size == UINT64_MAX)
		return 1;
	return 1 + (item->size < L3_CHUNKS_MAX ? (unsigned)item->size : L3_CHUNKS_MAX);
}

static void write_items(struct blob_redis *r, struct list *items)
{
	struct batch b;
	unsigned cap = 0;

	list_for_each (it, items)
		cap += calls_of(list_entry(it, struct l3_item, node));
	if (cap && batch_init(&b, r, cap) == 0) {
		list_for_each (it, items) {
			const struct l3_item *item = list_entry(it, struct l3_item, node);

			if (item->kind != L3_ITEM_LARGE)
				add_item(&b, item);
		}
		(void)batch_run(&b); /* what is not stored is counted and forgotten */
	}
	if (cap)
		batch_fini(&b);
	list_for_each (it, items) {
		const struct l3_item *item = list_entry(it, struct l3_item, node);

		if (item->kind == L3_ITEM_LARGE)
			write_large(r, item);
	}
}

static void drop_items(struct blob_redis *r, struct list *items)
{
	list_for_each_safe (it, items) {
		list_remove(it);
		free(list_entry(it, struct l3_item, node));
		counter_add(r->m.drop_refused, 1);
	}
}

static void *write_behind(void *arg)
{
	struct blob_redis *r = arg;
	uint64_t due_ns = NS_NEVER;
	struct list items;

	list_init(&items);
	while (l3_queue_take(&r->queue, &items, BATCH_ITEMS, BATCH_BYTES, due_ns)) {
		if (!list_empty(&items) && !l3_breaker_allow(&r->refusals))
			drop_items(r, &items);
		write_items(r, &items);
		list_for_each_safe (it, &items) {
			list_remove(it);
			free(list_entry(it, struct l3_item, node));
		}
		l3_queue_wrote(&r->queue);
		l3_leases_tend(&r->leases, &due_ns);
	}
	drop_items(r, &items);
	return NULL;
}

int l3_writer_start(struct blob_redis *r)
{
	int err = pthread_create(&r->writer, NULL, write_behind, r);

	if (err)
		return -err;
	r->writer_started = true;
	(void)pthread_setname_np(r->writer, "redis-writer"); /* for whoever looks at threads */
	return 0;
}

void l3_writer_stop(struct blob_redis *r)
{
	l3_queue_stop(&r->queue);
	if (r->writer_started)
		(void)pthread_join(r->writer, NULL);
	r->writer_started = false;
}
