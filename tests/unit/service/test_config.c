/* SPDX-License-Identifier: Apache-2.0 */
/* Loading the configuration: values, precedence, and that every mistake names line and field. */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on

#include "alloc_fault.h"
#include "tmpdir.h"

#include <base/buf.h>
#include <base/err.h>
#include <base/io.h>
#include <errno.h>
#include <fcntl.h>
#include <service/config.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct fixture {
	struct tmpdir dir;
	char path[300];
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	tmpdir_init(&f->dir);
	(void)tmpdir_path(&f->dir, "c.yaml", f->path, sizeof(f->path));
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	tmpdir_fini(&f->dir);
	free(f);
	return 0;
}

static void write_config(struct fixture *f, const char *text)
{
	assert_int_equal(io_write_file(AT_FDCWD, f->path, text, strlen(text), 0600, false), 0);
}

static struct cfg *load_good(struct fixture *f, const char *text)
{
	struct cfg *cfg = NULL;
	struct err e = {0};

	write_config(f, text);
	if (cfg_load(&cfg, f->path, NULL, 0, &e))
		fail_msg("%s", err_message(&e));
	return cfg;
}

/* The message must contain ":<line>: <what>". */
static void expect_mistake(struct fixture *f, const char *text, unsigned line, const char *what)
{
	struct cfg *cfg = NULL;
	struct err e = {0};
	char expected[256];

	write_config(f, text);
	assert_int_equal(cfg_load(&cfg, f->path, NULL, 0, &e), -EINVAL);
	assert_null(cfg);
	assert_string_equal(e.reason, "CONFIG_INVALID");
	(void)snprintf(expected, sizeof(expected), "c.yaml:%u: %s", line, what);
	if (!strstr(e.message, expected))
		fail_msg("expected \"%s\" in:\n%s", expected, e.message);
}

static void test_defaults_need_no_file_content(void **state)
{
	struct cfg *cfg = load_good(*state, "");

	assert_string_equal(cfg->data_dir, "/var/lib/coppice");
	assert_string_equal(cfg->run_dir, "/run/coppice");
	assert_int_equal(cfg->grpc_listen_count, 2);
	assert_string_equal(cfg->grpc_listen[0], "unix:/run/coppice/coppice.sock");
	assert_string_equal(cfg->grpc_listen[1], "127.0.0.1:7433");
	assert_string_equal(cfg->http_listen, "127.0.0.1:7434");
	assert_int_equal(cfg->cache_memory, UINT64_C(256) << 20);
	assert_int_equal(cfg->fetch_threads, 4);
	assert_int_equal(cfg->cache_disk, UINT64_C(20) << 30);
	assert_int_equal(cfg->cache_nodes, 100000);
	assert_int_equal(cfg->origin_count, 0);
	assert_int_equal(cfg->tenant_count, 0);
	assert_int_equal(cfg->workers, 0);
	cfg_free(cfg);
}

static void test_socket_follows_run_dir(void **state)
{
	struct cfg *cfg = load_good(*state, "run_dir: /tmp/x\n");

	assert_string_equal(cfg->grpc_listen[0], "unix:/tmp/x/coppice.sock");
	cfg_free(cfg);
}

static const char full[] = "data_dir: /d\n"
			   "run_dir: /r\n"
			   "workers: 3\n"
			   "grpc: {listen: [\"unix:/r/s\", \"[::1]:80\", \"localhost:0\"]}\n"
			   "http: {listen: \"\"}\n"
			   "cache: {memory: 1MiB, disk: 5GiB}\n"
			   "origins:\n"
			   "  - {name: a, type: git, url: /srv/a}\n"
			   "  - {name: b, type: git, url: \"file:///srv/b \\\"q\\\"\"}\n"
			   "  - name: m\n"
			   "    type: mega\n"
			   "    url: \"https://m:8\"\n"
			   "    auth: {username: u, password_file: /p}\n"
			   "    tls: {ca: /ca, cert: /c, key: /k}\n"
			   "    proxy: none\n"
			   "    connect_timeout: 3s\n"
			   "    timeout: 7s\n"
			   "    max_requests: 5\n"
			   "tenants:\n"
			   "  - name: t\n"
			   "    admin: true\n"
			   "    quota: {bytes: 1GiB, inodes: 7, mounts: 3}\n"
			   "    mount_quota: {bytes: 1MiB}\n"
			   "    origins: [{name: a, paths: [/x, y/z]}, {name: b}]\n"
			   "    identities: [{unix_uid: 1000}, {loopback: true}]\n"
			   "  - {name: u}\n"
			   "log: {level: warn, format: json}\n";

