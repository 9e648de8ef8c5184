/* SPDX-License-Identifier: Apache-2.0 */
/* See origins.h. Any thread: two that open the same origin at once are settled by
 * storage_add_origin, which takes the first. */
#include <base/cleanup.h>
#include <base/err.h>
#include <base/log.h>
#include <errno.h>
#include <service/config.h>
#include <service/origins.h>
#include <stdio.h>
#include <storage/storage.h>
#include <string.h>

static struct origin_net net_of(const struct cfg_origin *cfg)
{
	return (struct origin_net){
		.username = cfg->username,
		.password_file = cfg->password_file,
		.token_file = cfg->token_file,
		.ssh_key_file = cfg->ssh_key_file,
		.ssh_known_hosts_file = cfg->ssh_known_hosts_file,
		.ca_file = cfg->tls_ca,
		.cert_file = cfg->tls_cert,
		.key_file = cfg->tls_key,
		.proxy = cfg->proxy,
		.connect_timeout_ns = cfg->connect_timeout_ns,
		.timeout_ns = cfg->timeout_ns,
		.max_requests = cfg->max_requests,
	};
}

static void on_notice(const char *origin, const char *event, const char *text)
{
	log_warn(event, LOG_S("origin", origin), LOG_S("message", text));
}

static int open_one(struct storage *storage, const struct cfg *cfg,
	const struct cfg_origin *cfg_origin, struct metrics *metrics, struct err *e)
{
	_cleanup_free_ char *state_dir = NULL;
	struct origin_config config = {
		.name = cfg_origin->name,
		.type = cfg_origin->type,
		.url = cfg_origin->url,
		.mode = cfg_origin->mode,
		.refresh_ns = cfg_origin->refresh_ns,
		.mirror_bytes = cfg_origin->mirror_bytes,
		.net = net_of(cfg_origin),
		.lfs = cfg_origin->lfs,
		.lfs_url = cfg_origin->lfs_url,
		.metrics = metrics,
		.notice = on_notice,
	};
	struct origin *origin;
	int err;

	if (asprintf(&state_dir, "%s/origins/%s", cfg->data_dir, cfg_origin->name) < 0)
		return err_set(e, -ENOMEM, NULL, "no memory");
	config.state_dir = state_dir;
	err = origin_open(&origin, &config, e);
	if (err)
		return err;
	err = storage_add_origin(storage, origin);
	origin_unref(origin);
	return err == -EEXIST ? 0 : err;
}

void origins_open(struct storage *storage, const struct cfg *cfg, struct metrics *metrics)
{
	for (unsigned i = 0; i < cfg->origin_count; i++) {
		struct err e = {0};

		if (open_one(storage, cfg, &cfg->origins[i], metrics, &e))
			log_error("origin_unavailable", LOG_S("origin", cfg->origins[i].name),
				LOG_S("message", err_message(&e)));
	}
}

bool origins_lfs(const struct cfg *cfg, const char *name)
{
	for (unsigned i = 0; i < cfg->origin_count; i++)
		if (strcmp(cfg->origins[i].name, name) == 0)
			return cfg->origins[i].lfs;
	return false;
}

static int unknown_origin(const struct cfg *cfg, const char *name, struct err *e)
{
	char known[256] = "";
	size_t used = 0;

	for (unsigned i = 0; i < cfg->origin_count && used < sizeof(known); i++)
		used += (size_t)snprintf(known + used, sizeof(known) - used, "%s%s", i ? ", " : "",
			cfg->origins[i].name);
	(void)err_set(e, -ENOENT, "ORIGIN_NOT_FOUND", "there is no origin \"%.64s\"; known: %s",
		name, known[0] ? known : "none (add one under origins: in the configuration)");
	err_meta(e, "origin", name);
	return -ENOENT;
}

/* It may be there later; a format that we do not know will not be another. */
static int cannot_open(const char *name, const struct err *why, struct err *e)
{
	bool never = strcmp(why->reason, "ORIGIN_UNSUPPORTED") == 0;

	return err_set(e, never ? -EOPNOTSUPP : -EHOSTUNREACH,
		never ? "ORIGIN_UNSUPPORTED" : "ORIGIN_UNAVAILABLE",
		"origin %s cannot be opened: %s", name, err_message(why));
}

int origins_get(struct storage *storage, const struct cfg *cfg, struct metrics *metrics,
	const char *name, struct origin **ret_origin, struct err *e)
{
	struct origin *origin = storage_origin(storage, name);
	struct err why = {0};

	for (unsigned i = 0; !origin && i < cfg->origin_count; i++) {
		if (strcmp(cfg->origins[i].name, name) != 0)
			continue;
		if (open_one(storage, cfg, &cfg->origins[i], metrics, &why) == 0)
			origin = storage_origin(storage, name);
		if (!origin)
			return cannot_open(name, &why, e);
	}
	if (!origin)
		return unknown_origin(cfg, name, e);
	*ret_origin = origin;
	return 0;
}
