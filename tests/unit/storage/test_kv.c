// SPDX-License-Identifier: Apache-2.0
/* storage/kv: what is written is read back, in order, whole or not at all, also after a restart. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "alloc_fault.h"
#include "base/err.h"
#include "storage/kv.h"
#include "tmpdir.h"

struct world {
	struct tmpdir tmp;
	char dir[300];
	struct kv_config config;
	struct kv *kv;
};

static void world_open(struct world *w)
{
	struct err e = {0};

	assert_int_equal(kv_open(&w->kv, &w->config, NULL, &e), 0);
}

static int setup(void **state)
{
	static struct world w;

	w = (struct world){0};
	tmpdir_init(&w.tmp);
	w.config = (struct kv_config){
		.dir = tmpdir_path(&w.tmp, "store", w.dir, sizeof(w.dir)),
		.mode = KV_DURABLE,
		.max_bytes = 16 << 20,
		.format_version = 1,
		.tables = {"one", "two"},
		.name = "test",
	};
	world_open(&w);
	*state = &w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	kv_close(w->kv);
	tmpdir_fini(&w->tmp);
	return 0;
}

static int put(struct kv *kv, unsigned table, const char *key, const char *value)
{
	const struct kv_op op = {table, key, strlen(key), value, value ? strlen(value) : 0, false};

	return kv_write(kv, &op, 1);
}

/* The value as a string; "" for none. */
static const char *get(struct kv *kv, unsigned table, const char *key, char *buf, size_t cap)
{
	struct kv_txn *txn;
	const void *value;
	size_t len;

	assert_int_equal(kv_read_begin(kv, &txn), 0);
	assert_int_equal(kv_get(txn, table, key, strlen(key), &value, &len), 0);
	(void)snprintf(buf, cap, "%.*s", (int)len, value ? (const char *)value : "");
	kv_read_end(txn);
	return buf;
}

static void test_put_get_delete(void **state)
{
	struct world *w = *state;
	char buf[64];

	assert_int_equal(put(w->kv, 0, "a", "first"), 0);
	assert_int_equal(put(w->kv, 1, "a", "second"), 0);
	assert_string_equal(get(w->kv, 0, "a", buf, sizeof(buf)), "first");
	assert_string_equal(get(w->kv, 1, "a", buf, sizeof(buf)), "second");
	assert_int_equal(put(w->kv, 0, "a", NULL), 0);
	assert_int_equal(put(w->kv, 0, "never was", NULL), 0);
	assert_string_equal(get(w->kv, 0, "a", buf, sizeof(buf)), "");
	assert_string_equal(get(w->kv, 1, "a", buf, sizeof(buf)), "second");
}

static void test_keep_existing_puts_only_if_absent(void **state)
{
	struct world *w = *state;
	struct kv_op op = {0, "k", 1, "new", 3, true};
	char buf[16];

	assert_int_equal(kv_write(w->kv, &op, 1), 0);
	op.value = "too";
	assert_int_equal(kv_write(w->kv, &op, 1), 0);
	assert_string_equal(get(w->kv, 0, "k", buf, sizeof(buf)), "new");
}

static void test_bad_ops_are_refused(void **state)
{
	struct world *w = *state;
	char longest[KV_KEY_MAX + 1];
	struct kv_op op = {0, longest, sizeof(longest), "v", 1, false};

	memset(longest, 'k', sizeof(longest));
	assert_int_equal(kv_write(w->kv, &op, 1), -EINVAL);
	op.key_len = KV_KEY_MAX;
	assert_int_equal(kv_write(w->kv, &op, 1), 0);
	op.key_len = 0;
	assert_int_equal(kv_write(w->kv, &op, 1), -EINVAL);
	op = (struct kv_op){2, "k", 1, "v", 1, false};
	assert_int_equal(kv_write(w->kv, &op, 1), -EINVAL);
	assert_int_equal(kv_write_async(w->kv, &op, 1, NULL, NULL), -EINVAL);
}

static void test_empty_value_is_not_a_missing_one(void **state)
{
	struct world *w = *state;
	struct kv_txn *txn;
	const void *value;
	size_t len = 7;

	assert_int_equal(put(w->kv, 0, "empty", ""), 0);
	assert_int_equal(kv_read_begin(w->kv, &txn), 0);
	assert_int_equal(kv_get(txn, 0, "empty", 5, &value, &len), 0);
	assert_non_null(value);
	assert_int_equal(len, 0);
	kv_read_end(txn);
}