static void check_remote(const struct cfg_origin *o)
{
	assert_string_equal(o->username, "u");
	assert_string_equal(o->password_file, "/p");
	assert_null(o->token_file);
	assert_string_equal(o->tls_ca, "/ca");
	assert_string_equal(o->tls_cert, "/c");
	assert_string_equal(o->tls_key, "/k");
	assert_string_equal(o->proxy, "none");
	assert_int_equal(o->connect_timeout_ns, UINT64_C(3000000000));
	assert_int_equal(o->timeout_ns, UINT64_C(7000000000));
	assert_int_equal(o->max_requests, 5);
}

static void check_full(const struct cfg *cfg)
{
	const struct cfg_tenant *t = &cfg->tenants[0];

	assert_int_equal(cfg->workers, 3);
	assert_string_equal(cfg->http_listen, "");
	assert_int_equal(cfg->grpc_listen_count, 3);
	assert_int_equal(cfg->cache_disk, UINT64_C(5) << 30);
	assert_int_equal(cfg->origin_count, 3);
	assert_string_equal(cfg->origins[1].url, "file:///srv/b \"q\"");
	check_remote(&cfg->origins[2]);
	assert_int_equal(cfg->tenant_count, 2);
	assert_true(t->admin);
	assert_int_equal(t->bytes, UINT64_C(1) << 30);
	assert_int_equal(t->inodes, 7);
	assert_int_equal(t->mounts, 3);
	assert_int_equal(t->mount_bytes, UINT64_C(1) << 20);
	assert_int_equal(t->mount_inodes, UINT64_MAX);
	assert_int_equal(t->origin_count, 2);
	assert_int_equal(t->origins[0].path_count, 2);
	assert_string_equal(t->origins[0].paths[1], "y/z");
	assert_int_equal(t->identity_count, 2);
	assert_int_equal(t->identities[0].kind, CFG_ID_UNIX_UID);
	assert_int_equal(t->identities[0].uid, 1000);
	assert_int_equal(t->identities[1].kind, CFG_ID_LOOPBACK);
	assert_int_equal(cfg->tenants[1].bytes, UINT64_MAX);
	assert_int_equal(cfg->log_level, LOG_WARN);
	assert_int_equal(cfg->log_format, LOG_JSON);
}

static void test_all_keys(void **state)
{
	struct cfg *cfg = load_good(*state, full);

	check_full(cfg);
	cfg_free(cfg);
}

static void test_rendered_configuration_loads_to_the_same(void **state)
{
	struct cfg *cfg = load_good(*state, full), *again;
	struct buf text;

	buf_init(&text, 1 << 20);
	assert_int_equal(cfg_render(cfg, &text), 0);
	again = load_good(*state, buf_cstr(&text));
	check_full(again);
	buf_fini(&text);
	cfg_free(cfg);
	cfg_free(again);
}

static void test_precedence(void **state)
{
	struct fixture *f = *state;
	struct cfg_override flags[] = {{"cache.disk", "3GiB"}, {"grpc.listen", "unix:/a,unix:/b"}};
	struct cfg *cfg = NULL;
	struct err e = {0};

	write_config(f, "cache: {disk: 1GiB, memory: 1GiB}\nlog: {level: error}\n");
	assert_int_equal(setenv("COPPICE_CACHE_DISK", "2GiB", 1), 0);
	assert_int_equal(setenv("COPPICE_CACHE_MEMORY", "2GiB", 1), 0);
	assert_int_equal(cfg_load(&cfg, f->path, flags, 2, &e), 0);
	assert_int_equal(cfg->cache_disk, UINT64_C(3) << 30);
	assert_int_equal(cfg->cache_memory, UINT64_C(2) << 30);
	assert_int_equal(cfg->log_level, LOG_ERROR);
	assert_int_equal(cfg->grpc_listen_count, 2);
	assert_string_equal(cfg->grpc_listen[1], "unix:/b");
	cfg_free(cfg);
	assert_int_equal(unsetenv("COPPICE_CACHE_DISK"), 0);
	assert_int_equal(unsetenv("COPPICE_CACHE_MEMORY"), 0);
}

