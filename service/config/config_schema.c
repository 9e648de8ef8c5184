/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The schema of the configuration: every key, its type and where its value goes. Adding a key is
 * adding a row here, a line in cfg_defaults (config.c) if it has a default, and a row in
 * docs/configuration.md. Pure tables and conversions; any thread.
 */
#include "config_internal.h"

#include <base/buf.h>
#include <base/clock.h>
#include <base/io.h>
#include <errno.h>
#include <inttypes.h>

/* ---- types of scalars ---- */

static bool text_set(const char *text, void *value)
{
	char **slot = value;
	char *copy = strdup(text);

	if (!copy)
		return false;
	free(*slot);
	*slot = copy;
	return true;
}

/* Double quotes with escapes are understood for any byte that may stand in a YAML file. */
static bool text_render(const void *value, struct buf *out)
{
	const char *text = *(char *const *)value;

	if (!text)
		return false;
	(void)buf_putc(out, '"'); /* the buffer remembers the first failure */
	for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
		if (*p == '"' || *p == '\\')
			(void)buf_printf(out, "\\%c", *p);
		else if (*p < 0x20 || *p == 0x7f)
			(void)buf_printf(out, "\\x%02x", *p);
		else
			(void)buf_putc(out, (char)*p);
	}
	(void)buf_putc(out, '"');
	return true;
}

static const struct cfg_type type_text = {"text", sizeof(char *), true, text_set, text_render};

static bool path_parse(const char *text, void *value)
{
	return text[0] == '/' && text_set(text, value);
}

static const struct cfg_type type_path = {
	"an absolute path", sizeof(char *), true, path_parse, text_render};

static bool size_parse(const char *text, void *value)
{
	return io_parse_size(text, value);
}

static bool size_render(const void *value, struct buf *out)
{
	static const char *const units[] = {"", "KiB", "MiB", "GiB", "TiB"};
	uint64_t bytes = *(const uint64_t *)value;
	unsigned unit = 0;

	if (bytes == UINT64_MAX)
		return false;
	while (bytes && bytes % 1024 == 0 && unit + 1 < sizeof(units) / sizeof(units[0])) {
		bytes /= 1024;
		unit++;
	}
	(void)buf_printf(out, "%" PRIu64 "%s", bytes, units[unit]);
	return true;
}

static const struct cfg_type type_size = {
	"a size such as 256MiB or 20GiB", sizeof(uint64_t), false, size_parse, size_render};

/* The default is what the reader of the setting makes of 0. */
static bool set_size_render(const void *value, struct buf *out)
{
	return *(const uint64_t *)value && size_render(value, out);
}

static const struct cfg_type type_size_or_default = {
	"a size such as 256MiB or 20GiB", sizeof(uint64_t), false, size_parse, set_size_render};

/* A URL that may hold a password, which is not shown. */
static bool login_url_render(const void *value, struct buf *out)
{
	const char *url = *(char *const *)value;
	const char *login = url ? strstr(url, "://") : NULL;
	const char *at = login ? strchr(login, '@') : NULL;
	const char *colon = login ? strchr(login + 3, ':') : NULL;
	char shown[1024];
	char *text = shown;

	if (!url)
		return false;
	if (!at || !colon || colon > at)
		return text_render(value, out);
	(void)snprintf(shown, sizeof(shown), "%.*s***%s", (int)(colon + 1 - url), url, at);
	return text_render(&text, out);
}

static const struct cfg_type type_login_url = {
	"text", sizeof(char *), true, text_set, login_url_render};

static bool digits_parse(const char *text, uint64_t max, uint64_t *ret_number)
{
	char *end;
	unsigned long long number;

	if (text[0] < '0' || text[0] > '9')
		return false;
	errno = 0;
	number = strtoull(text, &end, 10);
	if (errno || *end || number > max)
		return false;
	*ret_number = number;
	return true;
}

static bool count_parse(const char *text, void *value)
{
	return digits_parse(text, UINT64_MAX - 1, value);
}

static bool count_render(const void *value, struct buf *out)
{
	uint64_t count = *(const uint64_t *)value;

	if (count == UINT64_MAX)
		return false;
	(void)buf_printf(out, "%" PRIu64, count);
	return true;
}

static const struct cfg_type type_count = {
	"a whole number", sizeof(uint64_t), false, count_parse, count_render};

static bool small_parse(const char *text, void *value)
{
	uint64_t number;

	if (!digits_parse(text, UINT32_MAX, &number))
		return false;
	*(unsigned *)value = (unsigned)number;
	return true;
}

static bool small_render(const void *value, struct buf *out)
{
	(void)buf_printf(out, "%u", *(const unsigned *)value);
	return true;
}

