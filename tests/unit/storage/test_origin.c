/* SPDX-License-Identifier: Apache-2.0 */
/* Origins in general: the registry, what callers see of an origin, metrics, and failures on order.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "alloc_fault.h"
#include "base/buf.h"
#include "base/cancel.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/metrics.h"
#include "blob_world.h"
#include "git_fixture.h"
#include "storage/origin_impl.h"
#include "storage/tree.h"

#include <errno.h>
#include <pthread.h>
#include <unistd.h>

struct fault_world {
	struct git_fixture git;
	char commit[GIT_FIXTURE_HEX];
	struct metrics *metrics;
	struct origin_fault_plan plan;
	struct origin *inner, *o;
	struct origin_revision rev;
	struct oid blob;
};

static void fault_world_init(struct fault_world *w)
{
	static const struct git_file files[] = {
		{"empty", 0100644, "", 0}, {"hello", 0100644, "hello\n", 0}};
	struct origin_config config = {.name = "demo", .type = "git"};
	struct err e = {0};

	*w = (struct fault_world){0};
	git_fixture_init(&w->git);
	git_fixture_commit(&w->git, "refs/heads/main", files, 2, w->commit);
	w->metrics = metrics_new();
	config.url = w->git.repo;
	config.metrics = w->metrics;
	if (origin_open(&w->inner, &config, &e) < 0)
		fail_msg("%s", err_message(&e));
	assert_int_equal(origin_wrap_fault(&w->o, w->inner, &w->plan), 0);
	assert_int_equal(origin_resolve(w->o, "main", NS_NEVER, &w->rev, &e), 0);
	assert_int_equal(oid_parse("ce013625030ba8dba906f756967f9e9ca394464a", &w->blob), 0);
}

static void fault_world_fini(struct fault_world *w)
{
	origin_unref(w->o);
	origin_unref(w->inner);
	metrics_free(w->metrics);
	git_fixture_fini(&w->git);
}

static int read_tree(struct fault_world *w, uint64_t deadline_ns)
{
	struct tree_builder *b = tree_builder_new(20);
	int r = b ? origin_read_tree(w->o, &w->rev.root, b, NULL, deadline_ns) : -ENOMEM;

	tree_builder_free(b);
	return r;
}

static void test_bad_configs_say_which_field(void **state)
{
	static const struct {
		struct origin_config config;
		const char *field, *says;
	} rows[] = {
		{{.name = "a/b", .type = "git", .url = "/"}, "name", "name"},
		{{.name = "", .type = "git", .url = "/"}, "name", "name"},
		{{.name = NULL, .type = "git", .url = "/"}, "name", "name"},
		{{.name = "x", .type = "svn", .url = "/"}, "type", "known: git"},
		{{.name = "x", .type = NULL, .url = "/"}, "type", "known: git"},
		{{.name = "x", .type = "git", .url = ""}, "url", "empty"},
		{{.name = "x", .type = "git", .url = NULL}, "url", "empty"},
		{{.name = "x", .type = "git", .url = "ftp://h/x"}, "url", "path or file://"},
		{{.name = "x", .type = "git", .url = "https://u:p@h/x"}, "url", "auth.username"},
		{{.name = "x", .type = "git", .url = "file://other/x"}, "url", "another host"},
		{{.name = "x", .type = "git", .url = "file:///a%2"}, "url", "%-escape"},
		{{.name = "x", .type = "git", .url = "file:///a%00b"}, "url", "%-escape"},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct origin *o = NULL;
		struct err e = {0};

		assert_int_equal(origin_open(&o, &rows[i].config, &e), -EINVAL);
		assert_string_equal(e.field, rows[i].field);
		assert_non_null(strstr(e.message, rows[i].says));
		assert_null(o);
	}
}

static void close_nothing(void *impl)
{
	(void)impl;
}

static void test_faces(void **state)
{
	struct fault_world w;
	struct origin *again, *other;
	const struct origin_config config = {.name = "n", .url = "https://user:secret@host/x@y"};
	static const struct origin_ops ops = {.close = close_nothing};

	(void)state;
	fault_world_init(&w);
	assert_string_equal(origin_name(w.o), "demo");
	assert_string_equal(origin_url(w.o), w.git.repo);
	assert_true(origin_caps(w.o) & ORIGIN_CAP_SIZES);
	assert_true(origin_caps(w.o) & ORIGIN_CAP_LOCAL);
	again = origin_ref(w.o);
	assert_ptr_equal(again, w.o);
	assert_null(origin_unref(again));
	assert_null(origin_unref(NULL));
	assert_int_equal(origin_new(&other, &ops, NULL, &config), 0);
	assert_string_equal(origin_url(other), "https://host/x@y");
	origin_unref(other);
	fault_world_fini(&w);
}

static void test_ordered_failures(void **state)
{
	static const int errors[] = {-EIO, -ETIMEDOUT, -EHOSTUNREACH, -ENOENT};
	struct origin_revision rev;
	struct fault_world w;
	struct err e = {0};

	(void)state;
	fault_world_init(&w);
	for (unsigned i = 0; i < 4; i++) {
		w.plan.tree_error = w.plan.resolve_error = w.plan.blob_error = errors[i];
		assert_int_equal(read_tree(&w, NS_NEVER), errors[i]);
		assert_int_equal(origin_resolve(w.o, "main", NS_NEVER, &rev, &e), errors[i]);
		assert_true(e.message[0]);
	}
	w.plan.tree_error = w.plan.resolve_error = w.plan.blob_error = 0;
	assert_int_equal(read_tree(&w, NS_NEVER), 0);
	assert_true(w.plan.calls >= 9);
	fault_world_fini(&w);
}

static void test_hanging_ends_at_the_deadline(void **state)
{
	struct origin_revision rev;
	struct fault_world w;
	uint64_t start_ns;

	(void)state;
	fault_world_init(&w);
	w.plan.hang = true;
	start_ns = clock_mono_ns(&clock_system);
	assert_int_equal(read_tree(&w, start_ns + 20 * NS_PER_MS), -ETIMEDOUT);
	assert_true(clock_mono_ns(&clock_system) >= start_ns + 20 * NS_PER_MS);
	assert_int_equal(
		origin_resolve(w.o, "main", clock_after(&clock_system, NS_PER_MS), &rev, NULL),
		-ETIMEDOUT);
	w.plan.hang = false;
	w.plan.delay_ns = 20 * NS_PER_MS;
	start_ns = clock_mono_ns(&clock_system);
	assert_int_equal(read_tree(&w, NS_NEVER), 0);
	assert_true(clock_mono_ns(&clock_system) >= start_ns + 20 * NS_PER_MS);
	assert_int_equal(read_tree(&w, clock_after(&clock_system, NS_PER_MS)), -ETIMEDOUT);
	fault_world_fini(&w);
}

struct canceller {
	struct cancel *cancel;
	struct origin_fault_plan *plan;
	uint64_t calls;
};

static void *cancel_when_called(void *arg)
{
	struct canceller *c = arg;

	while (c->plan->calls == c->calls)
		(void)usleep(1000);
	cancel_fire(c->cancel);
	return NULL;
}

static void test_hanging_ends_when_cancelled(void **state)
{
	struct fault_world w;
	struct tree_builder *b = tree_builder_new(20);
	struct canceller c;
	pthread_t thread;

	(void)state;
	fault_world_init(&w);
	w.plan.hang = true;
	c = (struct canceller){cancel_new(), &w.plan, w.plan.calls};
	assert_int_equal(pthread_create(&thread, NULL, cancel_when_called, &c), 0);
	assert_int_equal(origin_read_tree(w.o, &w.rev.root, b, c.cancel, NS_NEVER), -ECANCELED);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(origin_read_tree(w.inner, &w.rev.root, b, c.cancel, NS_NEVER), -ECANCELED);
	cancel_unref(c.cancel);
	tree_builder_free(b);
	fault_world_fini(&w);
}

static void test_corrupted_blobs_never_arrive(void **state)
{
	struct fault_world w;
	struct blob_world blobs;
	struct blob_source source;
	struct oid empty;
	char buf[16];

	(void)state;
	fault_world_init(&w);
	blob_world_init(&blobs, 1 << 20, 64 << 20);
	source = origin_blob_source(w.o);
	assert_int_equal(oid_parse("e69de29bb2d1d6434b8b29ae775ad8c2e48c5391", &empty), 0);
	w.plan.corrupt = true;
	assert_int_equal(blob_fetch(blobs.bs, &w.blob, &source, NULL, NS_NEVER), -EBADMSG);
	assert_int_equal(blob_fetch(blobs.bs, &empty, &source, NULL, NS_NEVER), -EBADMSG);
	w.plan.corrupt = false;
	assert_int_equal(blob_fetch(blobs.bs, &w.blob, &source, NULL, NS_NEVER), 0);
	assert_int_equal(blob_fetch(blobs.bs, &empty, &source, NULL, NS_NEVER), 0);
	assert_int_equal(blob_read(blobs.bs, &w.blob, buf, sizeof(buf), 0), 6);
	assert_memory_equal(buf, "hello\n", 6);
	blob_world_fini(&blobs);
	fault_world_fini(&w);
}

static void test_calls_and_errors_are_counted(void **state)
{
	struct fault_world w;
	struct buf text;

	(void)state;
	fault_world_init(&w);
	assert_int_equal(read_tree(&w, NS_NEVER), 0);
	assert_int_equal(origin_resolve(w.inner, "nonsense", NS_NEVER, &w.rev, NULL), -ENOENT);
	buf_init(&text, 1 << 20);
	metrics_render(w.metrics, &text);
	assert_non_null(strstr(
		buf_cstr(&text), "coppice_origin_calls_total{origin=\"demo\",op=\"tree\"} 1\n"));
	assert_non_null(strstr(buf_cstr(&text), "coppice_origin_errors_total{origin=\"demo\",op="
						"\"resolve\",error=\"ENOENT\"} 1\n"));
	buf_fini(&text);
	fault_world_fini(&w);
}

static void test_without_memory(void **state)
{
	struct fault_world w;
	struct origin_config config = {.name = "demo", .type = "git"};
	unsigned n;

	(void)state;
	fault_world_init(&w);
	config.url = w.git.repo;
	for (n = 0;; n++) {
		struct origin *inner = NULL, *o = NULL;
		struct err e = {0};
		int r;

		alloc_fault_arm(n);
		r = origin_open(&inner, &config, &e);
		if (r == 0)
			r = origin_wrap_fault(&o, inner, &w.plan);
		origin_unref(o);
		origin_unref(inner);
		if (!alloc_fault_disarm())
			break;
		assert_int_equal(r, -ENOMEM);
	}
	assert_true(n >= 5);
	for (n = 0;; n++) { /* a call: it says so, and the origin is as before */
		int r;

		alloc_fault_arm(n);
		r = read_tree(&w, NS_NEVER);
		if (!alloc_fault_disarm())
			break;
		assert_true(r == 0 || r == -ENOMEM);
	}
	assert_int_equal(read_tree(&w, NS_NEVER), 0);
	fault_world_fini(&w);
}

