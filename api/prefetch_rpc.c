/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prefetch: the work is done on this handler's thread, of a pool of its own, and its progress is
 * streamed. A reader who is slow misses messages in between, never the last.
 */
#include <errno.h>
#include <string.h>

#include "access.h"
#include "arena.h"
#include "base/clock.h"
#include "base/err.h"
#include "call.h"
#include "codec_mount.h"
#include "rpc.h"
#include "server_internal.h"
#include "service/mounts.h"
#include "service/node.h"
#include "service/prefetch.h"

#define PATHS_MAX      256
#define PATH_BYTES_MAX 4095

struct progress {
	struct rpc_call *call;
	struct warm_progress last;
	uint64_t elapsed_ns;
};

static void fill(
	Coppice__V1__PrefetchProgress *out, const struct warm_progress *p, uint64_t elapsed_ns)
{
	uint64_t ms = elapsed_ns / NS_PER_MS;

	out->directories = p->directories;
	out->directories_found = p->directories_found;
	out->blobs = p->blobs;
	out->blobs_found = p->blobs_found;
	out->bytes = p->bytes;
	out->bytes_found = p->bytes_found;
	out->failed = p->failed;
	out->indexed = p->indexed;
	out->stopped = p->stopped;
	out->elapsed_ms = ms;
	out->bytes_per_second = ms ? p->bytes * 1000 / ms : 0;
	if (p->indexed && p->bytes && p->bytes_found > p->bytes)
		out->eta_ms = (uint64_t)((double)ms * (double)(p->bytes_found - p->bytes) /
					 (double)p->bytes);
}

static void report(void *arg, const struct warm_progress *p, uint64_t elapsed_ns)
{
	Coppice__V1__PrefetchProgress out = COPPICE__V1__PREFETCH_PROGRESS__INIT;
	struct progress *progress = arg;

	progress->last = *p;
	progress->elapsed_ns = elapsed_ns;
	fill(&out, p, elapsed_ns);
	(void)rpc_stream_send(progress->call, &out.base); /* it is over: the cancel token tells */
}

static int decode_paths(const Coppice__V1__PrefetchRequest *in, struct arena *a,
	struct prefetch_request *rq, struct err *e)
{
	const char **paths;

	if (in->n_paths > PATHS_MAX)
		return err_field(e, "paths", "are more than %d", PATHS_MAX);
	paths = arena_alloc(a, (in->n_paths + 1) * sizeof(*paths));
	if (!paths)
		return -ENOMEM;
	for (size_t i = 0; i < in->n_paths; i++) {
		const ProtobufCBinaryData *path = &in->paths[i];
		char *copy;

		if (path->len > PATH_BYTES_MAX || memchr(path->data, 0, path->len))
			return err_field(e, "paths", "number %zu is too long, or holds a NUL", i);
		copy = arena_alloc(a, path->len + 1);
		if (!copy)
			return -ENOMEM;
		if (path->len)
			memcpy(copy, path->data, path->len);
		copy[path->len] = '\0';
		paths[i] = copy;
	}
	*rq = (struct prefetch_request){.paths = paths,
		.path_count = (unsigned)in->n_paths,
		.depth = in->depth,
		.bytes_max = in->bytes,
		.directories_only = in->directories_only};
	return 0;
}

int rpc_prefetch(struct rpc_call *call, const ProtobufCMessage *message, struct err *e)
{
	const Coppice__V1__PrefetchRequest *in = (const void *)message;
	Coppice__V1__PrefetchProgress last = COPPICE__V1__PREFETCH_PROGRESS__INIT;
	struct progress progress = {.call = call};
	struct prefetch_request rq;
	struct mount_key key;
	int r = codec_mount_key(in->mount_id, in->job_id, &key, e);

	if (r == 0)
		r = access_key(call, in->tenant, &key, e);
	if (r == 0)
		r = decode_paths(in, &call->arena, &rq, e);
	if (r == 0)
		r = rpc_stream_open(call, e);
	if (r < 0)
		return r;
	r = mounts_prefetch(call->server->node->mounts, &key, &rq, call->cancel, call->deadline_ns,
		report, &progress, e);
	fill(&last, &progress.last, progress.elapsed_ns);
	last.done = true;
	(void)rpc_stream_send_wait(call, &last.base); /* the status follows in any case */
	if (r == 0)
		rpc_stream_close(call);
	return r;
}
