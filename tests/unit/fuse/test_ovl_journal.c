/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal: records as bytes, what holds after a kill, torn and lying files, a full disk, and
 * what recovery is told. Rewriting is in test_ovl_compact.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ovl_journal_world.h"

/* ---- records ---- */

static void round_trip(const struct ovl_record *in)
{
	uint8_t buf[1024];
	struct ovl_record out;
	size_t size = ovl_record_size(in);

	assert_true(size <= sizeof(buf) && size % 8 == 0);
	ovl_record_encode(in, buf);
	assert_int_equal(ovl_record_decode(buf, sizeof(buf), &out), size);
	assert_int_equal(out.type, in->type);
	assert_int_equal(out.op, in->op);
	assert_int_equal(out.unique, in->unique);
	assert_int_equal(out.id, in->id);
	assert_int_equal(out.parent, in->parent);
	assert_int_equal(out.new_parent, in->new_parent);
	assert_int_equal(out.ino, in->ino);
	assert_int_equal(out.mode, in->mode);
	assert_int_equal(out.flags, in->flags);
	assert_int_equal(out.count, in->count);
	assert_true(oid_equal(&out.tree, &in->tree));
	assert_int_equal(out.name_len, in->name_len);
	assert_int_equal(out.new_name_len, in->new_name_len);
	if (in->name_len)
		assert_memory_equal(out.name, in->name, in->name_len);
	if (in->new_name_len)
		assert_memory_equal(out.new_name, in->new_name, in->new_name_len);
	for (size_t cut = 0; cut < size; cut++)
		assert_int_equal(ovl_record_decode(buf, cut, &out), 0);
	for (size_t i = 0; i < size; i++) {
		buf[i] ^= 0x10;
		assert_int_equal(ovl_record_decode(buf, size, &out), 0);
		buf[i] ^= 0x10;
	}
}

static void test_records(void **state)
{
	char name[255];

	(void)state;
	memset(name, 'n', sizeof(name));
	round_trip(&(struct ovl_record){.type = OVL_REC_DONE, .unique = 7});
	assert_int_equal(
		ovl_record_size(&(struct ovl_record){.type = OVL_REC_DONE}), OVL_RECORD_DONE_BYTES);
	assert_int_equal(
		ovl_record_size(&(struct ovl_record){.type = OVL_REC_VOID}), OVL_RECORD_DONE_BYTES);
	round_trip(&(struct ovl_record){.type = OVL_REC_VOID, .unique = UINT64_MAX});
	round_trip(&(struct ovl_record){.type = OVL_REC_DROP, .id = 9});
	round_trip(&(struct ovl_record){.type = OVL_REC_NODE,
		.id = 1,
		.parent = 2,
		.ino = 3,
		.mode = S_IFREG,
		.flags = 5,
		.name = name,
		.name_len = sizeof(name)});
	round_trip(&(struct ovl_record){.type = OVL_REC_BLOCK,
		.id = 1,
		.parent = 2,
		.count = 3,
		.tree = {.len = 32, .bytes = {1, 2}}});
	round_trip(&(struct ovl_record){.type = OVL_REC_INTENT,
		.op = OVL_INTENT_RENAME,
		.unique = 8,
		.id = 1,
		.parent = 2,
		.new_parent = 3,
		.ino = 4,
		.name = name,
		.name_len = 255,
		.new_name = "b",
		.new_name_len = 1});
}

/* ---- a life ---- */

static void test_intents(void **state)
{
	struct fixture *f = *state;
	unsigned seen = 0;

	assert_int_equal(ovl_journal_intent(&f->ws, &(struct ovl_intent){.unique = 10,
							    .op = OVL_INTENT_MKDIR,
							    .parent = ID(1),
							    .name = "d"}),
		0);
	ovl_journal_done(&f->ws, 10);
	assert_int_equal(ovl_journal_intent(&f->ws, &(struct ovl_intent){.unique = 12,
							    .op = OVL_INTENT_MKDIR,
							    .parent = ID(1),
							    .name = "d"}),
		0);
	ovl_journal_void(&f->ws, 12);
	assert_int_equal(ovl_journal_intent(&f->ws, &(struct ovl_intent){.unique = 20,
							    .op = OVL_INTENT_RENAME,
							    .parent = ID(1),
							    .new_parent = ID(4),
							    .name = "from",
							    .new_name = "to",
							    .backing_ino = 77}),
		0);
	assert_true(ovl_journal_was_done(&f->ws, 10));
	assert_false(ovl_journal_was_done(&f->ws, 12));
	assert_false(ovl_journal_was_done(&f->ws, 20));
	assert_false(ovl_journal_was_done(&f->ws, 11));
	stop(f);
	start(f);
	assert_int_equal(ovl_journal_each_open(&f->ws, count_open, &seen), 0);
	assert_int_equal(seen, 1);
	ovl_journal_done(&f->ws, 20);
	assert_int_equal(ovl_journal_restart(&f->ws), 0);
	assert_int_equal(ovl_journal_each_open(&f->ws, count_open, &seen), 0);
	assert_false(
		ovl_journal_was_done(&f->ws, 10)); /* uniques belong to a connection that is gone */
	stop(f);
	start(f);
	assert_int_equal(ovl_journal_each_open(&f->ws, count_open, &seen), 0);
	assert_int_equal(seen, 1);
}