struct prepared {
	size_t calls, blobs;
	struct oid last;
};

static int prepare_and_note(void *impl, const struct oid *blobs, size_t count,
	const struct cancel *cancel, uint64_t deadline_ns)
{
	struct prepared *p = impl;

	(void)cancel;
	(void)deadline_ns;
	p->calls++;
	p->blobs += count;
	p->last = blobs[count - 1];
	return count > 2 ? -EHOSTUNREACH : 0;
}

static void test_blobs_are_prepared_where_the_origin_can(void **state)
{
	static const struct origin_ops ops = {.type = "test",
		.caps = ORIGIN_CAP_BATCH,
		.close = close_nothing,
		.prepare_blobs = prepare_and_note};
	const struct origin_config config = {.name = "batch", .type = "test", .url = "/"};
	struct prepared p = {0};
	struct fault_world w;
	struct oid blobs[3];
	struct origin *o;

	(void)state;
	fault_world_init(&w);
	for (unsigned i = 0; i < 3; i++)
		blobs[i] = w.blob;
	assert_int_equal(origin_prepare_blobs(w.inner, blobs, 3, NULL, NS_NEVER), 0);
	assert_int_equal(origin_new(&o, &ops, &p, &config), 0);
	assert_true(origin_caps(o) & ORIGIN_CAP_BATCH);
	assert_int_equal(origin_prepare_blobs(o, blobs, 0, NULL, NS_NEVER), 0);
	assert_int_equal(p.calls, 0);
	assert_int_equal(origin_prepare_blobs(o, blobs, 2, NULL, NS_NEVER), 0);
	assert_int_equal(origin_prepare_blobs(o, blobs, 3, NULL, NS_NEVER), -EHOSTUNREACH);
	assert_int_equal(origin_prepare_blobs(o, blobs, 1, NULL, 1), -ETIMEDOUT);
	assert_int_equal(p.calls, 2);
	assert_int_equal(p.blobs, 5);
	assert_true(oid_equal(&p.last, &w.blob));
	origin_unref(o);
	fault_world_fini(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bad_configs_say_which_field),
		cmocka_unit_test(test_faces),
		cmocka_unit_test(test_ordered_failures),
		cmocka_unit_test(test_hanging_ends_at_the_deadline),
		cmocka_unit_test(test_hanging_ends_when_cancelled),
		cmocka_unit_test(test_corrupted_blobs_never_arrive),
		cmocka_unit_test(test_calls_and_errors_are_counted),
		cmocka_unit_test(test_blobs_are_prepared_where_the_origin_can),
		cmocka_unit_test(test_without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
