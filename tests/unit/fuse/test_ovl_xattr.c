/* SPDX-License-Identifier: Apache-2.0 */
/* Extended attributes: ordinary ones, facts about content, and those that nobody may see or forge.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "ovl_world.h"

#include <sys/xattr.h>

static ssize_t get(struct world *w, const char *path, const char *name, char *value, size_t cap)
{
	struct world_at at;
	ssize_t r;

	assert_int_equal(world_walk(w, path, &at), 0);
	r = ovl_getxattr(w->o, world_rq(w), at.e.id, name, value, cap);
	world_forget(w, &at);
	return r;
}

static int set(struct world *w, const char *path, const char *name, const char *value, int flags)
{
	struct world_at at;
	int r;

	assert_int_equal(world_walk(w, path, &at), 0);
	r = ovl_setxattr(w->o, world_rq(w), at.e.id, name, value, strlen(value), flags);
	world_forget(w, &at);
	return r;
}

static int take(struct world *w, const char *path, const char *name)
{
	struct world_at at;
	int r;

	assert_int_equal(world_walk(w, path, &at), 0);
	r = ovl_removexattr(w->o, world_rq(w), at.e.id, name);
	world_forget(w, &at);
	return r;
}

static ssize_t list(struct world *w, const char *path, char *names, size_t cap)
{
	struct world_at at;
	ssize_t r;

	assert_int_equal(world_walk(w, path, &at), 0);
	r = ovl_listxattr(w->o, world_rq(w), at.e.id, names, cap);
	world_forget(w, &at);
	return r;
}

static void a_value_is_kept_and_found(void **state)
{
	struct world *w = *state;
	char value[16], names[64];

	assert_int_equal(get(w, "tool", "user.a", value, sizeof(value)), -ENODATA);
	assert_int_equal(set(w, "tool", "user.a", "value", XATTR_REPLACE), -ENODATA);
	assert_int_equal(world_upper_stat(w, "tool", &(struct stat){0}), -ENOENT);
	assert_int_equal(set(w, "tool", "user.a", "value", XATTR_CREATE), 0);
	assert_int_equal(set(w, "tool", "user.a", "value", XATTR_CREATE), -EEXIST);
	assert_int_equal(get(w, "tool", "user.a", NULL, 0), 5);
	assert_int_equal(get(w, "tool", "user.a", value, 3), -ERANGE);
	assert_int_equal(get(w, "tool", "user.a", value, sizeof(value)), 5);
	assert_memory_equal(value, "value", 5);
	assert_int_equal(list(w, "tool", names, sizeof(names)), 7);
	assert_string_equal(names, "user.a");
	assert_int_equal(take(w, "tool", "user.a"), 0);
	assert_int_equal(take(w, "tool", "user.a"), -ENODATA);
	assert_int_equal(set(w, "d", "user.on.dir", "x", 0), 0);
	assert_int_equal(get(w, "d", "user.on.dir", value, sizeof(value)), 1);
}

/* What the values are is in test_ovl_digest.c. */
static void digests_are_neither_listed_nor_settable(void **state)
{
	static const char *const facts[] = {"user.coppice.oid", "user.coppice.sha256.raw",
		"user.sha256", "user.sha1", "user.coppice.of.the.future"};
	struct world *w = *state;
	char value[128];

	assert_int_equal(set(w, "d/file", "user.mine", "x", 0), 0); /* an upper one */
	for (size_t i = 0; i < sizeof(facts) / sizeof(facts[0]); i++) {
		assert_int_equal(set(w, "tool", facts[i], "forged", 0), -EPERM);
		assert_int_equal(take(w, "tool", facts[i]), -EPERM);
		assert_int_equal(set(w, "d/file", facts[i], "forged", 0), -EPERM);
		assert_int_equal(take(w, "d/file", facts[i]), -EPERM);
		assert_int_equal(set(w, "d", facts[i], "forged", 0), -EPERM);
		assert_int_equal(get(w, "d", facts[i], value, sizeof(value)), -ENODATA);
	}
	assert_int_equal(
		get(w, "tool", "user.coppice.of.the.future", value, sizeof(value)), -ENODATA);
	assert_int_equal(world_upper_stat(w, "tool", &(struct stat){0}), -ENOENT);
	assert_int_equal(list(w, "tool", value, sizeof(value)), 0);
	/* left by somebody who wrote into the upper: not seen, and not believed */
	assert_int_equal(ovl_xattr_at_set(w->ws->upper_fd, "d/file", "user.sha256", "x", 1, 0), 0);
	assert_int_equal(list(w, "d/file", value, sizeof(value)), 10);
	assert_string_equal(value, "user.mine");
}

