/* SPDX-License-Identifier: Apache-2.0 */
/* Checks of the list of origins: names, known types, and addresses that this version can read.
 * Pure. */
#include "config_internal.h"

#include <base/path.h>

#define NAME_MAX_BYTES 63
#define REQUESTS_MAX   256

/* Whether `url` starts with the scheme. */
static bool has_scheme(const char *url, const char *scheme)
{
	size_t len = strlen(scheme);

	return strncasecmp(url, scheme, len) == 0 && strncmp(url + len, "://", 3) == 0;
}

/* The short form of ssh addresses: user@host:path. */
static bool is_short_ssh(const char *url)
{
	size_t head = strcspn(url, ":/");

	return head > 0 && url[head] == ':' && !strstr(url, "://");
}

static void check_url(const struct cfg_origin *origin, const char *field, struct cfg_report *r)
{
	static const char *const remote[] = {"http", "https", "ssh", "git"};
	const char *rest;

	if (origin->url[0] == '/' || (has_scheme(origin->url, "file") && origin->url[7] == '/') ||
		is_short_ssh(origin->url))
		return;
	for (unsigned i = 0; i < sizeof(remote) / sizeof(remote[0]); i++) {
		if (!has_scheme(origin->url, remote[i]))
			continue;
		rest = strstr(origin->url, "://") + 3;
		/* not shown: it might be a password */
		if (memchr(rest, '@', strcspn(rest, "/")) && strcmp(remote[i], "ssh") != 0)
			cfg_mistake(r, field,
				"holds a user or password; use auth.username and "
				"auth.password_file");
		return;
	}
	cfg_mistake(r, field,
		"must be the absolute path of a repository, file:///path, or an address that "
		"begins with http://, https://, ssh:// or git://");
}

static bool is_remote_url(const char *url)
{
	return url && url[0] != '/' && !has_scheme(url, "file");
}

/* Whether the origin is reached over a network. */
static bool is_remote(const struct cfg_origin *origin)
{
	return is_remote_url(origin->url);
}

static void check_mega(const struct cfg_origin *origin, const char *prefix, struct cfg_report *r)
{
	char field[96];

	(void)snprintf(field, sizeof(field), "%s.url", prefix);
	if (!origin->url)
		return;
	if (!has_scheme(origin->url, "http") && !has_scheme(origin->url, "https"))
		cfg_mistake(r, field, /* not shown: it might hold a password */
			"must begin with http:// or https://, as in http://mega.example.org:8000");
	else if (strchr(origin->url, '@'))
		cfg_mistake(r, field,
			"must not hold a user or password; put them into auth: with files");
	(void)snprintf(field, sizeof(field), "%s.mode", prefix);
	if (origin->mode)
		cfg_mistake(r, field, "is for Git repositories; take it out");
	(void)snprintf(field, sizeof(field), "%s.refresh", prefix);
	if (origin->refresh_ns)
		cfg_mistake(r, field, "is for Git repositories; a Mega server is always asked");
	(void)snprintf(field, sizeof(field), "%s.mirror_size", prefix);
	if (origin->mirror_bytes)
		cfg_mistake(r, field, "is for Git repositories; take it out");
}

static void check_type(const struct cfg_origin *origin, const char *prefix, struct cfg_report *r)
{
	char field[96];

	(void)snprintf(field, sizeof(field), "%s.type", prefix);
	if (strcmp(origin->type, "mega") == 0) {
		check_mega(origin, prefix, r);
		return;
	}
	if (strcmp(origin->type, "git") != 0) {
		cfg_mistake(r, field, "unknown type \"%.40s\"; known: git, mega", origin->type);
		return;
	}
	if (origin->url) {
		(void)snprintf(field, sizeof(field), "%s.url", prefix);
		check_url(origin, field, r);
	}
	if (!origin->mode)
		return;
	(void)snprintf(field, sizeof(field), "%s.mode", prefix);
	if (strcmp(origin->mode, "partial") != 0 && strcmp(origin->mode, "mirror") != 0)
		cfg_mistake(r, field, "\"%.40s\" is neither partial nor mirror", origin->mode);
	else if (!is_remote(origin))
		cfg_mistake(r, field, "%s is for remote repositories; take it out", origin->mode);
}

static void check_push_url(const struct cfg_origin *o, const char *prefix, struct cfg_report *r)
{
	const char *url = o->push_url, *colon = url ? strstr(url, "://") : NULL;
	char field[96];

	(void)snprintf(field, sizeof(field), "%s.push_url", prefix);
	if (!url)
		return;
	if (url[0] != '/' && !has_scheme(url, "file") && !has_scheme(url, "http") &&
		!has_scheme(url, "https") && !has_scheme(url, "ssh") && !has_scheme(url, "git"))
		cfg_mistake(r, field,
			"must be an absolute path, or begin with file, http, https, ssh or git and "
			"://");
	else if (colon && !has_scheme(url, "ssh") && strchr(url, '@')) /* not shown */
		cfg_mistake(r, field,
			"must not hold a user or password; put them into auth: with files");
}

