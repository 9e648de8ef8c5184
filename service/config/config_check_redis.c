/* SPDX-License-Identifier: Apache-2.0 */
/* Whether what cache.redis says fits together. Touches no file and no network. */
#include "config_internal.h"

#include <base/clock.h>
#include <storage/blob_redis.h>

#define TTL_MIN_NS      (60 * NS_PER_S)
#define TIMEOUT_MIN_NS  NS_PER_MS
#define TIMEOUT_MAX_NS  (10 * NS_PER_S)
#define QUEUE_MIN_BYTES (UINT64_C(1) << 20)
#define QUEUE_MAX_BYTES (UINT64_C(8) << 30)
#define BLOB_MAX_BYTES  (UINT64_C(2) << 30)

static bool any_setting(const struct cfg *c)
{
	return c->redis_password_file || c->redis_key_file || c->redis_tls_ca ||
	       c->redis_tls_cert || c->redis_tls_key || c->redis_ttl_ns ||
	       c->redis_connect_timeout_ns || c->redis_timeout_ns || c->redis_queue ||
	       c->redis_blob_max;
}

static void check_url(const struct cfg *c, struct cfg_report *r)
{
	const char *login = strstr(c->redis_url, "://");
	const char *at = login ? strchr(login, '@') : NULL;
	const char *colon = at ? memchr(login + 3, ':', (size_t)(at - login - 3)) : NULL;
	struct err e = {0};

	/* the URL is not repeated: it may hold a password */
	if (blob_redis_check_url(c->redis_url, &e) < 0)
		cfg_mistake(r, "cache.redis.url", "%s", err_message(&e));
	else if (colon && c->redis_password_file)
		cfg_mistake(r, "cache.redis.password_file", "the URL has a password already");
}

static void check_tls(const struct cfg *c, struct cfg_report *r)
{
	if (!c->redis_tls_ca && !c->redis_tls_cert && !c->redis_tls_key)
		return;
	if (strncmp(c->redis_url, "rediss", 6) != 0)
		cfg_mistake(r, "cache.redis.tls", "is for rediss:// and rediss+cluster://");
	if (!c->redis_tls_cert != !c->redis_tls_key)
		cfg_mistake(r, "cache.redis.tls", "cert and key belong together");
}

static void check_range(const char *field, uint64_t value, uint64_t min, uint64_t max,
	const char *says, struct cfg_report *r)
{
	if (value && (value < min || value > max))
		cfg_mistake(r, field, "must be %s", says);
}

void cfg_check_redis(const struct cfg *c, struct cfg_report *r)
{
	if (!c->redis_url) {
		if (any_setting(c))
			cfg_mistake(r, "cache.redis.url", "is missing");
		return;
	}
	check_url(c, r);
	check_tls(c, r);
	check_range("cache.redis.ttl", c->redis_ttl_ns, TTL_MIN_NS, UINT64_MAX, "at least 1m", r);
	check_range("cache.redis.connect_timeout", c->redis_connect_timeout_ns, TIMEOUT_MIN_NS,
		TIMEOUT_MAX_NS, "1ms to 10s", r);
	check_range("cache.redis.timeout", c->redis_timeout_ns, TIMEOUT_MIN_NS, TIMEOUT_MAX_NS,
		"1ms to 10s", r);
	check_range("cache.redis.queue", c->redis_queue, QUEUE_MIN_BYTES, QUEUE_MAX_BYTES,
		"1MiB to 8GiB", r);
	check_range(
		"cache.redis.blob_max", c->redis_blob_max, 1, BLOB_MAX_BYTES, "at most 2GiB", r);
}
