/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The blob store's face: the walk over the tiers, promotion of small blobs into memory, pins, life
 * and statistics. Fetching is in blob_fetch.c. The tiers are fixed once other threads use the
 * store, so the walk takes no lock.
 */
#include "base/clock.h"
#include "base/err.h"
#include "base/health.h"
#include "base/io.h"
#include "blob/blob_internal.h"
#include "blob/blob_window.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct counter *counter_for(struct metrics *m, struct counter *own, const char *name,
	const char *help, const char *labels)
{
	return m ? metrics_counter(m, name, help, labels) : own;
}

void blob_counters_init(struct blob_counters *c, struct metrics *metrics, const char *tier)
{
	char labels[48];

	(void)snprintf(labels, sizeof(labels), "tier=\"%s\"", tier);
	c->hits = counter_for(metrics, &c->own[0], "coppice_blob_tier_hits_total",
		"Reads of blobs that the tier answered.", labels);
	c->misses = counter_for(metrics, &c->own[1], "coppice_blob_tier_misses_total",
		"Reads of blobs that the tier did not have.", labels);
	c->evictions = counter_for(metrics, &c->own[2], "coppice_blob_tier_evictions_total",
		"Blobs dropped to make room.", labels);
	c->evicted_bytes = counter_for(metrics, &c->own[3], "coppice_blob_tier_evicted_bytes_total",
		"Bytes freed by eviction.", labels);
	c->errors = counter_for(metrics, &c->own[4], "coppice_blob_tier_errors_total",
		"Damaged blobs, full disks and failed stores.", labels);
}

void blob_counters_get(const struct blob_counters *c, struct blob_tier_stats *ret_stats)
{
	ret_stats->hits = counter_get(c->hits);
	ret_stats->misses = counter_get(c->misses);
	ret_stats->evictions = counter_get(c->evictions);
	ret_stats->evicted_bytes = counter_get(c->evicted_bytes);
	ret_stats->errors = counter_get(c->errors);
}

static void counters_init(struct blob_store *bs, struct metrics *m)
{
	bs->fetches = counter_for(m, &bs->own[0], "coppice_blob_fetches_total",
		"Blobs asked of a source, one for all who wait.", "");
	bs->fetched_bytes = counter_for(m, &bs->own[1], "coppice_blob_fetched_bytes_total",
		"Bytes of blobs that arrived and were verified.", "");
	bs->joined = counter_for(m, &bs->own[2], "coppice_blob_fetches_joined_total",
		"Requests that waited for a fetch under way.", "");
	bs->failed = counter_for(
		m, &bs->own[3], "coppice_blob_fetches_failed_total", "Fetches that failed.", "");
	bs->verify_failures = counter_for(m, &bs->own[4], "coppice_blob_verify_failures_total",
		"Arrivals whose content was not what their name says.", "");
}

/* Gauges are read from the tier when they are shown. */
static uint64_t tier_bytes(void *arg)
{
	const struct blob_tier *t = arg;
	struct blob_tier_stats stats = {0};

	t->ops->stats(t->impl, &stats);
	return stats.bytes;
}

static uint64_t tier_budget(void *arg)
{
	const struct blob_tier *t = arg;
	struct blob_tier_stats stats = {0};

	t->ops->stats(t->impl, &stats);
	return stats.budget_bytes;
}

static uint64_t tier_blobs(void *arg)
{
	const struct blob_tier *t = arg;
	struct blob_tier_stats stats = {0};

	t->ops->stats(t->impl, &stats);
	return stats.blobs;
}

static int register_gauges(struct blob_store *bs, struct blob_tier *t)
{
	char labels[48];
	int r;

	if (!bs->metrics)
		return 0;
	(void)snprintf(labels, sizeof(labels), "tier=\"%s\"", t->ops->name);
	r = metrics_callback(bs->metrics, "coppice_blob_tier_bytes", "Bytes in the tier.", labels,
		tier_bytes, t);
	if (r == 0)
		r = metrics_callback(bs->metrics, "coppice_blob_tier_budget_bytes",
			"Bytes the tier may use.", labels, tier_budget, t);
	if (r == 0)
		r = metrics_callback(bs->metrics, "coppice_blob_tier_blobs", "Blobs in the tier.",
			labels, tier_blobs, t);
	return r;
}