static void the_overlays_own_are_neither_seen_nor_forged(void **state)
{
	static const char *const own[] = {
		OVL_XATTR_OPAQUE, OVL_XATTR_REDIRECT, OVL_XATTR_NODE, "trusted.overlay.anything"};
	struct world *w = *state;
	char value[64];

	assert_int_equal(world_rename(w, "d", "moved", 0), 0); /* has a redirect and a mark */
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(get(w, "moved", own[i], value, sizeof(value)), -ENODATA);
		assert_int_equal(set(w, "moved", own[i], "y", 0), -EPERM);
		assert_int_equal(take(w, "moved", own[i]), -EPERM);
	}
	assert_int_equal(list(w, "moved", value, sizeof(value)), 0);
}

static void other_namespaces_have_nothing(void **state)
{
	struct world *w = *state;
	char value[16];

	assert_int_equal(get(w, "tool", "security.capability", value, sizeof(value)), -ENODATA);
	assert_int_equal(get(w, "tool", "system.posix_acl_access", value, sizeof(value)), -ENODATA);
	assert_int_equal(set(w, "tool", "security.capability", "x", 0), -EOPNOTSUPP);
	assert_int_equal(set(w, "tool", "system.posix_acl_access", "x", 0), -EOPNOTSUPP);
	assert_int_equal(take(w, "tool", "security.capability"), -ENODATA);
	assert_int_equal(set(w, "tool", "unknown.a", "x", 0), -EOPNOTSUPP);
	assert_int_equal(take(w, "tool", "unknown.a"), -EOPNOTSUPP);
	assert_int_equal(take(w, "tool", "user."), -EINVAL);
	assert_int_equal(set(w, "tool", "user.", "x", 0), -EINVAL);
	assert_int_equal(set(w, "tool", "trusted.a", "x", 0), 0);
	assert_int_equal(get(w, "tool", "trusted.a", value, sizeof(value)), 1);
	w->rq.uid = 1000;
	assert_int_equal(get(w, "tool", "trusted.a", value, sizeof(value)), -ENODATA);
	assert_int_equal(set(w, "tool", "trusted.a", "x", 0), -EPERM);
	assert_int_equal(list(w, "tool", value, sizeof(value)), 0);
}

static void user_attributes_are_for_files_and_directories(void **state)
{
	struct world *w = *state;
	char value[16];

	assert_int_equal(world_make(w, WORLD_FIFO, "fifo", 0600, NULL), 0);
	assert_int_equal(set(w, "link", "user.a", "x", 0), -EPERM);
	assert_int_equal(set(w, "fifo", "user.a", "x", 0), -EPERM);
	assert_int_equal(get(w, "fifo", "user.a", value, sizeof(value)), -ENODATA);
	assert_int_equal(world_upper_stat(w, "link", &(struct stat){0}), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_set_up, world_tear_down)
		TEST(a_value_is_kept_and_found),
		TEST(digests_are_neither_listed_nor_settable),
		TEST(the_overlays_own_are_neither_seen_nor_forged),
		TEST(other_namespaces_have_nothing),
		TEST(user_attributes_are_for_files_and_directories),
#undef TEST
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
