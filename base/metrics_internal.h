/* SPDX-License-Identifier: Apache-2.0 */
/* One registered metric, between the registry (metrics.c) and its text form (metrics_text.c). */
#pragma once
#include "base/buf.h"
#include "base/metrics.h"

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM, METRIC_CALLBACK };

struct metric {
	enum metric_type type; /* const after registration, like all but the value */
	char *name;
	char *help;
	char *labels;
	uint64_t (*fn)(void *arg); /* METRIC_CALLBACK */
	void *arg;
	union {
		struct counter counter;
		struct gauge gauge;
		struct histogram histogram;
	};
};

/* The HELP and TYPE lines of the metric's family. */
void metric_render_head(const struct metric *metric, struct buf *out);
/* Its sample lines. Calls the callback of a METRIC_CALLBACK. */
void metric_render(const struct metric *metric, struct buf *out);
