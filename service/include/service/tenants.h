/* SPDX-License-Identifier: Apache-2.0 */
/* Tenants: who a caller is, what it may use, and the accounts that its mounts are charged to. */
#pragma once
#include <base/quota.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct cfg;
struct err;
struct tenant;
struct tenants;

/* What is known about the peer of a call. */
struct tenant_peer {
	enum { PEER_UNIX, PEER_TCP_LOOPBACK, PEER_TCP } transport;
	uid_t uid; /* PEER_UNIX; PEER_TCP_LOOPBACK: (uid_t)-1 if it is not known */
	gid_t gid; /* PEER_UNIX, as the next */
	pid_t pid;
	const char *tls_cn; /* NULL: none */
	const char *token;  /* bearer token, NULL: none */
};

/* `cfg` outlives it. */
int tenants_new(struct tenants **ret_tenants, const struct cfg *cfg, struct err *e);
struct tenants *tenants_free(struct tenants *t);
/* Read the token files again. On an error nothing has changed. */
int tenants_reload(struct tenants *t, struct err *e);
/* The caller's tenant: token, then certificate, then unix uid, then loopback. -EPERM reason
 * UNAUTHENTICATED with what would help. Without any configured tenant there is one, "default":
 * admin for uid 0 and the daemon's uid. */
int tenants_identify(struct tenants *t, const struct tenant_peer *peer, struct tenant **ret_tenant,
	bool *ret_admin, struct err *e);
struct tenant *tenants_find(
	struct tenants *t, const char *name); /* NULL: none; valid as long as `t` */
typedef void (*tenant_visit)(void *arg, struct tenant *tn);
void tenants_each(struct tenants *t, tenant_visit fn, void *arg);

const char *tenant_name(const struct tenant *tn);
/* May only the owner of a workspace enter it? */
bool tenant_private(const struct tenant *tn);
struct quota *tenant_quota(struct tenant *tn);
/* May it mount `path` of `origin`? -EACCES reason ORIGIN_NOT_ALLOWED or PATH_NOT_ALLOWED. */
int tenant_may_mount(const struct tenant *tn, const char *origin, const char *path, struct err *e);
/* May it push to `origin`? Admins may, others where the grant says `push: true`. -EACCES reason
 * PUSH_NOT_ALLOWED. */
int tenant_may_push(const struct tenant *tn, bool admin, const char *origin, struct err *e);
/* May a caller have a workspace bound at `mountpoint` (absolute, normalised)? Admins anywhere;
 * others below the configured `mountpoints`, or, when the caller is a known user of this machine
 * (`uid` not NULL), on a directory that this user owns, or, if it is not there yet, in one. The
 * daemon binds as root: without this rule a tenant could cover any empty directory of the host.
 * -EACCES reason MOUNTPOINT_NOT_ALLOWED. Looks at the local disk. */
int tenant_may_bind(const struct tenant *tn, bool admin, const uid_t *uid, const char *mountpoint,
	struct err *e);
/* The only origin it may use, or NULL. */
const char *tenant_only_origin(const struct tenant *tn);
void tenant_default_quota(const struct tenant *tn, uint64_t *ret_bytes, uint64_t *ret_inodes);
