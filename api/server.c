/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Builds the server, runs its completion queues, and takes it down. Each queue has one thread; a
 *call lives on the queue that accepted it. Handlers that work run on the pools of their class,
 *never here.
 *
 * The order of the end (each step lets nothing in that a later one could not wait for):
 *	no more connections → grpc_server_shutdown_and_notify → streams end → grace → cancel what is
 *left → no call has a reference → pools → queues → grpc's objects.
 */
#include <errno.h>
#include <grpc/compression.h>
#include <grpc/support/time.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "acceptor.h"
#include "admission.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/pool.h"
#include "call_internal.h"
#include "http.h"
#include "log_grpc.h"
#include "metrics_rpc.h"
#include "reflection.h"
#include "server_internal.h"
#include "service/config.h"
#include "service/node.h"
#include "sweep.h"

#define TICK_MS                1000
#define GRACE_DEFAULT          (10 * NS_PER_S)
#define GRPC_MEMORY            ((size_t)256 << 20)
#define METADATA_MAX           16384
#define STREAMS_PER_CONNECTION 1024

static struct api_limits complete(struct api_limits l)
{
	l.calls_max = l.calls_max ? l.calls_max : 8192;
	l.streams_max = l.streams_max ? l.streams_max : 1024;
	l.queue_max = l.queue_max ? l.queue_max : 2048;
	l.create_threads = l.create_threads ? l.create_threads : 16;
	l.delete_threads = l.delete_threads ? l.delete_threads : 4;
	l.stream_queue_bytes = l.stream_queue_bytes ? l.stream_queue_bytes : (size_t)16 << 20;
	l.streams_queue_bytes = l.streams_queue_bytes ? l.streams_queue_bytes : (size_t)128 << 20;
	return l;
}

static void tick(struct api_queue *queue, uint64_t now_ns)
{
	struct api_server *s = queue->server;

	/* relaxed: see rpc_accept */
	while (atomic_load_explicit(&queue->accepts, memory_order_relaxed) < API_ACCEPTS)
		if (rpc_accept(s, (unsigned)(queue - s->queues)) < 0)
			break;
	if (queue == s->queues)
		sweep_calls(s, now_ns);
}

static void *queue_main(void *arg)
{
	struct api_queue *queue = arg;
	uint64_t ticked_ns = clock_mono_ns(&clock_system);

	(void)pthread_setname_np(pthread_self(), "api-queue");
	for (;;) {
		gpr_timespec until = gpr_time_add(
			gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(TICK_MS, GPR_TIMESPAN));
		grpc_event event = grpc_completion_queue_next(queue->cq, until, NULL);
		uint64_t now_ns = clock_mono_ns(&clock_system);

		if (event.type == GRPC_QUEUE_SHUTDOWN)
			return NULL;
		if (event.type == GRPC_OP_COMPLETE)
			rpc_tag_run(event.tag, event.success);
		if (queue->server->serving && now_ns - ticked_ns >= TICK_MS * NS_PER_MS) {
			ticked_ns = now_ns;
			tick(queue, now_ns);
		}
	}
}

static grpc_arg arg_number(const char *key, int value)
{
	return (grpc_arg){.type = GRPC_ARG_INTEGER, .key = (char *)key, .value.integer = value};
}

static grpc_arg arg_quota(grpc_resource_quota *quota)
{
	return (grpc_arg){.type = GRPC_ARG_POINTER,
		.key = (char *)GRPC_ARG_RESOURCE_QUOTA,
		.value.pointer = {.p = quota, .vtable = grpc_resource_quota_arg_vtable()}};
}

static void create_grpc_server(struct api_server *s)
{
	grpc_resource_quota *quota = grpc_resource_quota_create("coppice-api");
	grpc_arg args[] = {
		arg_quota(quota),
		arg_number(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, API_MESSAGE_MAX),
		arg_number(GRPC_ARG_MAX_CONCURRENT_STREAMS, STREAMS_PER_CONNECTION),
		arg_number(GRPC_ARG_MAX_METADATA_SIZE, METADATA_MAX),
		/* identity only: gzip is inflated before the size is checked */
		arg_number(GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET, 1),
		arg_number(GRPC_ARG_KEEPALIVE_TIME_MS, 60000),
		arg_number(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20000),
		arg_number(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1),
		arg_number(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 10000),
		arg_number(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, 10000),
		arg_number(GRPC_ARG_MAX_CONNECTION_IDLE_MS, 1800000),
	};
	const grpc_channel_args list = {.num_args = sizeof(args) / sizeof(args[0]), .args = args};

	grpc_resource_quota_resize(quota, GRPC_MEMORY);
	s->grpc = grpc_server_create(&list, NULL);
	grpc_resource_quota_unref(quota); /* the server has its own reference */
}

