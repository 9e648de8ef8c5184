/* SPDX-License-Identifier: Apache-2.0 */
/* Digests: right for what the file holds now, wherever it comes from; computed once; never believed
 * after a change. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "ovl_world.h"

#include <linux/falloc.h>
#include <pthread.h>

#define SHA256   "user.sha256"
#define SHA1     "user.sha1"
#define OID      "user.coppice.oid"
#define RAW      "user.coppice.sha256.raw"
#define TEXT_MAX 65
#define ROUNDS   100

static int set_up(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	world_init(w);
	fake_lower_add(w->fake, "lower", S_IFREG | 0644, "lower", 5);
	fake_lower_add(w->fake, "link", S_IFLNK | 0777, "lower", 5);
	world_open(w);
	*state = w;
	return 0;
}

struct answer {
	struct lock lock;
	struct cond cond;
	bool done;
	int result;
};

static void on_done(void *arg, int result)
{
	struct answer *a = arg;

	LOCK_GUARD(&a->lock);
	a->result = result;
	a->done = true;
	cond_signal(&a->cond);
}

static int fetch(struct ovl_need *need)
{
	uint64_t deadline_ns = clock_after(&clock_system, 20 * NS_PER_S);
	struct answer a = {0};
	int r;

	lock_init(&a.lock, LOCK_RANK_LEAF);
	cond_init(&a.cond);
	r = ovl_fetch(need, deadline_ns, on_done, &a);
	if (r == 0) {
		lock_acquire(&a.lock);
		while (!a.done)
			assert_true(cond_wait_until(&a.cond, &a.lock, deadline_ns));
		lock_release(&a.lock);
		r = a.result;
	}
	cond_fini(&a.cond);
	lock_fini(&a.lock);
	return r;
}

/* One request, repeated as the session does. *waits: how often something was missing. */
static ssize_t ask(struct world *w, uint64_t id, const char *name, char *value, unsigned *waits)
{
	struct ovl_req rq = {.unique = 7};
	ssize_t n;
	int r;

	for (*waits = 0;; (*waits)++) {
		n = ovl_getxattr(w->o, &rq, id, name, value, TEXT_MAX - 1);
		if (n != -EAGAIN)
			break;
		assert_int_equal(rq.need.kind, LOWER_NEED_DIGESTS);
		r = fetch(&rq.need);
		if (r < 0)
			return r;
	}
	if (n >= 0)
		value[n] = 0;
	return n;
}

/* As a program would: by path. cap 0 asks for the length. */
static ssize_t ask_path(struct world *w, const char *path, const char *name, size_t cap)
{
	char value[TEXT_MAX];
	struct world_at at;
	ssize_t n;

	assert_int_equal(world_walk(w, path, &at), 0);
	n = ovl_getxattr(w->o, world_rq(w), at.e.id, name, value, cap);
	world_forget(w, &at);
	return n;
}

static unsigned get(struct world *w, const char *path, const char *name, char value[TEXT_MAX])
{
	struct world_at at;
	unsigned waits;

	assert_int_equal(world_walk(w, path, &at), 0);
	assert_true(ask(w, at.e.id, name, value, &waits) > 0);
	world_forget(w, &at);
	return waits;
}

static struct content_digests of_bytes(const void *data, size_t len)
{
	struct content_digests d = {0};
	struct digest *sha;
	uint8_t n;

	assert_int_equal(digest_object(DIGEST_SHA1, OBJECT_BLOB, data, len, &d.oid), 0);
	assert_int_equal(digest_new(&sha, DIGEST_SHA256), 0);
	assert_int_equal(digest_update(sha, data, len), 0);
	assert_int_equal(digest_final(sha, d.sha256, &n), 0);
	digest_free(sha);
	assert_int_equal(digest_new(&sha, DIGEST_SHA1), 0);
	assert_int_equal(digest_update(sha, data, len), 0);
	assert_int_equal(digest_final(sha, d.sha1, &n), 0);
	digest_free(sha);
	return d;
}

