/* SPDX-License-Identifier: Apache-2.0 */
/* Listening sockets, as new or as a predecessor left them. */
#pragma once
struct err;
struct fd_store;
struct listen_address;

/* A socket that listens at the address: the one that `store` (may be NULL) has under `name`, if it
 * is at this address, so that who connected meanwhile is served; else a new one, which is put
 * there. A Unix socket's directory is made (0755), the socket is 0666: who may do what is decided
 * by credentials; a socket file that nobody answers at is replaced. Non-blocking. -EADDRINUSE,
 * -ENOTSOCK (another kind of file), -EINVAL reason BAD_ADDRESS, each naming `text`. */
int listen_open(const struct listen_address *address, const char *text, struct fd_store *store,
	const char *name, int *ret_fd, struct err *e);
