/* SPDX-License-Identifier: Apache-2.0 */
/* Listing: every name once, positions that survive change and restart, counted lookups, what is not
 * local yet. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "overlay/ovl_state.h"
#include "ovl_world.h"

#define SEEN_MAX 4000

struct seen {
	unsigned room; /* entries that fill still takes */
	unsigned count;
	uint64_t next;
	struct {
		char name[256];
		struct ovl_entry entry;
		uint64_t next;
	} at[SEEN_MAX];
};

static int take(void *arg, const char *name, const struct ovl_entry *entry, uint64_t next)
{
	struct seen *s = arg;

	if (!s->room)
		return 1;
	s->room--;
	assert_true(s->count < SEEN_MAX);
	(void)snprintf(s->at[s->count].name, sizeof(s->at[0].name), "%s", name);
	s->at[s->count].entry = *entry;
	s->at[s->count++].next = next;
	s->next = next;
	return 0;
}

static struct seen *seen_new(void)
{
	struct seen *s = calloc(1, sizeof(*s));

	assert_non_null(s);
	return s;
}

static const struct ovl_entry *find(const struct seen *s, const char *name)
{
	const struct ovl_entry *found = NULL;

	for (unsigned i = 0; i < s->count; i++)
		if (strcmp(s->at[i].name, name) == 0) {
			assert_null(found); /* twice */
			found = &s->at[i].entry;
		}
	return found;
}

/* Lists from the start, `batch` entries a call. */
static struct seen *list(struct world *w, uint64_t id, bool plus, unsigned batch)
{
	struct seen *s = seen_new();
	unsigned before;

	do {
		before = s->count;
		s->room = batch;
		assert_int_equal(ovl_readdir(w->o, world_rq(w), id, s->next, plus, take, s), 0);
	} while (s->count > before);
	return s;
}

static void forget_all(struct world *w, const struct seen *s)
{
	for (unsigned i = 0; i < s->count; i++)
		if (s->at[i].entry.id)
			ovl_forget(w->o, s->at[i].entry.id, 1);
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	char name[32];

	world_init(w);
	for (unsigned i = 0; i < 300; i++) {
		(void)snprintf(name, sizeof(name), "many/f%03u", i);
		fake_lower_add(w->fake, name, S_IFREG | 0644, name, i % 20);
	}
	fake_lower_add(w->fake, "d/sub/x", S_IFREG | 0644, "x", 1);
	fake_lower_add(w->fake, "d/file", S_IFREG | 0755, "data", 4);
	fake_lower_add(w->fake, "d/gone", S_IFREG | 0644, "data", 4);
	fake_lower_add(w->fake, "d/edit", S_IFREG | 0644, "data", 4);
	fake_lower_add(w->fake, "d/link", S_IFLNK | 0777, "file", 4);
	fake_lower_add(w->fake, "empty", S_IFDIR | 0755, "", 0);
	world_open(w);
	*state = w;
	return 0;
}

static void test_a_lower_directory(void **state)
{
	struct world *w = *state;
	uint64_t id = world_id(w, "many");

	for (unsigned batch = 1; batch < 400; batch = batch * 3 + 1) {
		struct seen *s = list(w, id, false, batch);

		assert_int_equal(s->count, 302);
		assert_string_equal(s->at[0].name, ".");
		assert_int_equal(s->at[0].entry.attr.st_ino, id);
		assert_string_equal(s->at[1].name, "..");
		assert_int_equal(s->at[1].entry.attr.st_ino, ovl_ws_root_id(w->ws));
		assert_string_equal(s->at[2].name, "f000");
		assert_int_equal(s->at[2].entry.id, 0);
		assert_int_equal(s->at[301].next, 3 + 299);
		free(s);
	}
}

static void test_plus_counts_what_was_taken(void **state)
{
	struct world *w = *state;
	uint64_t id = world_id(w, "d");
	struct seen *s = list(w, id, true, 2);
	struct stat st;

	assert_int_equal(s->count, 7);
	assert_int_equal(find(s, ".")->id, 0);
	assert_int_equal(find(s, "file")->attr.st_mode, S_IFREG | 0755);
	assert_int_equal(find(s, "file")->attr.st_size, 4);
	assert_int_equal(find(s, "link")->attr.st_mode, S_IFLNK | 0777);
	assert_int_equal(find(s, "sub")->attr.st_nlink, 2);
	for (unsigned i = 2; i < s->count; i++) {
		uint64_t entry = s->at[i].entry.id;

		assert_int_equal(ovl_refs_get(w->ws, entry & OVL_LOCAL_MASK), 1);
		assert_int_equal(s->at[i].entry.attr.st_ino, entry);
		assert_int_equal(ovl_getattr(w->o, world_rq(w), entry, &st), 0);
		assert_memory_equal(&st, &s->at[i].entry.attr, sizeof(st));
	}
	forget_all(w, s);
	free(s);
}

