// SPDX-License-Identifier: Apache-2.0
/* storage: fetches are joined, end in time, never end twice, and a bad origin hurts only itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/health.h"
#include "base/metrics.h"
#include "storage_internal.h"
#include "storage_world.h"

static void ask(struct world *w, const struct oid *blob, uint64_t ms, struct tally *t)
{
	assert_int_equal(storage_fetch_blob(w->st, w->origin, blob, in_ms(ms), tally_note, t), 0);
}

static void ask_tree(struct world *w, const struct oid *tree, uint64_t ms, struct tally *t)
{
	assert_int_equal(storage_fetch_tree(w->st, w->origin, tree, in_ms(ms), tally_note, t), 0);
}

static void test_many_ask_one_call(void **state)
{
	struct world *w = *state;
	struct oid blob = world_oid(w, "main:README");
	struct tally t;

	tally_init(&t);
	w->plan.delay_ns = 50 * NS_PER_MS;
	for (unsigned i = 0; i < 100; i++) {
		ask(w, &blob, 10000, &t);
		ask_tree(w, &w->rev.root, 10000, &t);
	}
	tally_wait(&t, 200);
	assert_int_equal(t.ok, 200);
	assert_int_equal(w->plan.calls, 2);
	tally_fini(&t);
}

static void test_failures_keep_their_meaning(void **state)
{
	static const int given[] = {
		-ENOENT, -EIO, -EHOSTUNREACH, -ETIMEDOUT, -EACCES, -EBADMSG, -ENOSPC};
	static const int got[] = {-EIO, -EIO, -EHOSTUNREACH, -ETIMEDOUT, -EIO, -EIO, -ENOSPC};
	struct world *w = *state;
	struct oid blob = world_oid(w, "main:README");
	struct tally t;

	tally_init(&t);
	for (unsigned i = 0; i < 7; i++) {
		w->plan.tree_error = w->plan.blob_error = given[i];
		ask(w, &blob, 10000, &t);
		tally_wait(&t, 2 * i + 1);
		assert_int_equal(t.last, got[i]);
		ask_tree(w, &w->rev.root, 10000, &t);
		tally_wait(&t, 2 * i + 2);
		assert_int_equal(t.last, got[i]);
	}
	w->plan.tree_error = w->plan.blob_error = 0;
	ask(w, &blob, 10000, &t);
	ask_tree(w, &w->rev.root, 10000, &t);
	tally_wait(&t, 16);
	assert_int_equal(t.ok, 2);
	tally_fini(&t);
}

static void test_a_hanging_origin_times_out(void **state)
{
	struct world *w = *state;
	struct oid blob = world_oid(w, "main:README");
	uint64_t start_ns = clock_mono_ns(&clock_system);
	struct tally t;

	tally_init(&t);
	w->plan.hang = true;
	for (unsigned i = 0; i < 10; i++)
		ask(w, &blob, 50, &t);
	ask_tree(w, &w->rev.root, 50, &t);
	tally_wait(&t, 11);
	assert_int_equal(t.timed_out, 11);
	assert_true(clock_mono_ns(&clock_system) - start_ns >= 50 * NS_PER_MS);
	/* The threads are free again, and the object can be had. */
	w->plan.hang = false;
	ask(w, &blob, 10000, &t);
	ask_tree(w, &w->rev.root, 10000, &t);
	tally_wait(&t, 13);
	assert_int_equal(t.ok, 2);
	tally_fini(&t);
}

/* Whoever joins late with more time must not fail because the first one had less. */
static void test_a_patient_waiter_outlives_a_hasty_one(void **state)
{
	struct world *w = *state;
	struct oid blob = world_oid(w, "main:README");
	struct tally hasty, patient;

	tally_init(&hasty);
	tally_init(&patient);
	/* Longer than the first call has, shorter than the second one has. */
	w->plan.delay_ns = 1200 * NS_PER_MS;
	ask(w, &blob, 600, &hasty);
	while (w->plan.calls == 0 && tally_count(&hasty) == 0)
		sched_yield();
	assert_int_equal(w->plan.calls, 1);
	ask(w, &blob, 20000, &patient);
	tally_wait(&hasty, 1);
	assert_int_equal(hasty.last, -ETIMEDOUT);
	tally_wait(&patient, 1);
	assert_int_equal(patient.last, 0);
	assert_int_equal(w->plan.calls, 2);
	tally_fini(&hasty);
	tally_fini(&patient);
}

