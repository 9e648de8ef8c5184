// SPDX-License-Identifier: Apache-2.0
/* storage/kv under threads: readers see whole sets while writers write; all that was accepted is
 * committed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "storage/kv.h"
#include "tmpdir.h"

#define WRITERS 3
#define READERS 3
#define ROUNDS  150

struct world {
	struct kv *kv;
	_Atomic unsigned writers_left, failures, answers;
};

static void note_answer(void *arg, int result)
{
	struct world *w = arg;

	if (result < 0)
		w->failures++;
	w->answers++;
}

/* Each set writes the same number under two keys in two tables. */
static int write_pair(struct world *w, uint32_t n, bool async)
{
	const struct kv_op ops[] = {
		{0, "left", 4, &n, sizeof(n), false},
		{1, "right", 5, &n, sizeof(n), false},
		{0, &n, sizeof(n), "v", 1, false},
	};

	return async ? kv_write_async(w->kv, ops, 3, note_answer, w) : kv_write(w->kv, ops, 3);
}

struct writer {
	struct world *w;
	unsigned index;
};

static void *writer_main(void *arg)
{
	struct writer *me = arg;

	for (uint32_t i = 0; i < ROUNDS; i++)
		if (write_pair(me->w, me->index * ROUNDS + i, i % 3 == 2) < 0)
			me->w->failures++;
	me->w->writers_left--;
	return NULL;
}

static void *reader_main(void *arg)
{
	struct world *w = arg;

	while (w->writers_left) {
		struct kv_txn *txn;
		const void *left, *right;
		size_t len;

		if (kv_read_begin(w->kv, &txn) < 0) {
			w->failures++;
			continue;
		}
		if (kv_get(txn, 0, "left", 4, &left, &len) < 0 ||
			kv_get(txn, 1, "right", 5, &right, &len) < 0)
			w->failures++;
		else if (!left != !right || (left && memcmp(left, right, sizeof(uint32_t)) != 0))
			w->failures++;
		kv_read_end(txn);
	}
	return NULL;
}

static void test_readers_and_writers(void **state)
{
	struct tmpdir tmp;
	char dir[300];
	struct world w = {.writers_left = WRITERS};
	struct writer writer[WRITERS];
	pthread_t thread[WRITERS + READERS];
	struct err e = {0};
	struct kv_txn *txn;
	uint64_t count;
	struct kv_config config = {
		.mode = KV_CACHE,
		.max_bytes = 16 << 20,
		.tables = {"one", "two"},
		.name = "test",
	};

	(void)state;
	tmpdir_init(&tmp);
	config.dir = tmpdir_path(&tmp, "store", dir, sizeof(dir));
	assert_int_equal(kv_open(&w.kv, &config, NULL, &e), 0);
	for (unsigned i = 0; i < WRITERS; i++) {
		writer[i] = (struct writer){&w, i};
		assert_int_equal(pthread_create(&thread[i], NULL, writer_main, &writer[i]), 0);
	}
	for (unsigned i = WRITERS; i < WRITERS + READERS; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, reader_main, &w), 0);
	for (unsigned i = 0; i < WRITERS + READERS; i++)
		assert_int_equal(pthread_join(thread[i], NULL), 0);
	assert_int_equal(kv_flush(w.kv), 0);
	assert_int_equal(w.failures, 0);
	assert_int_equal(w.answers, WRITERS * (ROUNDS / 3));
	assert_int_equal(kv_read_begin(w.kv, &txn), 0);
	assert_int_equal(kv_count(txn, 0, &count), 0);
	assert_int_equal(count, WRITERS * ROUNDS + 1);
	kv_read_end(txn);
	kv_close(w.kv);
	tmpdir_fini(&tmp);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_readers_and_writers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