static int start_queues(struct api_server *s)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	s->queue_count = cpus < 1 ? 1 : cpus > API_QUEUES_MAX ? API_QUEUES_MAX : (unsigned)cpus;
	for (unsigned i = 0; i < s->queue_count; i++) {
		s->queues[i].server = s;
		s->queues[i].cq = grpc_completion_queue_create_for_next(NULL);
		grpc_server_register_completion_queue(s->grpc, s->queues[i].cq, NULL);
	}
	for (unsigned i = 0; i < s->queue_count; i++) {
		int r = -pthread_create(&s->queues[i].thread, NULL, queue_main, &s->queues[i]);

		if (r < 0)
			return r;
		s->queues[i].started = true;
	}
	return 0;
}

static void do_nothing(void *arg)
{
	(void)arg;
}

static int start_pools(struct api_server *s, unsigned work_threads)
{
	const struct pool_config configs[RPC_CLASS_COUNT] = {
		[RPC_WORK] = {"api-work", work_threads ? work_threads : 4, s->limits.queue_max},
		[RPC_CREATE] = {"api-create", s->limits.create_threads, s->limits.queue_max},
		[RPC_WORKFLOW] = {"api-workflow", 8, s->limits.queue_max},
		[RPC_PREFETCH] = {"api-prefetch", 8, s->limits.queue_max},
		[RPC_DELETE] = {"api-delete", s->limits.delete_threads, s->limits.queue_max},
	};
	/* one end per stream at most, so its queue is never full */
	const struct pool_config closer = {"api-close", 1, s->limits.streams_max + 1};
	int r = pool_new(&s->closer, &closer);

	/* its thread is made now, so that a stream can always be ended */
	if (r == 0)
		r = pool_submit(s->closer, do_nothing, NULL, false);
	for (unsigned i = RPC_INLINE + 1; r == 0 && i < RPC_CLASS_COUNT; i++)
		r = pool_new(&s->pools[i], &configs[i]);
	return r;
}

static int add_listeners(struct api_server *s, const struct api_config *config, struct err *e)
{
	if (!config->listen_count)
		return err_set(e, -EINVAL, "BAD_ADDRESS", "nothing to listen at");
	for (unsigned i = 0; i < config->listen_count; i++) {
		const char *text = config->listen[i];
		int r = acceptor_listen(s->acceptor, text, &s->ports[i], e);

		if (r < 0)
			return r;
		log_info("listening", LOG_S("address", text), LOG_U("port", s->ports[i]));
	}
	return 0;
}

static int start(struct api_server *s, const struct api_config *config, struct err *e)
{
	int r = start_pools(s, config->worker_threads);

	if (r == 0)
		r = admission_new(&s->admission, s->node->tenants, s->limits.queue_max);
	if (r == 0)
		r = reflection_new(&s->reflection);
	if (r == 0)
		r = acceptor_new(&s->acceptor, config->fds);
	if (r == 0)
		r = start_queues(s);
	if (r < 0)
		return err_wrap(e, r, "start the api");
	r = add_listeners(s, config, e);
	if (r < 0)
		return r;
	grpc_server_start(s->grpc);
	/* release: the queues' threads tick from here on */
	atomic_store_explicit(&s->serving, true, memory_order_release);
	for (unsigned i = 0; i < s->queue_count && r == 0; i++)
		for (unsigned k = 0; k < API_ACCEPTS && r == 0; k++)
			r = rpc_accept(s, i);
	if (r == 0)
		r = acceptor_start(s->acceptor, s->grpc);
	if (r < 0)
		return err_wrap(e, r, "start the api");
	return http_server_start(&s->http, s, config->fds, e);
}

int api_server_start(struct api_server **ret_server, const struct api_config *config, struct err *e)
{
	struct api_server *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->node = config->node;
	s->limits = complete(config->limits);
	s->grace_ns = config->shutdown_grace_ns ? config->shutdown_grace_ns : GRACE_DEFAULT;
	s->listen_count = config->listen_count;
	lock_init(&s->mu, LOCK_RANK_API);
	cond_init(&s->changed);
	list_init(&s->calls);
	list_init(&s->health_watchers);
	log_redirect_grpc();
	grpc_init();
	create_grpc_server(s);
	s->ports = calloc(config->listen_count + 1, sizeof(*s->ports));
	s->metrics = rpc_metrics_new(config->node->metrics);
	r = s->ports && s->metrics ? start(s, config, e) : -ENOMEM;
	if (r < 0) {
		(void)api_server_stop(s);
		return r;
	}
	*ret_server = s;
	return 0;
}