int blob_store_add_tier(struct blob_store *bs, const struct blob_tier *tier)
{
	struct blob_tier *t = &bs->tier[bs->tier_count];
	int r;

	if (bs->tier_count == BLOB_TIERS_MAX)
		return -ENOSPC;
	*t = *tier;
	r = register_gauges(bs, t);
	if (r == 0)
		bs->tier_count++;
	return r;
}

/* Half as much as the memory tier has, and used only while the disk takes nothing. */
static int add_spill(struct blob_store *bs, const struct blob_config *config)
{
	uint64_t budget = config->memory_bytes / 2;
	struct blob_tier tier;
	int r;

	if (budget / 4 <= bs->small_max)
		return 0; /* so little would hold nothing that memory does not take */
	r = blob_spill_new(&tier, budget, config->metrics);
	if (r == 0)
		r = blob_store_add_tier(bs, &tier);
	if (r == 0) {
		bs->spill = &bs->tier[bs->tier_count - 1];
		bs->spill_max = budget / 4;
	}
	return r;
}

/* What is too large for that is read through a window as large as the largest one there. */
static int add_window(struct blob_store *bs, const struct blob_config *config)
{
	struct blob_tier tier;
	int r = blob_window_new(&tier, config->memory_bytes / 8, config->metrics);

	if (r == 0)
		r = blob_store_add_tier(bs, &tier);
	if (r == 0)
		bs->window = &bs->tier[bs->tier_count - 1];
	return r;
}

static int add_own_tiers(struct blob_store *bs, const struct blob_config *config, struct err *e)
{
	const struct blob_disk_config disk = {
		.dir = config->dir,
		.budget_bytes = config->disk_bytes,
		.small_max = bs->small_max,
		.clock = config->clock,
		.metrics = config->metrics,
	};
	struct blob_tier tier;
	int r;

	if (config->memory_bytes) {
		r = blob_mem_new(&tier, config->memory_bytes, bs->small_max, config->metrics);
		if (r == 0)
			r = blob_store_add_tier(bs, &tier);
		if (r < 0)
			return err_set(e, r, NULL, "no memory for the blob store");
		bs->memory = &bs->tier[0];
	}
	r = blob_disk_new(&tier, &disk, e);
	if (r < 0)
		return r;
	r = blob_store_add_tier(bs, &tier);
	if (r == 0)
		r = add_spill(bs, config);
	if (r == 0)
		r = add_window(bs, config);
	return r < 0 ? err_set(e, r, NULL, "no memory for the blob store") : 0;
}

int blob_store_open(struct blob_store **ret_store, const struct blob_config *config, struct err *e)
{
	struct blob_store *bs;
	int r;

	if (config->small_max > BLOB_SMALL_MAX_LIMIT)
		return err_field(e, "small_max", "small blobs have at most 1 MiB");
	bs = calloc(1, sizeof(*bs));
	if (!bs)
		return err_set(e, -ENOMEM, NULL, "no memory for the blob store");
	lock_init(&bs->flight_lock, LOCK_RANK_BLOB);
	for (unsigned i = 0; i < BLOB_FLIGHT_BUCKETS; i++)
		list_init(&bs->flight[i]);
	bs->small_max = config->small_max ? config->small_max : BLOB_SMALL_MAX_DEFAULT;
	bs->clock = config->clock;
	bs->metrics = config->metrics;
	bs->health = config->health;
	counters_init(bs, config->metrics);
	r = io_random(&bs->hash_key, sizeof(bs->hash_key));
	r = r < 0 ? err_set(e, r, NULL, "no random numbers from the system")
		  : add_own_tiers(bs, config, e);
	if (r < 0) {
		(void)blob_store_close(bs);
		return r;
	}
	*ret_store = bs;
	return 0;
}

struct blob_store *blob_store_close(struct blob_store *bs)
{
	char labels[48];

