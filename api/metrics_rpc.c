/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Latencies are registered with the table of methods at start; counters by code when a code first
 * occurs, so that the text form lists what happened and not every pair that could. Paths that no
 * method has are one row, "unknown": a caller must not be able to make up label values.
 */
#include "metrics_rpc.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "call.h"
#include "methods.h"
#include "service/tenants.h"
#include "status.h"

#define CODES 17

struct method_metrics {
	struct histogram *latency;
	struct counter *_Atomic by_code[CODES]; /* NULL until it occurs */
};

struct rpc_metrics {
	struct metrics *registry; /* const after init */
	struct gauge *in_flight;
	struct method_metrics methods[]; /* rpc_method_count, and one for unknown paths */
};

static const char *method_name(size_t index)
{
	return index < rpc_method_count ? rpc_methods[index].path + 1 : "unknown";
}

struct rpc_metrics *rpc_metrics_new(struct metrics *registry)
{
	struct rpc_metrics *m =
		calloc(1, sizeof(*m) + (rpc_method_count + 1) * sizeof(m->methods[0]));

	if (!m || !registry)
		return m;
	m->registry = registry;
	m->in_flight = metrics_gauge(registry, "coppice_rpc_in_flight", "Calls being served.", "");
	for (size_t i = 0; i <= rpc_method_count; i++) {
		char labels[128];

		(void)snprintf(labels, sizeof(labels), "method=\"%s\"", method_name(i));
		m->methods[i].latency = metrics_histogram(
			registry, "coppice_rpc_latency_seconds", "From accept to status.", labels);
	}
	return m;
}

struct rpc_metrics *rpc_metrics_free(struct rpc_metrics *m)
{
	free(m);
	return NULL;
}

void rpc_metrics_begin(struct rpc_metrics *m)
{
	if (m->registry)
		gauge_add(m->in_flight, 1);
}

static struct counter *counter_of(struct rpc_metrics *m, size_t index, grpc_status_code code)
{
	struct counter *_Atomic *slot = &m->methods[index].by_code[(size_t)code < CODES ? code : 2];
	/* acquire and release: the counter behind the pointer was made by another thread */
	struct counter *counter = atomic_load_explicit(slot, memory_order_acquire);
	char labels[160];

	if (counter)
		return counter;
	(void)snprintf(labels, sizeof(labels), "method=\"%s\",code=\"%s\"", method_name(index),
		status_name(code));
	counter = metrics_counter(
		m->registry, "coppice_rpc_requests_total", "Calls ended, by status code.", labels);
	atomic_store_explicit(slot, counter, memory_order_release);
	return counter;
}

void rpc_metrics_done(struct rpc_metrics *m, const struct rpc_call *call)
{
	size_t index = call->method ? (size_t)(call->method - rpc_methods) : rpc_method_count;
	uint64_t ns = clock_mono_ns(&clock_system) - call->started_ns;

	if (m->registry) {
		gauge_add(m->in_flight, -1);
		histogram_observe(m->methods[index].latency, ns);
		counter_add(counter_of(m, index, call->code), 1);
	}
	log_context(call->tenant ? tenant_name(call->tenant) : NULL, NULL, call->request_id);
	log_info("rpc", LOG_S("method", method_name(index)), LOG_S("code", status_name(call->code)),
		LOG_U("ms", ns / NS_PER_MS));
	log_context_clear();
}
