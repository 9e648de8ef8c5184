// SPDX-License-Identifier: Apache-2.0
/* What fetches count, by kind; failures also by reason. Set up once, before any thread. */
#include "storage_internal.h"

#include <errno.h>
#include <stdio.h>

static const char *const reasons[] = {"timeout", "unreachable", "canceled", "no_space", "io"};
#define REASON_COUNT (sizeof(reasons) / sizeof(reasons[0]))
_Static_assert(REASON_COUNT == sizeof(((struct fetch_metrics *)0)->failures) / sizeof(void *),
	"one counter a reason");

static const char *const kinds[FETCH_KIND_COUNT] = {
	[FETCH_TREE] = "tree", [FETCH_BLOB] = "blob", [FETCH_DIGESTS] = "digests"};

static unsigned reason_of(int result)
{
	switch (result) {
	case -ETIMEDOUT:
		return 0;
	case -EHOSTUNREACH:
		return 1;
	case -ECANCELED:
		return 2;
	case -ENOSPC:
		return 3;
	default:
		return 4;
	}
}

static void stand_in(struct fetch_metrics *m)
{
	m->queued = &m->own_gauge[0];
	m->running = &m->own_gauge[1];
	m->joined = &m->own_counter[0];
	m->refused = &m->own_counter[1];
	m->done = &m->own_counter[2];
	for (unsigned i = 0; i < REASON_COUNT; i++)
		m->failures[i] = &m->own_counter[3 + i];
	m->seconds = &m->own_histogram;
}

void fetch_metrics_setup(struct fetch_metrics *m, struct metrics *registry, enum fetch_kind kind)
{
	char labels[64];
	int len = snprintf(labels, sizeof(labels), "kind=\"%s\"", kinds[kind]);

	stand_in(m);
	if (!registry)
		return;
	m->queued = metrics_gauge(
		registry, "coppice_fetch_queued", "Fetches waiting for a thread.", labels);
	m->running = metrics_gauge(registry, "coppice_fetch_running", "Fetches under way.", labels);
	m->joined = metrics_counter(registry, "coppice_fetch_joined_total",
		"Requests that joined a fetch of the same object.", labels);
	m->refused = metrics_counter(registry, "coppice_fetch_refused_total",
		"Requests refused because too many wait.", labels);
	m->done = metrics_counter(
		registry, "coppice_fetch_done_total", "Fetches that succeeded.", labels);
	m->seconds = metrics_histogram(registry, "coppice_fetch_seconds",
		"Time from the first request for an object to its arrival.", labels);
	for (unsigned i = 0; i < REASON_COUNT; i++) {
		(void)snprintf(
			labels + len, sizeof(labels) - (size_t)len, ",reason=\"%s\"", reasons[i]);
		m->failures[i] = metrics_counter(
			registry, "coppice_fetch_failures_total", "Requests that failed.", labels);
	}
}

void fetch_metrics_failed(struct fetch_metrics *m, int result)
{
	counter_add(m->failures[reason_of(result)], 1);
}
