// SPDX-License-Identifier: Apache-2.0
/*
 * Redis as a tier of the blob store: its life and its hooks. Reading is in blob_redis_read.c, the
 * writer behind in blob_redis_write.c, directories in blob_redis_tree.c; below them are the client
 * (blob_redis_client.h), the leases and the values.
 *
 * Threads: fetch threads read and claim, each for at most its short deadlines; any thread may put,
 * share and release, which only queue; one thread writes.
 */
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/io.h"
#include "blob/blob_redis_codec.h"
#include "blob/blob_redis_internal.h"
#include "blob/blob_redis_tls.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#define TTL_DEFAULT_NS      (UINT64_C(7) * 24 * 3600 * NS_PER_S)
#define TIMEOUT_DEFAULT_NS  (100 * NS_PER_MS)
#define QUEUE_DEFAULT_BYTES (UINT64_C(64) << 20)
#define BLOB_DEFAULT_BYTES  (UINT64_C(64) << 20)
#define SECRET_FILE_MAX     4096
#define SECRET_FILE_MIN     16

/* The file may hold anything that is long enough and hard to guess; its hash is the key. */
static int read_secret(struct blob_redis *r, const char *path, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	struct digest *d = NULL;
	uint8_t len;
	size_t size;
	int err;

	if (!path)
		return 0;
	err = io_read_file(AT_FDCWD, path, SECRET_FILE_MAX, &text, &size);
	if (err < 0)
		return err_set(e, err, NULL, "%s cannot be read", path);
	if (size < SECRET_FILE_MIN)
		return err_set(
			e, -EINVAL, NULL, "%s holds less than %d bytes", path, SECRET_FILE_MIN);
	err = digest_new(&d, DIGEST_SHA256);
	if (err == 0)
		err = digest_update(d, text, size);
	if (err == 0)
		err = digest_final(d, r->secret, &len);
	digest_free(d);
	explicit_bzero(text, size);
	r->has_secret = err == 0;
	return err < 0 ? err_set(e, err, NULL, "hash of %s", path) : 0;
}

static void set_defaults(struct blob_redis_config *c)
{
	c->ttl_ns = c->ttl_ns ? c->ttl_ns : TTL_DEFAULT_NS;
	c->connect_timeout_ns = c->connect_timeout_ns ? c->connect_timeout_ns : TIMEOUT_DEFAULT_NS;
	c->timeout_ns = c->timeout_ns ? c->timeout_ns : TIMEOUT_DEFAULT_NS;
	c->queue_bytes = c->queue_bytes ? c->queue_bytes : QUEUE_DEFAULT_BYTES;
	c->blob_max_bytes = c->blob_max_bytes ? c->blob_max_bytes : BLOB_DEFAULT_BYTES;
	c->url = c->password_file = c->tls_ca = c->tls_cert = c->tls_key = c->key_file = NULL;
}

static int connect_later(
	struct blob_redis *r, const struct blob_redis_config *config, struct err *e)
{
	struct l3_client_config client = {
		.connect_ns = r->config.connect_timeout_ns,
		.exchange_ns = r->config.timeout_ns,
		.on_change = config->on_change,
		.arg = config->arg,
	};
	int err = l3_url_parse(config->url, &client.url, e);

	if (err == 0 && config->password_file) {
		r->password_file = strdup(config->password_file);
		err = r->password_file ? 0 : err_set(e, -ENOMEM, NULL, "no memory");
	}
	if (err == 0 && client.url.tls)
		err = l3_tls_new(&r->tls, config->tls_ca, config->tls_cert, config->tls_key, e);
	if (err < 0)
		return err;
	client.login = (struct l3_login){
		.tls = r->tls, .password_file = r->password_file, .db = client.url.db};
	err = l3_client_new(&r->client, &client);
	return err < 0 ? err_set(e, err, NULL, "no memory") : 0;
}

int blob_redis_new(
	struct blob_redis **ret_redis, const struct blob_redis_config *config, struct err *e)
{
	struct blob_redis *r = calloc(1, sizeof(*r));
	int err;

