// SPDX-License-Identifier: Apache-2.0
/* What the Redis tier counts. Set up once, before its threads. All metrics carry tier="redis", so
 * that they go with the tier. */
#include "blob/blob_redis_internal.h"

#define LABEL "tier=\"redis\""

static void stand_in(struct l3_metrics *m)
{
	struct counter **const counters[] = {&m->skipped, &m->rejected, &m->read_bytes,
		&m->written_bytes, &m->drop_full, &m->drop_failed, &m->drop_refused, &m->tree_hits,
		&m->tree_misses, &m->claims, &m->claim_waits, &m->claim_saves};

	_Static_assert(sizeof(counters) / sizeof(counters[0]) == sizeof(m->own) / sizeof(m->own[0]),
		"a stand-in for each");
	for (unsigned i = 0; i < sizeof(counters) / sizeof(counters[0]); i++)
		*counters[i] = &m->own[i];
	m->read = &m->own_histogram[0];
	m->write = &m->own_histogram[1];
	m->lease = &m->own_histogram[2];
}

static void register_counters(struct l3_metrics *m, struct metrics *registry)
{
	static const char dropped[] = "coppice_redis_dropped_total";
	static const char dropped_help[] = "Writes to Redis that were dropped.";

	m->skipped = metrics_counter(registry, "coppice_redis_skipped_total",
		"Reads that did not ask Redis because it is down.", LABEL);
	m->rejected = metrics_counter(registry, "coppice_redis_rejected_total",
		"Values in Redis that were not what their key says.", LABEL);
	m->read_bytes = metrics_counter(registry, "coppice_redis_read_bytes_total",
		"Bytes of values read from Redis, as they are stored.", LABEL);
	m->written_bytes = metrics_counter(registry, "coppice_redis_written_bytes_total",
		"Bytes of values written to Redis, as they are stored.", LABEL);
	m->drop_full = metrics_counter(registry, dropped, dropped_help, LABEL ",reason=\"queue\"");
	m->drop_failed =
		metrics_counter(registry, dropped, dropped_help, LABEL ",reason=\"failed\"");
	m->drop_refused =
		metrics_counter(registry, dropped, dropped_help, LABEL ",reason=\"refused\"");
	m->tree_hits = metrics_counter(registry, "coppice_redis_tree_hits_total",
		"Directories that came from Redis.", LABEL);
	m->tree_misses = metrics_counter(registry, "coppice_redis_tree_misses_total",
		"Directories that Redis did not have, or not in a usable form.", LABEL);
	m->claims = metrics_counter(registry, "coppice_redis_leases_total",
		"Fetches that this node did for all that share Redis.", LABEL);
	m->claim_waits = metrics_counter(registry, "coppice_redis_lease_waits_total",
		"Fetches that waited for another node's.", LABEL);
	m->claim_saves = metrics_counter(registry, "coppice_redis_lease_saves_total",
		"Fetches that another node did.", LABEL);
}

static void register_histograms(struct l3_metrics *m, struct metrics *registry)
{
	static const char name[] = "coppice_redis_seconds";
	static const char help[] = "Time of one exchange with Redis, redirections included.";

	m->read = metrics_histogram(registry, name, help, LABEL ",op=\"read\"");
	m->write = metrics_histogram(registry, name, help, LABEL ",op=\"write\"");
	m->lease = metrics_histogram(registry, name, help, LABEL ",op=\"lease\"");
}

void l3_metrics_setup(struct blob_redis *r, struct metrics *registry)
{
	blob_counters_init(&r->counters, registry, "redis");
	stand_in(&r->m);
	if (!registry)
		return;
	register_counters(&r->m, registry);
	register_histograms(&r->m, registry);
}

static uint64_t breaker_value(void *arg)
{
	struct blob_redis *r = arg;

	return (uint64_t)l3_client_state(r->client);
}

static uint64_t queue_bytes(void *arg)
{
	struct blob_redis *r = arg;
	uint64_t count, bytes;

	l3_queue_fill(&r->queue, &count, &bytes);
	return bytes;
}

static uint64_t queue_count(void *arg)
{
	struct blob_redis *r = arg;
	uint64_t count, bytes;

	l3_queue_fill(&r->queue, &count, &bytes);
	return count;
}

int l3_metrics_callbacks(struct blob_redis *r, struct metrics *registry)
{
	int err = 0;

	if (!registry)
		return 0;
	err = metrics_callback(registry, "coppice_redis_breaker",
		"Is Redis asked: 0 yes, 1 one probe at a time, 2 no.", LABEL, breaker_value, r);
	if (err == 0)
		err = metrics_callback(registry, "coppice_redis_queue_bytes",
			"Bytes that wait to be written to Redis.", LABEL, queue_bytes, r);
	if (err == 0)
		err = metrics_callback(registry, "coppice_redis_queue_entries",
			"Writes that wait for Redis.", LABEL, queue_count, r);
	return err;
}

uint64_t l3_drops(const struct blob_redis *r)
{
	return counter_get(r->m.drop_full) + counter_get(r->m.drop_failed) +
	       counter_get(r->m.drop_refused);
}
