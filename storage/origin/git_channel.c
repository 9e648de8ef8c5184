/* SPDX-License-Identifier: Apache-2.0 */
/* See git_channel.h. */
#include "origin/git_channel.h"

#include "base/buf.h"
#include "base/cancel.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "origin/git_connect.h"
#include "origin/git_fault.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GREETING_LINES_MAX 64
#define ERROR_WAIT_NS      (2 * NS_PER_S) /* for the last words of a program that has hung up */

/* It has hung up, or a wait ended. The reason is in what it said on standard error. */
static int failed(struct gitchan *c, int r, struct err *e)
{
	const struct gitrun_wait last = {.deadline_ns = clock_after(&clock_system, ERROR_WAIT_NS)};

	if (r == -ETIMEDOUT)
		return err_set(e, r, NULL, "the server does not answer in time");
	if (r == -ECANCELED)
		return err_set(e, r, NULL, "given up");
	if (c->run.pid)
		(void)gitrun_finish(&c->run, &last); /* its status says less than its words */
	return gitfault_of(c->run.error, e);
}

static int read_more(struct gitchan *c, const struct gitrun_wait *wait, struct err *e)
{
	ssize_t n;

	if (c->at > 0) {
		memmove(c->in, c->in + c->at, c->have - c->at);
		c->have -= c->at;
		c->at = 0;
	}
	n = gitrun_read(&c->run, c->in + c->have, sizeof(c->in) - c->have, wait);
	if (n <= 0)
		return failed(c, (int)n, e);
	c->have += (size_t)n;
	c->heard = true;
	return 0;
}

int gitchan_next(
	struct gitchan *c, struct gitpkt *ret_pkt, const struct gitrun_wait *wait, struct err *e)
{
	char said[256];

	for (;;) {
		ssize_t n = gitpkt_take(c->in + c->at, c->have - c->at, ret_pkt);
		int r;

		if (n < 0)
			return err_set(e, -EIO, NULL, "the server's answer is malformed");
		if (n > 0) {
			c->at += (size_t)n;
			break;
		}
		r = read_more(c, wait, e);
		if (r < 0)
			return r;
	}
	if (gitpkt_error_line(ret_pkt, said, sizeof(said)))
		return gitfault_of(said, e);
	return 0;
}

int gitchan_send(
	struct gitchan *c, const struct buf *request, const struct gitrun_wait *wait, struct err *e)
{
	int r = buf_error(request);

	if (r < 0)
		return err_set(e, r, NULL, "no memory for a request");
	c->heard = false;
	r = gitrun_write(&c->run, request->data, request->len, wait);
	return r < 0 ? failed(c, r, e) : 0;
}

int gitchan_end_answer(struct gitchan *c, const struct gitrun_wait *wait, struct err *e)
{
	struct gitpkt pkt;
	int r = 0;

	if (c->stateless) {
		r = gitchan_next(c, &pkt, wait, e);
		if (r == 0 && pkt.type != GITPKT_END)
			r = err_set(e, -EIO, NULL, "the server says more than it was asked");
	}
	if (r == 0)
		c->served = true;
	return r;
}

/* The helper's one line: it could connect ("") or the server is too old ("fallback"). */
static int read_helper_line(struct gitchan *c, const struct gitrun_wait *wait, struct err *e)
{
	uint8_t *end;

	while (!(end = memchr(c->in + c->at, '\n', c->have - c->at))) {
		int r = c->have == sizeof(c->in) ? -EIO : read_more(c, wait, e);

		if (r < 0)
			return r;
	}
	if (end == c->in + c->at) {
		c->at++;
		return 0;
	}
	return err_set(e, -EPROTONOSUPPORT, "ORIGIN_UNSUPPORTED",
		"the server does not speak version 2 of Git's protocol");
}

static int read_greeting(struct gitchan *c, const struct gitrun_wait *wait, struct err *e)
{
	struct gitpkt pkt;

	for (unsigned i = 0; i < GREETING_LINES_MAX; i++) {
		int r = gitchan_next(c, &pkt, wait, e);

		if (r < 0)
			return r;
		if (pkt.type != GITPKT_DATA)
			break;
		gitpkt_offer_line(&c->offer, &pkt);
		if (!c->offer.version2)
			break;
	}
	if (!c->offer.version2)
		return err_set(e, -EPROTONOSUPPORT, "ORIGIN_UNSUPPORTED",
			"the server does not speak version 2 of Git's protocol");
	if (c->offer.other_hash)
		return err_set(e, -EOPNOTSUPP, "ORIGIN_UNSUPPORTED",
			"the repository's object format is not supported");
	return 0;
}

static int start(struct gitchan *c, const struct gitchan_server *server,
	const struct gitrun_wait *wait, struct err *e)
{
	static const char hello[] = "stateless-connect git-upload-pack\n";
	int r;

	switch (server->url->kind) {
	case GITURL_SSH:
		return gitconnect_ssh(&c->run, server, e);
	case GITURL_DAEMON:
		return gitconnect_daemon(&c->run, server, wait, e);
	case GITURL_HTTP:
	case GITURL_HTTPS:
		break;
	}
	c->stateless = true;
	r = gitconnect_http(&c->run, server, e);
	if (r == 0 && gitrun_write(&c->run, hello, sizeof(hello) - 1, wait) < 0)
		r = failed(c, -EPIPE, e);
	return r == 0 ? read_helper_line(c, wait, e) : r;
}

int gitchan_open(struct gitchan **ret_chan, const struct gitchan_server *server,
	const struct gitrun_wait *wait, struct err *e)
{
	uint64_t until_ns = clock_after(&clock_system, server->connect_ns);
	const struct gitrun_wait connect_wait = {.cancel = wait->cancel,
		.deadline_ns = until_ns < wait->deadline_ns ? until_ns : wait->deadline_ns};
	struct gitchan *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return err_set(e, -ENOMEM, NULL, "no memory");
	list_init(&c->node);
	c->run = (struct gitrun){.fd = -1, .err_fd = -1};
	r = start(c, server, &connect_wait, e);
	if (r == 0)
		r = read_greeting(c, &connect_wait, e);
	if (r < 0) {
		gitchan_close(c);
		return r;
	}
	*ret_chan = c;
	return 0;
}

struct gitchan *gitchan_close(struct gitchan *c)
{
	if (c) {
		gitrun_end(&c->run);
		free(c);
	}
	return NULL;
}