static const struct cfg_type type_small = {
	"a whole number", sizeof(unsigned), false, small_parse, small_render};

/* 0 in the structure stands for the default and is not shown. */
static bool positive_parse(const char *text, void *value)
{
	return small_parse(text, value) && *(unsigned *)value > 0;
}

static bool positive_render(const void *value, struct buf *out)
{
	return *(const unsigned *)value > 0 && small_render(value, out);
}

static const struct cfg_type type_positive = {
	"a whole number from 1", sizeof(unsigned), false, positive_parse, positive_render};

static bool duration_parse(const char *text, void *value)
{
	return io_parse_duration(text, value);
}

static bool duration_render(const void *value, struct buf *out)
{
	uint64_t ns = *(const uint64_t *)value;

	if (!ns)
		return false;
	(void)buf_printf(out, "%" PRIu64 "ms", ns / NS_PER_MS);
	return true;
}

static const struct cfg_type type_duration = {"a duration such as 30s, 5m or 7d", sizeof(uint64_t),
	false, duration_parse, duration_render};

/* 0 has a meaning of its own here, and is shown. */
static bool patience_render(const void *value, struct buf *out)
{
	(void)buf_printf(out, "%" PRIu64 "ms", *(const uint64_t *)value / NS_PER_MS);
	return true;
}

static const struct cfg_type type_patience = {"a duration such as 30s, 5m or 7d", sizeof(uint64_t),
	false, duration_parse, patience_render};

static bool bool_parse(const char *text, void *value)
{
	bool yes = strcmp(text, "true") == 0;

	if (!yes && strcmp(text, "false") != 0)
		return false;
	*(bool *)value = yes;
	return true;
}

static bool bool_render(const void *value, struct buf *out)
{
	(void)buf_puts(out, *(const bool *)value ? "true" : "false");
	return true;
}

static const struct cfg_type type_bool = {
	"true or false", sizeof(bool), false, bool_parse, bool_render};

static bool level_parse(const char *text, void *value)
{
	return log_level_parse(text, value);
}

static bool level_render(const void *value, struct buf *out)
{
	static const char *const words[] = {"debug", "info", "warn", "error"};

	(void)buf_puts(out, words[*(const enum log_level *)value]);
	return true;
}

static const struct cfg_type type_log_level = {
	"debug, info, warn or error", sizeof(enum log_level), false, level_parse, level_render};

static bool format_parse(const char *text, void *value)
{
	return log_format_parse(text, value);
}

static bool format_render(const void *value, struct buf *out)
{
	(void)buf_puts(out, *(const enum log_format *)value == LOG_JSON ? "json" : "logfmt");
	return true;
}

static const struct cfg_type type_log_format = {
	"logfmt or json", sizeof(enum log_format), false, format_parse, format_render};

/* ---- identities: the key says the kind, so these conversions see the whole struct cfg_identity
 * ---- */

static bool unix_uid_parse(const char *text, void *value)
{
	struct cfg_identity *id = value;
	uint64_t uid;

	if (!digits_parse(text, UINT32_MAX - 1, &uid))
		return false;
	id->kind = CFG_ID_UNIX_UID;
	id->uid = (uint32_t)uid;
	return true;
}

static bool unix_uid_render(const void *value, struct buf *out)
{
	const struct cfg_identity *id = value;

	if (id->kind != CFG_ID_UNIX_UID)
		return false;
	(void)buf_printf(out, "%u", id->uid);
	return true;
}

static const struct cfg_type type_unix_uid = {
	"a numeric user id", sizeof(struct cfg_identity), false, unix_uid_parse, unix_uid_render};

static bool tls_cn_parse(const char *text, void *value)
{
	struct cfg_identity *id = value;

	id->kind = CFG_ID_TLS_CN;
	return text[0] && text_set(text, &id->tls_cn);
}

static bool tls_cn_render(const void *value, struct buf *out)
{
	return text_render(&((const struct cfg_identity *)value)->tls_cn, out);
}

static const struct cfg_type type_tls_cn = {
	"a common name", sizeof(struct cfg_identity), false, tls_cn_parse, tls_cn_render};

static bool token_parse(const char *text, void *value)
{
	struct cfg_identity *id = value;

	id->kind = CFG_ID_TOKEN;
	return path_parse(text, &id->token_sha256_file);
}

static bool token_render(const void *value, struct buf *out)
{
	return text_render(&((const struct cfg_identity *)value)->token_sha256_file, out);
}

static const struct cfg_type type_token = {
	"an absolute path", sizeof(struct cfg_identity), false, token_parse, token_render};

