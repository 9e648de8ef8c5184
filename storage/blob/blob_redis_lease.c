// SPDX-License-Identifier: Apache-2.0
/*
 * See blob_redis_lease.h.
 *
 * Threads: fetch threads claim, and wait for others by looking every few milliseconds; the writer
 * renews and removes. `mu` is held over no call.
 */
#include "blob/blob_redis_lease.h"

#include "base/cancel.h"
#include "base/clock.h"
#include "base/io.h"
#include "blob/blob_redis_key.h"

#include <errno.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RENEW_NS       (L3_LEASE_MS / 4 * NS_PER_MS) /* a writer that is late by a half is in time */
#define LOOK_FIRST_NS  (2 * NS_PER_MS)
#define LOOK_MAX_NS    (25 * NS_PER_MS)
#define WAIT_MAX_NS    (10 * NS_PER_S) /* for a holder that lives and renews */
#define CALL_NS        NS_PER_S        /* the client's own deadlines are shorter */
#define REPLY_BYTES    1024u
#define TENDED_AT_ONCE 256u
#define LOOKED_AT_ONCE 64u

static const char script_delete[] =
	"if redis.call('get',KEYS[1])==ARGV[1] then return redis.call('del',KEYS[1]) end return 0";
static const char script_renew[] = "if redis.call('get',KEYS[1])==ARGV[1] then "
				   "return redis.call('pexpire',KEYS[1],ARGV[2]) end return 0";

void l3_leases_init(struct l3_leases *l, struct l3_client *client, struct l3_queue *queue)
{
	*l = (struct l3_leases){.client = client, .queue = queue, .scripts = true};
	lock_init(&l->mu, LOCK_RANK_BLOB_TIER);
	list_init(&l->held);
	list_init(&l->done);
	for (unsigned i = 0; i < L3_LEASE_BUCKETS; i++)
		list_init(&l->named[i]);
}

/* Ids are hashes: their bytes need no other. */
static struct list *bucket_of(struct l3_leases *l, const struct oid *oid)
{
	uint32_t name;

	memcpy(&name, oid->bytes, sizeof(name));
	return &l->named[name % L3_LEASE_BUCKETS];
}

static void claim_free(struct l3_claim *claim)
{
	list_remove(&claim->node);
	list_remove(&claim->named);
	list_remove(&claim->done);
	free(claim);
}

void l3_leases_fini(struct l3_leases *l)
{
	list_for_each_safe (it, &l->done)
		claim_free(list_entry(it, struct l3_claim, done));
	list_for_each_safe (it, &l->held)
		claim_free(list_entry(it, struct l3_claim, node));
	lock_fini(&l->mu);
}

static struct l3_claim *claim_new(struct l3_leases *l, const struct oid *oid)
{
	struct l3_claim *claim = calloc(1, sizeof(*claim));
	uint8_t random[16];

	if (!claim || io_random(random, sizeof(random)) < 0) {
		free(claim);
		return NULL;
	}
	for (unsigned i = 0; i < sizeof(random); i++)
		(void)snprintf(claim->token + 2 * i, 3, "%02x", random[i]);
	list_init(&claim->node);
	list_init(&claim->named);
	list_init(&claim->done);
	claim->oid = *oid;
	LOCK_GUARD(&l->mu);
	if (l->count >= L3_CLAIMS_MAX) {
		free(claim);
		return NULL;
	}
	l->count++;
	return claim;
}

static void claim_drop(struct l3_leases *l, struct l3_claim *claim)
{
	if (!claim)
		return;
	lock_acquire(&l->mu);
	l->count--;
	lock_release(&l->mu);
	free(claim);
}

enum look { LOOK_OURS, LOOK_STORED, LOOK_HELD, LOOK_FAILED };

/* The two commands of a look, and what they point to. */
struct look_at {
	struct l3_key lease, value;
	struct l3_arg set[6], exists[2];
};

/* Take the lease if it is free, and look whether the value came meanwhile: in this order, so that a
 * holder who stores and then releases cannot slip between. */
