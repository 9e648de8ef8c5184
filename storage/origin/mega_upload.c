/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One commit object from Git's side of a Mega server. No other part of the server tells which tree
 * a commit has; a pack does: commits come first in it, so its beginning is enough, and the rest is
 * not waited for. The object is proved by its id.
 *
 * Threads: any that may block.
 */
#include "inflate.h"
#include "origin/git_pkt.h"
#include "origin/http_url.h"
#include "origin/mega_internal.h"

#include "base/cleanup.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BEGINNING_MAX (256u << 10) /* of the answer: a commit with a long message */
#define COMMIT_MAX    (1u << 20)
#define TYPE_COMMIT   1

void mega_url_git(struct buf *out, const struct mega *m, const char *path, const char *service)
{
	/* the root is "/" to the server, which takes ".git" away */
	http_url_begin(out, m->url, "/");
	for (const char *at = path; *at; at++)
		if (*at == '/')
			(void)buf_putc(out, '/');
		else
			http_url_encode(out, at, 1);
	(void)buf_puts(out, ".git/"); /* the buffer remembers a failure */
	(void)buf_puts(out, service);
}

/* The answer's beginning. */
static int take(void *arg, int64_t length, const void *data, size_t len)
{
	struct buf *b = arg;

	(void)length;
	if (b->len + len > BEGINNING_MAX)
		len = BEGINNING_MAX - b->len;
	if (buf_append(b, data, len) < 0)
		return -ENOMEM;
	return b->len == BEGINNING_MAX ? -EFBIG : 0; /* enough */
}

int mega_unwrap(const struct buf *answer, struct buf *out)
{
	const char *at = answer->data;
	size_t left = answer->len;
	int r = 0;

	while (r == 0 && left) {
		struct gitpkt pkt;
		ssize_t n = gitpkt_take(at, left, &pkt);

		if (n < 0)
			return -EIO;
		if (n == 0)
			break; /* the beginning ends here */
		if (pkt.type == GITPKT_DATA && pkt.len && pkt.data[0] == 1)
			r = buf_append(out, pkt.data + 1, pkt.len - 1);
		at += n;
		left -= (size_t)n;
	}
	return r;
}

/* "PACK", version, count; then type and size of the first object, and its compressed bytes. */
static int first_commit(const struct buf *pack, const struct oid *want, char **ret_text)
{
	const uint8_t *at = (const uint8_t *)pack->data, *end = at + pack->len;
	_cleanup_free_ char *text = NULL;
	uint64_t size;
	unsigned shift = 4;

	if (pack->len < 13 || memcmp(at, "PACK\0\0\0\2", 8) != 0)
		return -EIO;
	at += 12;
	if ((*at >> 4 & 7) != TYPE_COMMIT)
		return -EIO;
	size = *at & 15;
	while (*at++ & 128) {
		if (at == end || shift > 32)
			return -EIO;
		size |= (uint64_t)(*at & 127) << shift;
		shift += 7;
	}
	if (size > COMMIT_MAX)
		return -EIO;
	text = malloc((size_t)size + 1);
	if (!text)
		return -ENOMEM;
	if (inflate_start(at, (size_t)(end - at), text, (size_t)size) < 0 ||
		digest_verify(want, OBJECT_COMMIT, text, (size_t)size) < 0)
		return -EIO;
	text[size] = '\0';
	*ret_text = TAKE_PTR(text);
	return 0;
}

/* "tree <id>\n...\ncommitter <name> <seconds> <zone>\n" */
static int parse_commit(const char *text, struct mega_root *root)
{
	const char *who = strstr(text, "\ncommitter "), *line_end;
	const char *mail = who ? strchr(who, '>') : NULL;
	char hex[OID_HEX_MAX];
	size_t len;

	if (strncmp(text, "tree ", 5) != 0)
		return -EIO;
	line_end = strchr(text, '\n');
	len = line_end ? (size_t)(line_end - text - 5) : 0;
	if (!len || len >= sizeof(hex))
		return -EIO;
	memcpy(hex, text + 5, len);
	hex[len] = '\0';
	root->time_s = 0;
	if (mail)
		(void)sscanf(mail + 1, " %" SCNd64, &root->time_s); /* 0: of no known form */
	return oid_parse(hex, &root->tree) == 0 ? 0 : -EIO;
}

int mega_upload_parse(
	const struct buf *answer, const struct oid *commit, struct mega_root *ret_root)
{
	_cleanup_free_ char *text = NULL;
	struct buf pack;
	int r;

	buf_init(&pack, BEGINNING_MAX);
	r = mega_unwrap(answer, &pack);
	if (r == 0)
		r = first_commit(&pack, commit, &text);
	if (r == 0)
		r = parse_commit(text, ret_root);
	buf_fini(&pack);
	return r;
}

static int ask(struct mega *m, const char *path, const struct oid commits[2],
	const struct mega_wait *wait, struct buf *answer)
{
	static const char *const headers[] = {
		"Content-Type: application/x-git-upload-pack-request", NULL};
	struct http_request request = {.method = HTTP_POST,
		.headers = headers,
		.stream = true,
		.deadline_ns = wait->deadline_ns};
	struct http_answer head = {0};
	struct http_call *call;
	struct buf url, body;
	char hex[OID_HEX_MAX];
	int r;

	buf_init(&url, 65536);
	buf_init(&body, 4096);
	mega_url_git(&url, m, path, "git-upload-pack");
	gitpkt_put(&body, "want %s multi_ack_detailed side-band-64k ofs-delta agent=coppice\n",
		oid_hex(&commits[0], hex));
	gitpkt_put_flush(&body);
	gitpkt_put(&body, "have %s\n", oid_hex(&commits[1], hex));
	gitpkt_put(&body, "done\n");
	request.url = buf_cstr(&url);
	request.body = body.data;
	request.body_len = body.len;
	r = buf_error(&url) ? buf_error(&url) : buf_error(&body);
	if (r == 0)
		r = http_start(m->http, &request, &call);
	if (r == 0)
		r = http_finish_to(call, wait->cancel, take, answer, &head);
	http_answer_fini(&head);
	buf_fini(&url);
	buf_fini(&body);
	return r == -EFBIG ? 0 : r;
}

int mega_fetch_commit(struct mega *m, const char *path, const struct oid commits[2],
	const struct mega_wait *wait, struct mega_root *ret_root)
{
	struct buf answer;
	int r;

	buf_init(&answer, BEGINNING_MAX);
	r = ask(m, path, commits, wait, &answer);
	if (r == 0)
		r = mega_upload_parse(&answer, &commits[0], ret_root);
	buf_fini(&answer);
	return r;
}