	if (!bs)
		return NULL;
	/* the threads first: they read from other tiers, and count */
	for (unsigned i = 0; i < bs->tier_count; i++)
		if (bs->tier[i].ops->stop)
			bs->tier[i].ops->stop(bs->tier[i].impl);
	for (unsigned i = 0; i < bs->tier_count; i++) {
		struct blob_tier *t = &bs->tier[i];

		if (bs->metrics) {
			(void)snprintf(labels, sizeof(labels), "tier=\"%s\"", t->ops->name);
			metrics_drop(bs->metrics, labels); /* its gauges point into the tier */
		}
		t->ops->close(t->impl);
	}
	lock_fini(&bs->flight_lock);
	free(bs);
	return NULL;
}

/* A small blob that was read whole a second time from a slower tier moves up. Losing this costs
 * nothing but time. */
static void promote(struct blob_store *bs, const struct blob_tier *from, const struct oid *oid,
	const void *data, const struct blob_hit *hit)
{
	if (bs->memory && bs->memory != from && hit->again && hit->size <= bs->small_max)
		(void)bs->memory->ops->put(bs->memory->impl, oid, data, hit->size);
}

static bool oid_ok(const struct oid *oid)
{
	return oid->len == 20 || oid->len == 32;
}

ssize_t blob_read(
	struct blob_store *bs, const struct oid *oid, void *buf, size_t len, uint64_t offset)
{
	if (!oid_ok(oid))
		return -EINVAL;
	for (unsigned i = 0; i < bs->tier_count; i++) {
		const struct blob_tier *t = &bs->tier[i];
		struct blob_hit hit = {0};
		ssize_t n;

		if (!t->ops->read)
			continue;
		n = t->ops->read(t->impl, oid, buf, len, offset, &hit);
		if (n == -EAGAIN)
			continue;
		if (n >= 0 && offset == 0 && (uint64_t)n == hit.size)
			promote(bs, t, oid, buf, &hit);
		return n;
	}
	return -EAGAIN;
}

bool blob_is_local(struct blob_store *bs, const struct oid *oid)
{
	for (unsigned i = 0; i < bs->tier_count && oid_ok(oid); i++) {
		const struct blob_tier *t = &bs->tier[i];

		if (t->ops->has && t->ops->has(t->impl, oid))
			return true;
	}
	return false;
}

bool blob_is_windowed(struct blob_store *bs, const struct oid *oid)
{
	return blob_window_refused(bs->window, oid);
}

int blob_pin(struct blob_store *bs, const struct oid *oid, struct blob_pin *ret_pin)
{
	if (!oid_ok(oid))
		return -EINVAL;
	for (unsigned i = 0; i < bs->tier_count; i++) {
		const struct blob_tier *t = &bs->tier[i];
		int r = t->ops->pin ? t->ops->pin(t->impl, oid, ret_pin) : -EAGAIN;

		if (r != -EAGAIN)
			return r;
	}
	return -EAGAIN;
}

void blob_unpin(struct blob_store *bs, struct blob_pin *pin)
{
	const struct blob_tier *t = NULL;

	if (!pin->handle)
		return;
	for (unsigned i = 0; i < bs->tier_count && !t; i++)
		if (bs->tier[i].ops->unpin)
			t = &bs->tier[i]; /* one tier of a store gives pins: the disk */
	if (t)
		t->ops->unpin(t->impl, pin);
	*pin = (struct blob_pin){.fd = -1};
}

const struct blob_tier *blob_large_tier(const struct blob_store *bs)
{
	for (unsigned i = 0; i < bs->tier_count; i++)
		if (bs->tier[i].ops->begin)
			return &bs->tier[i];
	return NULL;
}

int blob_settle(struct blob_store *bs, const struct oid *oid, const struct cancel *cancel,
	uint64_t deadline_ns)
{
	for (unsigned i = 0; i < bs->tier_count; i++) {
		const struct blob_tier *t = &bs->tier[i];
		int r = -EAGAIN;

		if (t->ops->settle)
			r = t->ops->settle(t->impl, oid, cancel, deadline_ns);
		else if (t->ops->has && t->ops->has(t->impl, oid))
			r = 0;
		if (r != -EAGAIN)
			return r;
	}
	return -EAGAIN;
}