static void test_merged(void **state)
{
	struct world *w = *state;
	uint64_t id = world_id(w, "d"), edit = world_id(w, "d/edit");
	struct seen *s;

	world_put(w, "d/new1", "12345");
	world_put(w, "d/new2", "12345");
	assert_int_equal(world_make(w, WORLD_DIR, "d/newdir", 0700, NULL), 0);
	assert_int_equal(world_write(w, "d/edit", "longer than before", 18, 0), 18);
	assert_int_equal(world_remove(w, "d/gone", false), 0);
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned batch = 1; batch < 20; batch += 3) {
			s = list(w, id, true, batch);
			assert_int_equal(s->count, 2 + 4 + 3);
			assert_null(find(s, "gone"));
			assert_int_equal(find(s, "edit")->id, edit);
			assert_int_equal(find(s, "edit")->attr.st_size, 18);
			assert_int_equal(find(s, "new1")->attr.st_size, 5);
			assert_int_equal(find(s, "newdir")->attr.st_nlink, 2);
			forget_all(w, s);
			free(s);
		}
		world_close(w);
		world_open(w);
	}
}

/* rm -rf: names go while the listing goes on from old positions. */
static void test_removal_while_listing(void **state)
{
	struct world *w = *state;
	uint64_t id = world_id(w, "many");
	struct seen *s = seen_new();
	unsigned removed = 0, before;
	char path[300];

	for (unsigned i = 0; i < 100; i++) {
		(void)snprintf(path, sizeof(path), "many/upper%u", i);
		world_put(w, path, "");
	}
	do {
		before = s->count;
		s->room = 7;
		assert_int_equal(ovl_readdir(w->o, world_rq(w), id, s->next, false, take, s), 0);
		for (unsigned i = before; i < s->count; i++) {
			if (s->at[i].name[0] == '.')
				continue;
			(void)snprintf(path, sizeof(path), "many/%s", s->at[i].name);
			assert_int_equal(world_remove(w, path, false), 0);
			removed++;
		}
	} while (s->count > before);
	assert_int_equal(removed, 400);
	free(s);
	s = list(w, id, false, 100);
	assert_int_equal(s->count, 2);
	free(s);
	assert_int_equal(world_remove(w, "many", true), 0);
}

/* What was there all the time is seen exactly once, whatever else changes and however often the
 * service restarts. */
static void test_positions_survive(void **state)
{
	struct world *w = *state;
	struct seen *s = seen_new();
	uint64_t id = world_id(w, "many");
	unsigned before, round = 0;
	char path[300];

	for (unsigned i = 0; i < 200; i++) {
		(void)snprintf(path, sizeof(path), "many/keep%u", i);
		world_put(w, path, "");
	}
	do {
		before = s->count;
		s->room = 41;
		assert_int_equal(ovl_readdir(w->o, world_rq(w), id, s->next, false, take, s), 0);
		(void)snprintf(path, sizeof(path), "many/f%03u", 299 - round); /* copied up ahead */
		assert_int_equal(world_write(w, path, "x", 1, 0), 1);
		(void)snprintf(path, sizeof(path), "many/extra%u", round++);
		world_put(w, path, "");
		if (round % 4 == 0) {
			world_close(w);
			world_open(w);
		}
	} while (s->count > before);
	for (unsigned i = 0; i < 300; i++) {
		(void)snprintf(path, sizeof(path), "f%03u", i);
		assert_non_null(find(s, path));
	}
	for (unsigned i = 0; i < 200; i++) {
		(void)snprintf(path, sizeof(path), "keep%u", i);
		assert_non_null(find(s, path));
	}
	free(s);
}

/* Where a listing that began in an earlier release stands in the upper: 2^62 and 62 bits of the
 * name's hash, while the workspace was never switched. These are of that release. */
static void test_an_upgrade_in_the_middle_of_a_listing_tells_names_twice(void **state)
{
	static const struct {
		const char *name;
		uint64_t pos;
	} told[] = {{"n0", 0x63903bb46d471e64}, {"n1", 0x7ce03816d4b9343d},
		{"n3", 0x706130ecdae3e609}, {"n10", 0x797b61c3f28f653d}};
	struct world *w = *state;
	uint64_t id = world_id(w, "empty");
	struct seen *s;
	char path[32];

	for (unsigned i = 0; i < 4; i++) {
		(void)snprintf(path, sizeof(path), "empty/%s", told[i].name);
		world_put(w, path, "");
	}
	s = list(w, id, false, 2);
	assert_int_equal(s->count, 6);
	for (unsigned i = 2; i < s->count; i++) {
		unsigned k = 0;

		while (strcmp(told[k].name, s->at[i].name) != 0)
			k++;
		assert_int_equal(s->at[i].next, told[k].pos);
	}
	free(s);
}

static void test_sizes_not_known(void **state)
{
	struct world *w = *state;
	uint64_t id = world_id(w, "d");
	struct seen *s;

	fake_lower_set_missing(w->fake, false, false, true);
	s = list(w, id, true, 100);
	assert_int_equal(s->count, 7);
	assert_int_equal(find(s, "file")->id, 0); /* no attributes to be believed */
	assert_true(S_ISREG(find(s, "file")->attr.st_mode));
	assert_int_not_equal(find(s, "sub")->id, 0);
	forget_all(w, s);
	free(s);
}

