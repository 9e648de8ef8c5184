/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checks of the list of tenants: names, limits, grants that name configured origins, and identities
 * that belong to one tenant only. Reads the token files, so that a wrong one is found at start.
 */
#include "config_internal.h"

#include <base/cleanup.h>
#include <base/io.h>
#include <base/path.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>

#define NAME_MAX_BYTES       63
#define TOKEN_FILE_MAX_BYTES 4096

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)tolower((unsigned char)c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int cfg_read_token_hash(const char *path, uint8_t ret_sha256[32])
{
	_cleanup_free_ char *text = NULL;
	uint8_t hash[32];
	size_t len;
	int err = io_read_file(AT_FDCWD, path, TOKEN_FILE_MAX_BYTES, &text, &len);

	if (err)
		return err;
	/* as sha256sum prints it: digits, then perhaps a space and a name */
	if (len < 64 || (len > 64 && !isspace((unsigned char)text[64])))
		return -EINVAL;
	for (unsigned i = 0; i < sizeof(hash); i++) {
		int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);

		if (high < 0 || low < 0)
			return -EINVAL;
		hash[i] = (uint8_t)(high << 4 | low);
	}
	memcpy(ret_sha256, hash, sizeof(hash));
	return 0;
}

static bool same_identity(const struct cfg_identity *a, const struct cfg_identity *b)
{
	if (a->kind != b->kind)
		return false;
	switch (a->kind) {
	case CFG_ID_UNIX_UID:
		return a->uid == b->uid;
	case CFG_ID_TLS_CN:
		return a->tls_cn && b->tls_cn && strcmp(a->tls_cn, b->tls_cn) == 0;
	case CFG_ID_TOKEN:
		return a->token_sha256_file && b->token_sha256_file &&
		       memcmp(a->token_sha256, b->token_sha256, sizeof(a->token_sha256)) == 0;
	default:
		return true;
	}
}

/* The identity before (i, j) in the file that is the same one. */
static bool find_earlier(const struct cfg *cfg, unsigned i, unsigned j, unsigned *ret_tenant)
{
	const struct cfg_identity *id = &cfg->tenants[i].identities[j];

	for (unsigned t = 0; t <= i; t++) {
		unsigned end = t == i ? j : cfg->tenants[t].identity_count;

		for (unsigned k = 0; k < end; k++)
			if (same_identity(id, &cfg->tenants[t].identities[k])) {
				*ret_tenant = t;
				return true;
			}
	}
	return false;
}

static void check_identities(struct cfg *cfg, unsigned i, struct cfg_report *r)
{
	struct cfg_tenant *tenant = &cfg->tenants[i];

	for (unsigned j = 0; j < tenant->identity_count; j++) {
		struct cfg_identity *id = &tenant->identities[j];
		char field[96];
		unsigned other;

		(void)snprintf(field, sizeof(field), "tenants[%u].identities[%u]", i, j);
		if (id->kind == CFG_ID_TLS_CN)
			cfg_mistake(r, field,
				"tls_cn is not supported by this version (it needs grpc.tls); take "
				"it out");
		if (id->kind == CFG_ID_TOKEN && id->token_sha256_file) {
			int err = cfg_read_token_hash(id->token_sha256_file, id->token_sha256);

			if (err == -EINVAL)
				cfg_mistake(r, field,
					"%.100s must hold the SHA-256 of the token as 64 hex "
					"digits",
					id->token_sha256_file);
			else if (err)
				cfg_mistake(r, field, "cannot read %.100s: %s",
					id->token_sha256_file, strerror(-err));
			if (err)
				continue;
		}
		if (find_earlier(cfg, i, j, &other))
			cfg_mistake(
				r, field, "the same identity is already one of tenants[%u]", other);
	}
}

static bool origin_exists(const struct cfg *cfg, const char *name)
{
	for (unsigned i = 0; i < cfg->origin_count; i++)
		if (cfg->origins[i].name && strcmp(cfg->origins[i].name, name) == 0)
			return true;
	return false;
}

static void check_grants(const struct cfg *cfg, unsigned i, struct cfg_report *r)
{
	const struct cfg_tenant *tenant = &cfg->tenants[i];

	for (unsigned j = 0; j < tenant->origin_count; j++) {
		const struct cfg_origin_grant *grant = &tenant->origins[j];
		char field[96], clean[4096];

		(void)snprintf(field, sizeof(field), "tenants[%u].origins[%u].name", i, j);
		if (grant->name && !origin_exists(cfg, grant->name))
			cfg_mistake(r, field, "there is no origin \"%.64s\"", grant->name);
		for (unsigned k = 0; grant->name && k < j; k++)
			if (tenant->origins[k].name &&
				strcmp(tenant->origins[k].name, grant->name) == 0)
				cfg_mistake(r, field,
					"\"%.64s\" is listed twice; put all paths into one",
					grant->name);
		for (unsigned k = 0; k < grant->path_count; k++) {
			(void)snprintf(
				field, sizeof(field), "tenants[%u].origins[%u].paths[%u]", i, j, k);
			if (!grant->paths[k] ||
				path_normalize(grant->paths[k], clean, sizeof(clean)))
				cfg_mistake(r, field, "must be a path without \".\" and \"..\"");
		}
	}
}

static void check_limit(uint64_t limit, unsigned i, const char *name, struct cfg_report *r)
{
	char field[96];

	if (limit)
		return;
	(void)snprintf(field, sizeof(field), "tenants[%u].%s", i, name);
	cfg_mistake(r, field, "must be at least 1; leave it out for no limit");
}

static void check_limits(const struct cfg_tenant *tenant, unsigned i, struct cfg_report *r)
{
	check_limit(tenant->bytes, i, "quota.bytes", r);
	check_limit(tenant->inodes, i, "quota.inodes", r);
	check_limit(tenant->mounts, i, "quota.mounts", r);
	check_limit(tenant->mount_bytes, i, "mount_quota.bytes", r);
	check_limit(tenant->mount_inodes, i, "mount_quota.inodes", r);
}

void cfg_check_tenants(struct cfg *cfg, struct cfg_report *r)
{
	for (unsigned i = 0; i < cfg->tenant_count; i++) {
		const struct cfg_tenant *tenant = &cfg->tenants[i];
		char field[96];

		(void)snprintf(field, sizeof(field), "tenants[%u].name", i);
		if (tenant->name && !path_ident_ok(tenant->name, NAME_MAX_BYTES))
			cfg_mistake(r, field,
				"\"%.64s\" must be 1 to %d of A-Z a-z 0-9 . _ - and not start with "
				". or -",
				tenant->name, NAME_MAX_BYTES);
		for (unsigned j = 0; tenant->name && j < i; j++)
			if (cfg->tenants[j].name && strcmp(cfg->tenants[j].name, tenant->name) == 0)
				cfg_mistake(r, field,
					"\"%.64s\" is already the name of tenants[%u]",
					tenant->name, j);
		check_limits(tenant, i, r);
		for (unsigned j = 0; j < tenant->mountpoint_count; j++) {
			(void)snprintf(field, sizeof(field), "tenants[%u].mountpoints[%u]", i, j);
			if (!tenant->mountpoints[j] || tenant->mountpoints[j][0] != '/')
				cfg_mistake(r, field, "must be an absolute path");
		}
		check_grants(cfg, i, r);
		check_identities(cfg, i, r);
	}
}
