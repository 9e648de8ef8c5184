/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The only file that constructs one of everything. Each stage stands on those before it, and
 *daemon_stop takes them down in reverse: first nobody may ask for more, then what runs ends, then
 *what it stood on goes.
 *
 *	locks → metrics → tenants → storage, origins → device holder → farm → mounts (recovery) →
 *gRPC and HTTP
 *
 * Main thread only.
 */
#include "wiring.h"

#include "drain.h"
#include "instance_lock.h"

#include <api/server.h>
#include <base/clock.h>
#include <base/err.h>
#include <base/io.h>
#include <base/log.h>
#include <base/metrics.h>
#include <errno.h>
#include <fuse/session.h>
#include <service/config.h>
#include <service/mounts.h>
#include <service/node.h>
#include <service/origins.h>
#include <service/tenants.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <storage/blob_redis.h>
#include <storage/storage.h>
#include <string.h>
#include <unistd.h>

#define KEEPER_FD_VARIABLE "COPPICE_KEEPER_FD"

struct daemon {
	const struct cfg *cfg;
	int data_lock_fd, run_lock_fd;
	bool git_ready;
	struct sess_mounter *mounter;
	struct api_server *api;
	struct node node; /* owns what its pointers name, but for cfg and clock */
};

static int make_directories(const struct cfg *cfg, struct err *e)
{
	int err = io_mkdirs(cfg->data_dir, 0711);

	if (err)
		return err_set(
			e, err, "", "cannot make data_dir %s: %s", cfg->data_dir, strerror(-err));
	err = io_mkdirs(cfg->run_dir, 0755);
	if (err)
		return err_set(
			e, err, "", "cannot make run_dir %s: %s", cfg->run_dir, strerror(-err));
	return 0;
}

/* On the thread that met it; once per change, not per request. */
static void redis_changed(void *arg, bool available, const char *reason)
{
	(void)arg;
	if (available)
		log_info("redis_up");
	else
		log_warn("redis_down", LOG_S("reason", reason));
}

static struct blob_redis_config redis_config(const struct daemon *d)
{
	const struct cfg *c = d->cfg;

	return (struct blob_redis_config){
		.url = c->redis_url,
		.password_file = c->redis_password_file,
		.key_file = c->redis_key_file,
		.tls_ca = c->redis_tls_ca,
		.tls_cert = c->redis_tls_cert,
		.tls_key = c->redis_tls_key,
		.ttl_ns = c->redis_ttl_ns,
		.connect_timeout_ns = c->redis_connect_timeout_ns,
		.timeout_ns = c->redis_timeout_ns,
		.queue_bytes = c->redis_queue,
		.blob_max_bytes = c->redis_blob_max,
		.metrics = d->node.metrics,
		.on_change = redis_changed,
	};
}

static int start_storage(struct daemon *d, struct err *e)
{
	const struct blob_redis_config redis = redis_config(d);
	struct storage_config config = {
		.data_dir = d->cfg->data_dir,
		.memory_bytes = d->cfg->cache_memory,
		.disk_bytes = d->cfg->cache_disk,
		.clock = d->node.clock,
		.metrics = d->node.metrics,
		.redis = d->cfg->redis_url ? &redis : NULL,
	};
	int err = origin_git_init(e);

	if (err)
		return err;
	d->git_ready = true;
	err = storage_open(&d->node.storage, &config, e);
	if (err)
		return err;
	origins_open(d->node.storage, d->cfg, d->node.metrics);
	return 0;
}

/* The keeper, if it started us, holds the /dev/fuse descriptors; else this process does. */
static int choose_mounter(struct daemon *d, struct err *e)
{
	const char *fd = getenv(KEEPER_FD_VARIABLE);
	char *end;
	long number;

	if (!fd) {
		d->mounter = sess_mounter_local_new();
	} else {
		errno = 0;
		number = strtol(fd, &end, 10);
		if (errno || end == fd || *end || number < 3 || number > 65535)
			return err_set(e, -EINVAL, "", "%s=%.20s is not a descriptor",
				KEEPER_FD_VARIABLE, fd);
		d->mounter = sess_mounter_keeper_new((int)number);
	}
	if (!d->mounter)
		return err_set(e, -EIO, "",
			fd ? "the keeper does not answer, or is of another version" : "no memory");
	d->node.device_holder = d->mounter->name;
	return 0;
}

