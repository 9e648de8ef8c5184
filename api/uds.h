/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unix sockets whose peers are known. grpc's own Unix listener does not say who connected, so this
 * one accepts itself, asks the kernel for the peer's credentials, and hands the connected
 * descriptor to grpc, which then names the peer "fd:<n>".
 */
#pragma once
#include <grpc/grpc.h>
#include <stdbool.h>
#include <sys/types.h>

struct err;
struct uds;
struct uds_peers;

struct uds_cred {
	uid_t uid;
	gid_t gid;
	pid_t pid;
};

/* Binds nothing yet. -ENOMEM, -EMFILE. */
int uds_new(struct uds **ret_uds);
/* Bind and listen at `path`; its directory is made (0755), the socket is 0666: who may do what is
 * decided by credentials. A socket file that nobody answers at is replaced. -EADDRINUSE if somebody
 * does, -ENOTSOCK for another kind of file. */
int uds_listen(struct uds *u, const char *path, struct err *e);
/* Start accepting for `server`, which must have been started. */
int uds_start(struct uds *u, grpc_server *server);
/* Stop accepting and remove the socket files. Connections go on. Blocks for the thread's end. */
void uds_stop(struct uds *u);
struct uds *uds_free(struct uds *u);

/* The table of credentials, for auth.c. Any thread. */
struct uds_peers *uds_peers(struct uds *u);
struct uds_peers *uds_peers_new(void);
struct uds_peers *uds_peers_free(struct uds_peers *p);
/* Move a connected socket to a descriptor number that was not in use for long, and note its
 * credentials under it. Takes `fd`. Returns the new number; -EMFILE if there is none left, or the
 * error of getsockopt. */
int uds_peers_add(struct uds_peers *p, int fd);
bool uds_peers_find(struct uds_peers *p, int fd, struct uds_cred *ret_cred);
