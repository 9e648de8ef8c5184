/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counters, gauges and histograms, and their text form for Prometheus (exposition format 0.0.4).
 * Metrics are registered once at start in an instance's registry and live as long as it; bumping
 * one is a relaxed atomic add. Any thread. A label set is a constant string such as
 * `op="read",tenant="a"` given at registration; text is escaped by the caller's choice of
 * identifiers (tenants and origins are path_ident_ok).
 */
#pragma once
#include <stdatomic.h>
#include <stdint.h>

struct buf;
struct metrics;

struct counter {
	_Atomic uint64_t v;
};
struct gauge {
	_Atomic int64_t v;
};
/* Powers of two from 1 us: bucket i counts values up to 2^i us (and above 2^(i-1)); for latencies
 * in ns. 26 buckets reach half a minute. */
#define HISTOGRAM_BUCKETS 26
struct histogram {
	_Atomic uint64_t bucket[HISTOGRAM_BUCKETS + 1];
	_Atomic uint64_t sum_ns;
};

struct metrics *metrics_new(void);
struct metrics *metrics_free(struct metrics *m);
/* Register, or find the one registered under the same name and labels. `name` as Prometheus wants
 * it, e.g. coppice_fuse_requests_total; help and labels are copied. Never NULL: without memory a
 * shared dummy that is not rendered. */
struct counter *metrics_counter(
	struct metrics *m, const char *name, const char *help, const char *labels);
struct gauge *metrics_gauge(
	struct metrics *m, const char *name, const char *help, const char *labels);
struct histogram *metrics_histogram(
	struct metrics *m, const char *name, const char *help, const char *labels);
/* A value computed when rendered: a counter if the name ends in _total, else a gauge. `fn` may run
 * on any thread, takes whatever locks it likes, must not block and must not call into the registry.
 * -EEXIST if the name and labels are taken, -ENOMEM, -ENOSPC (65536 metrics). */
int metrics_callback(struct metrics *m, const char *name, const char *help, const char *labels,
	uint64_t (*fn)(void *arg), void *arg);
/* Drop every metric whose labels contain `labels` as whole labels (a tenant that is gone):
 * tenant="a" is not in subtenant="a". Frees them: nobody may bump them any more. Waits for a
 * rendering under way, so call it without any lock that a metrics_callback takes. */
void metrics_drop(struct metrics *m, const char *labels);
void metrics_render(struct metrics *m, struct buf *out);

static inline void counter_add(struct counter *c, uint64_t n)
{
	atomic_fetch_add_explicit(&c->v, n, memory_order_relaxed); /* a statistic: no ordering */
}

static inline uint64_t counter_get(const struct counter *c)
{
	return atomic_load_explicit(&c->v, memory_order_relaxed);
}

static inline void gauge_add(struct gauge *g, int64_t n)
{
	atomic_fetch_add_explicit(&g->v, n, memory_order_relaxed);
}

static inline void gauge_set(struct gauge *g, int64_t n)
{
	atomic_store_explicit(&g->v, n, memory_order_relaxed);
}

static inline int64_t gauge_get(const struct gauge *g)
{
	return atomic_load_explicit(&g->v, memory_order_relaxed);
}

void histogram_observe(struct histogram *h, uint64_t ns);
/* The value below which `per_mille` of the observations lie, as the upper edge of its bucket, in
 * ns. 0 if there are none; UINT64_MAX if it lies beyond the last bucket. */
uint64_t histogram_quantile(const struct histogram *h, unsigned per_mille);
