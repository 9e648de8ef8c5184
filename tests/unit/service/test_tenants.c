/* SPDX-License-Identifier: Apache-2.0 */
/* Who is who, and what each may use. */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on

#include "tmpdir.h"

#include <base/err.h>
#include <base/io.h>
#include <errno.h>
#include <fcntl.h>
#include <service/config.h>
#include <service/tenants.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct world {
	struct tmpdir dir;
	char token_file[300];
	struct cfg *cfg;
	struct tenants *tenants;
};

/* SHA-256 of "abc" and of "other". */
static const char abc[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\n";
static const char other[] = "d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa\n";

static void write_token(struct world *w, const char *hash)
{
	assert_int_equal(
		io_write_file(AT_FDCWD, w->token_file, hash, strlen(hash), 0600, false), 0);
}

static void open_world(struct world *w, const char *tenants)
{
	char path[300], text[2048];
	struct err e = {0};

	tmpdir_init(&w->dir);
	(void)tmpdir_path(&w->dir, "token", w->token_file, sizeof(w->token_file));
	write_token(w, abc);
	(void)tmpdir_path(&w->dir, "c.yaml", path, sizeof(path));
	(void)snprintf(text, sizeof(text),
		"origins: [{name: main, type: git, url: /m}, {name: aux, type: git, url: /a}]\n%s",
		tenants);
	for (char *at; (at = strstr(text, "TOKEN"));) { /* the file's name is known only now */
		char rest[1024];

		(void)snprintf(rest, sizeof(rest), "%s", at + 5);
		(void)snprintf(at, sizeof(text) - (size_t)(at - text), "%s%s", w->token_file, rest);
	}
	assert_int_equal(io_write_file(AT_FDCWD, path, text, strlen(text), 0600, false), 0);
	if (cfg_load(&w->cfg, path, NULL, 0, &e))
		fail_msg("%s", err_message(&e));
	assert_int_equal(tenants_new(&w->tenants, w->cfg, &e), 0);
}

static void close_world(struct world *w)
{
	tenants_free(w->tenants);
	cfg_free(w->cfg);
	tmpdir_fini(&w->dir);
}

static const char two[] = "tenants:\n"
			  "  - {name: a, admin: true, quota: {mounts: 2}, identities: [{unix_uid: "
			  "1000}, {token_sha256_file: TOKEN}]}\n"
			  "  - {name: b, origins: [{name: main, paths: [/src, lib/x]}], "
			  "identities: [{loopback: true}]}\n";

static const char *identify(struct world *w, const struct tenant_peer *peer, bool *ret_admin)
{
	struct tenant *tn;
	struct err e = {0};
	int err = tenants_identify(w->tenants, peer, &tn, ret_admin, &e);

	if (!err)
		return tenant_name(tn);
	assert_int_equal(err, -EPERM);
	assert_string_equal(e.reason, "UNAUTHENTICATED");
	assert_true(e.message[0] != '\0');
	return "";
}

static void test_default_tenant(void **state)
{
	struct world w = {0};
	bool admin;

	(void)state;
	open_world(&w, "");
	assert_string_equal(
		identify(&w, &(struct tenant_peer){.transport = PEER_UNIX, .uid = 0}, &admin),
		"default");
	assert_true(admin);
	assert_string_equal(
		identify(&w, &(struct tenant_peer){.transport = PEER_UNIX, .uid = 54321}, &admin),
		"default");
	assert_false(admin);
	assert_string_equal(
		identify(&w, &(struct tenant_peer){.transport = PEER_TCP_LOOPBACK, .uid = 0},
			&admin),
		"default");
	assert_true(admin);
	assert_string_equal(
		identify(&w,
			&(struct tenant_peer){.transport = PEER_TCP_LOOPBACK, .uid = (uid_t)-1},
			&admin),
		"default");
	assert_false(admin);
	assert_string_equal(identify(&w, &(struct tenant_peer){.transport = PEER_TCP}, &admin), "");
	assert_string_equal(
		identify(&w, &(struct tenant_peer){.transport = PEER_UNIX, .token = "abc"}, &admin),
		"");
	close_world(&w);
}

static void test_configured_identities(void **state)
{
	struct world w = {0};
	bool admin;

	(void)state;
	open_world(&w, two);
	assert_string_equal(
		identify(&w, &(struct tenant_peer){.transport = PEER_UNIX, .uid = 1000}, &admin),
		"a");
	assert_true(admin);
	assert_string_equal(
		identify(&w, &(struct tenant_peer){.transport = PEER_TCP_LOOPBACK}, &admin), "b");
	assert_false(admin);
	assert_string_equal(
		identify(&w, &(struct tenant_peer){.transport = PEER_TCP, .token = "abc"}, &admin),
		"a");
	assert_string_equal(
		identify(&w, &(struct tenant_peer){.transport = PEER_UNIX, .uid = 0}, &admin), "");
	assert_string_equal(identify(&w, &(struct tenant_peer){.transport = PEER_TCP}, &admin), "");
	/* a wrong token is not made good by the uid */
	assert_string_equal(
		identify(&w,
			&(struct tenant_peer){.transport = PEER_UNIX, .uid = 1000, .token = "x"},
			&admin),
		"");
	close_world(&w);
}

static void test_reload_changes_tokens_or_nothing(void **state)
{
	const struct tenant_peer old = {.transport = PEER_TCP, .token = "abc"},
				 new = {.transport = PEER_TCP, .token = "other"};
	struct world w = {0};
	struct err e = {0};
	bool admin;

	(void)state;
	open_world(&w, two);
	write_token(&w, "not a hash\n");
	assert_int_equal(tenants_reload(w.tenants, &e), -EINVAL);
	assert_string_equal(identify(&w, &old, &admin), "a");
	write_token(&w, other);
	assert_int_equal(tenants_reload(w.tenants, &e), 0);
	assert_string_equal(identify(&w, &old, &admin), "");
	assert_string_equal(identify(&w, &new, &admin), "a");
	close_world(&w);
}

static void expect_denied(
	const struct tenant *tn, const char *origin, const char *path, const char *reason)
{
	struct err e = {0};

	assert_int_equal(tenant_may_mount(tn, origin, path, &e), -EACCES);
	assert_string_equal(e.reason, reason);
}

static void test_grants(void **state)
{
	struct world w = {0};
	struct tenant *a, *b;

	(void)state;
	open_world(&w, two);
	a = tenants_find(w.tenants, "a");
	b = tenants_find(w.tenants, "b");
	assert_null(tenants_find(w.tenants, "c"));
	assert_int_equal(tenant_may_mount(a, "aux", "", NULL), 0);
	assert_int_equal(tenant_may_mount(b, "main", "src", NULL), 0);
	assert_int_equal(tenant_may_mount(b, "main", "/src/deep/er", NULL), 0);
	assert_int_equal(tenant_may_mount(b, "main", "lib/x", NULL), 0);
	expect_denied(b, "main", "", "PATH_NOT_ALLOWED");
	expect_denied(b, "main", "srcs", "PATH_NOT_ALLOWED");
	expect_denied(b, "main", "lib", "PATH_NOT_ALLOWED");
	expect_denied(b, "aux", "src", "ORIGIN_NOT_ALLOWED");
	assert_int_equal(tenant_may_mount(b, "main", "src/../x", NULL), -EINVAL);
	assert_null(tenant_only_origin(a));
	assert_string_equal(tenant_only_origin(b), "main");
	close_world(&w);
}

/* A request may leave the origin out where there is no choice. */
static void test_only_origin(void **state)
{
	struct cfg_origin origins[] = {{.name = (char *)"main"}, {.name = (char *)"aux"}};
	struct cfg_tenant any = {.name = (char *)"t"};
	struct cfg cfg = {.origins = origins, .origin_count = 1};
	struct tenants *t;
	struct err e = {0};

	(void)state;
	for (unsigned tenants = 0; tenants < 2;
		tenants++) { /* the default tenant, one without grants */
		cfg.tenants = &any;
		cfg.tenant_count = tenants;
		for (cfg.origin_count = 0; cfg.origin_count <= 2; cfg.origin_count++) {
			const char *only;

			assert_int_equal(tenants_new(&t, &cfg, &e), 0);
			only = tenant_only_origin(tenants_find(t, tenants ? "t" : "default"));
			if (cfg.origin_count == 1)
				assert_string_equal(only, "main");
			else
				assert_null(only);
			tenants_free(t);
		}
	}
}

static void test_limits(void **state)
{
	struct world w = {0};
	struct quota *q;

	(void)state;
	open_world(&w, two);
	q = tenant_quota(tenants_find(w.tenants, "a"));
	assert_int_equal(quota_charge(q, QUOTA_MOUNTS, 2), 0);
	assert_int_equal(quota_charge(q, QUOTA_MOUNTS, 1), -EDQUOT);
	quota_release(q, QUOTA_MOUNTS, 2);
	assert_true(quota_limit(q, QUOTA_BYTES) == QUOTA_UNLIMITED);
	close_world(&w);
}

/* The daemon binds as root: a tenant must not cover a directory that its caller could not have. */
static void test_a_tenant_cannot_cover_foreign_directories(void **state)
{
	const uid_t root = 0, user = 12345;
	char made[300], inside[320], link[300];
	struct err e = {0};
	struct world w = {0};
	struct tenant *t;

	(void)state;
	open_world(&w, "tenants: [{name: t, mountpoints: [/srv/jobs/], identities: [{unix_uid: "
		       "12345}]}]\n");
	t = tenants_find(w.tenants, "t");
	(void)tmpdir_path(&w.dir, "own", made, sizeof(made));
	(void)tmpdir_path(&w.dir, "link", link, sizeof(link));
	(void)snprintf(inside, sizeof(inside), "%s/new", made);
	assert_int_equal(mkdir(made, 0755), 0);
	assert_int_equal(symlink(made, link), 0);

	assert_int_equal(tenant_may_bind(t, true, NULL, "/etc/x", NULL), 0);
	assert_int_equal(tenant_may_bind(t, false, NULL, "/srv/jobs/7", NULL), 0);
	assert_int_equal(tenant_may_bind(t, false, NULL, "/srv/jobs2", &e), -EACCES);
	assert_string_equal(e.reason, "MOUNTPOINT_NOT_ALLOWED");
	assert_int_equal(tenant_may_bind(t, false, &root, made, NULL), 0);
	assert_int_equal(tenant_may_bind(t, false, &user, made, NULL), -EACCES);
	assert_int_equal(tenant_may_bind(t, false, NULL, made, NULL), -EACCES);
	assert_int_equal(chown(made, user, user), 0);
	assert_int_equal(tenant_may_bind(t, false, &user, made, NULL), 0);
	assert_int_equal(tenant_may_bind(t, false, &user, inside, NULL), 0);
	assert_int_equal(lchown(link, user, user), 0);
	assert_int_equal(tenant_may_bind(t, false, &user, link, NULL), -EACCES);
	close_world(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_default_tenant),
		cmocka_unit_test(test_configured_identities),
		cmocka_unit_test(test_reload_changes_tokens_or_nothing),
		cmocka_unit_test(test_grants),
		cmocka_unit_test(test_only_origin),
		cmocka_unit_test(test_a_tenant_cannot_cover_foreign_directories),
		cmocka_unit_test(test_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
