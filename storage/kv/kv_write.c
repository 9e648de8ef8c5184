// SPDX-License-Identifier: Apache-2.0
/*
 * Submitting writes: they are checked, and queued for the writer thread (kv_commit.c). The queue is
 * bounded by bytes. A write that is waited for needs no copy; an asynchronous one is copied, ops
 * and bytes, in one allocation.
 *
 * Threads: any.
 */
#include "base/clock.h"
#include "kv/kv_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define QUEUE_MAX_BYTES (64ull << 20)
#define ROOM_WAIT_NS    (10 * NS_PER_S)

static int check_ops(
	const struct kv *kv, const struct kv_op *ops, unsigned op_count, size_t *ret_bytes)
{
	size_t bytes = 0;

	for (unsigned i = 0; i < op_count; i++) {
		if (ops[i].table >= kv->table_count || ops[i].key_len == 0 ||
			ops[i].key_len > KV_KEY_MAX)
			return -EINVAL;
		if (ops[i].value_len > UINT32_MAX || bytes > SIZE_MAX / 4)
			return -EFBIG;
		bytes += ops[i].key_len + (ops[i].value ? ops[i].value_len : 0);
	}
	*ret_bytes = bytes + sizeof(struct kv_req) + op_count * sizeof(*ops);
	return 0;
}

/* One request larger than the whole queue may pass when it is alone. */
static bool has_room_locked(const struct kv_writer *w, size_t bytes)
{
	return w->queued_bytes == 0 || w->queued_bytes + bytes <= QUEUE_MAX_BYTES;
}

static void enqueue_locked(struct kv *kv, struct kv_req *req)
{
	struct kv_writer *w = &kv->writer;

	list_push_back(&w->queue, &req->node);
	w->queued_bytes += req->bytes;
	gauge_set(kv->m.queued_bytes, (int64_t)w->queued_bytes);
	cond_signal(&w->work);
}

/* Queue a request that lives on the caller's stack and wait for its result. */
static int submit_and_wait(struct kv *kv, struct kv_req *req)
{
	struct kv_writer *w = &kv->writer;
	uint64_t give_up = clock_after(&clock_system, ROOM_WAIT_NS);
	LOCK_GUARD(&w->mu);

	while (!w->stop && !has_room_locked(w, req->bytes))
		if (!cond_wait_until(&w->progress, &w->mu, give_up))
			return -EAGAIN;
	if (w->stop)
		return -ESHUTDOWN;
	enqueue_locked(kv, req);
	/* The writer ends every request that was queued, also on its way out; local I/O is all that
	 * it waits for. */
	while (!req->done)
		cond_wait(&w->progress, &w->mu);
	return req->result;
}

int kv_write(struct kv *kv, const struct kv_op *ops, unsigned op_count)
{
	struct kv_req req = {.ops = ops, .op_count = op_count};
	int r = check_ops(kv, ops, op_count, &req.bytes);

	if (r < 0 || op_count == 0)
		return r;
	return submit_and_wait(kv, &req);
}

int kv_flush(struct kv *kv)
{
	struct kv_req req = {.bytes = sizeof(req), .sync = kv->mode == KV_CACHE};

	return submit_and_wait(kv, &req);
}

/* Request, ops and the bytes that they name, in one allocation. */
static struct kv_req *req_copy(const struct kv_op *ops, unsigned op_count, size_t bytes)
{
	struct kv_req *req = malloc(bytes);
	struct kv_op *copy;
	char *heap;

	if (!req)
		return NULL;
	copy = (struct kv_op *)(req + 1);
	heap = (char *)(copy + op_count);
	for (unsigned i = 0; i < op_count; i++) {
		copy[i] = ops[i];
		memcpy(heap, ops[i].key, ops[i].key_len);
		copy[i].key = heap;
		heap += ops[i].key_len;
		if (ops[i].value) {
			if (ops[i].value_len)
				memcpy(heap, ops[i].value, ops[i].value_len);
			copy[i].value = heap;
			heap += ops[i].value_len;
		}
	}
	*req = (struct kv_req){.ops = copy, .op_count = op_count, .bytes = bytes, .heap = true};
	return req;
}

int kv_write_async(struct kv *kv, const struct kv_op *ops, unsigned op_count, kv_done fn, void *arg)
{
	struct kv_writer *w = &kv->writer;
	struct kv_req *req;
	size_t bytes;
	int r = check_ops(kv, ops, op_count, &bytes);

	if (r < 0)
		return r;
	req = req_copy(ops, op_count, bytes);
	if (!req)
		return -ENOMEM;
	req->fn = fn;
	req->arg = arg;
	lock_acquire(&w->mu);
	if (w->stop)
		r = -ESHUTDOWN;
	else if (!has_room_locked(w, bytes))
		r = -EAGAIN;
	else
		enqueue_locked(kv, req);
	lock_release(&w->mu);
	if (r < 0)
		free(req);
	return r;
}
