/* SPDX-License-Identifier: Apache-2.0 */
/* Whose the other end of a TCP connection within this machine is. */
#pragma once
#include <stdbool.h>
#include <sys/types.h>

/* The uid that owns the socket at the other end of `fd`, as the kernel tells (sock_diag). False if
 * it is not there, or not held open by anybody any more. One short exchange. Any thread. */
bool peer_uid_find(int fd, uid_t *ret_uid);