uint16_t api_server_port(const struct api_server *s, unsigned listen_index)
{
	return listen_index < s->listen_count ? s->ports[listen_index] : 0;
}

uint16_t api_server_http_port(const struct api_server *s)
{
	return http_server_port(s->http);
}

void api_server_drain(struct api_server *s)
{
	if (!atomic_exchange(&s->draining, true))
		health_changed(s);
}

void api_server_hand_over(struct api_server *s)
{
	s->handing_over = true;
}

int api_say_stopping(const struct api_server *s, struct err *e)
{
	if (s->handing_over)
		return err_set(e, -ESHUTDOWN, "HANDING_OVER",
			"the service is being replaced; ask again at once");
	return err_set(e, -ESHUTDOWN, "DRAINING", "the service is stopping");
}

static void shut_down(struct rpc_tag *tag, bool ok)
{
	struct api_server *s = container_of(tag, struct api_server, on_shutdown);

	(void)ok;
	LOCK_GUARD(&s->mu);
	s->shut_down = true;
	cond_broadcast(&s->changed);
}

/* Calls in flight have the grace time. */
static void wait_calls(struct api_server *s)
{
	uint64_t end_ns = clock_after(&clock_system, s->grace_ns);

	LOCK_GUARD(&s->mu);
	while (s->call_count)
		if (!cond_wait_until(&s->changed, &s->mu, end_ns) && s->call_count) {
			log_warn("api_stop_waits", LOG_U("calls", s->call_count));
			return;
		}
}

/* Until grpc has let go of every call and connection: a matter of moments, once it was told to. A
 * call that has come, but that its queue's thread has not looked at, keeps neither from ending;
 * hence accept_count. */
static void wait_shutdown(struct api_server *s)
{
	LOCK_GUARD(&s->mu);
	while (!s->shut_down || s->call_count || s->accept_count)
		if (!cond_wait_until(
			    &s->changed, &s->mu, clock_after(&clock_system, GRACE_DEFAULT)) &&
			s->call_count)
			log_warn("api_stop_waits", LOG_U("calls", s->call_count),
				LOG_B("cancelled", true));
}

/* grpc ends a call that comes after its shutdown has begun with CANCELLED, which nobody repeats. So
 * first the calls, those that still come being told UNAVAILABLE; then the connections: what is on
 * its way in them ends with UNAVAILABLE too; and only then grpc. */
static void stop_calls(struct api_server *s)
{
	lock_acquire(&s->mu);
	s->stopping = true;
	lock_release(&s->mu);
	sweep_end_streams(s);
	wait_calls(s);
	if (s->acceptor)
		peers_hang_up(acceptor_peers(s->acceptor));
	rpc_tag_give(&s->on_shutdown, shut_down);
	grpc_server_shutdown_and_notify(s->grpc, s->queues[0].cq, &s->on_shutdown);
	grpc_server_cancel_all_calls(s->grpc);
	wait_shutdown(s);
}

/* A queue must have run empty before it is destroyed; without a thread of its own this one does it.
 */
static void stop_queue(struct api_queue *queue)
{
	if (queue->started)
		(void)pthread_join(queue->thread, NULL);
	else
		while (grpc_completion_queue_next(
			       queue->cq, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL)
				.type != GRPC_QUEUE_SHUTDOWN)
			;
}

static void stop_queues(struct api_server *s)
{
	for (unsigned i = 0; i < s->queue_count; i++)
		grpc_completion_queue_shutdown(s->queues[i].cq);
	for (unsigned i = 0; i < s->queue_count; i++)
		stop_queue(&s->queues[i]);
	grpc_server_destroy(s->grpc);
	for (unsigned i = 0; i < s->queue_count; i++)
		grpc_completion_queue_destroy(s->queues[i].cq);
}

struct api_server *api_server_stop(struct api_server *s)
{
	if (!s)
		return NULL;
	if (!s->handing_over)
		api_server_drain(s);
	if (s->acceptor)
		acceptor_stop(s->acceptor, s->handing_over);
	if (s->queue_count && s->queues[0].started)
		stop_calls(s);
	for (unsigned i = 0; i < RPC_CLASS_COUNT; i++)
		s->pools[i] = pool_free(s->pools[i]);
	s->closer = pool_free(s->closer);
	s->http = http_server_stop(s->http, s->handing_over);
	stop_queues(s);
	s->acceptor = acceptor_free(s->acceptor);
	s->reflection = reflection_free(s->reflection);
	s->admission = admission_free(s->admission);
	s->metrics = rpc_metrics_free(s->metrics);
	grpc_shutdown();
	free(s->ports);
	cond_fini(&s->changed);
	lock_fini(&s->mu);
	free(s);
	return NULL;
}