static void test_close_ends_every_wait_once(void **state)
{
	struct world *w = *state;
	struct oid oid = world_oid(w, "main:README");
	struct tally t;

	tally_init(&t);
	w->plan.hang = true;
	for (unsigned i = 0; i < 50; i++) {
		oid.bytes[0] = (uint8_t)i;
		ask(w, &oid, 20000, &t);
		ask_tree(w, &oid, 20000, &t);
		storage_prefetch_tree(w->st, w->origin, 0, &w->rev.root);
	}
	w->st = storage_close(w->st);
	assert_int_equal(t.count, 100);
	assert_int_equal(t.canceled, 100);
	tally_fini(&t);
}

/* More than the queues hold: refused at once, and what was taken still ends. */
static void test_too_many_are_refused(void **state)
{
	struct world *w = *state;
	struct oid oid = world_oid(w, "main:README");
	unsigned taken = 0;
	struct tally t;
	int r = 0;

	tally_init(&t);
	w->plan.hang = true;
	while (r == 0 && taken < 20000) {
		memcpy(oid.bytes, &taken, sizeof(taken));
		r = storage_fetch_blob(w->st, w->origin, &oid, in_ms(20000), tally_note, &t);
		taken += r == 0;
	}
	assert_int_equal(r, -EAGAIN);
	assert_true(taken > 1000);
	w->st = storage_close(w->st);
	assert_int_equal(t.count, taken);
	assert_int_equal(t.failed, taken);
	tally_fini(&t);
}

/* Another origin is not held up by one that hangs with all its threads. */
static void test_a_hanging_origin_hurts_only_itself(void **state)
{
	struct world *w = *state;
	const struct origin_config config = {
		.name = "second", .type = "git", .url = w->repo->git.repo};
	struct oid blob = world_oid(w, "main:README"), other = blob;
	struct origin *second;
	struct err e = {0};
	struct tally stuck, good;

	tally_init(&stuck);
	tally_init(&good);
	assert_int_equal(origin_open(&second, &config, &e), 0);
	assert_int_equal(storage_add_origin(w->st, second), 0);
	w->plan.hang = true;
	for (unsigned i = 0; i < 20; i++) {
		other.bytes[0] = (uint8_t)i;
		ask(w, &other, 20000, &stuck);
	}
	ask_tree(w, &other, 20000, &stuck);
	assert_int_equal(
		storage_fetch_tree(w->st, second, &w->rev.root, in_ms(10000), tally_note, &good),
		0);
	assert_int_equal(
		storage_fetch_blob(w->st, second, &blob, in_ms(10000), tally_note, &good), 0);
	tally_wait(&good, 2);
	assert_int_equal(good.ok, 2);
	assert_int_equal(stuck.count, 0);
	w->st = storage_close(w->st);
	assert_int_equal(stuck.count, 21);
	origin_unref(second);
	tally_fini(&stuck);
	tally_fini(&good);
}

/* Prefetches that hold all of their threads do not keep a foreground fetch from running; one that
 * is waited for is joined. */
static void test_foreground_passes_prefetch(void **state)
{
	struct world *w = *state;
	struct oid nowhere = w->rev.root;
	struct tally t;

	tally_init(&t);
	w->plan.delay_ns = 20 * NS_PER_MS;
	for (unsigned i = 0; i < 1000; i++) { /* 20 s of work */
		memcpy(nowhere.bytes, &i, sizeof(i));
		storage_prefetch_tree(w->st, w->origin, 0, &nowhere);
	}
	storage_prefetch_tree(w->st, w->origin, 0, &w->rev.root);
	ask_tree(w, &w->rev.root, 10000, &t);
	tally_wait(&t, 1);
	assert_int_equal(t.last, 0);
	tally_fini(&t);
}

static void ask_for(struct world *w, const char *tenant, const struct oid *oid, struct tally *t)
{
	const struct storage_ask how = {.origin = w->origin,
		.tenant = storage_tenant(w->st, tenant),
		.deadline_ns = in_ms(60000),
		.fn = tally_note,
		.arg = t};

	assert_int_equal(storage_ask(w->st, STORAGE_BLOB, oid, &how), 0);
}

