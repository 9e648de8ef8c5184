/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sessions that outlived the process that served them. While the registry recovers, a tenant's
 * session is adopted if the keeper has it; its mounts are opened as they were in it, nothing is
 * served meanwhile, and their jobs wait. Then all begin at once. A session that cannot be taken
 *over whole is given up, and its mounts come back as after any other restart; the others do not
 *notice.
 *
 *	open (adopt) ─► sweep the rest ─► mounts attached ─► serve: requests again, names, binds
 *	                                       └─ one fails: give up, revive on a new session
 */
#include "mount_host.h"
#include "mounts_internal.h"
#include "workflow/plan.h"

#include <base/cleanup.h>
#include <base/clock.h>
#include <base/log.h>
#include <base/path.h>
#include <dirent.h>
#include <errno.h>
#include <fuse/session.h>
#include <service/config.h>
#include <string.h>

#define TELL_WAIT_NS (10 * NS_PER_S)

static bool was_open(const struct mount_record *r)
{
	return r->state == MOUNT_READY || r->state == MOUNT_QUIESCING;
}

static struct mount_host *adopted_host(struct mounts *m, const char *tenant)
{
	struct mount_host *host = mount_host_find(m, tenant);

	return host && host->adopted ? host : NULL;
}

/* ---- what nobody goes on with ---- */

static void close_dir(DIR **d)
{
	if (*d)
		(void)closedir(*d); /* it was only read */
}

static int sweep_sessions(struct mounts *m)
{
	_cleanup_free_ char *ours = path_join(m->config.cfg->run_dir, "mnt");
	CLEANUP(close_dir) DIR *dir = ours ? opendir(ours) : NULL;
	int swept = 0;

	if (!ours)
		return -ENOMEM;
	for (const struct dirent *entry; dir && (entry = readdir(dir));) {
		_cleanup_free_ char *path = path_join(ours, entry->d_name);
		int r;

		if (!path)
			return -ENOMEM;
		if (entry->d_name[0] == '.' || mount_host_find(m, entry->d_name))
			continue; /* opened a moment ago, adopted or new */
		r = sess_sweep_mounts(m->config.farm, path);
		swept += r > 0 ? r : 0;
		if (sess_unseal(m->config.farm, path) == 0)
			(void)rmdir(path); /* nobody needs it; a file there is not ours */
	}
	return swept;
}

int mount_adopt_sweep(struct mounts *m, const struct mount_record *records, unsigned count)
{
	int swept = sweep_sessions(m);

	if (swept < 0)
		return swept;
	for (unsigned i = 0; i < count; i++) {
		const struct mount_record *r = &records[i];
		int n;

		if (!r->mountpoint || r->state == MOUNT_DELETED ||
			(was_open(r) && adopted_host(m, r->tenant)))
			continue;
		n = sess_sweep_mounts(m->config.farm, r->mountpoint);
		swept += n > 0 ? n : 0;
	}
	if (swept > 0)
		log_info("stale_mounts_detached", LOG_I("count", swept));
	return 0;
}

/* ---- giving up ---- */

bool mount_adopt_give_up(struct mounts *m, const char *tenant)
{
	struct mount_host *host = adopted_host(m, tenant);

	if (!host)
		return false;
	log_warn("session_not_adopted", LOG_S("tenant", tenant));
	sess_abandon(host->session);
	mounts_revive(m);
	return true;
}

/* ---- serving ---- */

static void forget_name(struct mounts *m, const struct mount_record *r)
{
	const struct mount_host *host = adopted_host(m, r->tenant);

	if (host)
		sess_workspace_removed(host->session, r->job_id);
}

/* Names that the kernel may still have, of mounts that are not there any more: what was rolled back
 * (its record is still among `records`), deleted just now, or failed. */
static void forget_names(struct mounts *m, const struct mount_record *records, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		if (records[i].state == MOUNT_PROVISIONING && records[i].tenant[0])
			forget_name(m, &records[i]);
	list_for_each (it, &m->all) {
		const struct mount *mt = list_entry(it, struct mount, link);

		if (!mt->attached && mt->has_job &&
			(mt->rec.state != MOUNT_DELETED ||
				mt->rec.ended_wall_ns >= m->recovery_wall_ns))
			forget_name(m, &mt->rec);
	}
}