static void look_ask(
	const struct l3_claim *claim, const char *ms, struct look_at *at, struct l3_call calls[2])
{
	*at = (struct look_at){
		.lease = l3_key_lease(&claim->oid), .value = l3_key_value(&claim->oid)};
	at->set[0] = (struct l3_arg){"SET", 3};
	at->set[1] = (struct l3_arg){at->lease.text, at->lease.len};
	at->set[2] = (struct l3_arg){claim->token, strlen(claim->token)};
	at->set[3] = (struct l3_arg){"NX", 2};
	at->set[4] = (struct l3_arg){"PX", 2};
	at->set[5] = (struct l3_arg){ms, strlen(ms)};
	at->exists[0] = (struct l3_arg){"EXISTS", 6};
	at->exists[1] = (struct l3_arg){at->value.text, at->value.len};
	calls[0] = (struct l3_call){.argv = at->set, .argc = 6, .slot = at->lease.slot};
	calls[1] = (struct l3_call){.argv = at->exists, .argc = 2, .slot = at->value.slot};
}

/* *ret_ours: the lease is ours, whatever else was seen. */
static enum look look_answer(const struct l3_call calls[2], bool *ret_ours)
{
	*ret_ours = calls[0].result == 0 && calls[0].reply->type == REDIS_REPLY_STATUS;
	if (calls[0].result < 0 || calls[1].result < 0 ||
		calls[1].reply->type != REDIS_REPLY_INTEGER)
		return LOOK_FAILED;
	if (calls[1].reply->integer)
		return LOOK_STORED; /* if the lease is ours too, it is let go */
	if (*ret_ours)
		return LOOK_OURS;
	return calls[0].reply->type == REDIS_REPLY_NIL ? LOOK_HELD : LOOK_FAILED;
}

static void look_many(struct l3_leases *l, struct l3_claim *const *claims, unsigned count,
	enum look *ret_seen, bool *ret_ours)
{
	struct look_at at[LOOKED_AT_ONCE];
	struct l3_call calls[2 * LOOKED_AT_ONCE];
	char ms[16];

	(void)snprintf(ms, sizeof(ms), "%u", L3_LEASE_MS);
	for (unsigned i = 0; i < count; i++)
		look_ask(claims[i], ms, &at[i], &calls[2 * i]);
	l3_run(l->client, calls, 2 * count, count * (size_t)REPLY_BYTES,
		clock_after(&clock_system, CALL_NS));
	for (unsigned i = 0; i < count; i++)
		ret_seen[i] = look_answer(&calls[2 * i], &ret_ours[i]);
	l3_calls_fini(calls, 2 * count);
}

static enum look look(struct l3_leases *l, struct l3_claim *claim, bool *ret_ours)
{
	enum look seen;

	look_many(l, &claim, 1, &seen, ret_ours);
	return seen;
}

/* The writer renews it: with the first one it has something to look after. */
static void hold(struct l3_leases *l, struct l3_claim *claim)
{
	bool first;

	lock_acquire(&l->mu);
	first = list_empty(&l->held);
	claim->renewed_ns = clock_mono_ns(&clock_system);
	list_push_back(&l->held, &claim->node);
	list_push_back(bucket_of(l, &claim->oid), &claim->named);
	lock_release(&l->mu);
	if (first)
		l3_queue_kick(l->queue);
}

/* Does another thread of ours hold it already? Then it has said that the source is to be asked. */
static bool held_here(struct l3_leases *l, const struct oid *oid)
{
	LOCK_GUARD(&l->mu);
	list_for_each (it, bucket_of(l, oid))
		if (oid_equal(&list_entry(it, struct l3_claim, named)->oid, oid))
			return true;
	return false;
}

int l3_lease_claim(struct l3_leases *l, const struct oid *oid, const struct cancel *cancel,
	uint64_t deadline_ns, struct l3_claim **ret_claim, bool *ret_waited)
{
	/* the token guards itself; const says only that it is not fired here */
	struct cancel *token = (struct cancel *)cancel;
	uint64_t give_up_ns = clock_after(&clock_system, WAIT_MAX_NS), pause_ns = LOOK_FIRST_NS;
	struct l3_claim *claim = held_here(l, oid) ? NULL : claim_new(l, oid);
	enum look seen = LOOK_FAILED;
	bool ours = false;
	int r = 0;

	*ret_claim = NULL;
	*ret_waited = false;
	while (claim && r == 0) {
		uint64_t now_ns = clock_mono_ns(&clock_system);
		uint64_t next_ns = now_ns + pause_ns;

		seen = look(l, claim, &ours);
		if (seen != LOOK_HELD || now_ns >= give_up_ns)
			break;
		/* by us, since: whoever holds it may be waiting for this very fetch */
		if (held_here(l, oid))
			break;
		*ret_waited = true;
		pause_ns = pause_ns * 3 / 2 < LOOK_MAX_NS ? pause_ns * 3 / 2 : LOOK_MAX_NS;
		r = cancel_sleep_until(token, next_ns < deadline_ns ? next_ns : deadline_ns);
		if (r == -ETIMEDOUT)
			r = cancel_check(cancel, deadline_ns);
	}
	if (r == 0 && seen == LOOK_OURS) {
		hold(l, claim);
		*ret_claim = claim;
		return 0;
	}
	if (ours)
		l3_lease_release(l, claim);
	else
		claim_drop(l, claim);
	return r < 0 ? r : seen == LOOK_STORED ? 1 : 0;
}

