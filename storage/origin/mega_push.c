/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A push to Git's side of a directory of a Mega server: one command, one pack, and what the server
 * reports. Refs of the directory are advertised to whoever asks.
 *
 * Threads: any that may block.
 */
#include "origin/git_pkt.h"
#include "origin/http_url.h"
#include "origin/mega_internal.h"
#include "origin/mega_refs.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define BODY_MAX   ((size_t)1 << 30)
#define REPORT_MAX (1u << 20)

int mega_fetch_refs(struct mega *m, const struct mega_refs_call *call)
{
	struct http_answer answer = {0};
	struct buf url;
	int r;

	buf_init(&url, 65536);
	mega_url_git(&url, m, call->path, "info/refs");
	http_url_query(&url, "service", call->service, strlen(call->service));
	r = buf_error(&url);
	if (r == 0)
		r = mega_get(m, buf_cstr(&url), &call->wait, &answer);
	buf_fini(&url);
	if (r == 0)
		r = mega_refs_each(answer.body.data, answer.body.len, call->fn, call->arg);
	http_answer_fini(&answer);
	return r;
}

int mega_refs(void *impl, const char *path, uint64_t deadline_ns, origin_ref_fn fn, void *arg)
{
	return mega_fetch_refs(impl, &(struct mega_refs_call){.path = path,
					     .service = "git-upload-pack",
					     .wait = {NULL, deadline_ns},
					     .fn = fn,
					     .arg = arg});
}

/* ---- the report ---- */

static bool begins(const struct gitpkt *pkt, const char *word)
{
	return pkt->len >= strlen(word) && memcmp(pkt->data, word, strlen(word)) == 0;
}

/* "unpack ok", which says nothing, then "ok <ref>" or "ng <ref> <why>". */
static int read_report(const struct buf *report, char *ret_why, size_t cap)
{
	const char *at = report->data;
	size_t left = report->len;
	int r = -EIO; /* the server did not say */

	while (left) {
		struct gitpkt pkt;
		ssize_t n = gitpkt_take(at, left, &pkt);

		if (n <= 0)
			return -EIO;
		if (pkt.type == GITPKT_DATA && begins(&pkt, "ok "))
			r = 0;
		if (pkt.type == GITPKT_DATA && begins(&pkt, "ng ")) {
			const char *why = memchr(pkt.data + 3, ' ', pkt.len - 3);

			(void)snprintf(ret_why, cap, "%.*s",
				why ? (int)(pkt.len - (size_t)(why - (const char *)pkt.data) - 1)
				    : 0,
				why ? why + 1 : "");
			gitpkt_clean_text(ret_why);
			return -EPERM;
		}
		at += n;
		left -= (size_t)n;
	}
	return r;
}

int mega_push_report(const struct buf *answer, char *ret_why, size_t cap)
{
	struct buf report;
	int r;

	buf_init(&report, REPORT_MAX);
	r = mega_unwrap(answer, &report);
	if (r == 0)
		r = read_report(&report, ret_why, cap);
	buf_fini(&report);
	return r;
}

/* ---- the push ---- */

static int put_body(const struct origin_push *push, struct buf *body)
{
	static const char words[] = " report-status side-band-64k agent=coppice";
	char old[OID_HEX_MAX], commit[OID_HEX_MAX], line[512];
	int len = snprintf(line, sizeof(line), "%s %s refs/heads/main%c%s",
		oid_hex(&push->old, old), oid_hex(&push->commit, commit), 0, words);

	/* one packet by hand: it has a NUL in it */
	(void)buf_printf(body, "%04x", (unsigned)len + 4);
	(void)buf_append(body, line, (size_t)len);
	gitpkt_put_flush(body);
	return buf_append(body, push->pack, push->len);
}

int mega_push(void *impl, const struct origin_push *push, char *ret_why, size_t cap)
{
	static const char *const headers[] = {
		"Content-Type: application/x-git-receive-pack-request",
		"Accept: application/x-git-receive-pack-result", NULL};
	struct http_request request = {.method = HTTP_POST,
		.headers = headers,
		.once = true,
		.max_bytes = REPORT_MAX,
		.deadline_ns = push->deadline_ns};
	struct http_answer answer = {0};
	struct mega *m = impl;
	struct buf url, body;
	int r;

	buf_init(&url, 65536);
	buf_init(&body, BODY_MAX);
	mega_url_git(&url, m, push->path, "git-receive-pack");
	r = put_body(push, &body);
	if (r == 0)
		r = buf_error(&url);
	request.url = buf_cstr(&url);
	request.body = body.data;
	request.body_len = body.len;
	if (r == 0)
		r = http_perform(m->http, &request, push->cancel, &answer);
	if (r == 0)
		r = mega_push_report(&answer.body, ret_why, cap);
	else
		(void)snprintf(ret_why, cap, "%s", answer.why);
	http_answer_fini(&answer);
	buf_fini(&url);
	buf_fini(&body);
	return r;
}
