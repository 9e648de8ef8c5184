/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses to listen at, as the configuration writes them: "unix:/path", "127.0.0.1:7433",
 * "[::1]:0", "localhost:7433". */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

struct err;

struct listen_address {
	const char *unix_path; /* NULL: TCP; points into the text */
	struct sockaddr_storage tcp;
	socklen_t tcp_len;
	bool loopback;
};

/* -EINVAL reason BAD_ADDRESS. A name other than localhost is not resolved: it is an error. */
int listen_parse(const char *text, struct listen_address *ret_address, struct err *e);