static void test_mistakes_outside_the_file_name_their_source(void **state)
{
	struct fixture *f = *state;
	struct cfg_override flags[] = {
		{"cache.dusk", "3GiB"}, {"origins", "x"}, {"workers", "many"}};
	struct cfg *cfg = NULL;
	struct err e = {0};

	write_config(f, "");
	assert_int_equal(setenv("COPPICE_LOG_LEVEL", "loud", 1), 0);
	assert_int_equal(cfg_load(&cfg, f->path, flags, 3, &e), -EINVAL);
	assert_int_equal(unsetenv("COPPICE_LOG_LEVEL"), 0);
	assert_non_null(strstr(e.message,
		"COPPICE_LOG_LEVEL: log.level: \"loud\" is not debug, info, warn or error"));
	assert_non_null(
		strstr(e.message, "command line: cache.dusk: there is no setting of this name"));
	assert_non_null(strstr(
		e.message, "command line: origins: can only be set in the configuration file"));
	assert_non_null(strstr(e.message, "command line: workers: \"many\" is not a whole number"));
	assert_string_equal(e.field, "log.level");
}

struct bad {
	const char *text;
	unsigned line;
	const char *what;
};

static const struct bad bad_schema[] = {
	{"cache:\n  disk: 20 parsecs\n", 2, "cache.disk: \"20 parsecs\" is not a size"},
	{"\n\ncahce: {disk: 1GiB}\n", 3, "cahce: unknown key; known here: data_dir, run_dir"},
	{"log:\n  level: loud\n", 2, "log.level: \"loud\" is not debug"},
	{"data_dir: relative\n", 1, "data_dir: \"relative\" is not an absolute path"},
	{"data_dir: /a\ndata_dir: /b\n", 2, "data_dir: given twice"},
	{"cache: 5GiB\n", 1, "cache: is a scalar, but must be a mapping"},
	{"origins: {name: x}\n", 1, "origins: is a mapping, but must be a list"},
	{"workers: [1]\n", 1, "workers: is a list, but must be a whole number"},
	{"workers: -1\n", 1, "workers: \"-1\" is not a whole number"},
	{"workers: 4294967296\n", 1, "workers: \"4294967296\" is not a whole number"},
	{"origins:\n  - {name: x, type: git}\n", 2, "origins[0].url: is missing"},
	{"tenants:\n  - {name: t, admin: maybe}\n", 2,
		"tenants[0].admin: \"maybe\" is not true or false"},
	{"tenants:\n  - {name: t, identities: [{unix_uid: 1, loopback: true}]}\n", 2,
		"tenants[0].identities[0]: must have exactly one key"},
	{"tenants:\n  - {name: t, identities: [{}]}\n", 2,
		"tenants[0].identities[0]: must have exactly one key"},
	{"a: b: c\n", 1, "yaml: "},
	{"cache: {disk: 1GiB\n", 2, "yaml: "},
	{"log: {}\n---\nlog: {}\n", 3, "yaml: a second document"},
	{"- x\n", 1, "yaml: is a list, but must be a mapping"},
	{"data_dir: \"/a\\0b\"\n", 1, "data_dir: contains a NUL byte"},
};

