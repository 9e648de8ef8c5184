/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A storage over a real Git repository for the tests of storage_*.c, with an origin whose calls can
 * be made to fail. Include after cmocka.h.
 */
#pragma once
#include "base/clock.h"
#include "base/err.h"
#include "base/lock.h"
#include "git_fixture.h"
#include "storage/origin_impl.h"
#include "storage/storage.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* Made once for all tests of a program: nothing writes to it. */
struct repository {
	struct git_fixture git;
	char commit[GIT_FIXTURE_HEX];
};

struct world {
	struct repository *repo;
	struct tmpdir tmp;
	struct origin_fault_plan plan;
	struct origin *origin; /* faulty; a reference of the test's own */
	struct storage *st;
	struct origin_revision rev;
};

static inline uint64_t in_ms(uint64_t ms)
{
	return clock_after(&clock_system, ms * NS_PER_MS);
}

static inline void world_open_storage(struct world *w)
{
	struct err e = {0};
	const struct storage_config config = {
		.data_dir = w->tmp.path,
		.memory_bytes = 1 << 20,
		.disk_bytes = 16 << 20,
		.fetch_threads = 2,
		.index_bytes = 64 << 20,
		.clock = &clock_system,
	};

	if (storage_open(&w->st, &config, &e) < 0)
		fail_msg("%s", err_message(&e));
	assert_int_equal(storage_add_origin(w->st, w->origin), 0);
}

static inline void repository_init(struct repository *repo)
{
	static const struct git_file files[] = {
		{"README", 0100644, "read me\n", 0},
		{"bin/tool", 0100755, "#!/bin/sh\n", 0},
		{"src/deep/er/file.c", 0100644, "int x;\n", 0},
		{"src/deep/empty", 0100644, "", 0},
		{"src/link", 0120000, "deep/er", 0},
		{"vendored", 0160000, "0123456789012345678901234567890123456789", 0},
	};

	git_fixture_init(&repo->git);
	git_fixture_commit(&repo->git, "refs/heads/main", files, sizeof(files) / sizeof(files[0]),
		repo->commit);
}

static inline void world_init(struct world *w, struct repository *repo)
{
	const struct origin_config config = {.name = "demo", .type = "git", .url = repo->git.repo};
	struct origin *inner;
	struct err e = {0};

	*w = (struct world){.repo = repo};
	tmpdir_init(&w->tmp);
	if (origin_open(&inner, &config, &e) < 0)
		fail_msg("%s", err_message(&e));
	assert_int_equal(origin_wrap_fault(&w->origin, inner, &w->plan), 0);
	origin_unref(inner);
	world_open_storage(w);
	if (storage_resolve(w->st, w->origin, "main", in_ms(5000), &w->rev, &e) < 0)
		fail_msg("%s", err_message(&e));
	w->plan.calls = 0;
}

static inline void world_fini(struct world *w)
{
	storage_close(w->st);
	origin_unref(w->origin);
	tmpdir_fini(&w->tmp);
}

static inline struct oid world_oid(struct world *w, const char *what)
{
	const char *const argv[] = {"rev-parse", what, NULL};
	char hex[GIT_FIXTURE_HEX];
	struct oid oid;

	git_fixture_run(&w->repo->git, argv, hex, sizeof(hex));
	assert_int_equal(oid_parse(hex, &oid), 0);
	return oid;
}

/* Counts callbacks and lets the test wait for them. */
struct tally {
	struct lock mu;
	struct cond cv;
	unsigned count, ok, timed_out, canceled, failed;
	int last;
};

static inline void tally_init(struct tally *t)
{
	*t = (struct tally){0};
	lock_init(&t->mu, LOCK_RANK_LEAF);
	cond_init(&t->cv);
}

static inline void tally_fini(struct tally *t)
{
	cond_fini(&t->cv);
	lock_fini(&t->mu);
}

static inline void tally_note(void *arg, int result)
{
	struct tally *t = arg;

	lock_acquire(&t->mu);
	t->count++;
	t->last = result;
	t->ok += result == 0;
	t->timed_out += result == -ETIMEDOUT;
	t->canceled += result == -ECANCELED;
	t->failed += result < 0;
	cond_signal(&t->cv);
	lock_release(&t->mu);
}

static inline unsigned tally_count(struct tally *t)
{
	LOCK_GUARD(&t->mu);
	return t->count;
}

/* Fails the test if fewer than `count` callbacks come within 20 s. */
static inline void tally_wait(struct tally *t, unsigned count)
{
	uint64_t deadline_ns = in_ms(20000);
	bool in_time = true;

	lock_acquire(&t->mu);
	while (t->count < count && in_time)
		in_time = cond_wait_until(&t->cv, &t->mu, deadline_ns);
	in_time = t->count >= count;
	lock_release(&t->mu);
	assert_true(in_time);
}

/* ---- set up and torn down by cmocka ---- */

static inline int repository_setup(void **state)
{
	static struct repository repo;

	repository_init(&repo);
	*state = &repo;
	return 0;
}

static inline int repository_teardown(void **state)
{
	struct repository *repo = *state;

	git_fixture_fini(&repo->git);
	return 0;
}

/* The group's state is the repository; a test's is a world on it. */
static inline int world_setup(void **state)
{
	static struct world w;

	world_init(&w, *state);
	*state = &w;
	return 0;
}

static inline int world_teardown(void **state)
{
	world_fini(*state);
	return 0;
}