/* A bind mount that somebody took away while no process was there. */
static void bind_missing(struct mounts *m)
{
	list_for_each (it, &m->all) {
		struct mount *mt = list_entry(it, struct mount, link);
		struct err e = {0};

		if (!mt->attached || !mt->host->adopted || !mt->rec.mountpoint || mt->bound)
			continue;
		if (sess_bind(mt->host->session, mt->rec.job_id, mt->rec.mountpoint,
			    mt->rec.read_only, &e) < 0)
			log_error("mountpoint_not_bound", LOG_S("mount_id", mt->rec.mount_id),
				LOG_S("message", err_message(&e)));
		else
			mt->bound = true;
	}
}

static void add_stats(struct mounts *m, struct ovl_ws_stats *sum)
{
	list_for_each (it, &m->all) {
		const struct mount *mt = list_entry(it, struct mount, link);
		struct ovl_ws_stats stats;

		if (!mt->attached || !mt->host->adopted)
			continue;
		ovl_ws_stats(mt->ws, &stats);
		sum->revived += stats.revived;
		sum->resolved += stats.resolved;
	}
}

/* The journal has said until here that the mount is switched, so that one who comes after another
 * kill tells the kernel again. */
static void journal_told(struct mounts *m, const struct mount *mt)
{
	int r = mount_journal_put(m->journal, &mt->rec, 0);

	if (r < 0) /* told once more by the next start */
		log_error("switch_not_journaled", LOG_S("mount_id", mt->rec.mount_id), LOG_E(r));
}

/* What the kernel has not heard of a switch that was cut short. */
static void tell_switch(struct mounts *m, struct mount *mt)
{
	bool untold = mt->to_tell.notice_count || mt->plan_done;
	int r = 0;

	if (mt->attached && mt->to_tell.notice_count)
		r = sess_tell(mt->host->session, &mt->to_tell,
			clock_after(m->config.clock, TELL_WAIT_NS));
	if (mt->plan_done && (r == 0 || r == -ETIMEDOUT)) /* beyond that it goes on */
		wf_plan_told(mt);
	if (untold && r != -ETIMEDOUT) /* any other error: no kernel remembers */
		journal_told(m, mt);
	mt->plan_done = false;
	ovl_switched_fini(&mt->to_tell);
}

static void tell_switches(struct mounts *m)
{
	list_for_each (it, &m->all)
		tell_switch(m, list_entry(it, struct mount, link));
}

static unsigned serve_all(struct mounts *m)
{
	unsigned served = 0;

	list_for_each (it, &m->hosts) {
		struct mount_host *host = list_entry(it, struct mount_host, link);
		int r;

		if (!host->adopted)
			continue;
		r = sess_serve(host->session);
		if (r < 0) /* it has ended; the reaper opens it again */
			log_warn("session_not_adopted", LOG_S("tenant", host->tenant), LOG_E(r));
		else
			served++;
	}
	return served;
}

static void tell(struct mounts *m, const struct ovl_ws_stats *sum, unsigned served)
{
	uint64_t took_ns = clock_mono_ns(m->config.clock) - m->recovery_ns;

	counter_add(m->metrics.adopted_sessions, served);
	counter_add(m->metrics.revived_nodes, sum->revived);
	counter_add(m->metrics.resolved_intents, sum->resolved);
	histogram_observe(m->metrics.takeover_time, took_ns);
	log_info("taken_over", LOG_U("sessions", served), LOG_U("nodes", sum->revived),
		LOG_U("intents", sum->resolved), LOG_U("ms", took_ns / NS_PER_MS));
}

void mount_adopt_serve(struct mounts *m, const struct mount_record *records, unsigned count)
{
	struct ovl_ws_stats sum = {0};
	unsigned served;
	int r;

	add_stats(m, &sum);
	served = serve_all(m);
	r = sess_settle(m->config.farm);
	if (r < 0)
		log_error("keeper_not_settled", LOG_E(r)); /* it does it by itself after a minute */
	if (served)
		tell(m, &sum, served);
	tell_switches(m);
	if (served) {
		forget_names(m, records, count);
		bind_missing(m);
	}
	list_for_each (it, &m->hosts)
		list_entry(it, struct mount_host, link)->adopted = false;
}
