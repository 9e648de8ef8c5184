/* SPDX-License-Identifier: Apache-2.0 */
/* Facts of the node → messages, in the arena. Pure. Every function returns NULL without memory. */
#pragma once
#include <coppice/v1/node.pb-c.h>
#include <stdbool.h>
#include <stdint.h>

struct arena;
struct blob_stats;
struct quota;
struct tree_stats;

Coppice__V1__CacheStats *codec_cache_stats(
	const struct blob_stats *blobs, const struct tree_stats *trees, struct arena *a);
/* Limits that are unlimited are 0 on the wire. */
Coppice__V1__TenantUsage *codec_tenant_usage(
	const char *name, const struct quota *quota, struct arena *a);
/* Opened origins have `error` NULL. */
Coppice__V1__OriginStatus *codec_origin(
	const char *name, const char *type, const char *url, const char *error, struct arena *a);
/* The operations that occurred. `name_of` gives NULL for an opcode without a name. False: no
 * memory. */
bool codec_operations(const uint64_t counts[64], const char *(*name_of)(unsigned opcode),
	Coppice__V1__Node *node, struct arena *a);
