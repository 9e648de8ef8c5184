/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the schema cannot say about single settings: directories, addresses, budgets, and features
 * that this version does not have. Lists are checked in config_check_origins.c and
 * config_check_tenants.c. Reads token files, touches nothing else.
 */
#include "config_internal.h"

#include <base/path.h>
#include <sys/un.h>

#define FETCH_THREADS_MAX 64
#define WORKERS_MAX       64
#define CACHE_MIN_BYTES   (UINT64_C(1) << 20)
#define INDEX_MIN_BYTES   (UINT64_C(4) << 20)
#define NODES_MIN         10

/* Absolute, without double slashes, "." and "..": what is compared and shown later is what was
 * meant. */
static void check_directory(const char *dir, const char *field, struct cfg_report *r)
{
	char clean[4096];

	if (path_normalize(dir, clean, sizeof(clean)))
		cfg_mistake(r, field, "\"%.100s\" must not contain \".\" or \"..\"", dir);
	else if (!clean[0])
		cfg_mistake(r, field, "must not be the root directory");
	else if (strcmp(dir + 1, clean) != 0)
		cfg_mistake(r, field, "\"%.100s\" has superfluous slashes; write \"/%.100s\"", dir,
			clean);
}

static bool is_inside(const char *path, const char *dir)
{
	size_t len = strlen(dir);

	return strncmp(path, dir, len) == 0 && (path[len] == '/' || !path[len]);
}

static void check_directories(const struct cfg *cfg, struct cfg_report *r)
{
	check_directory(cfg->data_dir, "data_dir", r);
	check_directory(cfg->run_dir, "run_dir", r);
	if (is_inside(cfg->data_dir, cfg->run_dir) || is_inside(cfg->run_dir, cfg->data_dir))
		cfg_mistake(r, "run_dir", "data_dir and run_dir must not be one inside the other");
}

/* "host:port", "[v6]:port". */
static bool split_address(const char *address, char *ret_host, size_t cap, unsigned *ret_port)
{
	const char *colon = strrchr(address, ':');
	const char *host = address;
	size_t len;
	char *end;
	unsigned long port;

	if (!colon || colon == address || colon[1] < '0' || colon[1] > '9')
		return false;
	port = strtoul(colon + 1, &end, 10);
	if (*end || port > 65535)
		return false;
	len = (size_t)(colon - address);
	if (host[0] == '[') {
		if (host[len - 1] != ']')
			return false;
		host++;
		len -= 2;
	} else if (memchr(host, ':', len)) {
		return false;
	}
	if (!len || len >= cap)
		return false;
	(void)snprintf(ret_host, cap, "%.*s", (int)len, host);
	*ret_port = (unsigned)port;
	return true;
}

static bool is_loopback(const char *host)
{
	return strcmp(host, "localhost") == 0 || strcmp(host, "::1") == 0 ||
	       strncmp(host, "127.", 4) == 0;
}

static void check_unix_listener(const char *socket_path, const char *field, struct cfg_report *r)
{
	if (socket_path[0] != '/')
		cfg_mistake(r, field,
			"the path of a socket must be absolute, as in "
			"unix:/run/coppice/coppice.sock");
	else if (strlen(socket_path) >= sizeof(((struct sockaddr_un *)0)->sun_path))
		cfg_mistake(r, field,
			"the path of a socket must be shorter than %zu bytes; choose a shorter "
			"run_dir",
			sizeof(((struct sockaddr_un *)0)->sun_path));
}

static void check_grpc_listener(const char *listen, const char *field, struct cfg_report *r)
{
	char host[256];
	unsigned port;

	if (strncmp(listen, "unix:", 5) == 0)
		check_unix_listener(listen + 5, field, r);
	else if (!split_address(listen, host, sizeof(host), &port))
		cfg_mistake(r, field, "\"%.60s\" is neither unix:/path nor host:port", listen);
	else if (!is_loopback(host))
		cfg_mistake(r, field,
			"\"%.60s\" is not a loopback address; others need grpc.tls, which is not "
			"supported by "
			"this version",
			listen);
}

static void check_listeners(const struct cfg *cfg, struct cfg_report *r)
{
	char host[256], field[64];
	unsigned port;

	for (unsigned i = 0; i < cfg->grpc_listen_count; i++) {
		(void)snprintf(field, sizeof(field), "grpc.listen[%u]", i);
		check_grpc_listener(cfg->grpc_listen[i], field, r);
		for (unsigned j = 0; j < i; j++)
			if (strcmp(cfg->grpc_listen[i], cfg->grpc_listen[j]) == 0)
				cfg_mistake(
					r, field, "\"%.60s\" is given twice", cfg->grpc_listen[i]);
	}
	if (cfg->http_listen[0] && !split_address(cfg->http_listen, host, sizeof(host), &port))
		cfg_mistake(r, "http.listen", "\"%.60s\" is not host:port (or \"\" for none)",
			cfg->http_listen);
}

static void check_later_features(const struct cfg *cfg, struct cfg_report *r)
{
	if (cfg->tls_cert || cfg->tls_key || cfg->tls_client_ca)
		cfg_mistake(r, "grpc.tls",
			"not supported by this version; use a unix socket or a loopback address");
}

void cfg_check(struct cfg *cfg, struct cfg_report *r)
{
	check_directories(cfg, r);
	check_listeners(cfg, r);
	if (cfg->workers > WORKERS_MAX)
		cfg_mistake(r, "workers", "%u is more than %d", cfg->workers, WORKERS_MAX);
	if (cfg->fetch_threads < 1 || cfg->fetch_threads > FETCH_THREADS_MAX)
		cfg_mistake(r, "fetch.threads", "must be 1 to %d", FETCH_THREADS_MAX);
	if (cfg->cache_memory < CACHE_MIN_BYTES)
		cfg_mistake(r, "cache.memory", "must be at least 1MiB");
	if (cfg->cache_disk < CACHE_MIN_BYTES)
		cfg_mistake(r, "cache.disk", "must be at least 1MiB");
	if (cfg->cache_index < INDEX_MIN_BYTES)
		cfg_mistake(r, "cache.index", "must be at least 4MiB");
	if (cfg->cache_nodes < NODES_MIN)
		cfg_mistake(r, "cache.nodes", "must be at least %d", NODES_MIN);
	check_later_features(cfg, r);
	cfg_check_redis(cfg, r);
	cfg_check_origins(cfg, r);
	cfg_check_tenants(cfg, r);
}
