/* SPDX-License-Identifier: Apache-2.0 */
/* See origins.h. Any thread: two that open the same origin at once are settled by
 * storage_add_origin, which takes the first. */
#include <base/err.h>
#include <base/log.h>
#include <errno.h>
#include <service/config.h>
#include <service/origins.h>
#include <stdio.h>
#include <storage/storage.h>
#include <string.h>

static int open_one(struct storage *storage, const struct cfg_origin *cfg, struct metrics *metrics,
	struct err *e)
{
	struct origin_config config = {
		.name = cfg->name, .type = cfg->type, .url = cfg->url, .metrics = metrics};
	struct origin *origin;
	int err = origin_open(&origin, &config, e);

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

		if (open_one(storage, &cfg->origins[i], metrics, &e))
			log_error("origin_unavailable", LOG_S("origin", cfg->origins[i].name),
				LOG_S("message", err_message(&e)));
	}
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

int origins_get(struct storage *storage, const struct cfg *cfg, struct metrics *metrics,
	const char *name, struct origin **ret_origin, struct err *e)
{
	struct origin *origin = storage_origin(storage, name);
	struct err why = {0};

	for (unsigned i = 0; !origin && i < cfg->origin_count; i++) {
		if (strcmp(cfg->origins[i].name, name) != 0)
			continue;
		if (open_one(storage, &cfg->origins[i], metrics, &why) == 0)
			origin = storage_origin(storage, name);
		if (!origin)
			return err_set(e, -EHOSTUNREACH, "ORIGIN_UNAVAILABLE",
				"origin %s cannot be opened: %s", name, err_message(&why));
	}
	if (!origin)
		return unknown_origin(cfg, name, e);
	*ret_origin = origin;
	return 0;
}
