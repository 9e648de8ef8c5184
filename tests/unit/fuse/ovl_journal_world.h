/* SPDX-License-Identifier: Apache-2.0 */
/* A journal in a folder of its own, for the tests of fuse/overlay/ovl_journal.c and ovl_compact.c.
 * Include after cmocka.h. */
#pragma once
#include "overlay/ovl_journal_internal.h"
#include "overlay/ovl_state.h"
#include "tmpdir.h"

#include <base/clock.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SERIAL    5ull
#define ID(local) (SERIAL << OVL_LOCAL_BITS | (local))

struct fixture {
	struct tmpdir tmp;
	struct overlay *o; /* has the thread that rewrites */
	struct ovl_ws ws;
};

static inline void start(struct fixture *f)
{
	assert_int_equal(ovl_refs_open(&f->ws), 0);
	assert_int_equal(ovl_blocks_open(&f->ws), 0);
	assert_int_equal(ovl_journal_open(&f->ws), 0);
}

/* What was asked of the thread is done. */
static inline void wait_for_chores(struct fixture *f)
{
	while (atomic_load(&f->ws.ref.count) > 1)
		(void)sched_yield();
}

static inline void stop(struct fixture *f)
{
	wait_for_chores(f);
	ovl_journal_close(&f->ws);
	ovl_blocks_close(&f->ws);
	ovl_refs_close(&f->ws, false);
}

static inline int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	tmpdir_init(&f->tmp);
	assert_int_equal(
		ovl_new(&f->o, &(struct ovl_config){.tenant = "t", .clock = &clock_system}), 0);
	f->ws.overlay = f->o;
	ref_init(&f->ws.ref);
	f->ws.serial = SERIAL;
	f->ws.work_fd = open(f->tmp.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (unsigned i = 0; i < OVL_TABLE_SHARDS; i++)
		lock_init(&f->ws.shard[i].lock, LOCK_RANK_OVL_TABLE);
	start(f);
	*state = f;
	return 0;
}

static inline int teardown(void **state)
{
	struct fixture *f = *state;

	stop(f);
	f->o = ovl_free(f->o);
	(void)close(f->ws.work_fd);
	tmpdir_fini(&f->tmp);
	free(f);
	return 0;
}

/* The one intent of these tests that has no end. */
static inline int count_open(void *arg, const struct ovl_intent *intent)
{
	unsigned *seen = arg;

	assert_int_equal(intent->unique, 20);
	assert_int_equal(intent->op, OVL_INTENT_RENAME);
	assert_int_equal(intent->parent, ID(1));
	assert_int_equal(intent->new_parent, ID(4));
	assert_string_equal(intent->name, "from");
	assert_string_equal(intent->new_name, "to");
	assert_int_equal(intent->backing_ino, 77);
	(*seen)++;
	return 0;
}

static inline int try_node(
	struct fixture *f, uint64_t local, uint64_t parent, const char *name, unsigned flags)
{
	struct ovl_node above = {.ws = &f->ws, .id = ID(parent)};
	struct ovl_node n = {.ws = &f->ws,
		.id = ID(local),
		.type = S_IFDIR,
		.parent = &above,
		.name = (char *)(uintptr_t)name,
		.name_len = strlen(name),
		.flags = flags,
		.upper_ino = local * 10};

	return ovl_journal_node(&n);
}

static inline void add_node(
	struct fixture *f, uint64_t local, uint64_t parent, const char *name, unsigned flags)
{
	assert_int_equal(try_node(f, local, parent, name, flags), 0);
}