static int start_farm(struct daemon *d, struct err *e)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	struct sess_farm_config config = {
		.workers = d->cfg->workers,
		.spin = cpus > 1,
		.clock = d->node.clock,
		.metrics = d->node.metrics,
	};
	int err = choose_mounter(d, e);

	if (err)
		return err;
	if (!config.workers)
		config.workers = cpus < 2 ? 2 : cpus > 8 ? 8 : (unsigned)cpus;
	config.mounter = d->mounter;
	d->node.workers = config.workers;
	return sess_farm_new(&d->node.farm, &config, e);
}

static int start_mounts(struct daemon *d, struct err *e)
{
	struct mounts_config config = {
		.cfg = d->cfg,
		.storage = d->node.storage,
		.tenants = d->node.tenants,
		.farm = d->node.farm,
		.clock = d->node.clock,
		.metrics = d->node.metrics,
	};

	return mounts_open(&d->node.mounts, &config, e);
}

static uint64_t is_draining(void *arg)
{
	const struct daemon *d = arg;

	return atomic_load(&d->node.draining);
}

static int start_metrics(struct daemon *d, struct err *e)
{
	int err = 0;

	d->node.metrics = metrics_new();
	if (d->node.metrics)
		err = metrics_callback(d->node.metrics, "coppice_draining",
			"1: no new mounts are made.", "", is_draining, d);
	return d->node.metrics && !err ? 0 : err_set(e, -ENOMEM, "", "no memory for metrics");
}

static int start_api(struct daemon *d, struct err *e)
{
	struct api_config config = {
		.node = &d->node,
		.listen = (const char *const *)d->cfg->grpc_listen,
		.listen_count = d->cfg->grpc_listen_count,
		.fds = d->mounter->store,
	};

	return api_server_start(&d->api, &config, e);
}

static int start_all(struct daemon *d, struct err *e)
{
	int err = make_directories(d->cfg, e);

	if (!err)
		err = instance_lock(d->cfg->data_dir, d->cfg->run_dir, &d->data_lock_fd, e);
	if (!err)
		err = instance_lock(d->cfg->run_dir, d->cfg->run_dir, &d->run_lock_fd, e);
	if (!err)
		err = node_id_load(d->cfg->data_dir, d->node.node_id, e);
	if (err)
		return err;
	err = start_metrics(d, e);
	if (err)
		return err;
	err = tenants_new(&d->node.tenants, d->cfg, e);
	if (!err)
		err = start_storage(d, e);
	if (!err)
		err = start_farm(d, e);
	if (!err)
		err = start_mounts(d, e);
	if (!err)
		err = start_api(d, e);
	return err;
}

int daemon_start(struct daemon **ret_daemon, const struct cfg *cfg, struct err *e)
{
	struct daemon *d = calloc(1, sizeof(*d));
	int err;

	if (!d)
		return err_set(e, -ENOMEM, "", "no memory");
	d->cfg = d->node.cfg = cfg;
	d->data_lock_fd = d->run_lock_fd = -1;
	d->node.clock = &clock_system;
	d->node.started_wall_ns = clock_wall_ns(&clock_system);
	err = start_all(d, e);
	if (err) {
		daemon_stop(d);
		return err;
	}
	*ret_daemon = d;
	return 0;
}

int daemon_drain(struct daemon *d, int signals)
{
	atomic_store(&d->node.stopping, true);
	atomic_store(&d->node.draining, true);
	mounts_drain(d->node.mounts, true);
	api_server_drain(d->api);
	return drain_wait(d->node.mounts, d->cfg->drain_timeout_ns, signals);
}

struct daemon *daemon_stop(struct daemon *d)
{
	if (!d)
		return NULL;
	d->api = api_server_stop(d->api);
	d->node.mounts = mounts_close(d->node.mounts);
	d->node.farm = sess_farm_free(d->node.farm);
	d->mounter = sess_mounter_free(d->mounter);
	d->node.storage = storage_close(d->node.storage);
	if (d->git_ready)
		origin_git_fini();
	d->node.tenants = tenants_free(d->node.tenants);
	d->node.metrics = metrics_free(d->node.metrics);
	if (d->run_lock_fd >= 0)
		(void)close(d->run_lock_fd); /* last: another daemon may start now */
	if (d->data_lock_fd >= 0)
		(void)close(d->data_lock_fd);
	free(d);
	return NULL;
}

int daemon_reload(struct daemon *d, struct err *e)
{
	return tenants_reload(d->node.tenants, e);
}
