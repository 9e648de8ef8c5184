/* SPDX-License-Identifier: Apache-2.0 */
/* See mount_host.h. Opening and closing happen without the lock; the state keeps others away
 * meanwhile. */
#include "mount_host.h"

#include "mounts_internal.h"

#include <base/cleanup.h>
#include <base/clock.h>
#include <base/log.h>
#include <errno.h>
#include <fuse/session.h>
#include <service/config.h>
#include <service/tenants.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct mount_host *find_locked(struct mounts *m, const char *tenant)
{
	list_for_each (it, &m->hosts) {
		struct mount_host *host = list_entry(it, struct mount_host, link);

		if (strcmp(host->tenant, tenant) == 0)
			return host;
	}
	return NULL;
}

static int open_session(struct mounts *m, struct mount_host *host, struct err *e)
{
	const struct tenant *tn = tenants_find(m->config.tenants, host->tenant);
	struct ovl_config overlay = {.tenant = host->tenant,
		.is_private = tn && tenant_private(tn),
		.nodes_max = m->config.cfg->cache_nodes,
		.clock = m->config.clock,
		.metrics = m->config.metrics};
	_cleanup_free_ char *mountpoint = NULL;
	_cleanup_free_ char *state_dir = NULL;
	struct sess_config config;
	int err;

	if (asprintf(&mountpoint, "%s/mnt/%s", m->config.cfg->run_dir, host->tenant) < 0)
		mountpoint = NULL;
	if (asprintf(&state_dir, "%s/sessions/%s", m->config.cfg->run_dir, host->tenant) < 0)
		state_dir = NULL;
	err = mountpoint && state_dir ? ovl_new(&host->overlay, &overlay) : -ENOMEM;
	if (err)
		return err_set(e, err, "", "cannot make the overlay of tenant %s: %s", host->tenant,
			strerror(-err));
	config = (struct sess_config){.tenant = host->tenant,
		.mountpoint = mountpoint,
		.state_dir = state_dir,
		.overlay = host->overlay,
		.adopt = m->recovering};
	err = sess_open(m->config.farm, &host->session, &config, e);
	if (err) {
		host->overlay = ovl_free(host->overlay);
		return err_wrap(e, err, "cannot mount the file system of tenant %s", host->tenant);
	}
	return 0;
}

/* The host of this tenant, open and with one more user; NULL: none, the caller may open one. */
static int wait_for_host_locked(
	struct mounts *m, const char *tenant, uint64_t deadline_ns, struct mount_host **ret_host)
{
	struct mount_host *host;

	while ((host = find_locked(m, tenant)) && (host->state != HOST_OPEN || host->dead))
		if (!cond_wait_until(&m->hosts_changed, &m->mu, deadline_ns))
			return -ETIMEDOUT;
	if (host)
		host->users++;
	*ret_host = host;
	return 0;
}

static void forget_locked(struct mounts *m, struct mount_host *host)
{
	list_remove(&host->link);
	free(host);
	cond_broadcast(&m->hosts_changed);
}

int mount_host_acquire(struct mounts *m, struct tenant *tn, uint64_t deadline_ns,
	struct mount_host **ret_host, struct err *e)
{
	struct mount_host *host = NULL;
	int err;

	lock_acquire(&m->mu);
	err = wait_for_host_locked(m, tenant_name(tn), deadline_ns, &host);
	if (!err && !host) {
		host = calloc(1, sizeof(*host));
		if (host) {
			host->tenant = tenant_name(tn);
			host->users = 1;
			list_push_back(&m->hosts, &host->link);
		} else {
			err = -ENOMEM;
		}
	}
	lock_release(&m->mu);
	if (err)
		return err_set(e, err, "", "the file system of tenant %s: %s", tenant_name(tn),
			strerror(-err));
	if (host->state == HOST_OPEN) { /* ours now: it cannot close while we use it */
		*ret_host = host;
		return 0;
	}
	err = open_session(m, host, e);
	lock_acquire(&m->mu);
	if (err) {
		forget_locked(m, host);
	} else {
		host->adopted = sess_adopted(host->session);
		host->state = HOST_OPEN;
		cond_broadcast(&m->hosts_changed);
		*ret_host = host;
	}
	lock_release(&m->mu);
	return err;
}

struct mount_host *mount_host_find(struct mounts *m, const char *tenant)
{
	struct mount_host *host;

	LOCK_GUARD(&m->mu);
	host = find_locked(m, tenant);
	return host && host->state == HOST_OPEN && !host->dead ? host : NULL;
}

void mount_host_release(struct mounts *m, struct mount_host *host)
{
	LOCK_GUARD(&m->mu);
	host->users--;
	host->idle_since_ns = clock_mono_ns(m->config.clock);
}

bool mount_hosts_find_dead_locked(struct mounts *m)
{
	bool found = false;

	list_for_each (it, &m->hosts) {
		struct mount_host *host = list_entry(it, struct mount_host, link);

		if (host->state != HOST_OPEN || sess_alive(host->session))
			continue;
		host->dead = true;
		found = true;
	}
	return found;
}

static struct mount_host *take_idle_locked(struct mounts *m, bool all)
{
	uint64_t now = clock_mono_ns(m->config.clock);

	list_for_each (it, &m->hosts) {
		struct mount_host *host = list_entry(it, struct mount_host, link);

		if (host->state != HOST_OPEN || host->users)
			continue;
		if (!all && !host->dead && now - host->idle_since_ns < HOST_IDLE_NS)
			continue;
		host->state = HOST_CLOSING;
		return host;
	}
	return NULL;
}

void mount_hosts_close(struct mounts *m, bool all)
{
	struct mount_host *host;
	struct sess_stats stats;

	lock_acquire(&m->mu);
	while ((host = take_idle_locked(m, all))) {
		lock_release(&m->mu);
		sess_stats(host->session, &stats);
		host->session = sess_close(host->session);
		host->overlay = ovl_free(host->overlay);
		log_debug("session_closed", LOG_S("tenant", host->tenant));
		lock_acquire(&m->mu);
		for (unsigned i = 0; i < 64; i++)
			m->closed_fuse_counts[i] += stats.requests[i];
		forget_locked(m, host);
	}
	lock_release(&m->mu);
}
