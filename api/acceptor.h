/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listeners whose peers are known. grpc's own say nothing of who connects to a Unix socket, and
 * cannot listen at a socket that was there before them; so this one accepts itself, notes who it
 * is, and hands the connected descriptor to grpc, which then names the peer "fd:<n>".
 */
#pragma once
#include <grpc/grpc.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct acceptor;
struct err;
struct fd_store;
struct peers;

#define PEER_UID_NONE ((uid_t)-1) /* no user has it */

/* Who is at the other end of a connection. */
struct peer_cred {
	enum { PEER_CRED_UNIX, PEER_CRED_LOOPBACK, PEER_CRED_REMOTE } kind;
	uid_t uid; /* of PEER_CRED_LOOPBACK as the kernel tells, or PEER_UID_NONE */
	gid_t gid; /* PEER_CRED_UNIX, as the next */
	pid_t pid;
};

/* Binds nothing yet. `store`, may be NULL, keeps the sockets over a restart. -ENOMEM, -EMFILE. */
int acceptor_new(struct acceptor **ret_acceptor, struct fd_store *store);
/* Listen at an address as listen_parse takes it; *ret_port is 0 for a Unix socket. Errors as of
 * listen_open, and -EINVAL for too many. */
int acceptor_listen(struct acceptor *a, const char *text, uint16_t *ret_port, struct err *e);
/* Start accepting for `server`, which must have been started. */
int acceptor_start(struct acceptor *a, grpc_server *server);
/* Stop accepting. With `keep` who connects from now on waits for a successor; else the sockets and
 * their files go. Connections go on. Blocks for the thread's end. */
void acceptor_stop(struct acceptor *a, bool keep);
struct acceptor *acceptor_free(struct acceptor *a);

/* The table of peers, for auth.c. Any thread. */
struct peers *acceptor_peers(struct acceptor *a);
struct peers *peers_new(void);
struct peers *peers_free(struct peers *p);
/* Move a connected socket to a descriptor number that was not in use for long, and note who is at
 * its other end. Takes `fd`. Returns the new number; -EMFILE if there is none left, or the error of
 * getsockopt or getpeername. */
int peers_add(struct peers *p, int fd);
/* End all connections, without closing them: that is for grpc to do. Nothing may be added any more.
 */
void peers_hang_up(struct peers *p);
bool peers_find(struct peers *p, int fd, struct peer_cred *ret_cred);
