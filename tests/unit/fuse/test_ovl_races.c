/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several threads at once over few names: make, remove, rename, write, look up, list, forget.
 * Whatever the order: no error that no order explains, no node or orphan left, and the quota is
 * exactly what is on disk. Mostly for the sanitizers. Nothing is excluded, though the kernel's
 * directory locks would exclude most of it: the overlay does not rely on them. COPPICE_SEED:
 * another run.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <sys/stat.h>

#include "overlay/ovl_state.h"
#include "ovl_world.h"

#define THREADS 3
#define STEPS   600
#define KNOWN   64

struct actor {
	struct world *w;
	uint64_t dir[3];
	uint64_t random;
	struct ovl_req rq;
	unsigned known_count;
	uint64_t known[KNOWN]; /* counted lookups, to be forgotten */
	unsigned listed_count;
	uint64_t listed[16];
	char why[128];
};

static unsigned pick(struct actor *a, unsigned below)
{
	a->random = a->random * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned)(a->random >> 40) % below;
}

static void know(struct actor *a, uint64_t id)
{
	if (a->known_count == KNOWN)
		ovl_forget(a->w->o, a->known[--a->known_count], 1);
	a->known[a->known_count++] = id;
}

static int take(void *arg, const char *name, const struct ovl_entry *entry, uint64_t next)
{
	struct actor *a = arg;

	(void)name;
	(void)next;
	if (a->listed_count == 16)
		return 1;
	if (entry->id)
		a->listed[a->listed_count++] = entry->id;
	return 0;
}

static int list(struct actor *a, uint64_t dir)
{
	int r = ovl_readdir(a->w->o, &a->rq, dir, 0, pick(a, 2), take, a);

	while (a->listed_count)
		know(a, a->listed[--a->listed_count]);
	return r;
}

static int step(struct actor *a)
{
	static const char *const names[] = {"a", "b", "c", "lower", "link", "x"};
	struct overlay *o = a->w->o;
	uint64_t dir = a->dir[pick(a, 3)];
	const char *name = names[pick(a, 6)];
	struct ovl_rename ren = {.parent = dir,
		.new_parent = a->dir[pick(a, 3)],
		.name = name,
		.new_name = names[pick(a, 6)]};
	struct ovl_entry e;
	struct stat st;
	char buf[16];
	int r;

	a->rq.unique += 2;
	switch (pick(a, 9)) {
	case 0:
		r = ovl_create(o, &a->rq, dir, name, 0644, O_EXCL, &e);
		break;
	case 1:
		r = ovl_mkdir(o, &a->rq, dir, name, 0755, &e);
		break;
	case 2:
		return ovl_unlink(o, &a->rq, dir, name);
	case 3:
		return ovl_rmdir(o, &a->rq, dir, name);
	case 4:
		ren.flags = pick(a, 3) == 0 ? RENAME_EXCHANGE : 0;
		return ovl_rename(o, &a->rq, &ren);
	case 5:
		return list(a, dir);
	case 6:
		r = ovl_lookup(o, &a->rq, dir, name, &e);
		if (!r) {
			know(a, e.id);
			r = (int)ovl_write(o, &a->rq, e.id, "some bytes", 10, pick(a, 5000), false);
		}
		return r < 0 ? r : 0;
	case 7:
		if (!a->known_count)
			return 0;
		r = ovl_getattr(o, &a->rq, a->known[pick(a, a->known_count)], &st);
		return r ? r
			 : (int)-(ovl_read(o, &a->rq, a->known[a->known_count - 1], buf,
					  sizeof(buf), 0) == -EIO);
	default:
		r = ovl_lookup(o, &a->rq, dir, name, &e);
		break;
	}
	if (!r)
		know(a, e.id);
	return r;
}

static void *act(void *arg)
{
	struct actor *a = arg;

	for (unsigned i = 0; i < STEPS; i++) {
		int r = step(a);

		switch (r) {
		case 0:
		case -ENOENT:
		case -EEXIST:
		case -EISDIR:
		case -ENOTDIR:
		case -ENOTEMPTY:
		case -EINVAL: /* a directory into itself; bytes of a symlink */
			break;
		default:
			(void)snprintf(a->why, sizeof(a->why), "step %u: error %d", i, r);
			return NULL;
		}
	}
	while (a->known_count)
		ovl_forget(a->w->o, a->known[--a->known_count], 1);
	return NULL;
}

static void test_races(void **state)
{
	struct world w;
	struct world_at at[2];
	struct actor a[THREADS] = {0};
	struct ovl_ws_stats stats;
	const char *seed = getenv("COPPICE_SEED");
	pthread_t t[THREADS];

	(void)state;
	world_init(&w);
	w.nodes_max = 2; /* what can be given up is given up at once */
	fake_lower_add(w.fake, "d/lower", S_IFREG | 0644, "content of the lower", 20);
	fake_lower_add(w.fake, "d/link", S_IFLNK | 0777, "lower", 5);
	fake_lower_add(w.fake, "d/x/y", S_IFREG | 0644, "y", 1);
	fake_lower_add(w.fake, "e/lower", S_IFREG | 0644, "another", 7);
	world_open(&w);
	assert_int_equal(world_walk(&w, "d", &at[0]), 0);
	assert_int_equal(world_walk(&w, "e", &at[1]), 0);
	for (unsigned i = 0; i < THREADS; i++) {
		a[i] = (struct actor){.w = &w,
			.random = i + 1 + THREADS * (seed ? strtoull(seed, NULL, 10) : 0),
			.rq.unique = (i + 1ull) << 32};
		a[i].dir[0] = at[0].e.id;
		a[i].dir[1] = at[1].e.id;
		a[i].dir[2] = ovl_ws_root_id(w.ws);
		assert_int_equal(pthread_create(&t[i], NULL, act, &a[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		assert_int_equal(pthread_join(t[i], NULL), 0);
		assert_string_equal(a[i].why, "");
	}
	world_forget(&w, &at[0]);
	world_forget(&w, &at[1]);
	ovl_evict_pending(w.ws);
	ovl_ws_stats(w.ws, &stats);
	assert_int_equal(stats.nodes, 1);
	assert_int_equal(stats.orphans, 0);
	assert_int_equal(world_count_in(&w, "work/orphan"), 0);
	assert_int_equal(world_count_in(&w, "work/tmp"), 0);
	world_check_usage(&w);
	char *before = world_dump(&w);

	world_close(&w);
	world_open(&w);
	char *after = world_dump(&w);

	assert_string_equal(before, after);
	free(before);
	free(after);
	world_fini(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_races)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