/* One tenant asks a slow origin for 2,000 things, another for one, which the first may want too. */
static void test_a_flooding_tenant_does_not_hold_up_another(void **state)
{
	struct world *w = *state;
	struct oid wanted = world_oid(w, "main:README"), nowhere = wanted;
	struct tally flood, good;

	tally_init(&flood);
	tally_init(&good);
	w->plan.delay_ns = 50 * NS_PER_MS;
	for (unsigned i = 0; i < 2000; i++) { /* 50 s of work for two threads */
		memcpy(nowhere.bytes, &i, sizeof(i));
		ask_for(w, "noisy", &nowhere, &flood);
	}
	ask_for(w, "noisy", &wanted, &flood); /* in the queue already, at its very end */
	ask_for(w, "quiet", &wanted, &good);
	tally_wait(&good, 1);
	assert_int_equal(good.last, 0);
	assert_true(tally_count(&flood) < 100);
	w->st = storage_close(w->st);
	assert_int_equal(flood.count, 2001);
	tally_fini(&flood);
	tally_fini(&good);
}

/* All threads that one tenant may have are stuck in an origin that hangs for these objects. */
static void test_a_stuck_tenant_does_not_hold_up_another(void **state)
{
	struct world *w = *state;
	struct oid wanted = world_oid(w, "main:README"), nowhere = wanted;
	struct tally stuck, good;

	tally_init(&stuck);
	tally_init(&good);
	w->plan.hang = true;
	for (unsigned i = 0; i < 20; i++) {
		nowhere.bytes[19] = (uint8_t)i;
		ask_for(w, "noisy", &nowhere, &stuck);
	}
	while (w->plan.calls < 2)
		sched_yield();
	w->plan.hang = false;
	ask_for(w, "quiet", &wanted, &good);
	tally_wait(&good, 1);
	assert_int_equal(good.last, 0);
	assert_int_equal(w->plan.calls, 3); /* two hang, and no third of the noisy one came */
	assert_int_equal(tally_count(&stuck), 0);
	w->st = storage_close(w->st);
	assert_int_equal(stuck.count, 20);
	tally_fini(&stuck);
	tally_fini(&good);
}

/* No prefetch begins while a foreground request waits for a thread. */
static void test_prefetch_waits_for_the_foreground(void **state)
{
	struct world *w = *state;
	struct oid nowhere = w->rev.root;
	struct tally front, back;
	const struct storage_ask how = {.origin = w->origin,
		.background = true,
		.deadline_ns = in_ms(60000),
		.fn = tally_note,
		.arg = &back};

	tally_init(&front);
	tally_init(&back);
	w->plan.delay_ns = 20 * NS_PER_MS;
	for (unsigned i = 0; i < 40; i++) {
		nowhere.bytes[19] = (uint8_t)i;
		ask(w, &nowhere, 60000, &front);
	}
	nowhere.bytes[18] ^= 1;
	assert_int_equal(storage_ask(w->st, STORAGE_BLOB, &nowhere, &how), 0);
	tally_wait(&back, 1);
	assert_true(tally_count(&front) >= 36); /* all but those that were running when it began */
	tally_wait(&front, 40);
	tally_fini(&front);
	tally_fini(&back);
}

static int fetch_now(struct world *w, const struct oid *oid, uint64_t ms)
{
	struct tally t;
	int r;

	tally_init(&t);
	ask(w, oid, ms, &t);
	tally_wait(&t, 1);
	r = t.last;
	tally_fini(&t);
	return r;
}

/* Slow, lying, broken, away: the error, what is shown, and that the next answer ends it. */
static void test_origin_health_is_told(void **state)
{
	struct world *w = *state;
	struct oid blob = world_oid(w, "main:README");
	struct clock_virtual clock;
	struct health_condition c[2];

	clock_virtual_init(&clock, NS_PER_S, NS_PER_S);
	w->st->health = health_new(&clock.clock, NULL);
	w->plan.blob_error = -EIO;
	assert_int_equal(fetch_now(w, &blob, 5000), -EIO);
	assert_int_equal(health_list(w->st->health, c, 2), 0); /* one damaged object */
	assert_int_equal(fetch_now(w, &blob, 5000), -EIO);
	assert_int_equal(fetch_now(w, &blob, 5000), -EIO);
	assert_int_equal(health_list(w->st->health, c, 2), 1);
	assert_string_equal(c[0].component, "origin demo");
	health_over(w->st->health, "origin demo");

	w->plan.blob_error = -EHOSTUNREACH;
	assert_int_equal(fetch_now(w, &blob, 5000), -EHOSTUNREACH);
	assert_int_equal(health_list(w->st->health, c, 2), 1);
	health_over(w->st->health, "origin demo");

	w->plan.blob_error = 0;
	w->plan.corrupt = true;
	assert_int_equal(fetch_now(w, &blob, 5000), -EIO);
	assert_int_equal(health_list(w->st->health, c, 2), 1);
	assert_non_null(strstr(c[0].reason, "hash"));

	w->plan.corrupt = false;
	clock_virtual_advance(&clock, 10 * NS_PER_S);
	assert_int_equal(fetch_now(w, &blob, 5000), 0);
	assert_int_equal(health_list(w->st->health, c, 2), 0);
	w->st->health = health_free(w->st->health);
}

