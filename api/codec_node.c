/* SPDX-License-Identifier: Apache-2.0 */
/* See codec_node.h. Pure. */
#include "codec_node.h"

#include <stdio.h>

#include "arena.h"
#include "base/quota.h"
#include "codec_mount.h"
#include "storage/blob.h"
#include "storage/tree.h"

#define OPCODES 64

static Coppice__V1__CacheTier *codec_tier(const struct blob_tier_stats *in, struct arena *a)
{
	Coppice__V1__CacheTier *out = arena_alloc(a, sizeof(*out));

	if (!out)
		return NULL;
	coppice__v1__cache_tier__init(out);
	out->name = codec_text(in->name, a);
	out->blobs = in->blobs;
	out->bytes = in->bytes;
	out->budget_bytes = in->budget_bytes;
	out->hits = in->hits;
	out->misses = in->misses;
	out->evictions = in->evictions;
	out->evicted_bytes = in->evicted_bytes;
	out->errors = in->errors;
	out->pinned = in->pinned;
	out->drops = in->drops;
	out->state = codec_text(in->state, a);
	out->reason = codec_text(in->reason, a);
	return out->name && out->state && out->reason ? out : NULL;
}

Coppice__V1__CacheStats *codec_cache_stats(
	const struct blob_stats *blobs, const struct tree_stats *trees, struct arena *a)
{
	Coppice__V1__CacheStats *out = arena_alloc(a, sizeof(*out));

	if (!out)
		return NULL;
	coppice__v1__cache_stats__init(out);
	out->tiers = arena_array(a, blobs->tier_count, sizeof(out->tiers[0]));
	if (!out->tiers)
		return NULL;
	for (unsigned i = 0; i < blobs->tier_count; i++) {
		out->tiers[i] = codec_tier(&blobs->tier[i], a);
		if (!out->tiers[i])
			return NULL;
		out->n_tiers++;
	}
	out->fetches = blobs->fetches;
	out->fetched_bytes = blobs->fetched_bytes;
	out->joined = blobs->joined;
	out->failed = blobs->failed;
	out->verify_failures = blobs->verify_failures;
	out->trees = trees->trees;
	out->index_blobs = trees->blobs;
	out->index_bytes = trees->used_bytes;
	return out;
}

static uint64_t limit_of(const struct quota *quota, enum quota_kind kind)
{
	uint64_t limit = quota_limit(quota, kind);

	return limit == QUOTA_UNLIMITED ? 0 : limit;
}

Coppice__V1__TenantUsage *codec_tenant_usage(
	const char *name, const struct quota *quota, struct arena *a)
{
	Coppice__V1__TenantUsage *out = arena_alloc(a, sizeof(*out));

	if (!out)
		return NULL;
	coppice__v1__tenant_usage__init(out);
	out->tenant = codec_text(name, a);
	out->mounts = quota_used(quota, QUOTA_MOUNTS);
	out->mounts_limit = limit_of(quota, QUOTA_MOUNTS);
	out->bytes = quota_used(quota, QUOTA_BYTES);
	out->bytes_limit = limit_of(quota, QUOTA_BYTES);
	out->inodes = quota_used(quota, QUOTA_INODES);
	out->inodes_limit = limit_of(quota, QUOTA_INODES);
	return out->tenant ? out : NULL;
}

Coppice__V1__OriginStatus *codec_origin(
	const char *name, const char *type, const char *url, const char *error, struct arena *a)
{
	Coppice__V1__OriginStatus *out = arena_alloc(a, sizeof(*out));

	if (!out)
		return NULL;
	coppice__v1__origin_status__init(out);
	out->name = codec_text(name, a);
	out->type = codec_text(type, a);
	out->url = codec_text(url, a);
	out->available = !error;
	out->error = codec_text(error, a);
	return out->name && out->type && out->url && out->error ? out : NULL;
}

static Coppice__V1__OperationCount *codec_operation(
	unsigned opcode, const char *name, uint64_t count, struct arena *a)
{
	Coppice__V1__OperationCount *out = arena_alloc(a, sizeof(*out));
	char number[24];

	if (!out)
		return NULL;
	coppice__v1__operation_count__init(out);
	(void)snprintf(number, sizeof(number), "OPCODE_%u", opcode);
	out->operation = codec_text(name ? name : number, a);
	out->count = count;
	return out->operation ? out : NULL;
}

bool codec_operations(const uint64_t counts[64], const char *(*name_of)(unsigned opcode),
	Coppice__V1__Node *node, struct arena *a)
{
	node->fuse_operations = arena_array(a, OPCODES, sizeof(node->fuse_operations[0]));
	if (!node->fuse_operations)
		return false;
	for (unsigned i = 0; i < OPCODES; i++) {
		Coppice__V1__OperationCount *op;

		if (!counts[i])
			continue;
		op = codec_operation(i, name_of(i), counts[i], a);
		if (!op)
			return false;
		node->fuse_operations[node->n_fuse_operations++] = op;
	}
	return true;
}
