/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Histograms, and metrics as Prometheus text (exposition format 0.0.4). Numbers are printed from
 * integers, so that no locale can put a comma into them. A histogram is read bucket by bucket while
 * others bump it: its _count is the sum of what was read, so the lines of one rendering always
 * agree.
 */
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "metrics_internal.h"

static uint64_t load(const _Atomic uint64_t *v)
{
	return atomic_load_explicit(v, memory_order_relaxed); /* a statistic: no ordering */
}

/* The first i with ns <= 2^i us; HISTOGRAM_BUCKETS if there is none. */
static unsigned bucket_of(uint64_t ns)
{
	uint64_t us = ns / NS_PER_US + (ns % NS_PER_US > 0);
	unsigned i = us <= 1 ? 0 : 64 - (unsigned)__builtin_clzll(us - 1);

	return i < HISTOGRAM_BUCKETS ? i : HISTOGRAM_BUCKETS;
}

void histogram_observe(struct histogram *h, uint64_t ns)
{
	atomic_fetch_add_explicit(&h->bucket[bucket_of(ns)], 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&h->sum_ns, ns, memory_order_relaxed);
}

uint64_t histogram_quantile(const struct histogram *h, unsigned per_mille)
{
	uint64_t seen[HISTOGRAM_BUCKETS + 1], total = 0, below = 0, wanted;

	for (unsigned i = 0; i <= HISTOGRAM_BUCKETS; i++)
		total += seen[i] = load(&h->bucket[i]);
	if (total == 0)
		return 0;
	/* rounded up, at least one: the rank of the observation that is asked for */
	wanted = (uint64_t)(((unsigned __int128)total * per_mille + 999) / 1000);
	if (wanted == 0)
		wanted = 1;
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
		below += seen[i];
		if (below >= wanted)
			return NS_PER_US << i;
	}
	return NS_NEVER;
}

static bool ends_with(const char *s, const char *end)
{
	size_t len = strlen(s), end_len = strlen(end);

	return len >= end_len && strcmp(s + len - end_len, end) == 0;
}

static const char *type_word(const struct metric *metric)
{
	switch (metric->type) {
	case METRIC_COUNTER:
		return "counter";
	case METRIC_GAUGE:
		return "gauge";
	case METRIC_HISTOGRAM:
		return "histogram";
	case METRIC_CALLBACK: /* by the naming convention of Prometheus */
		return ends_with(metric->name, "_total") ? "counter" : "gauge";
	}
	return "untyped";
}

void metric_render_head(const struct metric *metric, struct buf *out)
{
	(void)buf_printf(
		out, "# HELP %s ", metric->name); /* errors stick in the buffer, here and below */
	for (const char *c = metric->help; *c; c++) {
		if (*c == '\\')
			(void)buf_puts(out, "\\\\");
		else if (*c == '\n')
			(void)buf_puts(out, "\\n");
		else
			(void)buf_putc(out, *c);
	}
	(void)buf_printf(out, "\n# TYPE %s %s\n", metric->name, type_word(metric));
}

static void sample_name(
	const struct metric *metric, const char *suffix, const char *le, struct buf *out)
{
	bool labels = metric->labels[0] != '\0';

	(void)buf_printf(out, "%s%s", metric->name, suffix);
	if (!labels && !le)
		return;
	(void)buf_printf(out, "{%s", metric->labels);
	if (le)
		(void)buf_printf(out, "%sle=\"%s\"", labels ? "," : "", le);
	(void)buf_putc(out, '}');
}

static void render_histogram(const struct metric *metric, struct buf *out)
{
	const struct histogram *h = &metric->histogram;
	uint64_t below = 0, sum = load(&h->sum_ns);
	char le[32];

	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
		uint64_t us = 1ull << i;

		below += load(&h->bucket[i]);
		(void)snprintf(
			le, sizeof(le), "%" PRIu64 ".%06" PRIu64, us / 1000000, us % 1000000);
		sample_name(metric, "_bucket", le, out);
		(void)buf_printf(out, " %" PRIu64 "\n", below);
	}
	below += load(&h->bucket[HISTOGRAM_BUCKETS]);
	sample_name(metric, "_bucket", "+Inf", out);
	(void)buf_printf(out, " %" PRIu64 "\n", below);
	sample_name(metric, "_sum", NULL, out);
	(void)buf_printf(out, " %" PRIu64 ".%09" PRIu64 "\n", sum / NS_PER_S, sum % NS_PER_S);
	sample_name(metric, "_count", NULL, out);
	(void)buf_printf(out, " %" PRIu64 "\n", below);
}

void metric_render(const struct metric *metric, struct buf *out)
{
	if (metric->type == METRIC_HISTOGRAM) {
		render_histogram(metric, out);
		return;
	}
	sample_name(metric, "", NULL, out);
	if (metric->type == METRIC_GAUGE)
		(void)buf_printf(out, " %" PRId64 "\n", gauge_get(&metric->gauge));
	else if (metric->type == METRIC_COUNTER)
		(void)buf_printf(out, " %" PRIu64 "\n", counter_get(&metric->counter));
	else
		(void)buf_printf(out, " %" PRIu64 "\n", metric->fn(metric->arg));
}