	if (!r)
		return err_set(e, -ENOMEM, NULL, "no memory");
	r->config = *config;
	set_defaults(&r->config);
	l3_queue_init(&r->queue, r->config.queue_bytes);
	l3_breaker_init(&r->refusals, &clock_system);
	l3_missed_init(&r->missed);
	l3_unpackers_init(&r->unpackers);
	l3_metrics_setup(r, config->metrics);
	err = connect_later(r, config, e);
	l3_leases_init(&r->leases, r->client, &r->queue);
	if (err == 0)
		err = read_secret(r, config->key_file, e);
	if (err == 0) {
		r->packer = l3_packer_new();
		err = r->packer ? l3_metrics_callbacks(r, config->metrics) : -ENOMEM;
		if (err == 0)
			err = l3_writer_start(r);
		if (err < 0)
			err = err_set(e, err, NULL, "no memory or thread for Redis");
	}
	if (err < 0) {
		blob_redis_free(r);
		return err;
	}
	*ret_redis = r;
	return 0;
}

struct blob_redis *blob_redis_free(struct blob_redis *r)
{
	if (!r)
		return NULL;
	l3_writer_stop(r);
	if (r->config.metrics)
		metrics_drop(r->config.metrics, "tier=\"redis\""); /* its gauges point here */
	l3_leases_fini(&r->leases);
	l3_queue_fini(&r->queue);
	l3_missed_fini(&r->missed);
	l3_breaker_fini(&r->refusals);
	l3_client_free(r->client);
	l3_tls_free(r->tls);
	l3_packer_free(r->packer);
	l3_unpackers_fini(&r->unpackers);
	free(r->password_file);
	explicit_bzero(r->secret, sizeof(r->secret));
	free(r);
	return NULL;
}

static void stop(void *impl)
{
	l3_writer_stop(impl);
}

static void close_tier(void *impl)
{
	blob_redis_free(impl);
}

static int put(void *impl, const struct oid *oid, const void *data, size_t len)
{
	struct blob_redis *r = impl;
	struct l3_item *item = l3_item_new(L3_ITEM_BLOB, oid, data, len);

	if (!item)
		return -ENOMEM;
	l3_behind(r, item);
	return 0;
}

static void share(void *impl, struct blob_store *bs, const struct oid *oid, uint64_t size)
{
	struct blob_redis *r = impl;
	struct l3_item *item;

	if (size > r->config.blob_max_bytes)
		return;
	item = l3_item_new(L3_ITEM_LARGE, oid, NULL, 0);
	if (!item)
		return;
	item->bs = bs;
	item->size = size;
	l3_behind(r, item);
}

static int claim(void *impl, const struct oid *oid, const struct cancel *cancel,
	uint64_t deadline_ns, void **ret_claim)
{
	struct blob_redis *r = impl;
	uint64_t start_ns = clock_mono_ns(&clock_system);
	struct l3_claim *ours;
	bool waited;
	int result = l3_lease_claim(&r->leases, oid, cancel, deadline_ns, &ours, &waited);

	histogram_observe(r->m.lease, clock_mono_ns(&clock_system) - start_ns);
	if (ours)
		counter_add(r->m.claims, 1);
	if (waited)
		counter_add(r->m.claim_waits, 1);
	if (result == 1)
		counter_add(r->m.claim_saves, 1);
	*ret_claim = ours;
	return result;
}

static void claim_many(
	void *impl, const struct oid *oids, unsigned count, void **ret_claims, bool *ret_ours)
{
	struct blob_redis *r = impl;
	uint64_t start_ns = clock_mono_ns(&clock_system);

	l3_lease_claim_many(&r->leases, oids, count, (struct l3_claim **)ret_claims, ret_ours);
	histogram_observe(r->m.lease, clock_mono_ns(&clock_system) - start_ns);
	for (unsigned i = 0; i < count; i++)
		counter_add(r->m.claims, ret_claims[i] ? 1 : 0);
}

static void release(void *impl, void *ours)
{
	struct blob_redis *r = impl;

	l3_lease_release(&r->leases, ours);
}

static void stats(void *impl, struct blob_tier_stats *ret_stats)
{
	struct blob_redis *r = impl;

	blob_counters_get(&r->counters, ret_stats);
	ret_stats->drops = l3_drops(r);
	(void)snprintf(ret_stats->state, sizeof(ret_stats->state), "%s",
		l3_state_word(l3_client_state(r->client)));
	l3_client_reason(r->client, ret_stats->reason, sizeof(ret_stats->reason));
}

static const struct blob_tier_ops ops = {
	.name = "redis",
	.stop = stop,
	.close = close_tier,
	.load = l3_load,
	.load_many = l3_load_many,
	.claim = claim,
	.claim_many = claim_many,
	.release = release,
	.share = share,
	.put = put,
	.drop = l3_drop,
	.stats = stats,
};

struct blob_tier blob_redis_tier(struct blob_redis *r)
{
	return (struct blob_tier){.ops = &ops, .impl = r};
}