static const struct bad bad_meaning[] = {
	{"data_dir: /a/../b\n", 1, "data_dir: \"/a/../b\" must not contain"},
	{"data_dir: /a//b\n", 1, "data_dir: \"/a//b\" has superfluous slashes; write \"/a/b\""},
	{"data_dir: /a\nrun_dir: /a/run\n", 2,
		"run_dir: data_dir and run_dir must not be one inside the other"},
	{"grpc: {listen: [\"0.0.0.0:7433\"]}\n", 1,
		"grpc.listen[0]: \"0.0.0.0:7433\" is not a loopback address"},
	{"grpc: {listen: [\"unix:relative\"]}\n", 1,
		"grpc.listen[0]: the path of a socket must be absolute"},
	{"grpc: {listen: [nonsense]}\n", 1, "grpc.listen[0]: \"nonsense\" is neither"},
	{"grpc: {listen: [\"127.0.0.1:65536\"]}\n", 1,
		"grpc.listen[0]: \"127.0.0.1:65536\" is neither"},
	{"grpc: {listen: [\"unix:/s\", \"unix:/s\"]}\n", 1,
		"grpc.listen[1]: \"unix:/s\" is given twice"},
	{"http: {listen: x}\n", 1, "http.listen: \"x\" is not host:port"},
	{"grpc: {tls: {cert: /c}}\n", 1, "grpc.tls: not supported by this version"},
	{"cache: {redis: {url: \"http://h\"}}\n", 1,
		"cache.redis.url: it is none of redis://, rediss://"},
	{"cache: {redis: {ttl: 1d}}\n", 1, "cache.redis.url: is missing"},
	{"cache: {redis: {url: \"redis://h\", ttl: 1s}}\n", 1,
		"cache.redis.ttl: must be at least 1m"},
	{"cache: {redis: {url: \"redis://h\", timeout: 1m}}\n", 1,
		"cache.redis.timeout: must be 1ms to 10s"},
	{"cache: {redis: {url: \"redis://h\", tls: {ca: /ca}}}\n", 1,
		"cache.redis.tls: is for rediss://"},
	{"cache: {redis: {url: \"rediss://h\", tls: {cert: /c}}}\n", 1,
		"cache.redis.tls: cert and key belong together"},
	{"cache: {redis: {url: \"redis://u:p@h\", password_file: /p}}\n", 1,
		"cache.redis.password_file: the URL has a password already"},
	{"cache: {redis: {ttl: soon}}\n", 1, "cache.redis.ttl: \"soon\" is not a duration"},
	{"cache: {memory: 1}\n", 1, "cache.memory: must be at least 1MiB"},
	{"cache: {nodes: 9}\n", 1, "cache.nodes: must be at least 10"},
	{"workers: 65\n", 1, "workers: 65 is more than 64"},
	{"origins: [{name: x, type: svn, url: /x}]\n", 1,
		"origins[0].type: unknown type \"svn\"; known: git, mega"},
	{"origins: [{name: x, type: git, url: /r, lfs: true}]\n", 1,
		"origins[0].lfs_url: is missing"},
	{"origins: [{name: x, type: git, url: /r, lfs_url: \"http://h\"}]\n", 1,
		"origins[0].lfs_url: needs lfs"},
	{"origins: [{name: x, type: git, url: /r, lfs: true, lfs_url: \"ssh://h\"}]\n", 1,
		"origins[0].lfs_url: must begin"},
	{"origins: [{name: x, type: git, url: /r, lfs: true, lfs_url: \"http://u:p@h\"}]\n", 1,
		"origins[0].lfs_url: must not hold"},
	{"origins: [{name: x, type: mega, url: \"mega.example.org:8000\"}]\n", 1,
		"origins[0].url: must begin with http:// or https://"},
	{"origins: [{name: x, type: mega, url: \"http://me:secret@m\"}]\n", 1,
		"origins[0].url: must not hold a user"},
	{"origins: [{name: x, type: mega, url: \"http://m\", mode: mirror}]\n", 1,
		"origins[0].mode: is for Git"},
	{"origins: [{name: x, type: mega, url: \"http://m\", refresh: 5s}]\n", 1,
		"origins[0].refresh: is for Git"},
	{"origins: [{name: x, type: mega, url: \"http://m\", mirror_size: 5MiB}]\n", 1,
		"origins[0].mirror_size: is for Git"},
	{"origins: [{name: x, type: git, url: \"https://u:p@h/r\"}]\n", 1,
		"origins[0].url: holds a user or password"},
	{"origins: [{name: x, type: git, url: \"ftp://h/r\"}]\n", 1,
		"origins[0].url: must be the absolute path"},
	{"origins: [{name: x, type: git, url: \"https://h/r\", mode: full}]\n", 1,
		"origins[0].mode: \"full\" is neither partial nor mirror"},
	{"origins: [{name: x, type: git, url: r}]\n", 1,
		"origins[0].url: must be the absolute path"},
	{"origins: [{name: x, type: git, url: /r, mode: partial}]\n", 1,
		"origins[0].mode: partial is for remote"},
	{"origins: [{name: x, type: git, url: /r, auth: {token_file: /t}}]\n", 1,
		"origins[0].auth: is for remote"},
	{"origins: [{name: x, type: git, url: /r, max_requests: 3}]\n", 1,
		"origins[0].max_requests: is for remote"},
	{"origins: [{name: x, type: git, url: \"ssh://h/r\", auth: {username: u}}]\n", 1,
		"origins[0].auth: username and password_file belong"},
	{"origins: [{name: x, type: git, url: \"ssh://h/r\", auth: {username: u, "
	 "token_file: /t}}]\n",
		1, "origins[0].auth: give token_file, or"},
	{"origins: [{name: x, type: git, url: \"ssh://h/r\", tls: {cert: /c}}]\n", 1,
		"origins[0].tls: cert and key belong"},
	{"origins: [{name: x, type: git, url: \"ssh://h/r\", proxy: \"ftp://p\"}]\n", 1,
		"origins[0].proxy: must begin with"},
	{"origins: [{name: x, type: git, url: \"ssh://h/r\", proxy: \"http://u:p@h\"}]\n", 1,
		"origins[0].proxy: a proxy with a password"},
	{"origins: [{name: x, type: git, url: \"ssh://h/r\", max_requests: 257}]\n", 1,
		"origins[0].max_requests: 257 is more"},
	{"origins: [{name: x, type: git, url: \"ssh://h/r\", timeout: 5}]\n", 1,
		"origins[0].timeout: \"5\" is not a duration"},
	{"origins: [{name: .x, type: git, url: /r}]\n", 1,
		"origins[0].name: \".x\" must be 1 to 63"},
	{"origins:\n - {name: x, type: git, url: /r}\n - {name: x, type: git, url: /s}\n", 3,
		"origins[1].name: \"x\" is already"},
	{"tenants: [{name: a/b}]\n", 1, "tenants[0].name: \"a/b\" must be"},
	{"tenants:\n - {name: a}\n - {name: a}\n", 3,
		"tenants[1].name: \"a\" is already the name of tenants[0]"},
	{"tenants: [{name: a, quota: {bytes: 0}}]\n", 1,
		"tenants[0].quota.bytes: must be at least 1"},
	{"tenants: [{name: a, origins: [{name: x}]}]\n", 1,
		"tenants[0].origins[0].name: there is no origin \"x\""},
	{"tenants:\n - {name: a, identities: [{unix_uid: 5}]}\n - {name: b, identities: "
	 "[{unix_uid: 5}]}\n",
		3, "tenants[1].identities[0]: the same identity is already one of tenants[0]"},
	{"tenants: [{name: a, identities: [{tls_cn: x}]}]\n", 1,
		"tenants[0].identities[0]: tls_cn is not supported"},
	{"tenants: [{name: a, identities: [{token_sha256_file: /does/not/exist}]}]\n", 1,
		"tenants[0].identities[0]: cannot read /does/not/exist"},
};

