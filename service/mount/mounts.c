/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The registry: opening and closing it, its tables, and the claim on one mount. What is done with a
 * mount is in mount_*.c, the law of it in mounts_internal.h.
 *
 * Threads: any number of callers; the reaper of leases (mount_lease.c); two deleters for what has
 * expired; the remover of trash (trash.c). They stop in this order in mounts_close.
 */
#include "mounts_internal.h"

#include "dir_spread.h"
#include "mount_host.h"
#include "mount_lower.h"
#include "mount_sm.h"
#include "trash.h"

#include <base/cleanup.h>
#include <base/clock.h>
#include <base/io.h>
#include <base/log.h>
#include <base/path.h>
#include <base/pool.h>
#include <errno.h>
#include <service/config.h>
#include <service/tenants.h>
#include <stdlib.h>
#include <string.h>

#define SEQUENCE_BLOCK  (UINT64_C(1) << 20)
#define DEADLINE_MAX_NS (600 * NS_PER_S)

/* ---- one mount ---- */

struct mount *mount_new(struct mounts *m, struct mount_record *rec)
{
	struct mount *mt = calloc(1, sizeof(*mt));

	if (!mt)
		return NULL;
	mt->root = mount_root_path(m, rec->tenant, rec->job_id);
	if (!mt->root) {
		free(mt);
		return NULL;
	}
	mt->registry = m;
	mt->refs = 1;
	list_init(&mt->link);
	list_init(&mt->uses);
	cond_init(&mt->changed);
	sm_init(&mt->sm, &mount_sm_table, rec->state);
	mt->rec = *rec;
	*rec = (struct mount_record){0};
	(void)snprintf(mt->job_key, sizeof(mt->job_key), "%s/%s", mt->rec.tenant, mt->rec.job_id);
	return mt;
}

void mount_unref_locked(struct mount *mt)
{
	if (--mt->refs)
		return;
	mount_record_fini(&mt->rec);
	mount_fetches_unref(mt->fetches);
	cond_fini(&mt->changed);
	free(mt->root);
	free(mt->failure);
	free(mt);
}

static void drop_job_locked(struct mounts *m, const char *job_key)
{
	struct name_node *node = name_table_find(&m->by_job, job_key);

	if (!node)
		return;
	container_of(node, struct mount, by_job)->has_job = false;
	name_table_remove(&m->by_job, node);
}

int mount_register_locked(struct mounts *m, struct mount *mt, bool known, bool has_job)
{
	int err = lease_heap_reserve(&m->leases, m->count + 1);

	if (!err)
		err = name_table_insert(&m->by_id, &mt->by_id, mt->rec.mount_id);
	if (err)
		return err;
	if (has_job) {
		drop_job_locked(m, mt->job_key);
		err = name_table_insert(&m->by_job, &mt->by_job, mt->job_key);
		if (err) {
			name_table_remove(&m->by_id, &mt->by_id);
			return err;
		}
	}
	mt->has_job = has_job;
	mt->known = known;
	mt->sequence = m->watch.last;
	list_push_back(&m->all, &mt->link);
	m->count++;
	if (known && mt->rec.state == MOUNT_READY) {
		m->ready_count++;
		gauge_add(m->metrics.ready, 1);
	}
	if (known && (mt->rec.state == MOUNT_DELETED || mt->rec.state == MOUNT_FAILED))
		m->ended_count++;
	return 0;
}

void mount_unregister_locked(struct mount *mt)
{
	struct mounts *m = mt->registry;

	if (mt->known && mt->rec.state == MOUNT_READY) {
		m->ready_count--;
		gauge_add(m->metrics.ready, -1);
	}
	if (mt->known && (mt->rec.state == MOUNT_DELETED || mt->rec.state == MOUNT_FAILED))
		m->ended_count--;
	lease_heap_remove(&m->leases, &mt->lease);
	name_table_remove(&m->by_id, &mt->by_id);
	if (mt->has_job)
		name_table_remove(&m->by_job, &mt->by_job);
	mt->has_job = mt->known = false;
	list_remove(&mt->link);
	m->count--;
	mount_unref_locked(mt);
}

struct mount *mount_find_locked(struct mounts *m, const struct mount_key *key)
{
	struct name_node *node = NULL;
	struct mount *mt = NULL;
	char job[MOUNT_JOB_KEY_MAX];

	if (key->mount_id && key->mount_id[0]) {
		node = name_table_find(&m->by_id, key->mount_id);
		mt = node ? container_of(node, struct mount, by_id) : NULL;
	} else if (key->job_id && key->tenant) {
		if (snprintf(job, sizeof(job), "%s/%s", key->tenant, key->job_id) <
			(int)sizeof(job))
			node = name_table_find(&m->by_job, job);
		mt = node ? container_of(node, struct mount, by_job) : NULL;
	}
	if (mt && key->tenant && strcmp(mt->rec.tenant, key->tenant) != 0)
		return NULL;
	return mt;
}