static bool loopback_parse(const char *text, void *value)
{
	((struct cfg_identity *)value)->kind = CFG_ID_LOOPBACK;
	return strcmp(text, "true") == 0;
}

static bool loopback_render(const void *value, struct buf *out)
{
	if (((const struct cfg_identity *)value)->kind != CFG_ID_LOOPBACK)
		return false;
	(void)buf_puts(out, "true");
	return true;
}

static const struct cfg_type type_loopback = {
	"true", sizeof(struct cfg_identity), false, loopback_parse, loopback_render};

/* ---- the tables ---- */

#define SCALAR(name, kind, object, member)                           \
	{                                                            \
		.key = (name), .shape = CFG_SCALAR, .type = &(kind), \
		.offset = offsetof(object, member)                   \
	}
#define MAP(name, table)                                           \
	{                                                          \
		.key = (name), .shape = CFG_MAP, .fields = (table) \
	}
#define TEXTS(name, object, member, counter)                                                   \
	{                                                                                      \
		.key = (name), .shape = CFG_LIST, .type = &type_text,                          \
		.offset = offsetof(object, member), .count_offset = offsetof(object, counter), \
		.element_size = sizeof(char *)                                                 \
	}
#define LIST_OF(name, table, object, member, counter, ...)                                     \
	{                                                                                      \
		.key = (name), .shape = CFG_LIST, .fields = (table),                           \
		.offset = offsetof(object, member), .count_offset = offsetof(object, counter), \
		.element_size = sizeof(*((object *)0)->member), ##__VA_ARGS__                  \
	}

static const struct cfg_field identity_fields[] = {
	{.key = "unix_uid", .type = &type_unix_uid},
	{.key = "tls_cn", .type = &type_tls_cn},
	{.key = "token_sha256_file", .type = &type_token},
	{.key = "loopback", .type = &type_loopback},
	{0},
};

static const struct cfg_field grant_fields[] = {
	{.key = "name",
		.type = &type_text,
		.offset = offsetof(struct cfg_origin_grant, name),
		.required = true},
	TEXTS("paths", struct cfg_origin_grant, paths, path_count),
	SCALAR("push", type_bool, struct cfg_origin_grant, push),
	{0},
};

static const struct cfg_field quota_fields[] = {
	SCALAR("bytes", type_size, struct cfg_tenant, bytes),
	SCALAR("inodes", type_count, struct cfg_tenant, inodes),
	SCALAR("mounts", type_count, struct cfg_tenant, mounts),
	{0},
};

static const struct cfg_field mount_quota_fields[] = {
	SCALAR("bytes", type_size, struct cfg_tenant, mount_bytes),
	SCALAR("inodes", type_count, struct cfg_tenant, mount_inodes),
	{0},
};

static void tenant_init(void *element)
{
	struct cfg_tenant *tenant = element;

	tenant->bytes = tenant->inodes = tenant->mounts = UINT64_MAX;
	tenant->mount_bytes = tenant->mount_inodes = UINT64_MAX;
}

static const struct cfg_field tenant_fields[] = {
	{.key = "name",
		.type = &type_text,
		.offset = offsetof(struct cfg_tenant, name),
		.required = true},
	SCALAR("admin", type_bool, struct cfg_tenant, admin),
	SCALAR("private", type_bool, struct cfg_tenant, is_private),
	MAP("quota", quota_fields),
	MAP("mount_quota", mount_quota_fields),
	TEXTS("mountpoints", struct cfg_tenant, mountpoints, mountpoint_count),
	LIST_OF("origins", grant_fields, struct cfg_tenant, origins, origin_count),
	LIST_OF("identities", identity_fields, struct cfg_tenant, identities, identity_count,
		.one_key = true),
	{0},
};

static const struct cfg_field origin_auth_fields[] = {
	SCALAR("username", type_text, struct cfg_origin, username),
	SCALAR("password_file", type_path, struct cfg_origin, password_file),
	SCALAR("token_file", type_path, struct cfg_origin, token_file),
	SCALAR("ssh_key_file", type_path, struct cfg_origin, ssh_key_file),
	SCALAR("ssh_known_hosts_file", type_path, struct cfg_origin, ssh_known_hosts_file),
	{0},
};

static const struct cfg_field origin_tls_fields[] = {
	SCALAR("ca", type_path, struct cfg_origin, tls_ca),
	SCALAR("cert", type_path, struct cfg_origin, tls_cert),
	SCALAR("key", type_path, struct cfg_origin, tls_key),
	{0},
};