/* All blob threads are stuck for long: a directory comes all the same. */
static void test_blobs_do_not_hold_up_directories(void **state)
{
	struct world *w = *state;
	struct oid blob = world_oid(w, "main:README");
	struct tally stuck, good;

	tally_init(&stuck);
	tally_init(&good);
	w->plan.hang = true;
	for (unsigned i = 0; i < 10; i++) {
		blob.bytes[19] = (uint8_t)i;
		ask(w, &blob, 60000, &stuck);
	}
	while (w->plan.calls < 2) /* both threads of the blobs' pool are in the origin */
		sched_yield();
	w->plan.hang = false;
	ask_tree(w, &w->rev.root, 10000, &good);
	tally_wait(&good, 1);
	assert_int_equal(good.last, 0);
	w->st = storage_close(w->st);
	assert_int_equal(stuck.count, 10);
	tally_fini(&stuck);
	tally_fini(&good);
}

static void test_prefetch_makes_it_local(void **state)
{
	struct world *w = *state;
	uint64_t give_up_ns = in_ms(10000);
	struct tree_view view;
	int r;

	storage_prefetch_tree(w->st, w->origin, 0, &w->rev.root);
	while ((r = storage_tree_view(w->st, &w->rev.root, &view)) == -EAGAIN &&
		clock_mono_ns(&clock_system) < give_up_ns)
		sched_yield();
	assert_int_equal(r, 0);
	tree_view_end(&view);
}

#define ASKERS 4
#define ASKED  150

struct asker {
	struct world *w;
	const struct oid *blobs, *trees;
	struct tally tally;
	unsigned seed, taken;
	pthread_t thread;
};

static void *asker_main(void *arg)
{
	struct asker *a = arg;

	for (unsigned i = 0; i < ASKED; i++) {
		unsigned n = (unsigned)rand_r(&a->seed) % 4;
		uint64_t deadline_ns = in_ms((unsigned)rand_r(&a->seed) % 20);
		struct storage *st = a->w->st;

		if (storage_fetch_blob(st, a->w->origin, &a->blobs[n], deadline_ns, tally_note,
			    &a->tally) == 0)
			a->taken++;
		if (storage_fetch_tree(st, a->w->origin, &a->trees[n], deadline_ns, tally_note,
			    &a->tally) == 0)
			a->taken++;
		if (i % 10 == 0)
			storage_prefetch_tree(st, a->w->origin, 0, &a->trees[n]);
	}
	return NULL;
}

/* Requests, joins, time-outs and failures at once: every request ends exactly once. */
static void test_everything_at_once(void **state)
{
	struct world *w = *state;
	struct oid blobs[4] = {world_oid(w, "main:README"), world_oid(w, "main:bin/tool")};
	struct oid trees[4] = {
		w->rev.root, world_oid(w, "main:src"), world_oid(w, "main:src/deep")};
	struct asker asker[ASKERS];

	blobs[2] = blobs[3] = trees[3] = blobs[0];
	blobs[2].bytes[5] ^= 1; /* not there */
	blobs[3].bytes[6] ^= 1;
	w->plan.delay_ns = 3 * NS_PER_MS;
	for (unsigned i = 0; i < ASKERS; i++) {
		asker[i] = (struct asker){.w = w, .blobs = blobs, .trees = trees, .seed = i};
		tally_init(&asker[i].tally);
		assert_int_equal(pthread_create(&asker[i].thread, NULL, asker_main, &asker[i]), 0);
	}
	for (unsigned i = 0; i < ASKERS; i++) {
		assert_int_equal(pthread_join(asker[i].thread, NULL), 0);
		assert_int_equal(asker[i].taken, 2 * ASKED);
		tally_wait(&asker[i].tally, asker[i].taken);
	}
	w->st = storage_close(w->st);
	for (unsigned i = 0; i < ASKERS; i++) {
		assert_int_equal(asker[i].tally.count, asker[i].taken);
		tally_fini(&asker[i].tally);
	}
}