static int see_node(void *arg, const struct ovl_left_node *left)
{
	unsigned *seen = arg;

	assert_int_equal(left->upper_ino, (left->id & OVL_LOCAL_MASK) * 10);
	assert_true(S_ISDIR(left->type));
	if (left->id == ID(10)) {
		assert_string_equal(left->name, "moved");
		assert_int_equal(left->parent, ID(1));
	} else {
		assert_int_equal(left->id, ID(11));
		assert_string_equal(left->name, "below");
	}
	(*seen)++;
	return 0;
}

static void test_nodes_and_the_way_to_them(void **state)
{
	struct fixture *f = *state;
	struct stat st, want;
	unsigned seen = 0;
	int fd = -1;

	add_node(f, 10, 1, "first", 0);
	add_node(f, 10, 1, "moved", 0);
	add_node(f, 11, 10, "below", 0);
	add_node(f, 12, 1, "gone", 0);
	ovl_journal_drop(&f->ws, ID(12));
	add_node(f, 13, 1, "orphan", OVL_ORPHAN);
	add_node(f, 14, 15, "a", 0);
	ovl_journal_drop(&f->ws, ID(14));
	stop(f);
	start(f);
	assert_int_equal(ovl_journal_each_node(&f->ws, see_node, &seen), 0);
	assert_int_equal(seen, 2);
	f->ws.upper_fd = f->ws.work_fd;
	assert_int_equal(mkdirat(f->ws.work_fd, "moved", 0700), 0);
	assert_int_equal(ovl_journal_open_dir(&f->ws, ID(11), &fd), -ENOENT);
	assert_int_equal(mkdirat(f->ws.work_fd, "moved/below", 0700), 0);
	assert_int_equal(ovl_journal_open_dir(&f->ws, ID(11), &fd), 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(fstatat(f->ws.work_fd, "moved/below", &want, 0), 0);
	assert_int_equal(st.st_ino, want.st_ino);
	(void)close(fd);
	assert_int_equal(ovl_journal_open_dir(&f->ws, ID(13), &fd), -ENOENT);
	assert_int_equal(ovl_journal_open_dir(&f->ws, ID(99), &fd), -ENOENT);
}

static void test_a_cycle_ends(void **state)
{
	struct fixture *f = *state;
	int fd;

	add_node(f, 20, 21, "a", 0);
	add_node(f, 21, 20, "b", 0);
	stop(f);
	start(f);
	assert_int_equal(ovl_journal_open_dir(&f->ws, ID(20), &fd), -ELOOP);
}

/* ---- torn and lying files ---- */

static void corrupt(struct fixture *f, off_t at, const char *bytes, size_t len)
{
	int fd = openat(f->ws.work_fd, "journal", O_WRONLY | O_CLOEXEC);

	assert_int_equal(pwrite(fd, bytes, len, at), len);
	(void)close(fd);
}

static void test_a_torn_record_is_the_end(void **state)
{
	struct fixture *f = *state;
	unsigned seen = 0;

	add_node(f, 10, 1, "moved", 0);
	uint64_t end = ovl_journal_bytes(&f->ws);
	add_node(f, 12, 1, "lost", 0);
	stop(f);
	corrupt(f, (off_t)end + 20, "XX", 2);
	start(f);
	assert_int_equal(ovl_journal_each_node(&f->ws, see_node, &seen), 0);
	assert_int_equal(seen, 1);
	assert_int_equal(ovl_journal_bytes(&f->ws), end);
}

/* A session that goes on needs what it said; otherwise it is put aside, and a new one begun. */
static void test_not_a_journal(void **state)
{
	struct fixture *f = *state;

	stop(f);
	corrupt(f, 0, "notmine!", 8);
	assert_int_equal(ovl_refs_open(&f->ws), 0);
	assert_int_equal(ovl_blocks_open(&f->ws), 0);
	f->ws.adopt = true;
	assert_int_equal(ovl_journal_open(&f->ws), -EPROTO);
	assert_null(f->ws.journal);
	f->ws.adopt = false;
	assert_int_equal(ovl_journal_open(&f->ws), 0);
	assert_true(ovl_journal_set_aside(&f->ws));
	assert_int_equal(faccessat(f->ws.work_fd, "journal.damaged", F_OK, 0), 0);
	ovl_journal_close(&f->ws);
	corrupt(f, 0, "\0\0\0\0\0\0\0\0", 8); /* allocated, and then the machine went down */
	assert_int_equal(ovl_journal_open(&f->ws), 0);
}

static void test_lying_blocks_are_left_out(void **state)
{
	struct fixture *f = *state;
	struct ovl_block good = {.count = 10, .tree = {.len = 20}, .dir_id = ID(1)}, got;
	uint64_t base;

	assert_int_equal(ovl_ids_alloc(&f->ws, 10, &base), 0);
	good.base = base;
	assert_int_equal(
		ovl_journal_block(&f->ws,
			&(struct ovl_block){.base = base + 1000, .count = 5, .dir_id = ID(1)}),
		0);
	assert_int_equal(
		ovl_journal_block(&f->ws,
			&(struct ovl_block){.base = UINT64_MAX - 2, .count = 5, .dir_id = ID(1)}),
		0);
	assert_int_equal(
		ovl_journal_block(&f->ws,
			&(struct ovl_block){.base = base, .count = UINT32_MAX, .dir_id = ID(1)}),
		0);
	assert_int_equal(ovl_journal_block(&f->ws, &good), 0);
	assert_int_equal(ovl_journal_block(&f->ws, &good), 0);
	stop(f);
	start(f);
	assert_true(ovl_block_of(&f->ws, base + 9, &got));
	assert_int_equal(got.base, base);
	assert_int_equal(got.dir_id, ID(1));
	assert_false(ovl_block_of(&f->ws, base + 10, &got));
}

/* ---- a full disk ---- */

static int intend(struct fixture *f, uint64_t unique)
{
	return ovl_journal_intent(&f->ws,
		&(struct ovl_intent){
			.unique = unique, .op = OVL_INTENT_MKDIR, .parent = ID(1), .name = "d"});
}

/* The file may not grow: an intent is refused before anything is done, and what was begun can still
 * be ended. */
static void test_a_full_disk(void **state)
{
	struct fixture *f = *state;
	struct rlimit old, limit;
	uint64_t unique = 2;
	unsigned open = 0;

	assert_int_equal(ovl_journal_restart(&f->ws), 0);
	(void)signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	limit = (struct rlimit){.rlim_cur = 65536, .rlim_max = old.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	while (intend(f, unique) == 0)
		unique += 2;
	assert_int_equal(intend(f, unique), -ENOSPC);
	assert_true(unique > 500);
	for (uint64_t u = 2; u < unique; u += 2) {
		ovl_journal_done(&f->ws, u);
		open += !ovl_journal_was_done(&f->ws, u);
		u += 60; /* the walk is long */
		for (uint64_t v = u - 58; v <= u && v < unique; v += 2)
			ovl_journal_done(&f->ws, v);
	}
	assert_int_equal(open, 0);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	stop(f);
	start(f);
	assert_int_equal(ovl_journal_each_open(&f->ws, count_open, &open),
		0); /* fails at any that is open */
	assert_int_equal(open, 0);
}

static struct rlimit no_file_grows(void)
{
	struct rlimit old, limit;

	(void)signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	limit = (struct rlimit){.rlim_cur = 4096, .rlim_max = old.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	return old;
}

/* There is no room for a new journal: the old one goes on, and what the last process wrote into it
 * is history all the same, except for the blocks. */
static void test_restart_on_a_full_disk(void **state)
{
	struct fixture *f = *state;
	const struct oid tree = {.len = 20};
	struct ovl_block block;
	struct rlimit old;
	unsigned seen = 0;
	uint64_t base;

	assert_int_equal(ovl_block_get(&f->ws, ID(1), &tree, 5, &base), 0);
	add_node(f, 10, 1, "moved", 0);
	assert_int_equal(intend(f, 10), 0);
	ovl_journal_done(&f->ws, 10);
	stop(f);
	old = no_file_grows();
	for (unsigned i = 0; i < 3; i++) {
		start(f);
		assert_int_equal(ovl_journal_each_node(&f->ws, see_node, &seen), 0);
		assert_int_equal(seen, i < 2 ? i + 1 : 2);
		assert_int_equal(ovl_journal_restart(&f->ws), 0);
		assert_true(ovl_block_of(&f->ws, base + 4, &block));
		assert_int_equal(ovl_journal_was_done(&f->ws, 10), false);
		if (i == 0)
			add_node(f, 11, 10, "below", 0);
		assert_int_equal(intend(f, 10), 0); /* there was room left in it */
		ovl_journal_done(&f->ws, 10);
		assert_true(ovl_journal_was_done(&f->ws, 10));
		stop(f);
		assert_int_equal(faccessat(f->ws.work_fd, "journal.new", F_OK, 0), -1);
	}
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	start(f);
	seen = 0;
	assert_int_equal(ovl_journal_each_node(&f->ws, see_node, &seen), 0);
	assert_int_equal(seen, 0);
	assert_int_equal(ovl_journal_restart(&f->ws), 0);
	assert_true(ovl_block_of(&f->ws, base + 4, &block));
	assert_false(ovl_journal_was_done(&f->ws, 10));
	add_node(f, 10, 1, "moved", 0);
	stop(f);
	start(f);
	assert_int_equal(ovl_journal_each_node(&f->ws, see_node, &seen), 0);
	assert_int_equal(seen, 1); /* the new file begins anew */
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_records),
		T(test_intents),
		T(test_nodes_and_the_way_to_them),
		T(test_a_cycle_ends),
		T(test_a_torn_record_is_the_end),
		T(test_not_a_journal),
		T(test_lying_blocks_are_left_out),
		T(test_a_full_disk),
		T(test_restart_on_a_full_disk),
	};
#undef T

	return cmocka_run_group_tests(tests, NULL, NULL);
}
