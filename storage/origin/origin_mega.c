/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The `mega` origin: a Mega monorepo server over its REST API. This file opens it and reads
 * contents; revisions are in mega_resolve.c, directories in mega_tree.c, sizes in mega_sizes.c,
 * what must be remembered in mega_memory.c.
 *
 * The server knows paths and commits, we are asked by id. What comes is verified by its id, so
 * whatever the server says, only the right bytes are shown; where it does not have them, the answer
 * is -EIO.
 *
 * Threads: any that may block; the HTTP client has one of its own.
 */
#include "origin/mega_internal.h"

#include "base/err.h"
#include "base/io.h"
#include "origin/http_url.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define UNANNOUNCED_MAX (64u << 20) /* of a body whose length is not announced */

void mega_url_listing(struct buf *out, const struct mega *m, const struct mega_place *place)
{
	char hex[OID_HEX_MAX];

	http_url_begin(out, m->url, "/api/v1/tree/content-hash?path=%2F");
	http_url_encode(out, place->path, strlen(place->path));
	(void)oid_hex(&place->commit, hex);
	http_url_query(out, "refs", hex, strlen(hex));
}

void mega_url_tree(struct buf *out, const struct mega *m, const char *path, const struct oid *tree)
{
	char hex[OID_HEX_MAX];

	http_url_begin(out, m->url, "/api/v1/file/tree?path=%2F");
	http_url_encode(out, path, strlen(path));
	if (!tree)
		return;
	(void)oid_hex(tree, hex);
	http_url_query(out, "oid", hex, strlen(hex));
}

int mega_start_blob(struct mega *m, const struct oid *blob, struct http_request *request,
	struct http_call **ret_call)
{
	char hex[OID_HEX_MAX];
	struct buf url;
	int r;

	buf_init(&url, 65536);
	http_url_begin(&url, m->url, "/api/v1/file/blob/");
	(void)buf_puts(&url, oid_hex(blob, hex)); /* the buffer remembers the first failure */
	request->url = buf_cstr(&url);
	r = buf_error(&url);
	if (r == 0)
		r = http_start(m->http, request, ret_call);
	buf_fini(&url);
	request->url = NULL;
	return r;
}

int mega_get(struct mega *m, const char *url, const struct mega_wait *wait, struct http_answer *ret)
{
	const struct http_request request = {
		.url = url,
		.max_bytes = MEGA_JSON_MAX_BYTES,
		.deadline_ns = wait->deadline_ns,
	};

	return http_perform(m->http, &request, wait->cancel, ret);
}

/* A body on its way into a sink. */
struct pouring {
	struct blob_sink *sink;
	bool begun;
	struct buf held; /* as long as it is not known how much will come */
};

static int pour(void *arg, int64_t length, const void *data, size_t len)
{
	struct pouring *p = arg;
	int r = 0;

	if (length < 0)
		return buf_append(&p->held, data, len) < 0 ? -EIO : 0;
	if (!p->begun)
		r = p->sink->begin(p->sink, (uint64_t)length);
	p->begun = true;
	return r == 0 ? p->sink->write(p->sink, data, len) : r;
}

/* The end of a body that came; an empty one has not begun yet. */
static int end_pouring(struct pouring *p)
{
	int r = 0;

	if (p->begun)
		return 0;
	r = p->sink->begin(p->sink, p->held.len);
	if (r == 0 && p->held.len)
		r = p->sink->write(p->sink, p->held.data, p->held.len);
	return r;
}

static int mega_read_blob(void *impl, const struct oid *blob, struct blob_sink *sink,
	const struct cancel *cancel, uint64_t deadline_ns)
{
	struct http_request request = {.stream = true, .deadline_ns = deadline_ns};
	struct pouring p = {.sink = sink};
	struct mega *m = impl;
	struct http_answer answer;
	struct http_call *call;
	int r;

	r = mega_start_blob(m, blob, &request, &call);
	if (r < 0)
		return r;
	buf_init(&p.held, UNANNOUNCED_MAX);
	r = http_finish_to(call, cancel, pour, &p, &answer);
	if (r == 0)
		r = end_pouring(&p);
	http_answer_fini(&answer);
	buf_fini(&p.held);
	return r;
}

static void mega_close(void *impl)
{
	struct mega *m = impl;

	if (!m)
		return;
	(void)http_client_free(m->http);
	(void)mega_memory_close(m->memory);
	lock_fini(&m->lock);
	free(m->name);
	free(m->url);
	free(m);
}

static void register_metrics(struct mega *m, struct metrics *metrics)
{
	char labels[96];

	if (!metrics)
		return;
	(void)snprintf(labels, sizeof(labels), "origin=\"%s\"", m->name);
	m->drift = metrics_counter(metrics, "coppice_mega_drift_total",
		"Directories that the server no longer has as they were at the pinned commit.",
		labels);
	m->lies = metrics_counter(metrics, "coppice_mega_lies_total",
		"Tree objects from the server that were not what their id says.", labels);
}

static int open_parts(struct mega *m, const struct origin_config *config, struct err *e)
{
	struct http_config http = {
		.name = m->name, .url = m->url, .net = &config->net, .metrics = config->metrics};
	int r;

	if (!config->state_dir)
		return err_set(e, -EINVAL, NULL, "an origin of type mega needs a directory");
	r = io_mkdirs(config->state_dir, 0700);
	if (r < 0)
		return err_set(e, r, NULL, "cannot make %s: %s", config->state_dir, strerror(-r));
	r = http_client_new(&m->http, &http, e);
	return r < 0 ? r : mega_memory_open(&m->memory, config, e);
}

/* The server is not asked: one that is away now may be back when it is needed. */
static int mega_open(void **ret_impl, const struct origin_config *config, struct err *e)
{
	struct mega *m = calloc(1, sizeof(*m));
	int r;

	if (!m)
		return err_set(e, -ENOMEM, NULL, "no memory");
	lock_init(&m->lock, LOCK_RANK_ORIGIN);
	m->name = strdup(config->name);
	m->url = strdup(config->url);
	if (!m->name || !m->url) {
		mega_close(m);
		return err_set(e, -ENOMEM, NULL, "no memory");
	}
	register_metrics(m, config->metrics);
	r = open_parts(m, config, e);
	if (r < 0) {
		mega_close(m);
		return r;
	}
	*ret_impl = m;
	return 0;
}

const struct origin_ops origin_mega_ops = {
	.type = "mega",
	.caps = ORIGIN_CAP_PINNED | ORIGIN_CAP_SIZES | ORIGIN_CAP_MODES | ORIGIN_CAP_PUSH |
		ORIGIN_CAP_CHANGE_LISTS,
	.open = mega_open,
	.close = mega_close,
	.resolve = mega_resolve,
	.merge_base = mega_merge_base,
	.find_change = mega_find_change,
	.change_files = mega_change_files,
	.refs = mega_refs,
	.push = mega_push,
	.read_tree = mega_read_tree,
	.learn_tree = mega_learn_tree,
	.roots = mega_roots,
	.read_raw = mega_read_raw,
	.read_blob = mega_read_blob,
};