/* The first network setting that a local repository was given, or NULL. */
static const char *first_network_key(const struct cfg_origin *o)
{
	const struct {
		const char *key;
		bool given;
	} keys[] = {
		{"refresh", o->refresh_ns != 0},
		{"mirror_size", o->mirror_bytes != 0},
		{"auth", o->username || o->password_file || o->token_file || o->ssh_key_file ||
				 o->ssh_known_hosts_file},
		{"tls", o->tls_ca || o->tls_cert || o->tls_key},
		{"proxy", o->proxy != NULL},
		{"connect_timeout", o->connect_timeout_ns != 0},
		{"timeout", o->timeout_ns != 0},
		{"max_requests", o->max_requests != 0},
	};

	for (unsigned i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (keys[i].given)
			return keys[i].key;
	return NULL;
}

static void check_proxy(const struct cfg_origin *o, const char *prefix, struct cfg_report *r)
{
	char field[96];

	(void)snprintf(field, sizeof(field), "%s.proxy", prefix);
	if (!o->proxy || strcmp(o->proxy, "none") == 0)
		return;
	if (!has_scheme(o->proxy, "http") && !has_scheme(o->proxy, "https") &&
		!has_scheme(o->proxy, "socks5h"))
		cfg_mistake(
			r, field, "must begin with http://, https:// or socks5h://, or be none");
	else if (strchr(o->proxy, '@')) /* not shown: it holds a password */
		cfg_mistake(r, field, "a proxy with a password is not supported");
}

static void check_lfs(const struct cfg_origin *o, const char *prefix, struct cfg_report *r)
{
	bool http = o->url && (has_scheme(o->url, "http") || has_scheme(o->url, "https"));
	char field[96];

	(void)snprintf(field, sizeof(field), "%s.lfs_url", prefix);
	if (o->lfs_url && !o->lfs)
		cfg_mistake(r, field, "needs lfs: true");
	else if (o->lfs_url && !has_scheme(o->lfs_url, "http") && !has_scheme(o->lfs_url, "https"))
		cfg_mistake(r, field, "must begin with http:// or https://");
	else if (o->lfs_url && strchr(o->lfs_url, '@')) /* not shown: it might hold a password */
		cfg_mistake(r, field,
			"must not hold a user or password; put them into auth: with files");
	else if (o->lfs && !o->lfs_url && !http)
		cfg_mistake(r, field, "is missing: the url does not tell where the LFS server is");
}

/* What the settings of the network say together. */
static void check_network(const struct cfg_origin *o, const char *prefix, struct cfg_report *r)
{
	const char *key = first_network_key(o);
	char field[96];

	if (key && !is_remote(o) && !is_remote_url(o->push_url) && !o->lfs) {
		(void)snprintf(field, sizeof(field), "%s.%s", prefix, key);
		cfg_mistake(r, field, "is for remote repositories; take it out");
		return;
	}
	(void)snprintf(field, sizeof(field), "%s.auth", prefix);
	if (o->token_file && (o->username || o->password_file))
		cfg_mistake(r, field, "give token_file, or username and password_file");
	else if (!o->username != !o->password_file)
		cfg_mistake(r, field, "username and password_file belong together");
	(void)snprintf(field, sizeof(field), "%s.tls", prefix);
	if (!o->tls_cert != !o->tls_key)
		cfg_mistake(r, field, "cert and key belong together");
	(void)snprintf(field, sizeof(field), "%s.max_requests", prefix);
	if (o->max_requests > REQUESTS_MAX)
		cfg_mistake(r, field, "%u is more than %d", o->max_requests, REQUESTS_MAX);
	check_proxy(o, prefix, r);
	check_push_url(o, prefix, r);
}

void cfg_check_origins(const struct cfg *cfg, struct cfg_report *r)
{
	for (unsigned i = 0; i < cfg->origin_count; i++) {
		const struct cfg_origin *origin = &cfg->origins[i];
		char prefix[64], field[96];

		(void)snprintf(prefix, sizeof(prefix), "origins[%u]", i);
		(void)snprintf(field, sizeof(field), "%s.name", prefix);
		if (origin->name && !path_ident_ok(origin->name, NAME_MAX_BYTES))
			cfg_mistake(r, field,
				"\"%.64s\" must be 1 to %d of A-Z a-z 0-9 . _ - and not start with "
				". or -",
				origin->name, NAME_MAX_BYTES);
		for (unsigned j = 0; origin->name && j < i; j++)
			if (cfg->origins[j].name && strcmp(cfg->origins[j].name, origin->name) == 0)
				cfg_mistake(r, field,
					"\"%.64s\" is already the name of origins[%u]",
					origin->name, j);
		if (origin->type)
			check_type(origin, prefix, r);
		check_network(origin, prefix, r);
		check_lfs(origin, prefix, r);
	}
}