static const struct cfg_field origin_fields[] = {
	{.key = "name",
		.type = &type_text,
		.offset = offsetof(struct cfg_origin, name),
		.required = true},
	{.key = "type",
		.type = &type_text,
		.offset = offsetof(struct cfg_origin, type),
		.required = true},
	{.key = "url",
		.type = &type_text,
		.offset = offsetof(struct cfg_origin, url),
		.required = true},
	SCALAR("push_url", type_text, struct cfg_origin, push_url),
	SCALAR("mode", type_text, struct cfg_origin, mode),
	SCALAR("refresh", type_duration, struct cfg_origin, refresh_ns),
	SCALAR("mirror_size", type_size, struct cfg_origin, mirror_bytes),
	MAP("auth", origin_auth_fields),
	MAP("tls", origin_tls_fields),
	SCALAR("proxy", type_text, struct cfg_origin, proxy),
	SCALAR("connect_timeout", type_duration, struct cfg_origin, connect_timeout_ns),
	SCALAR("timeout", type_duration, struct cfg_origin, timeout_ns),
	SCALAR("max_requests", type_positive, struct cfg_origin, max_requests),
	SCALAR("lfs", type_bool, struct cfg_origin, lfs),
	SCALAR("lfs_url", type_text, struct cfg_origin, lfs_url),
	{0},
};

static const struct cfg_field tls_fields[] = {
	SCALAR("cert", type_path, struct cfg, tls_cert),
	SCALAR("key", type_path, struct cfg, tls_key),
	SCALAR("client_ca", type_path, struct cfg, tls_client_ca),
	{0},
};

static const struct cfg_field grpc_fields[] = {
	TEXTS("listen", struct cfg, grpc_listen, grpc_listen_count),
	MAP("tls", tls_fields),
	{0},
};

static const struct cfg_field http_fields[] = {
	SCALAR("listen", type_text, struct cfg, http_listen), {0}};

static const struct cfg_field redis_tls_fields[] = {
	SCALAR("ca", type_path, struct cfg, redis_tls_ca),
	SCALAR("cert", type_path, struct cfg, redis_tls_cert),
	SCALAR("key", type_path, struct cfg, redis_tls_key),
	{0},
};

static const struct cfg_field redis_fields[] = {
	SCALAR("url", type_login_url, struct cfg, redis_url),
	SCALAR("password_file", type_path, struct cfg, redis_password_file),
	SCALAR("key_file", type_path, struct cfg, redis_key_file),
	MAP("tls", redis_tls_fields),
	SCALAR("ttl", type_duration, struct cfg, redis_ttl_ns),
	SCALAR("connect_timeout", type_duration, struct cfg, redis_connect_timeout_ns),
	SCALAR("timeout", type_duration, struct cfg, redis_timeout_ns),
	SCALAR("queue", type_size_or_default, struct cfg, redis_queue),
	SCALAR("blob_max", type_size_or_default, struct cfg, redis_blob_max),
	{0},
};

static const struct cfg_field cache_fields[] = {
	SCALAR("memory", type_size, struct cfg, cache_memory),
	SCALAR("disk", type_size, struct cfg, cache_disk),
	SCALAR("index", type_size, struct cfg, cache_index),
	SCALAR("nodes", type_count, struct cfg, cache_nodes),
	MAP("redis", redis_fields),
	{0},
};

static const struct cfg_field fetch_fields[] = {
	SCALAR("threads", type_small, struct cfg, fetch_threads), {0}};

static const struct cfg_field log_fields[] = {
	SCALAR("level", type_log_level, struct cfg, log_level),
	SCALAR("format", type_log_format, struct cfg, log_format),
	{0},
};

static const struct cfg_field watchdog_fields[] = {
	SCALAR("stuck", type_patience, struct cfg, watchdog_stuck_ns),
	SCALAR("abort", type_patience, struct cfg, watchdog_abort_ns),
	{0},
};

static const struct cfg_field drain_fields[] = {
	SCALAR("timeout", type_duration, struct cfg, drain_timeout_ns), {0}};

const struct cfg_field cfg_schema[] = {
	SCALAR("data_dir", type_path, struct cfg, data_dir),
	SCALAR("run_dir", type_path, struct cfg, run_dir),
	SCALAR("workers", type_small, struct cfg, workers),
	MAP("drain", drain_fields),
	MAP("watchdog", watchdog_fields),
	MAP("grpc", grpc_fields),
	MAP("http", http_fields),
	MAP("cache", cache_fields),
	MAP("fetch", fetch_fields),
	LIST_OF("origins", origin_fields, struct cfg, origins, origin_count),
	LIST_OF("tenants", tenant_fields, struct cfg, tenants, tenant_count, .init = tenant_init),
	MAP("log", log_fields),
	{0},
};