int mount_not_found(const struct mount_key *key, struct err *e)
{
	if (key->mount_id && key->mount_id[0])
		return err_set(
			e, -ENOENT, "MOUNT_NOT_FOUND", "there is no mount %.64s", key->mount_id);
	return err_set(e, -ENOENT, "MOUNT_NOT_FOUND",
		"there is no mount for job_id %.128s of tenant %.64s",
		key->job_id ? key->job_id : "", key->tenant ? key->tenant : "(none)");
}

int mount_claim_locked(struct mount *mt, uint64_t deadline_ns, struct err *e)
{
	struct mounts *m = mt->registry;

	while (mt->busy)
		if (!cond_wait_until(&mt->changed, &m->mu, deadline_ns))
			return err_set(e, -ETIMEDOUT, "",
				"mount %s is being worked on, and that took too long",
				mt->rec.mount_id);
	mt->busy = true;
	return 0;
}

void mount_release_locked(struct mount *mt)
{
	mt->busy = false;
	cond_broadcast(&mt->changed);
}

void mount_release(struct mount *mt)
{
	LOCK_GUARD(&mt->registry->mu);
	mount_release_locked(mt);
}

struct mount_serial *mount_serial_of(struct mounts *m, const struct tenant *tn)
{
	for (unsigned i = 0; i < m->serial_count; i++)
		if (m->serials[i].tenant == tn)
			return &m->serials[i];
	return NULL;
}

int mount_copy_info_locked(const struct mount *mt, struct mount_info *ret_info, struct err *e)
{
	struct mount_info view;

	if (!ret_info)
		return 0;
	mount_view_locked(mt, &view);
	return mount_info_copy(&view, ret_info) ? err_set(e, -ENOMEM, "", "no memory") : 0;
}

uint64_t mount_deadline(const struct mounts *m, uint64_t deadline_ns)
{
	uint64_t latest = clock_after(m->config.clock, DEADLINE_MAX_NS);

	return !deadline_ns || deadline_ns > latest ? latest : deadline_ns;
}

/* ---- the registry ---- */

int mount_reserve_sequence(struct mounts *m)
{
	uint64_t next;
	int err = mount_journal_reserve(m->journal, SEQUENCE_BLOCK, &next);

	if (!err)
		m->sequence_end = next + SEQUENCE_BLOCK;
	return err;
}

static void register_metrics(struct mounts *m)
{
	struct metrics *x = m->config.metrics;

	m->metrics = (struct mounts_metrics){
		.created = metrics_counter(
			x, "coppice_mounts_created_total", "Mounts that became ready.", ""),
		.create_failed = metrics_counter(
			x, "coppice_mount_failures_total", "Creations that failed.", ""),
		.deleted = metrics_counter(
			x, "coppice_mounts_deleted_total", "Mounts that were deleted.", ""),
		.expired = metrics_counter(
			x, "coppice_leases_expired_total", "Mounts whose lease ran out.", ""),
		.adopted_sessions = metrics_counter(x, "coppice_takeover_sessions_total",
			"Sessions of a dead process that were gone on with.", ""),
		.revived_nodes = metrics_counter(x, "coppice_takeover_nodes_total",
			"Nodes that came back in a takeover.", ""),
		.resolved_intents = metrics_counter(x, "coppice_takeover_intents_total",
			"Changes that were found unfinished in a takeover.", ""),
		.takeover_time = metrics_histogram(x, "coppice_takeover_seconds",
			"From the begin of recovery until adopted sessions were served.", ""),
		.switched = metrics_counter(x, "coppice_mount_switches_total",
			"Moves of mounts to another revision or change list.", ""),
		.switch_failed = metrics_counter(x, "coppice_mount_switches_failed_total",
			"The same that failed; the mounts stayed as they were.", ""),
		.switch_time = metrics_histogram(x, "coppice_mount_switch_seconds",
			"From the request until the kernel knows.", ""),
		.stuck = metrics_counter(x, "coppice_sessions_stuck_total",
			"Times a session had requests waiting and answered none for long.", ""),
		.aborted = metrics_counter(x, "coppice_sessions_aborted_total",
			"Sessions that were aborted because they stayed stuck.", ""),
		.stuck_now = metrics_gauge(
			x, "coppice_sessions_stuck", "Sessions that are stuck now.", ""),
		.recovered = metrics_counter(
			x, "coppice_mounts_recovered_total", "Mounts brought back at start.", ""),
		.recover_failed = metrics_counter(x, "coppice_mount_recovery_failures_total",
			"Mounts that could not be brought back at start.", ""),
		.create_time = metrics_histogram(
			x, "coppice_mount_create_seconds", "Time to make a mount ready.", ""),
		.ready = metrics_gauge(x, "coppice_mounts_ready", "Mounts that can be used.", ""),
	};
}

static void add_serial(void *arg, struct tenant *tn)
{
	struct mounts *m = arg;

	m->serials[m->serial_count++].tenant = tn;
}

