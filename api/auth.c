/* SPDX-License-Identifier: Apache-2.0 */
/* grpc's peer names and metadata → struct tenant_peer. A token is wiped from the stack after use.
 */
#include "auth.h"

#include <errno.h>
#include <grpc/slice.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "acceptor.h"
#include "base/err.h"
#include "service/tenants.h"

static bool starts_with(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

int auth_peer(const char *name, struct peers *peers, struct peer *ret_peer, struct err *e)
{
	struct peer_cred cred;
	char *end;
	long fd;

	if (!starts_with(name, "fd:"))
		return err_set(e, -EPERM, "UNAUTHENTICATED",
			"callers over \"%s\" cannot be identified", name);
	fd = strtol(name + 3, &end, 10);
	if (*end || fd < 0 || fd > INT32_MAX || !peers_find(peers, (int)fd, &cred))
		return err_set(
			e, -EPERM, "UNAUTHENTICATED", "the peer's credentials are not known");
	*ret_peer = (struct peer){.kind = cred.kind == PEER_CRED_UNIX       ? PEER_IS_UNIX
					  : cred.kind == PEER_CRED_LOOPBACK ? PEER_IS_LOOPBACK
									    : PEER_IS_REMOTE,
		.uid = cred.uid,
		.gid = cred.gid,
		.pid = cred.pid};
	return 0;
}

bool auth_metadata(const grpc_metadata_array *metadata, const char *key, char *out, size_t cap)
{
	const grpc_metadata *found = NULL;
	size_t len;

	for (size_t i = 0; i < metadata->count; i++) {
		if (grpc_slice_str_cmp(metadata->metadata[i].key, key) != 0)
			continue;
		if (found)
			return false; /* two answers to one question */
		found = &metadata->metadata[i];
	}
	if (!found)
		return false;
	len = GRPC_SLICE_LENGTH(found->value);
	if (len >= cap || memchr(GRPC_SLICE_START_PTR(found->value), 0, len))
		return false;
	memcpy(out, GRPC_SLICE_START_PTR(found->value), len);
	out[len] = '\0';
	return true;
}

static const char *bearer(const char *authorization)
{
	const char *token = authorization + strlen("Bearer ");

	if (strncasecmp(authorization, "Bearer ", strlen("Bearer ")) != 0)
		return NULL;
	while (*token == ' ')
		token++;
	return *token ? token : NULL;
}

int auth_identify(struct tenants *tenants, const struct peer *peer,
	const grpc_metadata_array *metadata, struct tenant **ret_tenant, bool *ret_admin,
	struct err *e)
{
	char authorization[PEER_TOKEN_MAX + 16];
	struct tenant_peer who = {.transport = peer->kind == PEER_IS_UNIX       ? PEER_UNIX
					       : peer->kind == PEER_IS_LOOPBACK ? PEER_TCP_LOOPBACK
										: PEER_TCP,
		.uid = peer->uid,
		.gid = peer->gid,
		.pid = peer->pid};
	int r;

	if (auth_metadata(metadata, "authorization", authorization, sizeof(authorization)))
		who.token = bearer(authorization);
	r = tenants_identify(tenants, &who, ret_tenant, ret_admin, e);
	explicit_bzero(authorization, sizeof(authorization));
	return r;
}
