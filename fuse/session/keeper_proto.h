/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What daemon and keeper say to each other, over a SOCK_SEQPACKET pair whose number the daemon
 * finds in its environment. Both programs come from one build, but an upgrade replaces the daemon
 * under a running keeper: so a version, and fixed layout.
 *
 *	HELLO {flags}			answered with {result}
 *	MOUNT {tenant, mountpoint}	{result}, and the descriptor (SCM_RIGHTS) if 0
 *	UNMOUNT {tenant, mountpoint}	{result}
 *	LIST {index}			{tenant, mountpoint}, descriptor; -ENOENT: past the end
 *	TAKE {tenant, mountpoint}	{result}, and the descriptor that a predecessor had
 *	SETTLE				{result}: what was not taken is unmounted
 *	PUT {name}, descriptor		{result}: a copy of the descriptor is kept
 *	GET {name}			{result}, and the descriptor; -ENOENT
 *	DROP {name}			{result}
 *	STOPPING {seconds}		{result}: it may take so long before it is killed
 *	ALIVE				{seconds}: from now on it is killed if it does not say so
 *					again within them; 0: it is not
 *
 * One question at a time; the keeper never speaks first. What was mounted for a dead predecessor
 * stays until the successor's HELLO: with KEEPER_ADOPT it may TAKE what it goes on with, until
 * SETTLE or a deadline; without it the keeper unmounts everything first. MOUNT of what is there and
 * was not taken replaces it. What was PUT (listening sockets) is kept until DROP or the keeper's
 * end. A keeper that does not know a question answers it with -EPROTO, so questions may be added
 * without a new version.
 */
#pragma once
#include <stdint.h>

#define KEEPER_ENV     "COPPICE_KEEPER_FD"
#define KEEPER_MAGIC   0x636f7070u
#define KEEPER_VERSION 2u
#define KEEPER_ADOPT   1u /* flag of HELLO */

/* The exit status of a daemon that has put everything down for a successor. */
#define KEEPER_HANDED_OVER 85

enum keeper_type {
	KEEPER_HELLO = 1,
	KEEPER_MOUNT,
	KEEPER_UNMOUNT,
	KEEPER_LIST,
	KEEPER_TAKE,
	KEEPER_SETTLE,
	KEEPER_PUT,
	KEEPER_GET,
	KEEPER_DROP,
	KEEPER_STOPPING,
	KEEPER_ALIVE
};

struct keeper_msg {
	uint32_t magic, version, type;
	uint32_t flags;        /* of HELLO; the index of LIST; seconds of STOPPING and ALIVE */
	int32_t result;        /* in answers: 0 or a negative errno */
	char tenant[64];       /* or the name of what is kept */
	char mountpoint[1024]; /* both NUL-terminated */
};

/* Send one, with a descriptor unless `fd` is -1; never waits. [keeper_send.c] */
int keeper_send(int socket, struct keeper_msg *msg, int fd);
