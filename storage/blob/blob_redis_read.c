// SPDX-License-Identifier: Apache-2.0
/*
 * Reading from Redis: one blob, many, or a large one in pieces. A value that is not what its key
 * says is removed, so that the next who misses it stores it anew. What is used is touched by the
 * writer, when it was written (or touched) longer ago than a quarter of its life.
 *
 * Threads: fetch threads.
 */
#include "base/cancel.h"
#include "base/clock.h"
#include "blob/blob_redis_codec.h"
#include "blob/blob_redis_internal.h"
#include "blob/blob_redis_key.h"

#include <errno.h>
#include <hiredis/hiredis.h>
#include <stdlib.h>

#define CHUNKS_AT_ONCE 4u
#define KEYS_OF_MGET   16u
#define MGETS_AT_ONCE  2u
#define KEYS_AT_ONCE   (KEYS_OF_MGET * MGETS_AT_ONCE)

/* A reply as bytes of a value. False: there is none. */
static bool value_of(struct blob_redis *r, const redisReply *reply)
{
	if (reply->type == REDIS_REPLY_STRING) {
		counter_add(r->m.read_bytes, reply->len);
		return true;
	}
	if (reply->type != REDIS_REPLY_NIL)
		counter_add(r->counters.errors, 1);
	return false;
}

static void reject(struct blob_redis *r, const struct l3_key *key)
{
	const struct l3_arg del[] = {{"DEL", 3}, {key->text, key->len}};
	struct l3_call call = {.argv = del, .argc = 2, .slot = key->slot};

	counter_add(r->m.rejected, 1);
	l3_run(r->client, &call, 1, 0, clock_after(&clock_system, NS_PER_S));
	l3_calls_fini(&call, 1); /* if it stays, it is rejected again */
}

/* One key asked, without looking into the answer. -EAGAIN: there is no value. */
static int ask(struct blob_redis *r, const struct l3_key *key, uint64_t deadline_ns,
	redisReply **ret_reply)
{
	const struct l3_arg get[] = {{"GET", 3}, {key->text, key->len}};
	struct l3_call call = {.argv = get, .argc = 2, .slot = key->slot};
	uint64_t start_ns = clock_mono_ns(&clock_system);
	bool wrong_type;

	l3_run(r->client, &call, 1, L3_VALUE_MAX, deadline_ns);
	if (call.result < 0) {
		if (call.result == -EHOSTUNREACH)
			counter_add(r->m.skipped, 1);
		else
			counter_add(r->counters.errors, 1);
		return -EAGAIN;
	}
	histogram_observe(r->m.read, clock_mono_ns(&clock_system) - start_ns);
	if (value_of(r, call.reply)) {
		*ret_reply = call.reply;
		return 0;
	}
	wrong_type = call.reply->type == REDIS_REPLY_ERROR &&
		     strncmp(call.reply->str, "WRONGTYPE", 9) == 0;
	freeReplyObject(call.reply);
	if (wrong_type)
		reject(r, key);
	return -EAGAIN;
}

static int unpack(struct blob_redis *r, const struct l3_value *value, void **ret_plain)
{
	void *plain = malloc(value->plain_len ? value->plain_len : 1);
	int err = plain ? l3_value_unpack(&r->unpackers, value, plain) : -ENOMEM;

	if (err < 0) {
		free(plain);
		return err;
	}
	*ret_plain = plain;
	return 0;
}

struct chunk_run {
	struct blob_redis *r;
	const struct oid *oid;
	const struct l3_manifest *manifest;
	struct blob_sink *sink;
	uint8_t *plain; /* of one chunk */
};

static int take_chunk(struct chunk_run *run, const redisReply *reply, uint32_t index)
{
	struct l3_value value;
	int err;

	if (!value_of(run->r, reply))
		return -EAGAIN;
	err = l3_value_open(reply->str, reply->len, run->oid, &value);
	if (err < 0 || value.kind != L3_CHUNK || value.index != index ||
		value.plain_len != l3_chunk_len(run->manifest, index) ||
		l3_value_unpack(&run->r->unpackers, &value, run->plain) < 0) {
		counter_add(run->r->m.rejected, 1);
		return -EBADMSG;
	}
	return run->sink->write(run->sink, run->plain, value.plain_len);
}

