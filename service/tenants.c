/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of tenants: limits, what each may mount, and the account that its mounts are charged
 * to. Fixed at start; only the tokens are read again on reload. Without a configured tenant there
 * is one, "default", that may use everything without a limit.
 *
 * Threads: any. The only lock guards the tokens.
 */
#include "tenants_internal.h"

#include <base/err.h>
#include <base/path.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void set_limits(struct tenant *tn)
{
	quota_init(&tn->quota, NULL);
	if (!tn->cfg)
		return;
	quota_set_limit(&tn->quota, QUOTA_BYTES, tn->cfg->bytes);
	quota_set_limit(&tn->quota, QUOTA_INODES, tn->cfg->inodes);
	quota_set_limit(&tn->quota, QUOTA_MOUNTS, tn->cfg->mounts);
}

/* A tenant without grants may use every origin of the configuration. */
static const char *find_only_origin(const struct cfg *cfg, const struct cfg_tenant *tenant)
{
	if (tenant && tenant->origin_count)
		return tenant->origin_count == 1 ? tenant->origins[0].name : NULL;
	return cfg->origin_count == 1 ? cfg->origins[0].name : NULL;
}

int tenants_new(struct tenants **ret_tenants, const struct cfg *cfg, struct err *e)
{
	struct tenants *t = calloc(1, sizeof(*t));
	int err = -ENOMEM;

	if (!t)
		return err_set(e, err, "", "no memory for the tenants");
	rwlock_init(&t->mu, LOCK_RANK_TENANT);
	t->cfg = cfg;
	t->is_default = cfg->tenant_count == 0;
	t->count = t->is_default ? 1 : cfg->tenant_count;
	t->all = calloc(t->count, sizeof(*t->all));
	if (!t->all) {
		(void)err_set(e, err, "", "no memory for %u tenants", t->count);
		goto fail;
	}
	for (unsigned i = 0; i < t->count; i++) {
		t->all[i].cfg = t->is_default ? NULL : &cfg->tenants[i];
		t->all[i].only_origin = find_only_origin(cfg, t->all[i].cfg);
		set_limits(&t->all[i]);
	}
	err = tenant_tokens_read(t, &t->tokens, &t->token_count, e);
	if (err)
		goto fail;
	*ret_tenants = t;
	return 0;
fail:
	tenants_free(t);
	return err;
}

struct tenants *tenants_free(struct tenants *t)
{
	if (!t)
		return NULL;
	for (unsigned i = 0; t->all && i < t->count; i++)
		quota_fini(&t->all[i].quota);
	free(t->all);
	free(t->tokens);
	rwlock_fini(&t->mu);
	free(t);
	return NULL;
}

int tenants_reload(struct tenants *t, struct err *e)
{
	struct tenant_token *tokens, *old;
	unsigned count;
	int err = tenant_tokens_read(t, &tokens, &count, e);

	if (err)
		return err;
	rwlock_write(&t->mu);
	old = t->tokens;
	t->tokens = tokens;
	t->token_count = count;
	rwlock_release(&t->mu);
	free(old);
	return 0;
}

struct tenant *tenants_find(struct tenants *t, const char *name)
{
	for (unsigned i = 0; i < t->count; i++)
		if (strcmp(tenant_name(&t->all[i]), name) == 0)
			return &t->all[i];
	return NULL;
}

void tenants_each(struct tenants *t, tenant_visit fn, void *arg)
{
	for (unsigned i = 0; i < t->count; i++)
		fn(arg, &t->all[i]);
}

const char *tenant_name(const struct tenant *tn)
{
	return tn->cfg ? tn->cfg->name : "default";
}

bool tenant_private(const struct tenant *tn)
{
	return tn->cfg && tn->cfg->is_private;
}

struct quota *tenant_quota(struct tenant *tn)
{
	return &tn->quota;
}

void tenant_default_quota(const struct tenant *tn, uint64_t *ret_bytes, uint64_t *ret_inodes)
{
	*ret_bytes = tn->cfg ? tn->cfg->mount_bytes : QUOTA_UNLIMITED;
	*ret_inodes = tn->cfg ? tn->cfg->mount_inodes : QUOTA_UNLIMITED;
}

const char *tenant_only_origin(const struct tenant *tn)
{
	return tn->only_origin;
}

/* Whether the normalised `path` is `prefix` or below it, by whole components. */
static bool is_below(const char *path, const char *prefix)
{
	char clean[4096];
	size_t len;

	if (path_normalize(prefix, clean, sizeof(clean)))
		return false;
	len = strlen(clean);
	return !len || (strncmp(path, clean, len) == 0 && (path[len] == '/' || !path[len]));
}

static int path_allowed(const struct tenant *tn, const struct cfg_origin_grant *grant,
	const char *path, struct err *e)
{
	char clean[4096];

	if (!grant->path_count)
		return 0;
	if (path_normalize(path, clean, sizeof(clean)))
		return err_field(e, "path", "is not a path of the repository");
	for (unsigned i = 0; i < grant->path_count; i++)
		if (is_below(clean, grant->paths[i]))
			return 0;
	err_set(e, -EACCES, "PATH_NOT_ALLOWED",
		"tenant %s may not mount /%s of origin %s; allowed: %s%s", tenant_name(tn), clean,
		grant->name, grant->paths[0], grant->path_count > 1 ? ", ..." : "");
	return -EACCES;
}

int tenant_may_push(const struct tenant *tn, bool admin, const char *origin, struct err *e)
{
	if (admin)
		return 0;
	for (unsigned i = 0; tn->cfg && i < tn->cfg->origin_count; i++)
		if (strcmp(tn->cfg->origins[i].name, origin) == 0 && tn->cfg->origins[i].push)
			return 0;
	return err_set(e, -EACCES, "PUSH_NOT_ALLOWED",
		"tenant %s may not push to origin %s; its grant needs push: true", tenant_name(tn),
		origin);
}

int tenant_may_mount(const struct tenant *tn, const char *origin, const char *path, struct err *e)
{
	if (!tn->cfg || !tn->cfg->origin_count)
		return 0;
	for (unsigned i = 0; i < tn->cfg->origin_count; i++)
		if (strcmp(tn->cfg->origins[i].name, origin) == 0)
			return path_allowed(tn, &tn->cfg->origins[i], path, e);
	return err_set(e, -EACCES, "ORIGIN_NOT_ALLOWED", "tenant %s may not use origin %s",
		tenant_name(tn), origin);
}
