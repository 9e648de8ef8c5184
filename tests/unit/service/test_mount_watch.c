/* SPDX-License-Identifier: Apache-2.0 */
/* Numbering, remembering and repeating of events. */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on

#include "mount/mount_watch.h"
#include "mount/mounts_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct seen {
	unsigned count;
	uint64_t first, last;
	char last_job[129];
	bool ordered;
};

static void see(void *arg, const struct mount_event *event)
{
	struct seen *s = arg;

	if (!s->count++) {
		s->first = event->sequence;
		s->ordered = true;
	} else if (event->sequence != s->last + 1) {
		s->ordered = false;
	}
	s->last = event->sequence;
	(void)snprintf(s->last_job, sizeof(s->last_job), "%s", event->mount->job_id);
}

static char *root_of(void *arg, const char *tenant, const char *job_id)
{
	(void)arg, (void)tenant;
	return strdup(job_id);
}

static void publish(struct watch_hub *hub, const char *tenant, unsigned number)
{
	struct mount_record r = {.state = MOUNT_READY};
	struct mount_info view;

	(void)snprintf(r.mount_id, sizeof(r.mount_id), "id-%u", number);
	(void)snprintf(r.tenant, sizeof(r.tenant), "%s", tenant);
	(void)snprintf(r.job_id, sizeof(r.job_id), "job-%u", number);
	mount_view_of_record(&r, "/root", &view);
	(void)watch_publish_locked(hub, MOUNT_EVENT_CHANGED, number, &r, &view);
}

static struct watch_hub *hub_new(uint64_t next)
{
	struct watch_hub *hub = calloc(1, sizeof(*hub));

	assert_non_null(hub);
	watch_hub_init(hub, next);
	return hub;
}

static void hub_free(struct watch_hub *hub)
{
	watch_hub_fini(hub);
	free(hub);
}

static void test_watcher_sees_its_tenant_in_order(void **state)
{
	struct watch_hub *hub = hub_new(1);
	struct mount_filter filter = {.tenant = "a"};
	struct seen all = {0}, mine = {0};
	struct mount_watch *w1 = watch_new(NULL, see, &all), *w2 = watch_new(&filter, see, &mine);

	(void)state;
	assert_true(w1 && w2);
	watch_add_locked(hub, w1);
	watch_add_locked(hub, w2);
	for (unsigned i = 1; i <= 10; i++)
		publish(hub, i % 2 ? "a" : "b", i);
	assert_int_equal(all.count, 10);
	assert_true(all.ordered);
	assert_int_equal(all.first, 1);
	assert_int_equal(mine.count, 5);
	assert_string_equal(mine.last_job, "job-9");
	watch_remove_locked(w1);
	publish(hub, "a", 11);
	assert_int_equal(all.count, 10);
	watch_free(w1);
	watch_remove_locked(w2);
	watch_free(w2);
	hub_free(hub);
}

static void test_resume_repeats_exactly_what_was_missed(void **state)
{
	struct watch_hub *hub = hub_new(100);
	struct seen seen = {0};
	struct mount_watch *w = watch_new(NULL, see, &seen);

	(void)state;
	for (unsigned i = 100; i < 110; i++)
		publish(hub, "a", i);
	assert_true(watch_can_resume(hub, 104));
	assert_int_equal(watch_replay_locked(hub, w, 104, root_of, NULL), 0);
	assert_int_equal(seen.count, 5);
	assert_int_equal(seen.first, 105);
	assert_true(seen.ordered);
	assert_string_equal(seen.last_job, "job-109");
	assert_true(watch_can_resume(hub, 109));  /* nothing was missed */
	assert_false(watch_can_resume(hub, 110)); /* from the future: another data_dir */
	assert_false(watch_can_resume(hub, 0));
	assert_true(watch_can_resume(hub, 99));
	assert_false(watch_can_resume(hub, 98)); /* of an earlier run */
	watch_free(w);
	hub_free(hub);
}

static void test_ring_forgets_the_oldest(void **state)
{
	struct watch_hub *hub = hub_new(1);
	struct seen seen = {0};
	struct mount_watch *w = watch_new(NULL, see, &seen);

	(void)state;
	for (unsigned i = 1; i <= WATCH_RING_EVENTS + 100; i++)
		publish(hub, "a", i);
	assert_false(watch_can_resume(hub, 99));
	assert_true(watch_can_resume(hub, 100));
	assert_int_equal(watch_replay_locked(hub, w, 100, root_of, NULL), 0);
	assert_int_equal(seen.count, WATCH_RING_EVENTS);
	assert_int_equal(seen.first, 101);
	assert_true(seen.ordered);
	watch_free(w);
	hub_free(hub);
}

static void test_filter(void **state)
{
	static struct mount_label have[] = {{"k", "v"}, {"x", "y"}}, want[] = {{"x", "y"}},
				  other[] = {{"x", "z"}};
	struct mount_info info = {.tenant = "t",
		.origin = "o",
		.mount_id = "m",
		.state = MOUNT_READY,
		.labels = have,
		.label_count = 2};

	(void)state;
	assert_true(mount_filter_matches(&(struct mount_filter){0}, &info));
	assert_true(mount_filter_matches(&(struct mount_filter){.tenant = "t",
						 .origin = "o",
						 .mount_id = "m",
						 .states = 1 << MOUNT_READY,
						 .labels = want,
						 .label_count = 1},
		&info));
	assert_false(mount_filter_matches(&(struct mount_filter){.tenant = "u"}, &info));
	assert_false(mount_filter_matches(&(struct mount_filter){.origin = "u"}, &info));
	assert_false(mount_filter_matches(&(struct mount_filter){.mount_id = "u"}, &info));
	assert_false(
		mount_filter_matches(&(struct mount_filter){.states = 1 << MOUNT_FAILED}, &info));
	assert_false(mount_filter_matches(
		&(struct mount_filter){.labels = other, .label_count = 1}, &info));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_watcher_sees_its_tenant_in_order),
		cmocka_unit_test(test_resume_repeats_exactly_what_was_missed),
		cmocka_unit_test(test_ring_forgets_the_oldest),
		cmocka_unit_test(test_filter),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