static void test_survives_reopen(void **state)
{
	struct world *w = *state;
	char buf[64];

	assert_int_equal(put(w->kv, 0, "a", "stays"), 0);
	w->kv = kv_close(w->kv);
	world_open(w);
	assert_string_equal(get(w->kv, 0, "a", buf, sizeof(buf)), "stays");
}

struct seen {
	char keys[128];
	unsigned stop_after;
};

static int note_key(void *arg, const void *key, size_t key_len, const void *value, size_t len)
{
	struct seen *s = arg;
	size_t used = strlen(s->keys);

	(void)value, (void)len;
	(void)snprintf(
		s->keys + used, sizeof(s->keys) - used, "%.*s ", (int)key_len, (const char *)key);
	return s->stop_after && --s->stop_after == 0 ? 42 : 0;
}

static void test_scan_is_ordered_and_stops(void **state)
{
	struct world *w = *state;
	struct seen all = {0}, from = {0}, some = {.stop_after = 2};
	struct kv_txn *txn;
	uint64_t count;

	assert_int_equal(put(w->kv, 0, "c", "3"), 0);
	assert_int_equal(put(w->kv, 0, "a", "1"), 0);
	assert_int_equal(put(w->kv, 0, "b", "2"), 0);
	assert_int_equal(kv_read_begin(w->kv, &txn), 0);
	assert_int_equal(kv_scan(txn, 0, NULL, 0, note_key, &all), 0);
	assert_string_equal(all.keys, "a b c ");
	assert_int_equal(kv_scan(txn, 0, "aa", 2, note_key, &from), 0);
	assert_string_equal(from.keys, "b c ");
	assert_int_equal(kv_scan(txn, 0, NULL, 0, note_key, &some), 42);
	assert_string_equal(some.keys, "a b ");
	assert_int_equal(kv_scan(txn, 1, NULL, 0, note_key, &some), 0);
	assert_int_equal(kv_count(txn, 0, &count), 0);
	assert_int_equal(count, 3);
	kv_read_end(txn);
}

static void test_a_read_sees_one_moment(void **state)
{
	struct world *w = *state;
	struct kv_txn *txn;
	const void *value;
	size_t len;
	char buf[16];

	assert_int_equal(put(w->kv, 0, "k", "old"), 0);
	assert_int_equal(kv_read_begin(w->kv, &txn), 0);
	assert_int_equal(put(w->kv, 0, "k", "new"), 0);
	assert_int_equal(kv_get(txn, 0, "k", 1, &value, &len), 0);
	assert_memory_equal(value, "old", 3);
	kv_read_end(txn);
	assert_string_equal(get(w->kv, 0, "k", buf, sizeof(buf)), "new");
}

static void test_many_reads_at_once_on_one_thread(void **state)
{
	struct world *w = *state;
	struct kv_txn *txn[400];
	struct kv_stats stats;

	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < 400; i++)
			assert_int_equal(kv_read_begin(w->kv, &txn[i]), 0);
		assert_int_equal(kv_stats(w->kv, &stats), 0);
		assert_true(stats.readers >= 400);
		for (unsigned i = 0; i < 400; i++)
			kv_read_end(txn[i]);
	}
	assert_int_equal(kv_stats(w->kv, &stats), 0);
	assert_int_equal(stats.readers, 0);
}

static void test_a_set_is_whole_or_not_at_all(void **state)
{
	struct world *w = *state;
	size_t huge_len = 32 << 20; /* more than the map holds */
	char *huge = test_calloc(1, huge_len);
	const struct kv_op ops[] = {
		{0, "small", 5, "v", 1, false},
		{0, "huge", 4, huge, huge_len, false},
	};
	char buf[16];

	assert_int_equal(put(w->kv, 0, "before", "v"), 0);
	assert_int_equal(kv_write(w->kv, ops, 2), -ENOSPC);
	assert_string_equal(get(w->kv, 0, "small", buf, sizeof(buf)), "");
	assert_string_equal(get(w->kv, 0, "before", buf, sizeof(buf)), "v");
	assert_int_equal(put(w->kv, 0, "after", "v"), 0);
	test_free(huge);
}

struct results {
	int result[64];
	unsigned count;
};

static void note_result(void *arg, int result)
{
	struct results *r = arg;

	r->result[r->count++] = result; /* writer thread only; read after kv_flush */
}