static void assert_hex(const char *text, const uint8_t *bytes, uint8_t len)
{
	struct oid as_oid = oid_from_bytes(bytes, len);
	char hex[OID_HEX_MAX];

	assert_string_equal(text, oid_hex(&as_oid, hex));
}

/* Every name of the digest, in turn. */
static void assert_holds(struct world *w, const char *path, const void *data, size_t len)
{
	struct content_digests want = of_bytes(data, len);
	char value[TEXT_MAX];

	(void)get(w, path, SHA256, value);
	assert_hex(value, want.sha256, 32);
	(void)get(w, path, SHA1, value);
	assert_hex(value, want.sha1, 20);
	(void)get(w, path, RAW, value);
	assert_memory_equal(value, want.sha256, 32);
	if (strcmp(path, "lower") != 0) { /* whose id the fixture made up */
		(void)get(w, path, OID, value);
		assert_hex(value, want.oid.bytes, 20);
	}
}

static void a_lower_file_is_hashed_once(void **state)
{
	struct world *w = *state;
	struct oid oid = fake_lower_oid(w->fake, "lower");
	char value[TEXT_MAX];

	fake_lower_set_missing(w->fake, false, true, false);
	assert_int_equal(get(w, "lower", OID, value), 0);
	assert_hex(value, oid.bytes, oid.len);
	assert_int_equal(get(w, "lower", SHA256, value), 1);
	assert_int_equal(get(w, "lower", SHA1, value), 0);
	assert_holds(w, "lower", "lower", 5);
	assert_int_equal(fake_lower_stats(w->fake)->fetches, 1);
	assert_int_equal(fake_lower_stats(w->fake)->reads, 0);
	fake_lower_set_missing(w->fake, false, false, false);
}

static void a_failed_fetch_is_not_an_answer(void **state)
{
	struct world *w = *state;
	uint64_t id = world_id(w, "lower");
	char value[TEXT_MAX];
	unsigned waits;

	fake_lower_set_fetch_error(w->fake, -ETIMEDOUT);
	assert_int_equal(ask(w, id, SHA256, value, &waits), -ETIMEDOUT);
	fake_lower_set_fetch_error(w->fake, 0);
	assert_holds(w, "lower", "lower", 5);
}

static void every_change_of_an_upper_file_is_seen(void **state)
{
	struct world *w = *state;
	struct world_at at, other;
	struct ovl_copy copy = {.out_offset = 2, .len = 3};
	struct stat size = {.st_size = 4};

	world_put(w, "f", "first");
	world_put(w, "source", "xyz");
	assert_int_equal(world_walk(w, "f", &at), 0);
	assert_int_equal(world_walk(w, "source", &other), 0);
	assert_holds(w, "f", "first", 5);
	assert_int_equal(world_write(w, "f", "F", 1, 0), 1);
	assert_holds(w, "f", "First", 5);
	assert_int_equal(world_setattr(w, "f", &size, OVL_SET_SIZE), 0);
	assert_holds(w, "f", "Firs", 4);
	size.st_size = 6;
	assert_int_equal(world_setattr(w, "f", &size, OVL_SET_SIZE), 0);
	assert_holds(w, "f", "Firs\0", 6);
	assert_int_equal(ovl_fallocate(w->o, world_rq(w), at.e.id,
				 FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 1, 2),
		0);
	assert_holds(w, "f", "F\0\0s\0", 6);
	copy.in_id = other.e.id;
	copy.out_id = at.e.id;
	assert_int_equal(ovl_copy_range(w->o, world_rq(w), &copy), 3);
	assert_holds(w, "f", "F\0xyz", 6);
	size.st_size = 0;
	assert_int_equal(world_setattr(w, "f", &size, OVL_SET_SIZE), 0);
	assert_holds(w, "f", "", 0);
	world_forget(w, &other);
	world_forget(w, &at);
}