static void count_tenant(void *arg, struct tenant *tn)
{
	(void)tn;
	++*(unsigned *)arg;
}

static int read_serials(struct mounts *m)
{
	unsigned count = 0;
	int err = 0;

	tenants_each(m->config.tenants, count_tenant, &count);
	m->serials = calloc(count, sizeof(*m->serials));
	if (!m->serials)
		return -ENOMEM;
	tenants_each(m->config.tenants, add_serial, m);
	for (unsigned i = 0; !err && i < m->serial_count; i++)
		err = mount_journal_serial(
			m->journal, tenant_name(m->serials[i].tenant), &m->serials[i].counter.last);
	return err;
}

/* What needs no clean-up order of its own. */
static int init(struct mounts *m, const struct mounts_config *config)
{
	int err;

	m->config = *config;
	lock_init(&m->mu, LOCK_RANK_MOUNTS);
	cond_init(&m->hosts_changed);
	cond_init(&m->reaper_wake);
	cond_init(&m->watchdog_wake);
	list_init(&m->all);
	list_init(&m->hosts);
	watch_hub_init(&m->watch, 1);
	register_metrics(m);
	err = name_table_init(&m->by_id);
	return err ? err : name_table_init(&m->by_job);
}

static int open_disk(struct mounts *m, struct err *e)
{
	struct pool_config deleters = {.name = "deleter", .threads_max = 2, .queue_max = 1024};
	const char *data_dir = m->config.cfg->data_dir;
	_cleanup_free_ char *trash = path_join(data_dir, "trash");
	int err;

	m->workspaces_dir = path_join(data_dir, "workspaces");
	if (!trash || !m->workspaces_dir)
		return err_set(e, -ENOMEM, "", "no memory");
	err = mount_journal_open(&m->journal, data_dir, m->config.metrics, e);
	if (err)
		return err;
	err = trash_open(&m->trash, m->workspaces_dir, trash, e);
	if (err)
		return err;
	dir_spread_children(m->workspaces_dir);
	err = mount_reserve_sequence(m);
	if (!err)
		err = read_serials(m);
	if (!err)
		err = pool_new(&m->deleters, &deleters);
	if (err)
		return err_set(
			e, err, "", "cannot open the registry of mounts: %s", strerror(-err));
	m->watch.last = m->sequence_end - SEQUENCE_BLOCK - 1;
	return 0;
}

int mounts_open(struct mounts **ret_mounts, const struct mounts_config *config, struct err *e)
{
	struct mounts *m = calloc(1, sizeof(*m));
	int err;

	if (!m)
		return err_set(e, -ENOMEM, "", "no memory for the registry of mounts");
	err = init(m, config);
	if (err)
		(void)err_set(e, err, "", "cannot open the registry of mounts: %s", strerror(-err));
	if (!err)
		err = open_disk(m, e);
	if (!err)
		err = mounts_recover(m, e);
	if (!err)
		err = mount_reaper_start(m, e);
	if (!err)
		err = mount_watchdog_start(m, e);
	if (err) {
		mounts_close(m);
		return err;
	}
	*ret_mounts = m;
	return 0;
}

static void detach_all(struct mounts *m)
{
	uint64_t deadline_ns = clock_after(m->config.clock, 30 * NS_PER_S);

	list_for_each (it, &m->all) {
		struct mount *mt = list_entry(it, struct mount, link);
		bool claimed;

		lock_acquire(&m->mu);
		claimed = mount_claim_locked(mt, deadline_ns, NULL) == 0;
		lock_release(&m->mu);
		if (!claimed)
			log_error("mount_still_busy", LOG_S("mount_id", mt->rec.mount_id));
		mount_detach(mt);
		mount_release(mt);
	}
}

void mounts_rest(struct mounts *m)
{
	mount_watchdog_stop(m);
	mount_reaper_stop(m);
	m->deleters = pool_free(m->deleters);
}

struct mounts *mounts_close(struct mounts *m)
{
	if (!m)
		return NULL;
	mounts_drain(m, true);
	mounts_rest(m);
	detach_all(m);
	mount_hosts_close(m, true);
	trash_close(m->trash);
	mount_journal_close(m->journal);
	lock_acquire(&m->mu);
	list_for_each_safe (it, &m->all)
		mount_unregister_locked(list_entry(it, struct mount, link));
	watch_hub_fini(&m->watch);
	lock_release(&m->mu);
	lease_heap_fini(&m->leases);
	name_table_fini(&m->by_id);
	name_table_fini(&m->by_job);
	cond_fini(&m->hosts_changed);
	cond_fini(&m->reaper_wake);
	cond_fini(&m->watchdog_wake);
	lock_fini(&m->mu);
	free(m->serials);
	free(m->workspaces_dir);
	free(m);
	return NULL;
}

void mounts_drain(struct mounts *m, bool on)
{
	LOCK_GUARD(&m->mu);
	m->draining = on;
}
