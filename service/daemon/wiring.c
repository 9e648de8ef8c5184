/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The only file that constructs one of everything. Each stage stands on those before it, and
 *daemon_stop takes them down in reverse: first nobody may ask for more, then what runs ends, then
 *what it stood on goes.
 *
 *	keeper's socket or systemd's store → locks → metrics → tenants → storage, origins → farm →
 *mounts (recovery) → gRPC and HTTP
 *
 * Main thread only.
 */
#include "wiring.h"

#include "drain.h"
#include "instance_lock.h"
#include "sd.h"
#include "upgrade.h"

#include <api/server.h>
#include <base/clock.h>
#include <base/err.h>
#include <base/fd_store.h>
#include <base/health.h>
#include <base/io.h>
#include <base/list.h>
#include <base/log.h>
#include <base/metrics.h>
#include <errno.h>
#include <fuse/session.h>
#include <service/config.h>
#include <service/formats.h>
#include <service/mounts.h>
#include <service/node.h>
#include <service/origins.h>
#include <service/tenants.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <storage/blob_redis.h>
#include <storage/collect.h>
#include <storage/storage.h>
#include <string.h>
#include <unistd.h>

#define KEEPER_FD_VARIABLE "COPPICE_KEEPER_FD"
#define LOCK_DATA          "lock.data"
#define LOCK_RUN           "lock.run"
#define HAND_OVER_NS       (5 * NS_PER_S)   /* jobs stand still no longer for what is under way */
#define STOP_NS            (120 * NS_PER_S) /* for a stop, when nobody is waited for any more */
#define PATIENCE_MAX_NS    (7 * 86400 * NS_PER_S)

struct daemon {
	const struct cfg *cfg;
	char *const *argv;              /* how we were started */
	_Atomic bool successor_checked; /* by upgrade_asked */
	int data_lock_fd, run_lock_fd;
	bool git_ready;
	struct sess_mounter *mounter;
	struct fd_store *manager; /* the service manager's store; NULL: not used */
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
	struct health *health = arg;

	if (available) {
		log_info("redis_up");
		health_over(health, "redis");
	} else {
		log_warn("redis_down", LOG_S("reason", reason));
		health_bad(health, "redis", reason,
			"look at the Redis server and the way to it; builds go on without it");
	}
}

static void health_changed(void *arg, const struct health_condition *c, bool degraded)
{
	(void)arg;
	if (degraded)
		log_warn("degraded", LOG_S("component", c->component), LOG_S("reason", c->reason),
			LOG_S("advice", c->advice));
	else
		log_info("recovered", LOG_S("component", c->component));
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
		.arg = d->node.health,
	};
}

static int lock_directories(struct daemon *d, struct err *e)
{
	struct instance_lock_config config = {.dir = d->cfg->data_dir,
		.run_dir = d->cfg->run_dir,
		.store = d->mounter->store,
		.name = LOCK_DATA};
	int err = instance_lock(&config, &d->data_lock_fd, e);

	if (err)
		return err;
	config.dir = d->cfg->run_dir;
	config.name = LOCK_RUN;
	return instance_lock(&config, &d->run_lock_fd, e);
}

/* As early as it is certain that we can run here: the keeper waits for this word with patience for
 * a few seconds, and then for the rest with more. */
static int begin(struct daemon *d, struct err *e)
{
	int err = d->mounter->begin ? d->mounter->begin(d->mounter) : 0;

	return err ? err_set(e, err, "", "the keeper does not answer, or is of another version: %s",
			     strerror(-err))
		   : 0;
}

static void unlock(struct daemon *d, int fd, const char *name)
{
	if (fd < 0)
		return;
	if (d->mounter->store)
		(void)d->mounter->store->drop(d->mounter->store, name); /* it ends with us */
	(void)close(fd);
}

