// SPDX-License-Identifier: Apache-2.0
/* node and cache: what the service says of itself. Admins only. */
#include "cli.h"
#include "output.h"

#include <stdio.h>

#define NODE_SERVICE "/coppice.v1.NodeService/"

static const char *limit_text(uint64_t used, uint64_t limit, bool bytes, char *buf, unsigned cap)
{
	char a[24], b[24];

	if (bytes)
		(void)snprintf(buf, cap, "%s of %s", output_bytes(used, a, sizeof(a)),
			limit ? output_bytes(limit, b, sizeof(b)) : "unlimited");
	else if (limit)
		(void)snprintf(buf, cap, "%llu of %llu", (unsigned long long)used,
			(unsigned long long)limit);
	else
		(void)snprintf(buf, cap, "%llu of unlimited", (unsigned long long)used);
	return buf;
}

static void print_node(const Coppice__V1__Node *n)
{
	char a[24], b[80], c[80], d[80];

	(void)printf("coppiced %s on %s (%s), node %s\n", n->version, n->hostname, n->kernel,
		n->node_id);
	(void)printf("data %s (%s free), run %s\n", n->data_dir,
		output_bytes(n->disk_free_bytes, a, sizeof(a)), n->run_dir);
	(void)printf("%llu mounts ready, %u workers, %s resident, %llu descriptors, devices held "
		     "by %s%s\n",
		(unsigned long long)n->mounts, n->workers,
		output_bytes(n->resident_bytes, a, sizeof(a)),
		(unsigned long long)n->open_descriptors, n->device_holder,
		n->draining ? ", DRAINING" : "");
	if (n->index_set_aside)
		(void)printf("the tree index was damaged or of an older format and has been "
			     "rebuilt from empty\n");
	for (size_t i = 0; i < n->n_degraded; i++)
		(void)printf("DEGRADED %s: %s; %s\n", n->degraded[i]->component,
			n->degraded[i]->reason, n->degraded[i]->advice);
	for (size_t i = 0; i < n->n_tenants; i++) {
		const Coppice__V1__TenantUsage *t = n->tenants[i];

		(void)printf("tenant %s: mounts %s, bytes %s, inodes %s\n", t->tenant,
			limit_text(t->mounts, t->mounts_limit, false, b, sizeof(b)),
			limit_text(t->bytes, t->bytes_limit, true, c, sizeof(c)),
			limit_text(t->inodes, t->inodes_limit, false, d, sizeof(d)));
	}
	for (size_t i = 0; i < n->n_origins; i++)
		(void)printf("origin %s (%s) %s: %s\n", n->origins[i]->name, n->origins[i]->type,
			n->origins[i]->url,
			n->origins[i]->available ? "available" : n->origins[i]->error);
	for (size_t i = 0; i < n->n_fuse_operations; i++)
		if (n->fuse_operations[i]->count)
			(void)printf("fuse %-16s %llu\n", n->fuse_operations[i]->operation,
				(unsigned long long)n->fuse_operations[i]->count);
}

/* What a remote tier has that a local one has not. */
static void print_remote_tiers(const Coppice__V1__CacheStats *s)
{
	for (size_t i = 0; i < s->n_tiers; i++) {
		const Coppice__V1__CacheTier *tier = s->tiers[i];

		if (tier->state[0])
			(void)printf("%s: %s, %llu writes dropped%s%s\n", tier->name, tier->state,
				(unsigned long long)tier->drops,
				tier->reason[0] ? ", last failure: " : "", tier->reason);
	}
}

static void print_cache(const Coppice__V1__CacheStats *s)
{
	static const char *const header[] = {
		"TIER", "BLOBS", "BYTES", "BUDGET", "HITS", "MISSES", "EVICTED", "ERRORS"};
	struct table *t = table_new(header, sizeof(header) / sizeof(header[0]));
	char bytes[24], size[24], cell[6][24];

	for (size_t i = 0; t && i < s->n_tiers; i++) {
		const Coppice__V1__CacheTier *tier = s->tiers[i];
		const uint64_t numbers[] = {
			tier->blobs, tier->hits, tier->misses, tier->evictions, tier->errors};
		const char *cells[] = {tier->name, cell[0],
			output_bytes(tier->bytes, bytes, sizeof(bytes)),
			output_bytes(tier->budget_bytes, size, sizeof(size)), cell[1], cell[2],
			cell[3], cell[4]};

		for (unsigned c = 0; c < 5; c++)
			(void)snprintf(
				cell[c], sizeof(cell[c]), "%llu", (unsigned long long)numbers[c]);
		if (table_row(t, cells) < 0)
			break;
	}
	if (t)
		table_print(t, stdout);
	table_free(t);
	print_remote_tiers(s);
	(void)printf("origin: %llu fetches, %s, %llu joined, %llu failed, %llu with a wrong hash\n",
		(unsigned long long)s->fetches,
		output_bytes(s->fetched_bytes, bytes, sizeof(bytes)), (unsigned long long)s->joined,
		(unsigned long long)s->failed, (unsigned long long)s->verify_failures);
	(void)printf("index: %llu directories, %llu blobs, %s\n", (unsigned long long)s->trees,
		(unsigned long long)s->index_blobs,
		output_bytes(s->index_bytes, bytes, sizeof(bytes)));
}

static ProtobufCMessage *ask(struct cli *cli, const char *method, const ProtobufCMessage *request,
	const ProtobufCMessageDescriptor *answer, int *ret_exit)
{
	struct client_status st;
	ProtobufCMessage *message = NULL;

	*ret_exit = cli_connect(cli);
	if (*ret_exit != CLI_OK)
		return NULL;
	message = client_call(cli->client, method, request, answer, true, &st);
	*ret_exit = message ? CLI_OK : cli_fail(&st);
	if (message && cli->json && output_json(stdout, message) < 0)
		*ret_exit = CLI_FAILED;
	return message;
}

int cmd_node(struct cli *cli, int argc, char **argv)
{
	Coppice__V1__GetNodeRequest m = COPPICE__V1__GET_NODE_REQUEST__INIT;
	ProtobufCMessage *answer;
	int r;

	if (argc > 1)
		return cmd_node_life(cli, argc, argv);
	answer = ask(cli, NODE_SERVICE "GetNode", &m.base, &coppice__v1__node__descriptor, &r);
	if (answer && !cli->json)
		print_node((const Coppice__V1__Node *)answer);
	if (answer)
		protobuf_c_message_free_unpacked(answer, NULL);
	return r;
}

int cmd_cache(struct cli *cli, int argc, char **argv)
{
	Coppice__V1__GetCacheStatsRequest m = COPPICE__V1__GET_CACHE_STATS_REQUEST__INIT;
	ProtobufCMessage *answer;
	int r;

	if (argc > 1)
		return cli_usage(cli_find(argv[0]), "cache takes no '%s'", argv[1]);
	answer = ask(cli, NODE_SERVICE "GetCacheStats", &m.base,
		&coppice__v1__cache_stats__descriptor, &r);
	if (answer && !cli->json)
		print_cache((const Coppice__V1__CacheStats *)answer);
	if (answer)
		protobuf_c_message_free_unpacked(answer, NULL);
	return r;
}
