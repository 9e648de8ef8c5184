/* SPDX-License-Identifier: Apache-2.0 */
/* What is counted and logged about calls: coppice_rpc_requests_total{method,code},
 * coppice_rpc_latency_seconds{method}, coppice_rpc_in_flight, and one access line per call. Any
 * thread. */
#pragma once

struct metrics;
struct rpc_call;
struct rpc_metrics;

/* `registry` may be NULL: then only the lines are written. NULL: no memory. */
struct rpc_metrics *rpc_metrics_new(struct metrics *registry);
struct rpc_metrics *rpc_metrics_free(struct rpc_metrics *m);
void rpc_metrics_begin(struct rpc_metrics *m);
/* The call has ended: its code is known. */
void rpc_metrics_done(struct rpc_metrics *m, const struct rpc_call *call);