/* What was seen of one of many. False: another node fetches it, or has stored it. */
static bool settle(struct l3_leases *l, struct l3_claim *claim, enum look seen, bool ours,
	struct l3_claim **ret_claim)
{
	if (!ours) {
		claim_drop(l, claim);
		return seen == LOOK_FAILED;
	}
	/* one that is let go again is never among those held: who found it there would ask the
	 * source for what is stored */
	if (seen == LOOK_STORED) {
		l3_lease_release(l, claim);
		return false;
	}
	hold(l, claim);
	*ret_claim = claim;
	return true;
}

void l3_lease_claim_many(struct l3_leases *l, const struct oid *oids, unsigned count,
	struct l3_claim **ret_claims, bool *ret_ours)
{
	struct l3_claim *claims[LOOKED_AT_ONCE];
	enum look seen[LOOKED_AT_ONCE];
	bool ours[LOOKED_AT_ONCE];
	unsigned index[LOOKED_AT_ONCE];

	for (unsigned i = 0; i < count;) {
		unsigned n = 0;

		for (; i < count && n < LOOKED_AT_ONCE; i++) {
			ret_claims[i] = NULL;
			ret_ours[i] = true;
			claims[n] = held_here(l, &oids[i]) ? NULL : claim_new(l, &oids[i]);
			index[n] = i;
			n += claims[n] ? 1 : 0;
		}
		if (n)
			look_many(l, claims, n, seen, ours);
		for (unsigned k = 0; k < n; k++)
			ret_ours[index[k]] =
				settle(l, claims[k], seen[k], ours[k], &ret_claims[index[k]]);
	}
}

void l3_lease_release(struct l3_leases *l, struct l3_claim *claim)
{
	uint64_t mark = l3_queue_mark(l->queue);

	lock_acquire(&l->mu);
	claim->after = mark;
	list_remove(&claim->named);
	list_push_back(&l->done, &claim->done);
	lock_release(&l->mu);
	l3_queue_kick(l->queue);
}

/* ---- the writer's part ---- */

/* What was due to be renewed when the round began stays listed: its owner may release it at any
 * time, so its name is copied out. */
static unsigned copy_due(
	struct l3_leases *l, uint64_t begun_ns, struct l3_claim *ret_due, uint64_t *ret_next_ns)
{
	uint64_t now_ns = clock_mono_ns(&clock_system);
	unsigned n = 0;

	LOCK_GUARD(&l->mu);
	*ret_next_ns = list_empty(&l->held) ? NS_NEVER : now_ns + RENEW_NS / 2;
	while (n < TENDED_AT_ONCE && !list_empty(&l->held)) {
		struct l3_claim *claim = list_entry(list_first(&l->held), struct l3_claim, node);

		if (claim->renewed_ns + RENEW_NS > begun_ns)
			break;
		claim->renewed_ns = now_ns;
		list_remove(&claim->node);
		list_push_back(&l->held, &claim->node);
		ret_due[n++] = *claim;
	}
	return n;
}

