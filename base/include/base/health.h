/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What works only in part right now. Whoever meets a fault that the service lives with says so
 * here, and says when it is over; people see one list, one metric and one log line each way.
 *
 * A condition is left only after it has been good for a while, so that one that comes and goes does
 * not fill the log. Threads: any; nothing blocks.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct clock;
struct health;
struct metrics;

#define HEALTH_MAX 64 /* conditions; more are not kept */

struct health_condition {
	char component[64]; /* "disk cache", "origin demo" */
	char reason[160];   /* for a person */
	char advice[160];   /* what to do */
	uint64_t since_wall_ns;
};

/* Called when a condition begins or ends, with no lock held, on the thread that said so. */
typedef void (*health_change)(void *arg, const struct health_condition *c, bool degraded);

/* `metrics` may be NULL. NULL: no memory. */
struct health *health_new(const struct clock *clock, struct metrics *metrics);
struct health *health_free(struct health *h);
/* Before threads use it. */
void health_watch(struct health *h, health_change fn, void *arg);
/* `h` may be NULL in both: nobody listens. bad: cheap when it is known already. good: cheap when
 * nothing is wrong. */
void health_bad(struct health *h, const char *component, const char *reason, const char *advice);
void health_good(struct health *h, const char *component);
/* The same from one who says it once, and is sure: it is over now. */
void health_over(struct health *h, const char *component);
/* Copies up to `max` of the present ones; returns how many. */
unsigned health_list(struct health *h, struct health_condition *conditions, unsigned max);