static int start_storage(struct daemon *d, struct err *e)
{
	const struct blob_redis_config redis = redis_config(d);
	struct storage_config config = {
		.data_dir = d->cfg->data_dir,
		.memory_bytes = d->cfg->cache_memory,
		.disk_bytes = d->cfg->cache_disk,
		.index_bytes = d->cfg->cache_index,
		.fetch_threads = d->cfg->fetch_threads,
		.clock = d->node.clock,
		.metrics = d->node.metrics,
		.health = d->node.health,
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

static int speak_to_keeper(struct daemon *d, const char *fd, struct err *e)
{
	char *end;
	long number;

	errno = 0;
	number = strtol(fd, &end, 10);
	if (errno || end == fd || *end || number < 3 || number > 65535)
		return err_set(
			e, -EINVAL, "", "%s=%.20s is not a descriptor", KEEPER_FD_VARIABLE, fd);
	d->mounter = sess_mounter_keeper_new((int)number);
	return 0;
}

/* The keeper, if it started us, holds the /dev/fuse descriptors; or the service manager has copies
 * of them; or they end with this process. */
static int choose_mounter(struct daemon *d, struct err *e)
{
	const char *keeper = getenv(KEEPER_FD_VARIABLE);
	int err = keeper ? speak_to_keeper(d, keeper, e) : 0;

	if (err)
		return err;
	if (!keeper) {
		d->manager = sd_store_new();
		d->mounter = d->manager ? sess_mounter_store_new(d->manager, "systemd")
					: sess_mounter_local_new();
	}
	if (!d->mounter)
		return err_set(e, -ENOMEM, "", "no memory");
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

	if (!config.workers)
		config.workers = cpus < 2 ? 2 : cpus > 8 ? 8 : (unsigned)cpus;
	config.mounter = d->mounter;
	d->node.workers = config.workers;
	return sess_farm_new(&d->node.farm, &config, e);
}

static void each_root(void *mounts, storage_root_fn fn, void *arg)
{
	mounts_each_root(mounts, fn, arg);
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

	int err = mounts_open(&d->node.mounts, &config, e);

	if (err)
		return err;
	err = storage_collect_start(
		d->node.storage, &(struct storage_roots){.each = each_root, .arg = d->node.mounts});
	return err ? err_wrap(e, err, "start the collector of the index") : 0;
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
	if (d->node.metrics && !err)
		d->node.health = health_new(d->node.clock, d->node.metrics);
	if (!d->node.health || err)
		return err_set(e, -ENOMEM, "", "no memory for metrics");
	health_watch(d->node.health, health_changed, NULL);
	return 0;
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
		err = choose_mounter(d, e);
	if (!err)
		err = lock_directories(d, e);
	if (!err)
		err = formats_check(d->cfg->data_dir, e);
	if (!err)
		err = begin(d, e);
	if (!err)
		err = formats_write(d->cfg->data_dir, formats_of_mounts(d->cfg->data_dir), e);
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

static bool may_hand_over(const struct daemon *d)
{
	return d->mounter->store != NULL;
}

int daemon_check_successor(struct daemon *d, struct err *e)
{
	if (!may_hand_over(d))
		return err_set(e, -EOPNOTSUPP, "NOT_KEPT",
			"nobody holds the sessions meanwhile: run the daemon under coppice-keeper "
			"or as a service with FileDescriptorStoreMax, or restart it");
	if (atomic_load(&d->node.stopping))
		return err_set(e, -EBUSY, "STOPPING", "the service is stopping");
	return upgrade_check(d->argv, e);
}

/* Called by the api: the look at the successor, whose result the caller waits for. The rest is the
 * main thread's. */
static int upgrade_asked(struct node *n, struct err *e)
{
	struct daemon *d = container_of(n, struct daemon, node);
	int err = daemon_check_successor(d, e);

	if (!err && !atomic_exchange(&d->successor_checked, true) && kill(getpid(), SIGUSR2) < 0)
		err = err_wrap(e, -errno, "upgrade");
	return err;
}

bool daemon_successor_checked(struct daemon *d)
{
	return atomic_load(&d->successor_checked);
}

int daemon_start(
	struct daemon **ret_daemon, const struct cfg *cfg, char *const *argv, struct err *e)
{
	struct daemon *d = calloc(1, sizeof(*d));
	int err;

	if (!d)
		return err_set(e, -ENOMEM, "", "no memory");
	d->cfg = d->node.cfg = cfg;
	d->argv = argv;
	d->node.upgrade = upgrade_asked;
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

/* Who would kill us if we took too long waits for the mounts too. */
static void ask_patience(struct daemon *d)
{
	uint64_t wait_ns = d->cfg->drain_timeout_ns < PATIENCE_MAX_NS ? d->cfg->drain_timeout_ns
								      : PATIENCE_MAX_NS;
	int err = 0;

	wait_ns += STOP_NS;
	sd_tell_patience(wait_ns);
	if (d->mounter->stopping)
		err = d->mounter->stopping(d->mounter, (unsigned)(wait_ns / NS_PER_S));
	if (err)
		log_warn("keeper_not_told", LOG_E(err)); /* an older one */
}

int daemon_drain(struct daemon *d, int signals)
{
	ask_patience(d);
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
	if (d->node.storage)
		storage_collect_stop(d->node.storage);
	d->node.mounts = mounts_close(d->node.mounts);
	d->node.farm = sess_farm_free(d->node.farm);
	d->node.storage = storage_close(d->node.storage);
	if (d->git_ready)
		origin_git_fini();
	d->node.tenants = tenants_free(d->node.tenants);
	d->node.health = health_free(d->node.health);
	d->node.metrics = metrics_free(d->node.metrics);
	unlock(d, d->run_lock_fd, LOCK_RUN); /* last: another daemon may start now */
	unlock(d, d->data_lock_fd, LOCK_DATA);
	d->mounter = sess_mounter_free(d->mounter);
	d->manager = sd_store_free(d->manager);
	free(d);
	return NULL;
}

/* Calls first, while files are still served: those under way may need them. */
void daemon_hand_over(struct daemon *d)
{
	uint64_t left = 0;
	int err;

	api_server_hand_over(d->api);
	d->api = api_server_stop(d->api);
	storage_collect_stop(d->node.storage);
	mounts_rest(d->node.mounts);
	err = sess_hand_over(d->node.farm, HAND_OVER_NS, &left);
	if (err)
		log_warn("handed_over_unfinished", LOG_U("requests", left), LOG_E(err));
}

uint64_t daemon_feel_pulse(struct daemon *d)
{
	uint64_t manager_ns = sd_watchdog_ns(), keeper_ns = 0;

	(void)mounts_live_count(d->node.mounts); /* takes the lock that everything needs */
	if (manager_ns)
		sd_tell_alive();
	if (d->mounter->alive)
		keeper_ns = d->mounter->alive(d->mounter) * NS_PER_S;
	return keeper_ns && (!manager_ns || keeper_ns < manager_ns) ? keeper_ns : manager_ns;
}

int daemon_reload(struct daemon *d, struct err *e)
{
	return tenants_reload(d->node.tenants, e);
}
