/* SPDX-License-Identifier: Apache-2.0 */
/* From a connection and its metadata to who is calling. What a caller then may do is decided in
 * service/tenants. */
#pragma once
#include <grpc/grpc.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct err;
struct tenant;
struct tenants;
struct peers;

#define PEER_TOKEN_MAX 512

struct peer {
	enum { PEER_IS_UNIX, PEER_IS_LOOPBACK, PEER_IS_REMOTE } kind;
	uid_t uid; /* PEER_IS_UNIX */
	gid_t gid;
	pid_t pid;
};

/* From grpc's name of the peer, "fd:<n>" of a connection that the acceptor handed over. -EPERM
 * reason UNAUTHENTICATED for anything else. */
int auth_peer(const char *name, struct peers *peers, struct peer *ret_peer, struct err *e);
/* The caller's tenant and whether it is an admin; takes `authorization: Bearer …` from the
 * metadata. -EPERM reason UNAUTHENTICATED. */
int auth_identify(struct tenants *tenants, const struct peer *peer,
	const grpc_metadata_array *metadata, struct tenant **ret_tenant, bool *ret_admin,
	struct err *e);
/* Value of a metadata key as a string of at most cap - 1 bytes. False: not there, twice, or too
 * long. */
bool auth_metadata(const grpc_metadata_array *metadata, const char *key, char *out, size_t cap);
