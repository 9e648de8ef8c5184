/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Four tenants: "root" (uid 0, an admin), "team-a" (uid 65534, only the origin "demo"), "team-b"
 * (uid 1), and "team-t" for who brings the token "sesame" over any transport. Loopback without a
 * token is "root".
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "service/tenants.h"

struct tenant {
	const char *name;
	bool admin;
	struct quota quota;
};

struct tenants {
	struct tenant all[4];
};

int tenants_new(struct tenants **ret_tenants, const struct cfg *cfg, struct err *e)
{
	static const char *const names[] = {"root", "team-a", "team-b", "team-t"};
	struct tenants *t = calloc(1, sizeof(*t));

	(void)cfg;
	(void)e;
	for (unsigned i = 0; i < 4; i++) {
		t->all[i].name = names[i];
		quota_init(&t->all[i].quota, NULL);
	}
	t->all[0].admin = true;
	quota_set_limit(&t->all[1].quota, QUOTA_MOUNTS, 200);
	*ret_tenants = t;
	return 0;
}

struct tenants *tenants_free(struct tenants *t)
{
	free(t);
	return NULL;
}

static int index_of(const struct tenant_peer *peer)
{
	if (peer->token)
		return strcmp(peer->token, "sesame") == 0 ? 3 : -1;
	if (peer->transport == PEER_TCP_LOOPBACK)
		return 0;
	if (peer->transport != PEER_UNIX)
		return -1;
	return peer->uid == 0 ? 0 : peer->uid == 65534 ? 1 : peer->uid == 1 ? 2 : -1;
}

int tenants_identify(struct tenants *t, const struct tenant_peer *peer, struct tenant **ret_tenant,
	bool *ret_admin, struct err *e)
{
	int i = index_of(peer);

	if (i < 0)
		return err_set(e, -EPERM, "UNAUTHENTICATED",
			"nobody has this identity; add it to a tenant");
	*ret_tenant = &t->all[i];
	*ret_admin = t->all[i].admin;
	return 0;
}

struct tenant *tenants_find(struct tenants *t, const char *name)
{
	for (unsigned i = 0; i < 4; i++)
		if (strcmp(t->all[i].name, name) == 0)
			return &t->all[i];
	return NULL;
}

void tenants_each(struct tenants *t, tenant_visit fn, void *arg)
{
	for (unsigned i = 0; i < 4; i++)
		fn(arg, &t->all[i]);
}

const char *tenant_name(const struct tenant *tn)
{
	return tn->name;
}

struct quota *tenant_quota(struct tenant *tn)
{
	return &tn->quota;
}

int tenant_may_mount(const struct tenant *tn, const char *origin, const char *path, struct err *e)
{
	if (strcmp(tn->name, "team-a") == 0 && strcmp(origin, "demo") != 0)
		return err_set(
			e, -EACCES, "ORIGIN_NOT_ALLOWED", "team-a may not use \"%s\"", origin);
	if (strncmp(path, "secret", 6) == 0)
		return err_set(e, -EACCES, "PATH_NOT_ALLOWED", "\"%s\" is not allowed", path);
	return 0;
}

const char *tenant_only_origin(const struct tenant *tn)
{
	return strcmp(tn->name, "team-a") == 0 ? "demo" : NULL;
}

void tenant_default_quota(const struct tenant *tn, uint64_t *ret_bytes, uint64_t *ret_inodes)
{
	(void)tn;
	*ret_bytes = *ret_inodes = UINT64_MAX;
}