static void a_copied_up_file_has_its_own(void **state)
{
	struct world *w = *state;

	assert_holds(w, "lower", "lower", 5);
	assert_int_equal(world_write(w, "lower", "L", 1, 0), 1);
	assert_int_equal(world_rename(w, "lower", "renamed", 0), 0);
	assert_int_equal(world_link(w, "renamed", "second"), 0);
	assert_holds(w, "renamed", "Lower", 5);
	assert_int_equal(world_write(w, "second", "r", 1, 4), 1);
	assert_int_equal(world_write(w, "second", "!", 1, 5), 1);
	assert_holds(w, "renamed", "Lower!", 6);
}

static void only_regular_files_have_any(void **state)
{
	static const char *const names[] = {SHA256, SHA1, OID, RAW};
	struct world *w = *state;
	char value[TEXT_MAX];
	unsigned waits;

	assert_int_equal(world_make(w, WORLD_FIFO, "fifo", 0600, NULL), 0);
	assert_int_equal(world_make(w, WORLD_DIR, "dir", 0700, NULL), 0);
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(ask_path(w, "fifo", names[i], TEXT_MAX), -ENODATA);
		assert_int_equal(ask_path(w, "dir", names[i], TEXT_MAX), -ENODATA);
		assert_int_equal(ask_path(w, "link", names[i], TEXT_MAX), -ENODATA);
		assert_int_equal(ask_path(w, "", names[i], TEXT_MAX), -ENODATA);
		assert_int_equal(ask(w, OVL_ROOT_ID, names[i], value, &waits), -ENODATA);
	}
}

static void the_length_is_known_without_work(void **state)
{
	static const struct {
		const char *name;
		size_t len;
	} facts[] = {{SHA256, 64}, {SHA1, 40}, {OID, 40}, {RAW, 32}};
	static const char *const paths[] = {"lower", "upper"};
	struct world *w = *state;

	world_put(w, "upper", "u");
	for (size_t p = 0; p < 2; p++) {
		for (size_t i = 0; i < 4; i++) {
			assert_int_equal(ask_path(w, paths[p], facts[i].name, 0), facts[i].len);
			assert_int_equal(
				ask_path(w, paths[p], facts[i].name, facts[i].len - 1), -ERANGE);
		}
	}
	assert_int_equal(fake_lower_stats(w->fake)->fetches, 0);
}

/* ---- write-back of mappings ---- */

struct mapping {
	struct world *w;
	uint64_t id;
	const char *dirty; /* one byte that the kernel has and we have not; NULL: none */
	unsigned flushes;
};

/* What the kernel does when it is told to let go of the pages: it writes. */
static void flush_mapping(void *arg, uint64_t id)
{
	struct mapping *m = arg;
	struct ovl_req rq = {.unique = 99};

	m->flushes++;
	if (id == m->id && m->dirty)
		assert_int_equal(ovl_write(m->w->o, &rq, id, m->dirty, 1, 0, false), 1);
	m->dirty = NULL;
}

static void what_was_changed_through_a_mapping_is_written_back_first(void **state)
{
	struct world *w = *state;
	struct mapping m = {.w = w};
	char value[TEXT_MAX];

	world_put(w, "f", "mapped");
	m.id = world_id(w, "f");
	assert_int_equal(ovl_set_flush(w->o, flush_mapping, &m, 0), 0);
	assert_holds(w, "f", "mapped", 6);
	assert_int_equal(m.flushes, 4); /* each request: nobody tells when a mapping is used */
	m.dirty = "M";
	assert_holds(w, "f", "Mapped", 6);
	(void)get(w, "lower", SHA256, value);
	assert_int_equal(m.flushes, 8); /* nobody has read the lower file */
	assert_int_equal(ovl_set_flush(w->o, NULL, NULL, clock_after(&clock_system, NS_PER_S)), 0);
	assert_holds(w, "f", "Mapped", 6);
	assert_int_equal(m.flushes, 8);
}