/* Chunks [first, first + count): all of one slot, so one MGET. */
static int load_chunks(struct chunk_run *run, uint32_t first, unsigned count, uint64_t deadline_ns)
{
	struct l3_key keys[CHUNKS_AT_ONCE];
	struct l3_arg argv[CHUNKS_AT_ONCE + 1] = {{"MGET", 4}};
	struct l3_call call = {.argv = argv, .argc = count + 1};
	uint64_t start_ns = clock_mono_ns(&clock_system);
	int err;

	for (unsigned i = 0; i < count; i++) {
		keys[i] = l3_key_chunk(run->oid, first + i);
		argv[i + 1] = (struct l3_arg){keys[i].text, keys[i].len};
	}
	call.slot = keys[0].slot;
	l3_run(run->r->client, &call, 1, count * (size_t)L3_VALUE_MAX, deadline_ns);
	err = call.result;
	if (err == 0 && (call.reply->type != REDIS_REPLY_ARRAY || call.reply->elements != count))
		err = -EIO;
	if (err < 0)
		counter_add(run->r->counters.errors, 1);
	else
		histogram_observe(run->r->m.read, clock_mono_ns(&clock_system) - start_ns);
	for (unsigned i = 0; err == 0 && i < count; i++)
		err = take_chunk(run, call.reply->element[i], first + i);
	l3_calls_fini(&call, 1);
	return err;
}

static int load_large(struct blob_redis *r, const struct oid *oid, const struct l3_value *value,
	struct blob_sink *sink, const struct cancel *cancel, uint64_t deadline_ns)
{
	uint8_t plain[L3_MANIFEST_BYTES];
	struct l3_manifest m;
	struct chunk_run run = {r, oid, &m, sink, NULL};
	int err = value->plain_len == sizeof(plain) ? l3_value_unpack(&r->unpackers, value, plain)
						    : -EBADMSG;

	if (err == 0)
		err = l3_manifest_open(plain, sizeof(plain), &m);
	if (err == 0 && m.size > r->config.blob_max_bytes)
		err = -EBADMSG; /* nobody with our configuration wrote it */
	if (err < 0)
		return err;
	run.plain = malloc(m.chunk_bytes);
	err = run.plain ? sink->begin(sink, m.size) : -ENOMEM;
	for (uint32_t i = 0; err == 0 && i < m.chunk_count; i += CHUNKS_AT_ONCE) {
		unsigned n =
			m.chunk_count - i < CHUNKS_AT_ONCE ? m.chunk_count - i : CHUNKS_AT_ONCE;

		err = cancel_check(cancel, deadline_ns);
		if (err == 0)
			err = load_chunks(&run, i, n, deadline_ns);
	}
	free(run.plain);
	if (err == 0)
		l3_touch_later(r, oid, L3_ITEM_BLOB, m.chunk_count, value->written_min);
	return err;
}

static int load_small(struct blob_redis *r, const struct l3_value *value, struct blob_sink *sink)
{
	void *plain = NULL;
	int err = unpack(r, value, &plain);

	if (err == 0)
		err = sink->begin(sink, value->plain_len);
	if (err == 0)
		err = sink->write(sink, plain, value->plain_len);
	free(plain);
	return err;
}

int l3_load(void *impl, const struct oid *oid, struct blob_sink *sink, const struct cancel *cancel,
	uint64_t deadline_ns)
{
	struct blob_redis *r = impl;
	struct l3_key key = l3_key_value(oid);
	struct l3_value value;
	redisReply *reply;
	int err;

	if (l3_missed_take(&r->missed, oid, clock_mono_ns(&clock_system)))
		return -EAGAIN; /* counted then */
	err = ask(r, &key, deadline_ns, &reply);
	if (err < 0) {
		counter_add(r->counters.misses, 1);
		return err;
	}
	err = l3_value_open(reply->str, reply->len, oid, &value);
	if (err == 0 && value.kind == L3_MANIFEST)
		err = load_large(r, oid, &value, sink, cancel, deadline_ns);
	else if (err == 0 && value.kind == L3_BLOB)
		err = load_small(r, &value, sink);
	else
		err = -EBADMSG;
	if (err == 0 && value.kind == L3_BLOB)
		l3_touch_later(r, oid, L3_ITEM_BLOB, 0, value.written_min);
	freeReplyObject(reply);
	if (err == -EBADMSG)
		reject(r, &key);
	counter_add(err == 0 ? r->counters.hits : r->counters.misses, 1);
	return err;
}

int l3_get(struct blob_redis *r, const struct oid *oid, enum l3_item_kind kind,
	uint64_t deadline_ns, void **ret_plain, size_t *ret_len)
{
	struct l3_key key = kind == L3_ITEM_TREE ? l3_key_tree(oid) : l3_key_value(oid);
	struct l3_value value;
	redisReply *reply;
	int err = ask(r, &key, deadline_ns, &reply);

	if (err < 0)
		return err;
	err = l3_value_open(reply->str, reply->len, oid, &value);
	if (err == 0)
		err = value.kind == (kind == L3_ITEM_TREE ? L3_TREE : L3_BLOB)
			      ? unpack(r, &value, ret_plain)
			      : -EBADMSG;
	if (err == 0) {
		*ret_len = value.plain_len;
		l3_touch_later(r, oid, kind, 0, value.written_min);
	}
	freeReplyObject(reply);
	if (err == -EBADMSG)
		reject(r, &key);
	return err < 0 ? -EAGAIN : 0;
}

