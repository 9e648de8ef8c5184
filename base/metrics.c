/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The registry: an array of metrics sorted by (name, labels), so that registration finds by
 * bisection and the text form prints every family in one run. Bumping a metric touches no lock.
 *
 * Rendering works on a snapshot of the array, because callbacks may take locks of their own and so
 * must run without the registry's. A drop waits until no rendering is under way; only a drop frees
 * a metric. Any thread.
 */
#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/lock.h"
#include "base/metrics.h"
#include "metrics_internal.h"

/* Far beyond what 1000 tenants need; a bug that makes up labels ends here and not in swap. */
#define METRICS_MAX 65536

struct metrics {
	struct lock mu;
	struct cond rendered;   /* no rendering is under way any more */
	struct metric **sorted; /* guarded by mu */
	size_t count, cap;      /* guarded by mu */
	bool rendering;         /* guarded by mu */
	struct metric dummy;    /* takes what could not be registered */
};

struct metrics *metrics_new(void)
{
	struct metrics *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	lock_init(&m->mu, LOCK_RANK_LEAF);
	cond_init(&m->rendered);
	return m;
}

static void metric_free(struct metric *metric)
{
	free(metric->name);
	free(metric->help);
	free(metric->labels);
	free(metric);
}

struct metrics *metrics_free(struct metrics *m)
{
	if (!m)
		return NULL;
	for (size_t i = 0; i < m->count; i++)
		metric_free(m->sorted[i]);
	free(m->sorted);
	cond_fini(&m->rendered);
	lock_fini(&m->mu);
	free(m);
	return NULL;
}

static int compare(const struct metric *metric, const char *name, const char *labels)
{
	int order = strcmp(metric->name, name);

	return order ? order : strcmp(metric->labels, labels);
}

/* The index where it is (true), or belongs (false). */
static bool find_locked(
	const struct metrics *m, const char *name, const char *labels, size_t *ret_index)
{
	size_t low = 0, high = m->count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int order = compare(m->sorted[mid], name, labels);

		if (order == 0) {
			*ret_index = mid;
			return true;
		}
		if (order < 0)
			low = mid + 1;
		else
			high = mid;
	}
	*ret_index = low;
	return false;
}

static int reserve_locked(struct metrics *m)
{
	size_t cap = m->cap ? m->cap * 2 : 64;
	struct metric **sorted;

	if (m->count < m->cap)
		return 0;
	if (m->count >= METRICS_MAX)
		return -ENOSPC;
	sorted = reallocarray(m->sorted, cap, sizeof(struct metric *));
	if (!sorted)
		return -ENOMEM;
	m->sorted = sorted;
	m->cap = cap;
	return 0;
}

static struct metric *metric_new(const struct metric *like)
{
	struct metric *metric = calloc(1, sizeof(*metric));

	if (!metric)
		return NULL;
	metric->type = like->type;
	metric->fn = like->fn;
	metric->arg = like->arg;
	metric->name = strdup(like->name);
	metric->help = strdup(like->help ? like->help : "");
	metric->labels = strdup(like->labels ? like->labels : "");
	if (metric->name && metric->help && metric->labels)
		return metric;
	metric_free(metric);
	return NULL;
}

static int add_locked(struct metrics *m, const struct metric *like, size_t index)
{
	struct metric *metric;
	int r = reserve_locked(m);

	if (r < 0)
		return r;
	metric = metric_new(like);
	if (!metric)
		return -ENOMEM;
	memmove(&m->sorted[index + 1], &m->sorted[index],
		(m->count - index) * sizeof(struct metric *));
	m->sorted[index] = metric;
	m->count++;
	return 0;
}

/* For the three kinds that are handed out: found or added, or the dummy instead of a failure. */
static struct metric *metric_or_dummy(struct metrics *m, const struct metric *like)
{
	size_t index;

