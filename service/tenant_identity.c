/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is calling: token, then certificate, then unix uid, then loopback. A credential that was
 * shown and is not known is an error and never falls through to a weaker one. Tokens are kept and
 * compared as SHA-256, in constant time. Any thread.
 */
#include "config/config_internal.h"
#include "tenants_internal.h"

#include <base/err.h>
#include <errno.h>
#include <stdlib.h>
#include <storage/digest.h>
#include <string.h>
#include <unistd.h>

/* The tenant that has this kind of identity for this peer. */
static struct tenant *find_identity(struct tenants *t, int kind, const struct tenant_peer *peer)
{
	for (unsigned i = 0; i < t->count; i++) {
		const struct cfg_tenant *cfg = t->all[i].cfg;

		for (unsigned j = 0; cfg && j < cfg->identity_count; j++) {
			const struct cfg_identity *id = &cfg->identities[j];

			if ((int)id->kind != kind)
				continue;
			if (kind == CFG_ID_UNIX_UID && id->uid != peer->uid)
				continue;
			if (kind == CFG_ID_TLS_CN && strcmp(id->tls_cn, peer->tls_cn) != 0)
				continue;
			return &t->all[i];
		}
	}
	return NULL;
}

static bool equal_in_constant_time(const uint8_t *a, const uint8_t *b, size_t len)
{
	uint8_t difference = 0;

	for (size_t i = 0; i < len; i++)
		difference |= a[i] ^ b[i];
	return difference == 0;
}

static int hash_token(const char *token, uint8_t ret_sha256[32])
{
	struct digest *d;
	uint8_t len;
	int err = digest_new(&d, DIGEST_SHA256);

	if (err)
		return err;
	err = digest_update(d, token, strlen(token));
	if (!err)
		err = digest_final(d, ret_sha256, &len);
	digest_free(d);
	return err;
}

static int find_token(
	struct tenants *t, const char *token, struct tenant **ret_tenant, struct err *e)
{
	struct tenant *found = NULL;
	uint8_t sha256[32] = {0};
	int err = hash_token(token, sha256);

	if (err)
		return err_set(e, err, "", "cannot check the token: %s", strerror(-err));
	rwlock_read(&t->mu);
	for (unsigned i = 0; i < t->token_count; i++)
		if (equal_in_constant_time(t->tokens[i].sha256, sha256, sizeof(sha256)))
			found = t->tokens[i].tenant;
	rwlock_release(&t->mu);
	if (!found)
		return err_set(e, -EPERM, "UNAUTHENTICATED",
			"the token is not one of a tenant; check it against token_sha256_file in "
			"the configuration");
	*ret_tenant = found;
	return 0;
}

static int identify_default(struct tenants *t, const struct tenant_peer *peer,
	struct tenant **ret_tenant, bool *ret_admin, struct err *e)
{
	if (peer->token)
		return err_set(e, -EPERM, "UNAUTHENTICATED",
			"a token was sent, but no tenant is configured; add tenants[].identities "
			"with token_sha256_file, or send none");
	if (peer->transport == PEER_TCP)
		return err_set(e, -EPERM, "UNAUTHENTICATED",
			"calls from other machines need a configured tenant and a credential");
	*ret_tenant = &t->all[0];
	/* An admin may have workspaces bound anywhere, as root: over TCP too it must be one. */
	*ret_admin = peer->uid == 0 || peer->uid == geteuid();
	return 0;
}

static int unknown_peer(const struct tenant_peer *peer, struct err *e)
{
	switch (peer->transport) {
	case PEER_UNIX:
		return err_set(e, -EPERM, "UNAUTHENTICATED",
			"uid %u belongs to no tenant; add {unix_uid: %u} to tenants[].identities, "
			"or send a token",
			peer->uid, peer->uid);
	case PEER_TCP_LOOPBACK:
		return err_set(e, -EPERM, "UNAUTHENTICATED",
			"a credential is needed: send a token, use the unix socket, or add "
			"{loopback: true} to tenants[].identities");
	default:
		return err_set(
			e, -EPERM, "UNAUTHENTICATED", "a credential is needed: send a token");
	}
}

int tenants_identify(struct tenants *t, const struct tenant_peer *peer, struct tenant **ret_tenant,
	bool *ret_admin, struct err *e)
{
	struct tenant *tn = NULL;
	int err;

	if (t->is_default)
		return identify_default(t, peer, ret_tenant, ret_admin, e);
	if (peer->token) {
		err = find_token(t, peer->token, &tn, e);
		if (err)
			return err;
	} else if (peer->tls_cn) {
		tn = find_identity(t, CFG_ID_TLS_CN, peer);
	} else if (peer->transport == PEER_UNIX) {
		tn = find_identity(t, CFG_ID_UNIX_UID, peer);
	} else if (peer->transport == PEER_TCP_LOOPBACK) {
		tn = find_identity(t, CFG_ID_LOOPBACK, peer);
	}
	if (!tn)
		return unknown_peer(peer, e);
	*ret_tenant = tn;
	*ret_admin = tn->cfg->admin;
	return 0;
}

int tenant_tokens_read(
	struct tenants *t, struct tenant_token **ret_tokens, unsigned *ret_count, struct err *e)
{
	struct tenant_token *tokens = NULL;
	unsigned count = 0;

	for (unsigned i = 0; i < t->count; i++) {
		const struct cfg_tenant *cfg = t->all[i].cfg;

		for (unsigned j = 0; cfg && j < cfg->identity_count; j++) {
			const struct cfg_identity *id = &cfg->identities[j];
			struct tenant_token *grown;
			int err;

			if (id->kind != CFG_ID_TOKEN)
				continue;
			grown = reallocarray(tokens, count + 1, sizeof(*tokens));
			if (!grown) {
				free(tokens);
				return err_set(e, -ENOMEM, "", "no memory for the tokens");
			}
			tokens = grown;
			tokens[count].tenant = &t->all[i];
			err = cfg_read_token_hash(id->token_sha256_file, tokens[count].sha256);
			if (err) {
				free(tokens);
				return err_set(e, err, "CONFIG_UNREADABLE",
					"token file %s of tenant %s: %s", id->token_sha256_file,
					cfg->name,
					err == -EINVAL ? "not 64 hex digits" : strerror(-err));
			}
			count++;
		}
	}
	*ret_tokens = tokens;
	*ret_count = count;
	return 0;
}
