/* SPDX-License-Identifier: Apache-2.0 */
/* Handlers of NodeService, admins only: gather and encode. They run on pool threads. */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "arena.h"
#include "base/err.h"
#include "base/health.h"
#include "call.h"
#include "codec_mount.h"
#include "codec_node.h"
#include "fuse/session.h"
#include "rpc.h"
#include "server_internal.h"
#include "service/config.h"
#include "service/mounts.h"
#include "service/node.h"
#include "service/origins.h"
#include "service/tenants.h"
#include "storage/storage.h"

/* More than a node has; what would be beyond is left out rather than the whole answer. */
#define LIST_MAX 4096

/* What the visits below add to. */
struct gathering {
	const struct cfg *cfg;
	Coppice__V1__Node *node;
	struct arena *arena;
	bool failed;
};

static void add_tenant(void *arg, struct tenant *tenant)
{
	struct gathering *g = arg;
	Coppice__V1__TenantUsage *usage;

	if (g->failed || g->node->n_tenants == LIST_MAX)
		return;
	usage = codec_tenant_usage(tenant_name(tenant), tenant_quota(tenant), g->arena);
	g->failed = !usage;
	if (usage)
		g->node->tenants[g->node->n_tenants++] = usage;
}

static const struct cfg_origin *configured(const struct cfg *cfg, const char *name)
{
	for (unsigned i = 0; i < cfg->origin_count; i++)
		if (strcmp(cfg->origins[i].name, name) == 0)
			return &cfg->origins[i];
	return NULL;
}

static void put_origin(struct gathering *g, Coppice__V1__OriginStatus *status)
{
	g->failed = g->failed || !status;
	if (!g->failed && g->node->n_origins < LIST_MAX)
		g->node->origins[g->node->n_origins++] = status;
}

/* What is wrong with an origin, or NULL. */
static const char *why_down(const struct gathering *g, const char *name)
{
	char component[64];

	(void)snprintf(component, sizeof(component), "origin %s", name);
	for (size_t i = 0; i < g->node->n_degraded; i++)
		if (strcmp(g->node->degraded[i]->component, component) == 0)
			return g->node->degraded[i]->reason;
	return NULL;
}

static void add_origin(void *arg, struct origin *o)
{
	struct gathering *g = arg;
	const struct cfg_origin *c = configured(g->cfg, origin_name(o));

	put_origin(g, codec_origin(origin_name(o), c && c->type ? c->type : "", origin_url(o),
			      why_down(g, origin_name(o)), g->arena));
}

/* Those that could not be opened at start are tried once more, which says why not. Their URL may
 * carry credentials that nobody has taken out: it is not shown. */
static void add_missing_origins(struct gathering *g, const struct node *n)
{
	for (unsigned i = 0; i < n->cfg->origin_count; i++) {
		const struct cfg_origin *c = &n->cfg->origins[i];
		struct origin *o = storage_origin(n->storage, c->name);
		struct err why = {0};

		if (o) {
			(void)origin_unref(o); /* listed already */
			continue;
		}
		if (origins_get(n->storage, n->cfg, n->metrics, c->name, &o, &why) == 0) {
			add_origin(g, o);
			(void)origin_unref(o);
			continue;
		}
		put_origin(g, codec_origin(c->name, c->type, "", err_message(&why), g->arena));
	}
}

static bool gather(const struct node *n, Coppice__V1__Node *out, struct arena *a)
{
	struct gathering g = {.cfg = n->cfg, .node = out, .arena = a};
	uint64_t counts[64] = {0};

	out->tenants = arena_array(a, LIST_MAX, sizeof(out->tenants[0]));
	out->origins = arena_array(a, LIST_MAX, sizeof(out->origins[0]));
	if (!out->tenants || !out->origins)
		return false;
	tenants_each(n->tenants, add_tenant, &g);
	storage_each_origin(n->storage, add_origin, &g);
	add_missing_origins(&g, n);
	mounts_fuse_counts(n->mounts, counts);
	return !g.failed && codec_operations(counts, sess_opcode_name, out, a);
}

static bool put_degraded(const struct node *n, Coppice__V1__Node *out, struct arena *a)
{
	struct health_condition *list = arena_array(a, HEALTH_MAX, sizeof(*list));
	unsigned count = list ? health_list(n->health, list, HEALTH_MAX) : 0;

	out->degraded = arena_array(a, HEALTH_MAX, sizeof(out->degraded[0]));
	for (unsigned i = 0; out->degraded && i < count; i++) {
		Coppice__V1__Degraded *d = arena_alloc(a, sizeof(*d));

		if (!d)
			return false;
		coppice__v1__degraded__init(d);
		d->component = list[i].component;
		d->reason = list[i].reason;
		d->advice = list[i].advice;
		d->since = codec_timestamp(list[i].since_wall_ns, a);
		if (!d->since)
			return false;
		out->degraded[out->n_degraded++] = d;
	}
	return list && out->degraded;
}

static bool put_facts(const struct node *n, Coppice__V1__Node *out, struct arena *a)
{
	struct node_facts facts = {0};

	node_facts(n, &facts);
	out->hostname = codec_text(facts.hostname, a);
	out->kernel = codec_text(facts.kernel, a);
	out->resident_bytes = facts.resident_bytes;
	out->open_descriptors = facts.open_descriptors;
	out->disk_free_bytes = facts.disk_free_bytes;
	out->cpu_time_ns = facts.cpu_time_ns;
	return out->hostname && out->kernel;
}

static bool put_identity(const struct node *n, Coppice__V1__Node *out, struct arena *a)
{
	out->version = codec_text(node_version(), a);
	out->node_id = codec_text(n->node_id, a);
	out->data_dir = codec_text(n->cfg->data_dir, a);
	out->run_dir = codec_text(n->cfg->run_dir, a);
	out->device_holder = codec_text(n->device_holder, a);
	out->started_at = codec_timestamp(n->started_wall_ns, a);
	out->workers = n->workers;
	out->draining = atomic_load(&n->draining);
	out->mounts = mounts_ready_count(n->mounts);
	return out->version && out->node_id && out->data_dir && out->run_dir &&
	       out->device_holder && out->started_at;
}

int rpc_get_node(struct rpc_call *call, const ProtobufCMessage *message, struct err *e)
{
	const struct node *n = call->server->node;
	Coppice__V1__Node out = COPPICE__V1__NODE__INIT;
	struct tree_stats trees = {0};
	int r = tree_stats(storage_tree_index(n->storage), &trees);

	(void)message; /* has no fields */
	(void)e;
	if (r < 0)
		return r;
	out.index_set_aside = trees.set_aside;
	if (!put_identity(n, &out, &call->arena) || !put_facts(n, &out, &call->arena) ||
		!put_degraded(n, &out, &call->arena) || !gather(n, &out, &call->arena))
		return -ENOMEM;
	out.draining = out.draining || atomic_load(&call->server->draining);
	return rpc_reply(call, &out.base);
}

int rpc_get_cache_stats(struct rpc_call *call, const ProtobufCMessage *message, struct err *e)
{
	const struct node *n = call->server->node;
	struct blob_stats blobs = {0};
	struct tree_stats trees = {0};
	Coppice__V1__CacheStats *out;
	int r = tree_stats(storage_tree_index(n->storage), &trees);

	(void)message; /* has no fields */
	(void)e;
	if (r < 0)
		return r;
	blob_stats(storage_blob_store(n->storage), &blobs);
	out = codec_cache_stats(&blobs, &trees, &call->arena);
	return out ? rpc_reply(call, &out->base) : -ENOMEM;
}