	LOCK_GUARD(&m->mu);
	if (!find_locked(m, like->name, like->labels ? like->labels : "", &index) &&
		add_locked(m, like, index) < 0)
		return &m->dummy;
	assert(m->sorted[index]->type == like->type && "metrics: one name, two types");
	return m->sorted[index]->type == like->type ? m->sorted[index] : &m->dummy;
}

struct counter *metrics_counter(
	struct metrics *m, const char *name, const char *help, const char *labels)
{
	struct metric like = {.type = METRIC_COUNTER,
		.name = (char *)name,
		.help = (char *)help,
		.labels = (char *)labels};

	return &metric_or_dummy(m, &like)->counter;
}

struct gauge *metrics_gauge(
	struct metrics *m, const char *name, const char *help, const char *labels)
{
	struct metric like = {.type = METRIC_GAUGE,
		.name = (char *)name,
		.help = (char *)help,
		.labels = (char *)labels};

	return &metric_or_dummy(m, &like)->gauge;
}

struct histogram *metrics_histogram(
	struct metrics *m, const char *name, const char *help, const char *labels)
{
	struct metric like = {.type = METRIC_HISTOGRAM,
		.name = (char *)name,
		.help = (char *)help,
		.labels = (char *)labels};

	return &metric_or_dummy(m, &like)->histogram;
}

int metrics_callback(struct metrics *m, const char *name, const char *help, const char *labels,
	uint64_t (*fn)(void *arg), void *arg)
{
	struct metric like = {.type = METRIC_CALLBACK,
		.name = (char *)name,
		.help = (char *)help,
		.labels = (char *)labels,
		.fn = fn,
		.arg = arg};
	size_t index;

	LOCK_GUARD(&m->mu);
	if (find_locked(m, name, labels ? labels : "", &index))
		return -EEXIST;
	return add_locked(m, &like, index);
}

/* Is `part` a run of whole labels of `labels`? tenant="a" is not part of subtenant="a". */
static bool labels_contain(const char *labels, const char *part)
{
	size_t len = strlen(part);

	if (len == 0)
		return false;
	for (const char *at = labels; (at = strstr(at, part)); at++)
		if ((at == labels || at[-1] == ',') && (at[len] == '\0' || at[len] == ','))
			return true;
	return false;
}

void metrics_drop(struct metrics *m, const char *labels)
{
	size_t kept = 0;

	LOCK_GUARD(&m->mu);
	while (m->rendering) /* ends: callbacks do not block */
		cond_wait(&m->rendered, &m->mu);
	for (size_t i = 0; i < m->count; i++) {
		if (labels_contain(m->sorted[i]->labels, labels))
			metric_free(m->sorted[i]);
		else
			m->sorted[kept++] = m->sorted[i];
	}
	m->count = kept;
}

/* A copy of the array. While `rendering` is set, nothing in it is freed. */
static struct metric **snapshot(struct metrics *m, size_t *ret_count)
{
	struct metric **copy;

	LOCK_GUARD(&m->mu);
	while (m->rendering)
		cond_wait(&m->rendered, &m->mu);
	copy = malloc((m->count + 1) * sizeof(struct metric *));
	if (!copy)
		return NULL;
	if (m->count)
		memcpy(copy, m->sorted, m->count * sizeof(struct metric *));
	*ret_count = m->count;
	m->rendering = true;
	return copy;
}

void metrics_render(struct metrics *m, struct buf *out)
{
	size_t count;
	_cleanup_free_ struct metric **all = snapshot(m, &count);

	if (!all) {
		out->error = -ENOMEM;
		return;
	}
	for (size_t i = 0; i < count; i++) {
		if (i == 0 || strcmp(all[i - 1]->name, all[i]->name) != 0)
			metric_render_head(all[i], out);
		metric_render(all[i], out);
	}
	LOCK_GUARD(&m->mu);
	m->rendering = false;
	cond_broadcast(&m->rendered);
}