static void test_digests_are_computed_once(void **state)
{
	static const uint8_t sha256[] = {0x65, 0xce, 0x01, 0xfc};
	struct world *w = *state;
	struct oid blob = world_oid(w, "main:README"), empty = world_oid(w, "main:src/deep/empty");
	struct tree_index *index = storage_tree_index(w->st);
	struct content_digests d;
	struct tally t;

	tally_init(&t);
	assert_int_equal(tree_blob_digests(index, &blob, &d), -ENOENT);
	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(
			storage_fetch_digests(w->st, w->origin, &blob, in_ms(5000), tally_note, &t),
			0);
	tally_wait(&t, 20);
	assert_int_equal(t.ok, 20);
	assert_int_equal(w->plan.calls, 1);
	assert_int_equal(tree_blob_digests(index, &blob, &d), 0);
	assert_true(oid_equal(&d.oid, &blob));
	assert_memory_equal(d.sha256, sha256, sizeof(sha256));
	/* known: neither the blob nor the origin is needed any more */
	w->plan.hang = true;
	assert_int_equal(
		storage_fetch_digests(w->st, w->origin, &blob, in_ms(5000), tally_note, &t), 0);
	tally_wait(&t, 21);
	assert_int_equal(t.ok, 21);
	w->plan.hang = false;
	assert_int_equal(
		storage_fetch_digests(w->st, w->origin, &empty, in_ms(5000), tally_note, &t), 0);
	tally_wait(&t, 22);
	assert_int_equal(tree_blob_digests(index, &empty, &d), 0);
	assert_int_equal(d.sha256[0], 0xe3);
	tally_fini(&t);
}

static void test_digests_of_bad_content_are_not_kept(void **state)
{
	struct world *w = *state;
	struct oid blob = world_oid(w, "main:README");
	struct content_digests d;
	struct tally t;

	tally_init(&t);
	w->plan.corrupt = true;
	assert_int_equal(
		storage_fetch_digests(w->st, w->origin, &blob, in_ms(5000), tally_note, &t), 0);
	tally_wait(&t, 1);
	assert_int_equal(t.last, -EIO);
	w->plan.corrupt = false;
	w->plan.hang = true;
	assert_int_equal(
		storage_fetch_digests(w->st, w->origin, &blob, in_ms(50), tally_note, &t), 0);
	tally_wait(&t, 2);
	assert_int_equal(t.last, -ETIMEDOUT);
	assert_int_equal(tree_blob_digests(storage_tree_index(w->st), &blob, &d), -ENOENT);
	tally_fini(&t);
}

static void test_bad_ids_are_refused(void **state)
{
	struct world *w = *state;
	struct oid none = {0};
	struct tally t;

	tally_init(&t);
	assert_int_equal(
		storage_fetch_tree(w->st, w->origin, &none, in_ms(100), tally_note, &t), -EINVAL);
	assert_int_equal(
		storage_fetch_blob(w->st, w->origin, &none, in_ms(100), tally_note, &t), -EINVAL);
	storage_prefetch_tree(w->st, w->origin, 0, &none);
	assert_int_equal(t.count, 0);
	tally_fini(&t);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
	const struct CMUnitTest tests[] = {
		T(test_many_ask_one_call),
		T(test_failures_keep_their_meaning),
		T(test_a_hanging_origin_times_out),
		T(test_a_patient_waiter_outlives_a_hasty_one),
		T(test_close_ends_every_wait_once),
		T(test_too_many_are_refused),
		T(test_a_hanging_origin_hurts_only_itself),
		T(test_foreground_passes_prefetch),
		T(test_a_flooding_tenant_does_not_hold_up_another),
		T(test_a_stuck_tenant_does_not_hold_up_another),
		T(test_prefetch_waits_for_the_foreground),
		T(test_origin_health_is_told),
		T(test_blobs_do_not_hold_up_directories),
		T(test_prefetch_makes_it_local),
		T(test_digests_are_computed_once),
		T(test_digests_of_bad_content_are_not_kept),
		T(test_bad_ids_are_refused),
		T(test_everything_at_once),
	};
#undef T

	return cmocka_run_group_tests(tests, repository_setup, repository_teardown);
}