static void test_mistakes_against_the_schema(void **state)
{
	for (unsigned i = 0; i < sizeof(bad_schema) / sizeof(bad_schema[0]); i++)
		expect_mistake(*state, bad_schema[i].text, bad_schema[i].line, bad_schema[i].what);
}

static void test_mistakes_of_meaning(void **state)
{
	for (unsigned i = 0; i < sizeof(bad_meaning) / sizeof(bad_meaning[0]); i++)
		expect_mistake(
			*state, bad_meaning[i].text, bad_meaning[i].line, bad_meaning[i].what);
}

static void test_all_mistakes_are_reported_at_once(void **state)
{
	const char text[] = "workers: x\nlog: {level: y}\nnope: 1\n";

	expect_mistake(*state, text, 1, "workers: ");
	expect_mistake(*state, text, 2, "log.level: ");
	expect_mistake(*state, text, 3, "nope: ");
}

static void test_password_in_a_url_is_not_shown(void **state)
{
	struct fixture *f = *state;
	struct cfg *cfg = NULL;
	struct err e = {0};

	write_config(f, "origins: [{name: x, type: git, url: \"https://me:secret@h/r\"}]\n");
	assert_int_equal(cfg_load(&cfg, f->path, NULL, 0, &e), -EINVAL);
	assert_null(strstr(e.message, "secret"));
}