/* A set that fails alone must not fail those that happen to be committed with it. */
static void test_a_failing_set_leaves_its_batch_alone(void **state)
{
	struct world *w = *state;
	size_t huge_len = 32 << 20;
	char *huge = test_calloc(1, huge_len);
	const struct kv_op bad = {0, "huge", 4, huge, huge_len, false};
	struct results res = {0};
	char key[16], buf[16];

	for (unsigned i = 0; i < 20; i++) {
		const struct kv_op good = {
			0, key, (size_t)snprintf(key, sizeof(key), "k%u", i), "v", 1, false};

		assert_int_equal(
			kv_write_async(w->kv, i == 10 ? &bad : &good, 1, note_result, &res), 0);
	}
	assert_int_equal(kv_flush(w->kv), 0);
	assert_int_equal(res.count, 20);
	for (unsigned i = 0; i < 20; i++) {
		(void)snprintf(key, sizeof(key), "k%u", i);
		assert_int_equal(res.result[i], i == 10 ? -ENOSPC : 0);
		assert_string_equal(get(w->kv, 0, key, buf, sizeof(buf)), i == 10 ? "" : "v");
	}
	test_free(huge);
}

static void test_async_copies_and_close_commits(void **state)
{
	struct world *w = *state;
	char key[] = "key", value[] = "value", buf[16];
	const struct kv_op op = {0, key, 3, value, 5, false};
	struct results res = {0};

	assert_int_equal(kv_write_async(w->kv, &op, 1, note_result, &res), 0);
	memset(key, 'x', 3);
	memset(value, 'x', 5);
	w->kv = kv_close(w->kv);
	assert_int_equal(res.count, 1);
	assert_int_equal(res.result[0], 0);
	world_open(w);
	assert_string_equal(get(w->kv, 0, "key", buf, sizeof(buf)), "value");
}

struct gate {
	sem_t entered, open;
};

static void wait_at_gate(void *arg, int result)
{
	struct gate *g = arg;

	(void)result;
	sem_post(&g->entered);
	while (sem_wait(&g->open) < 0)
		;
}

/* While the writer is held up, the queue takes its 64 MiB and no more, and none of what it took is
 * lost. */
static void test_full_queue_is_eagain(void **state)
{
	struct world *w = *state;
	size_t len = 8 << 20;
	char *bytes = test_calloc(1, len);
	const struct kv_op op = {0, "k", 1, bytes, len, false};
	struct results res = {0};
	struct gate gate;
	unsigned taken = 0;
	int r;

	sem_init(&gate.entered, 0, 0);
	sem_init(&gate.open, 0, 0);
	assert_int_equal(kv_write_async(w->kv, &op, 1, wait_at_gate, &gate), 0);
	while (sem_wait(&gate.entered) < 0)
		;
	while ((r = kv_write_async(w->kv, &op, 1, note_result, &res)) == 0)
		taken++;
	assert_int_equal(r, -EAGAIN);
	assert_in_range(taken, 6, 8);
	sem_post(&gate.open);
	assert_int_equal(kv_flush(w->kv), 0);
	assert_int_equal(res.count, taken);
	sem_destroy(&gate.entered);
	sem_destroy(&gate.open);
	test_free(bytes);
}

static void test_second_open_is_busy_and_names_the_process(void **state)
{
	struct world *w = *state;
	struct err e = {0};
	struct kv *second;
	char pid[32];

	assert_int_equal(kv_open(&second, &w->config, NULL, &e), -EBUSY);
	(void)snprintf(pid, sizeof(pid), "process %ld", (long)getpid());
	assert_non_null(strstr(err_message(&e), pid));
	assert_string_equal(err_reason(&e), "STORE_BUSY");
}

static void test_open_without_memory(void **state)
{
	struct world *w = *state;
	unsigned n;

	w->kv = kv_close(w->kv);
	for (n = 0; n < 1000; n++) {
		struct err e = {0};
		int r;

		alloc_fault_arm(n);
		r = kv_open(&w->kv, &w->config, NULL, &e);
		if (!alloc_fault_disarm()) {
			assert_int_equal(r, 0);
			break;
		}
		assert_int_equal(r, -ENOMEM);
	}
	assert_in_range(n, 2, 999);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_put_get_delete),
		T(test_keep_existing_puts_only_if_absent),
		T(test_bad_ops_are_refused),
		T(test_empty_value_is_not_a_missing_one),
		T(test_survives_reopen),
		T(test_scan_is_ordered_and_stops),
		T(test_a_read_sees_one_moment),
		T(test_many_reads_at_once_on_one_thread),
		T(test_a_set_is_whole_or_not_at_all),
		T(test_a_failing_set_leaves_its_batch_alone),
		T(test_async_copies_and_close_commits),
		T(test_full_queue_is_eagain),
		T(test_second_open_is_busy_and_names_the_process),
		T(test_open_without_memory),
	};
#undef T

	return cmocka_run_group_tests(tests, NULL, NULL);
}