bool blob_disk_refuses(int r)
{
	static const int faults[] = {ENOSPC, EDQUOT, EROFS, EIO, EACCES, EPERM, ENOENT, ENOTDIR};

	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
		if (r == -faults[i])
			return true;
	return false;
}

void blob_disk_said(struct blob_store *bs, uint64_t size, int r)
{
	const struct blob_tier *disk = blob_large_tier(bs);
	struct blob_tier_stats stats = {0};

	if (r == 0) {
		health_good(bs->health, "disk cache");
		return;
	}
	if (!disk || !blob_disk_refuses(r))
		return;
	disk->ops->stats(disk->impl, &stats);
	if (size > stats.budget_bytes)
		return; /* it could never be in it: that is no state of the disk */
	if (r == -ENOSPC && stats.bytes + size > stats.budget_bytes)
		health_bad(bs->health, "disk cache",
			"all that cache.disk allows is in use at this moment",
			"make cache.disk larger; contents are kept in memory meanwhile");
	else
		health_bad(bs->health, "disk cache", strerrordesc_np(-r),
			"make room on the disk of data_dir and look at its health; contents are "
			"kept in memory meanwhile");
}

/* Before it is local: who finds it here and lets go of a claim on it relies on its being offered.
 * The failures of remote tiers are counted by themselves. */
static void offer_small(struct blob_store *bs, const struct oid *oid, const void *data, size_t len)
{
	for (unsigned i = 0; i < bs->tier_count; i++) {
		const struct blob_tier *t = &bs->tier[i];

		if (t->ops->put && !t->ops->read)
			(void)t->ops->put(t->impl, oid, data, len);
	}
}

int blob_keep_small(
	struct blob_store *bs, const struct oid *oid, const void *data, size_t len, bool share)
{
	int result = -ENOSPC;
	bool kept = false;

	if (share)
		offer_small(bs, oid, data, len);
	for (unsigned i = 0; i < bs->tier_count; i++) {
		const struct blob_tier *t = &bs->tier[i];
		int r = -ENOSPC;

		if (t == bs->spill || !t->ops->read)
			continue;
		if (t->ops->put)
			r = t->ops->put(t->impl, oid, data, len);
		if (t == blob_large_tier(bs))
			blob_disk_said(bs, len, r);
		if (r == 0)
			kept = true;
		else if (t != bs->memory)
			result = r; /* what the disk says is the reason to report */
	}
	return kept ? 0 : result;
}

void blob_share_large(struct blob_store *bs, const struct oid *oid, uint64_t size)
{
	for (unsigned i = 0; i < bs->tier_count; i++) {
		const struct blob_tier *t = &bs->tier[i];

		if (t->ops->share)
			t->ops->share(t->impl, bs, oid, size);
	}
}

/* A blob that is in memory only (the disk is full) cannot be pinned, but is small: its end is found
 * by reading. */
int blob_local_size(struct blob_store *bs, const struct oid *oid, uint64_t *ret_size)
{
	struct blob_pin pin;
	uint8_t piece[4096];
	uint64_t size = 0;
	ssize_t n;

	if (blob_pin(bs, oid, &pin) == 0) {
		*ret_size = pin.size;
		blob_unpin(bs, &pin);
		return 0;
	}
	while ((n = blob_read(bs, oid, piece, sizeof(piece), size)) > 0)
		size += (uint64_t)n;
	if (n == 0)
		*ret_size = size;
	return (int)n;
}

void blob_stats(struct blob_store *bs, struct blob_stats *ret_stats)
{
	*ret_stats = (struct blob_stats){
		.tier_count = bs->tier_count,
		.fetches = counter_get(bs->fetches),
		.fetched_bytes = counter_get(bs->fetched_bytes),
		.joined = counter_get(bs->joined),
		.failed = counter_get(bs->failed),
		.verify_failures = counter_get(bs->verify_failures),
	};
	for (unsigned i = 0; i < bs->tier_count; i++) {
		const struct blob_tier *t = &bs->tier[i];

		t->ops->stats(t->impl, &ret_stats->tier[i]);
		(void)snprintf(ret_stats->tier[i].name, sizeof(ret_stats->tier[i].name), "%s",
			t->ops->name);
	}
}
