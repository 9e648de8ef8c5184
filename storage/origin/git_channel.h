/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A conversation with a Git server in protocol version 2, kept open for many requests. The bytes
 * travel through Git's own HTTP helper (`git remote-http`, whose stateless-connect passes packets
 * through and keeps the connection), through `ssh`, or straight over TCP to a `git daemon`.
 *
 * Threads: a channel serves one request at a time; the set of idle ones is for any thread.
 */
#pragma once
#include "base/list.h"
#include "base/lock.h"
#include "origin/git_pkt.h"
#include "origin/git_run.h"
#include "origin/git_url.h"

struct err;

/* Of a server; const while channels are open. */
struct gitchan_server {
	const struct giturl *url;
	char *const *env;
	const char *dir; /* where programs run */
	uint64_t connect_ns;
	const char *ssh_key, *ssh_hosts; /* files, or NULL */
};

struct gitchan {
	struct list node;
	struct gitrun run;
	struct gitpkt_offer offer;
	bool stateless;   /* an answer ends with a packet of its own */
	bool served;      /* it has answered before: it may since have been closed */
	bool heard;       /* bytes of the present answer have come */
	bool spent;       /* an answer was not read to its end: it cannot be used again */
	uint64_t idle_ns; /* since when it is idle */
	size_t at, have;  /* unread bytes in `in` */
	uint8_t in[GITPKT_MAX + 4];
};

/* -EPROTONOSUPPORT: the server does not speak version 2. Others as gitfault_of. */
int gitchan_open(struct gitchan **ret_chan, const struct gitchan_server *server,
	const struct gitrun_wait *wait, struct err *e);
struct gitchan *gitchan_close(struct gitchan *c);
/* One request, whole. */
int gitchan_send(struct gitchan *c, const struct buf *request, const struct gitrun_wait *wait,
	struct err *e);
/* The next packet; valid until the next call. A server's "ERR" is the error that it says. */
int gitchan_next(
	struct gitchan *c, struct gitpkt *ret_pkt, const struct gitrun_wait *wait, struct err *e);
/* After the last flush of an answer. */
int gitchan_end_answer(struct gitchan *c, const struct gitrun_wait *wait, struct err *e);
