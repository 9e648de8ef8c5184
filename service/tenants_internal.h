/* SPDX-License-Identifier: Apache-2.0 */
/* Private to tenants.c and tenant_identity.c. */
#pragma once
#include <base/lock.h>
#include <service/config.h>
#include <service/tenants.h>

struct tenant {
	const struct cfg_tenant *cfg; /* const after init; NULL for the default tenant */
	const char *only_origin;      /* const after init; NULL: it may use several, or none */
	struct quota quota;
};

/* One token that is accepted, as of the last reload. */
struct tenant_token {
	uint8_t sha256[32];
	struct tenant *tenant;
};

struct tenants {
	const struct cfg *cfg;
	struct tenant *all; /* const after init */
	unsigned count;
	bool is_default;             /* none was configured: `all` is the default tenant alone */
	struct rwlock mu;            /* LOCK_RANK_TENANT */
	struct tenant_token *tokens; /* guarded by mu */
	unsigned token_count;        /* guarded by mu */
};

/* Reads all token files into a new table. */
int tenant_tokens_read(
	struct tenants *t, struct tenant_token **ret_tokens, unsigned *ret_count, struct err *e);