/* Aliases multiply: 9 levels of ten each would be a billion values. */
static void test_alias_bomb_ends(void **state)
{
	struct buf text;

	buf_init(&text, 1 << 20);
	(void)buf_puts(&text, "tenants: [{name: a, origins: &o [");
	for (unsigned i = 0; i < 2000; i++)
		(void)buf_puts(&text, "{name: x},");
	(void)buf_puts(&text, "]}");
	for (unsigned i = 0; i < 2000; i++)
		(void)buf_printf(&text, ",{name: t%u, origins: *o}", i);
	(void)buf_puts(&text, "]\n");
	struct fixture *f = *state;
	struct cfg *cfg = NULL;
	struct err e = {0};

	write_config(f, buf_cstr(&text));
	assert_int_equal(cfg_load(&cfg, f->path, NULL, 0, &e), -EINVAL);
	assert_non_null(strstr(e.message, "more than 20000 values"));
	buf_fini(&text);
}

static void test_unreadable_file_is_named(void **state)
{
	struct cfg *cfg = NULL;
	struct err e = {0};

	(void)state;
	assert_int_equal(cfg_load(&cfg, "/does/not/exist.yaml", NULL, 0, &e), -ENOENT);
	assert_non_null(strstr(e.message, "/does/not/exist.yaml"));
	assert_string_equal(e.reason, "CONFIG_UNREADABLE");
}

static void test_token_file(void **state)
{
	struct fixture *f = *state;
	char file[300], text[700];
	struct cfg *cfg;
	const char *hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  -\n";

	(void)tmpdir_path(&f->dir, "token", file, sizeof(file));
	(void)snprintf(text, sizeof(text),
		"tenants: [{name: a, identities: [{token_sha256_file: %s}]}]\n", file);
	assert_int_equal(io_write_file(AT_FDCWD, file, hash, strlen(hash), 0600, false), 0);
	cfg = load_good(f, text);
	assert_int_equal(cfg->tenants[0].identities[0].kind, CFG_ID_TOKEN);
	assert_int_equal(cfg->tenants[0].identities[0].token_sha256[0], 0xba);
	assert_int_equal(cfg->tenants[0].identities[0].token_sha256[31], 0xad);
	cfg_free(cfg);
	assert_int_equal(io_write_file(AT_FDCWD, file, "abc", 3, 0600, false), 0);
	expect_mistake(f, text, 1, "tenants[0].identities[0]: ");
}

static void test_memory_shortage_is_an_error(void **state)
{
	struct fixture *f = *state;

	write_config(f, full);
	for (unsigned n = 0;; n++) {
		struct cfg *cfg = NULL;
		struct err e = {0};
		bool failed;
		int err;

		alloc_fault_arm(n);
		err = cfg_load(&cfg, f->path, NULL, 0, &e);
		failed = alloc_fault_disarm();
		if (!failed) {
			assert_int_equal(err, 0);
			cfg_free(cfg);
			return;
		}
		/* a text that cannot be copied is reported as a mistake in it: still an error,
		 * never a half configuration */
		assert_int_not_equal(err, 0);
		assert_null(cfg);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_defaults_need_no_file_content, setup, teardown),
		cmocka_unit_test_setup_teardown(test_socket_follows_run_dir, setup, teardown),
		cmocka_unit_test_setup_teardown(test_all_keys, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_rendered_configuration_loads_to_the_same, setup, teardown),
		cmocka_unit_test_setup_teardown(test_precedence, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_mistakes_outside_the_file_name_their_source, setup, teardown),
		cmocka_unit_test_setup_teardown(test_mistakes_against_the_schema, setup, teardown),
		cmocka_unit_test_setup_teardown(test_mistakes_of_meaning, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_all_mistakes_are_reported_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_password_in_a_url_is_not_shown, setup, teardown),
		cmocka_unit_test_setup_teardown(test_alias_bomb_ends, setup, teardown),
		cmocka_unit_test(test_unreadable_file_is_named),
		cmocka_unit_test_setup_teardown(test_token_file, setup, teardown),
		cmocka_unit_test_setup_teardown(test_memory_shortage_is_an_error, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
