/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an overlay keeps in memory, computed when it is asked for. The label is the overlay's own,
 * so that its end takes away these and no others of the tenant.
 *
 * Threads: whoever renders the metrics; a sum is not a snapshot.
 */
#include <stdio.h>

#include "base/metrics.h"
#include "overlay/ovl_internal.h"
#include "overlay/ovl_state.h"

static void sum(struct overlay *o, struct ovl_ws_stats *ret_sum)
{
	*ret_sum = (struct ovl_ws_stats){0};
	RWLOCK_READ_GUARD(&o->lock);
	list_for_each (it, &o->workspaces) {
		struct ovl_ws_stats one;

		ovl_ws_stats(list_entry(it, struct ovl_ws, link), &one);
		ret_sum->nodes += one.nodes;
		ret_sum->directories += one.directories;
		ret_sum->journal_bytes += one.journal_bytes;
		ret_sum->orphans += one.orphans;
	}
}

static uint64_t nodes(void *arg)
{
	struct ovl_ws_stats s;

	sum(arg, &s);
	return s.nodes;
}

static uint64_t directories(void *arg)
{
	struct ovl_ws_stats s;

	sum(arg, &s);
	return s.directories;
}

static uint64_t journal_bytes(void *arg)
{
	struct ovl_ws_stats s;

	sum(arg, &s);
	return s.journal_bytes;
}

static uint64_t compactions(void *arg)
{
	struct overlay *o = arg;

	return atomic_load_explicit(&o->compactions, memory_order_relaxed); /* a statistic */
}

static uint64_t orphans(void *arg)
{
	struct ovl_ws_stats s;

	sum(arg, &s);
	return s.orphans;
}

static uint64_t given_up(void *arg)
{
	struct overlay *o = arg;

	return atomic_load_explicit(&o->shrink.given_up, memory_order_relaxed); /* a statistic */
}

static uint64_t bytes(void *arg)
{
	struct ovl_ws_stats s;

	sum(arg, &s);
	return s.nodes * sizeof(struct ovl_node) + s.directories * sizeof(struct ovl_dir);
}

static uint64_t corrected(void *arg)
{
	struct overlay *o = arg;

	return atomic_load_explicit(&o->usage_corrected, memory_order_relaxed); /* a statistic */
}

static uint64_t uncounted(void *arg)
{
	struct overlay *o = arg;
	uint64_t n = 0;

	RWLOCK_READ_GUARD(&o->lock);
	list_for_each (it, &o->workspaces)
		n += atomic_load(&list_entry(it, struct ovl_ws, link)->uncounted);
	return n;
}

static void label_of(const struct overlay *o, char label[OVL_METRIC_LABEL])
{
	(void)snprintf(label, OVL_METRIC_LABEL, "overlay=\"%s\"", o->tenant); /* fits */
}

void ovl_metrics_add(struct overlay *o)
{
	static const struct {
		const char *name, *help;
		uint64_t (*fn)(void *arg);
	} rows[] = {
		{"coppice_overlay_nodes", "Nodes in memory: what the kernel knows and has state.",
			nodes},
		{"coppice_overlay_node_bytes",
			"Memory of nodes, without their names and what the allocator adds.", bytes},
		{"coppice_overlay_nodes_given_up_total",
			"Nodes of the sources' directories that were given up because there were "
			"more than the budget.",
			given_up},
		{"coppice_overlay_directories", "Those of them that are directories.", directories},
		{"coppice_overlay_journal_bytes", "Journals of nodes, all workspaces.",
			journal_bytes},
		{"coppice_overlay_journal_compactions_total",
			"Journals rewritten because most of what they had did not hold any more.",
			compactions},
		{"coppice_overlay_usage_uncounted",
			"Workspaces whose usage has not been counted anew since a takeover.",
			uncounted},
		{"coppice_overlay_usage_corrected_total",
			"Of those that were, how many had another usage than was charged.",
			corrected},
		{"coppice_overlay_orphans", "Objects without a name that are still in use.",
			orphans},
	};
	char label[OVL_METRIC_LABEL];

	label_of(o, label);
	for (size_t i = 0; o->metrics && i < sizeof(rows) / sizeof(rows[0]); i++)
		(void)metrics_callback(o->metrics, rows[i].name, rows[i].help, label, rows[i].fn,
			o); /* without it there is only less to see */
}

void ovl_metrics_drop(struct overlay *o)
{
	char label[OVL_METRIC_LABEL];

	label_of(o, label);
	if (o->metrics)
		metrics_drop(o->metrics, label);
}