static void test_not_local(void **state)
{
	struct world *w = *state;
	struct ovl_req *rq = world_rq(w);
	struct seen *s = seen_new();
	uint64_t id;

	fake_lower_set_missing(w->fake, true, true, false);
	s->room = 100;
	assert_int_equal(ovl_readdir(w->o, rq, ovl_ws_root_id(w->ws), 0, true, take, s), -EAGAIN);
	assert_int_equal(s->count, 0); /* not even the dots: it is asked again from the start */
	assert_int_equal(rq->need.kind, LOWER_NEED_TREE);
	ovl_need_drop(&rq->need);
	fake_lower_set_missing(w->fake, false, false, false);
	id = world_id(w, "empty");
	free(s);
	s = list(w, id, true, 100);
	assert_int_equal(s->count, 2);
	free(s);
}

static void arrived(void *arg, int result)
{
	(void)arg;
	assert_int_equal(result, 0);
}

/* All of the lower is remote but for one directory's own listing. */
static void only_local(struct world *w, const char *path)
{
	struct lower *l = fake_lower_open(w->fake);
	struct oid oid = fake_lower_oid(w->fake, path);

	fake_lower_set_missing(w->fake, true, true, false);
	assert_int_equal(l->ops->fetch(l, LOWER_NEED_TREE, &oid, NS_NEVER, arrived, NULL), 0);
	l->ops->free(l);
}

/* A walk enters what a listing with attributes shows without looking it up: the listing itself
 * tells what will be wanted next. */
static void test_listed_directories_are_asked_for(void **state)
{
	struct world *w = *state;
	const struct fake_lower_stats *stats = fake_lower_stats(w->fake);
	uint64_t before = stats->prefetches;
	struct world_at at;
	struct seen *s;

	assert_int_equal(world_walk(w, "d", &at), 0);
	s = list(w, at.e.id, true, 100);
	forget_all(w, s);
	free(s);
	assert_int_equal(stats->prefetches, before); /* all is local */
	only_local(w, "d");
	s = list(w, at.e.id, true, 100);
	assert_int_equal(stats->prefetches, before + 1);
	assert_int_equal(find(s, "sub")->attr.st_nlink, 1); /* not counted */
	forget_all(w, s);
	free(s);
	before = stats->prefetches;
	s = list(w, at.e.id, false, 100);
	assert_int_equal(stats->prefetches, before); /* names only: nobody goes on from here */
	free(s);
	world_forget(w, &at);
}

static void test_odd_requests(void **state)
{
	struct world *w = *state;
	struct seen *s = seen_new();
	uint64_t dir = world_id(w, "d"), file = world_id(w, "d/file");
	struct world_at e;

	s->room = 100;
	assert_int_equal(ovl_readdir(w->o, world_rq(w), file, 0, true, take, s), -ENOTDIR);
	assert_int_equal(ovl_readdir(w->o, world_rq(w), 99, 0, true, take, s), -ESTALE);
	assert_int_equal(ovl_readdir(w->o, world_rq(w), dir, 1000000, true, take, s), 0);
	assert_int_equal(ovl_readdir(w->o, world_rq(w), dir, UINT64_MAX, true, take, s), 0);
	assert_int_equal(ovl_readdir(w->o, world_rq(w), dir, 1ull << 63, true, take, s), 0);
	assert_int_equal(ovl_readdir(w->o, world_rq(w), dir, 1ull << 62, true, take, s), 0);
	assert_int_equal(s->count, 0);
	assert_int_equal(world_make(w, WORLD_DIR, "removed", 0700, &e), 0);
	assert_int_equal(world_remove(w, "removed", true), 0);
	assert_int_equal(ovl_readdir(w->o, world_rq(w), e.e.id, 0, true, take, s), -ENOENT);
	ovl_forget(w->o, e.e.id, 1);
	free(s);
}

static void test_the_root_of_the_session(void **state)
{
	struct world *w = *state;
	struct seen *s = list(w, OVL_ROOT_ID, true, 1);
	struct stat st;

	assert_int_equal(s->count, 3);
	assert_string_equal(s->at[2].name, "ws");
	assert_int_equal(s->at[2].entry.id, ovl_ws_root_id(w->ws));
	assert_int_equal(ovl_refs_get(w->ws, OVL_LOCAL_ROOT), 1);
	assert_int_equal(ovl_getattr(w->o, world_rq(w), OVL_ROOT_ID, &st), 0);
	assert_int_equal(st.st_nlink, 3);
	forget_all(w, s);
	free(s);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, world_tear_down)
	const struct CMUnitTest tests[] = {
		T(test_a_lower_directory),
		T(test_plus_counts_what_was_taken),
		T(test_merged),
		T(test_removal_while_listing),
		T(test_positions_survive),
		T(test_an_upgrade_in_the_middle_of_a_listing_tells_names_twice),
		T(test_sizes_not_known),
		T(test_not_local),
		T(test_listed_directories_are_asked_for),
		T(test_odd_requests),
		T(test_the_root_of_the_session),
	};
#undef T

	return cmocka_run_group_tests(tests, NULL, NULL);
}