/* WATCH, GET, MULTI, DEL, EXEC: the same as the script, in more steps. */
static void delete_by_hand(struct l3_leases *l, const struct l3_claim *claim)
{
	struct l3_key key = l3_key_lease(&claim->oid);
	const struct l3_arg watch[] = {{"WATCH", 5}, {key.text, key.len}};
	const struct l3_arg get[] = {{"GET", 3}, {key.text, key.len}};
	const struct l3_arg del[] = {{"DEL", 3}, {key.text, key.len}};
	static const struct l3_arg multi[] = {{"MULTI", 5}}, exec[] = {{"EXEC", 4}};
	const struct {
		const struct l3_arg *argv;
		unsigned argc;
	} steps[] = {{watch, 2}, {get, 2}, {multi, 1}, {del, 2}, {exec, 1}};
	struct l3_talk *talk;
	bool ours = true;
	redisReply *reply;

	if (l3_talk_begin(&talk, l->client, key.slot, clock_after(&clock_system, CALL_NS)) < 0)
		return; /* it expires */
	for (unsigned i = 0; ours && i < sizeof(steps) / sizeof(steps[0]); i++) {
		if (l3_talk_say(talk, steps[i].argv, steps[i].argc, &reply) < 0)
			break;
		if (reply->type == REDIS_REPLY_ERROR)
			ours = false;
		if (steps[i].argv == get)
			ours = reply->type == REDIS_REPLY_STRING &&
			       strcmp(reply->str, claim->token) == 0;
		freeReplyObject(reply);
	}
	l3_talk_end(talk); /* the connection goes too, and with it WATCH and MULTI */
}

static bool scripts_work(struct l3_leases *l)
{
	LOCK_GUARD(&l->mu);
	return l->scripts;
}

/* An answer that says that there are no scripts here. */
static void note_scripts(struct l3_leases *l, const struct l3_call *call)
{
	if (call->result != 0 || call->reply->type != REDIS_REPLY_ERROR)
		return;
	LOCK_GUARD(&l->mu);
	l->scripts = false;
}

static void run_script(
	struct l3_leases *l, const char *script, const struct l3_claim *claims, unsigned count)
{
	struct l3_key keys[TENDED_AT_ONCE];
	struct l3_arg argv[TENDED_AT_ONCE][6];
	struct l3_call calls[TENDED_AT_ONCE];
	char ms[16];
	int ms_len = snprintf(ms, sizeof(ms), "%u", L3_LEASE_MS);

	for (unsigned i = 0; i < count; i++) {
		keys[i] = l3_key_lease(&claims[i].oid);
		argv[i][0] = (struct l3_arg){"EVAL", 4};
		argv[i][1] = (struct l3_arg){script, strlen(script)};
		argv[i][2] = (struct l3_arg){"1", 1};
		argv[i][3] = (struct l3_arg){keys[i].text, keys[i].len};
		argv[i][4] = (struct l3_arg){claims[i].token, strlen(claims[i].token)};
		argv[i][5] = (struct l3_arg){ms, (size_t)ms_len};
		calls[i] = (struct l3_call){.argv = argv[i], .argc = 6, .slot = keys[i].slot};
	}
	l3_run(l->client, calls, count, count * (size_t)REPLY_BYTES,
		clock_after(&clock_system, CALL_NS));
	for (unsigned i = 0; i < count; i++)
		note_scripts(l, &calls[i]);
	l3_calls_fini(calls, count);
}

static unsigned take_done(struct l3_leases *l, struct l3_claim *ret_done)
{
	uint64_t written = l3_queue_written(l->queue); /* its lock has our lock's rank */
	unsigned n = 0;

	LOCK_GUARD(&l->mu);
	list_for_each_safe (it, &l->done) {
		struct l3_claim *claim = list_entry(it, struct l3_claim, done);

		if (n == TENDED_AT_ONCE || claim->after > written)
			break;
		ret_done[n++] = *claim;
		claim_free(claim);
		l->count--;
	}
	return n;
}

void l3_leases_tend(struct l3_leases *l, uint64_t *ret_due_ns)
{
	struct l3_claim claims[TENDED_AT_ONCE];
	uint64_t begun_ns = clock_mono_ns(&clock_system);
	unsigned n;

	/* all that are due, before more values are written: a node may hold thousands, and those at
	 * the end of the list are as old as the first; each once */
	do {
		n = copy_due(l, begun_ns, claims, ret_due_ns);
		if (n && scripts_work(l))
			run_script(l, script_renew, claims, n);
	} while (n == TENDED_AT_ONCE);
	while ((n = take_done(l, claims))) {
		bool scripts = scripts_work(l);

		if (scripts)
			run_script(l, script_delete, claims, n);
		if (!scripts_work(l)) /* this was the first that was refused, or we knew */
			for (unsigned i = 0; i < n; i++)
				delete_by_hand(l, &claims[i]);
	}
}