/* Nobody tells that a lower file is mapped and changed, but who does that has read it. */
static void a_lower_file_that_was_read_is_written_back_first(void **state)
{
	struct world *w = *state;
	struct ovl_req rq = {.unique = 8};
	struct mapping m = {.w = w, .id = world_id(w, "lower")};
	char page[8], value[TEXT_MAX];

	assert_int_equal(ovl_set_flush(w->o, flush_mapping, &m, 0), 0);
	assert_int_equal(ovl_read(w->o, &rq, m.id, page, sizeof(page), 0), 5);
	assert_holds(w, "lower", "lower", 5);
	assert_int_equal(m.flushes, 1); /* then the kernel has no pages of it */
	assert_int_equal(ovl_read(w->o, &rq, m.id, page, sizeof(page), 0), 5);
	m.dirty = "L";
	assert_holds(w, "lower", "Lower", 5);
	assert_int_equal(m.flushes, 1 + 3); /* an upper file from the first on */
	assert_int_equal(ovl_set_flush(w->o, NULL, NULL, clock_after(&clock_system, NS_PER_S)), 0);
	(void)get(w, "lower", SHA256, value);
}

/* ---- races ---- */

struct writer {
	struct world *w;
	uint64_t id;
	_Atomic bool stop;
};

static const char *const turns[] = {"aaaaaaaa", "bbbbbbbb"};

static void *write_in_turns(void *arg)
{
	struct writer *wr = arg;

	for (unsigned i = 0; !wr->stop; i++) {
		struct ovl_req rq = {.unique = 1};

		if (ovl_write(wr->w->o, &rq, wr->id, turns[i % 2], 8, 0, false) != 8)
			return (void *)"a write failed";
	}
	return NULL;
}

static void a_digest_is_of_one_moment(void **state)
{
	struct world *w = *state;
	struct content_digests want[2] = {of_bytes(turns[0], 8), of_bytes(turns[1], 8)};
	struct writer wr = {.w = w};
	struct world_at at;
	pthread_t thread;
	void *failed;

	world_put(w, "f", turns[0]);
	assert_int_equal(world_walk(w, "f", &at), 0);
	wr.id = at.e.id;
	assert_int_equal(pthread_create(&thread, NULL, write_in_turns, &wr), 0);
	for (unsigned i = 0; i < ROUNDS; i++) {
		char value[TEXT_MAX];
		unsigned waits;

		assert_int_equal(ask(w, at.e.id, RAW, value, &waits), 32);
		assert_true(memcmp(value, want[0].sha256, 32) == 0 ||
			    memcmp(value, want[1].sha256, 32) == 0);
	}
	wr.stop = true;
	assert_int_equal(pthread_join(thread, &failed), 0);
	assert_null(failed);
	world_forget(w, &at);
}

static void a_workspace_can_go_while_its_file_waits(void **state)
{
	struct world *w = *state;
	struct ovl_req rq = {.unique = 5};
	struct world_at at;
	char value[TEXT_MAX];

	world_put(w, "f", "content");
	assert_int_equal(world_walk(w, "f", &at), 0);
	assert_int_equal(ovl_getxattr(w->o, &rq, at.e.id, SHA256, value, sizeof(value)), -EAGAIN);
	world_forget(w, &at);
	ovl_ws_remove(w->o, w->ws);
	w->ws = NULL;
	assert_int_equal(fetch(&rq.need), -ESTALE);
	w->o = ovl_free(w->o);
	quota_release(&w->quota, QUOTA_BYTES, quota_used(&w->quota, QUOTA_BYTES));
	quota_release(&w->quota, QUOTA_INODES, quota_used(&w->quota, QUOTA_INODES));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, world_tear_down)
		TEST(a_lower_file_is_hashed_once),
		TEST(a_failed_fetch_is_not_an_answer),
		TEST(every_change_of_an_upper_file_is_seen),
		TEST(a_copied_up_file_has_its_own),
		TEST(only_regular_files_have_any),
		TEST(the_length_is_known_without_work),
		TEST(what_was_changed_through_a_mapping_is_written_back_first),
		TEST(a_lower_file_that_was_read_is_written_back_first),
		TEST(a_digest_is_of_one_moment),
		TEST(a_workspace_can_go_while_its_file_waits),
#undef TEST
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