/* ---- many at once ---- */

struct many {
	struct blob_redis *r;
	const struct oid *oids;
	blob_loaded fn;
	void *arg;
};

static void take_one(struct many *m, unsigned idx, const redisReply *reply)
{
	struct blob_redis *r = m->r;
	const struct oid *oid = &m->oids[idx];
	struct l3_key key;
	struct l3_value value;
	void *plain = NULL;
	int err;

	if (!value_of(r, reply)) {
		counter_add(r->counters.misses, 1);
		if (reply->type == REDIS_REPLY_NIL)
			l3_missed_add(&r->missed, oid, clock_mono_ns(&clock_system));
		return;
	}
	err = l3_value_open(reply->str, reply->len, oid, &value);
	if (err == 0 && value.kind == L3_MANIFEST) {
		m->fn(m->arg, idx, NULL, 0);
		return;
	}
	if (err == 0)
		err = value.kind == L3_BLOB ? unpack(r, &value, &plain) : -EBADMSG;
	if (err == -EBADMSG) {
		key = l3_key_value(oid);
		reject(r, &key);
	}
	counter_add(err == 0 ? r->counters.hits : r->counters.misses, 1);
	if (err == 0) {
		l3_touch_later(r, oid, L3_ITEM_BLOB, 0, value.written_min);
		m->fn(m->arg, idx, plain, value.plain_len);
	}
	free(plain);
}

static bool take_answer(struct many *m, unsigned first, unsigned per_call, struct l3_call *call)
{
	if (call->result < 0) {
		counter_add(
			call->result == -EHOSTUNREACH ? m->r->m.skipped : m->r->counters.errors, 1);
		return false;
	}
	if (per_call == 1) {
		take_one(m, first, call->reply);
		return true;
	}
	if (call->reply->type != REDIS_REPLY_ARRAY || call->reply->elements != call->argc - 1) {
		counter_add(m->r->counters.errors, 1);
		return false;
	}
	for (unsigned i = 0; i < call->argc - 1; i++)
		take_one(m, first + i, call->reply->element[i]);
	return true;
}

/* A few MGETs in one pipeline; a cluster refuses keys of several slots in one command, so there it
 * is a pipeline of GETs to each node. */
static bool load_some(
	struct many *m, unsigned first, unsigned count, unsigned per_call, uint64_t deadline_ns)
{
	struct l3_key keys[KEYS_AT_ONCE];
	struct l3_arg argv[KEYS_AT_ONCE][KEYS_OF_MGET + 1];
	struct l3_call calls[KEYS_AT_ONCE] = {0};
	uint64_t start_ns = clock_mono_ns(&clock_system);
	unsigned n = 0;
	bool good = true;

	for (unsigned i = 0; i < count; i++) {
		struct l3_call *call = &calls[i / per_call];

		keys[i] = l3_key_value(&m->oids[first + i]);
		if (i % per_call == 0) {
			argv[n][0] = per_call == 1 ? (struct l3_arg){"GET", 3}
						   : (struct l3_arg){"MGET", 4};
			*call = (struct l3_call){.argv = argv[n], .argc = 1, .slot = keys[i].slot};
			n++;
		}
		argv[n - 1][call->argc++] = (struct l3_arg){keys[i].text, keys[i].len};
	}
	l3_run(m->r->client, calls, n, (size_t)count * L3_VALUE_MAX, deadline_ns);
	histogram_observe(m->r->m.read, clock_mono_ns(&clock_system) - start_ns);
	for (unsigned i = 0; i < n; i++)
		good = take_answer(m, first + i * per_call, per_call, &calls[i]) && good;
	l3_calls_fini(calls, n);
	return good;
}

void l3_load_many(void *impl, const struct oid *oids, unsigned count, blob_loaded fn, void *arg,
	const struct cancel *cancel, uint64_t deadline_ns)
{
	struct many m = {impl, oids, fn, arg};
	unsigned per_call = l3_client_is_cluster(m.r->client) ? 1 : KEYS_OF_MGET;

	for (unsigned i = 0; i < count; i += KEYS_AT_ONCE) {
		unsigned n = count - i < KEYS_AT_ONCE ? count - i : KEYS_AT_ONCE;

		if (cancel_check(cancel, deadline_ns) < 0 ||
			!load_some(&m, i, n, per_call, deadline_ns))
			return; /* one failure is enough of a wait */
	}
}

void l3_drop(void *impl, const struct oid *oid)
{
	struct l3_key key = l3_key_value(oid);

	reject(impl, &key);
}

void blob_redis_reject_tree(struct blob_redis *r, const struct oid *tree)
{
	struct l3_key key = l3_key_tree(tree);

	reject(r, &key);
}
