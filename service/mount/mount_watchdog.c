/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hung work is seen. A thread looks every few seconds at what the kernel says of each session: how
 * many requests wait, and whether any was answered since the last look.
 *
 *	answered, or nothing waits ──► fine
 *	no answer for `stuck`      ──► stuck: a warning, a metric, an event of each of its mounts
 *	no answer for `abort`      ──► the connection is aborted: those who wait get errors, and the
 *	                               reaper opens the session again, with its mounts
 *
 * A request that waits for an origin has a deadline of a minute, so a session that only waits for
 * one is not stuck. A handler that does not come back (a disk that hangs) is told of too; nothing
 * can be done about it from here.
 *
 * The thread blocks on nothing that a session could hold up: /proc and fusectl only. It stops at
 * mounts_rest.
 */
#include "mount_host.h"
#include "mounts_internal.h"

#include <base/clock.h>
#include <base/log.h>
#include <errno.h>
#include <fuse/session.h>
#include <pthread.h>
#include <service/config.h>
#include <string.h>

#define LOOK_MAX_NS (5 * NS_PER_S)
#define LOOKS       4 /* in the time until stuck */
#define HANDLER_NS  (30 * NS_PER_S)

static uint64_t look_every_ns(const struct mounts *m)
{
	uint64_t ns = m->config.cfg->watchdog_stuck_ns / LOOKS;

	return ns < LOOK_MAX_NS ? ns : LOOK_MAX_NS;
}

static const char stuck[] = "its session answers nothing; a handler or the disk hangs",
		  ended[] = "its session answered nothing and was ended; it is opened again";

/* Who watches the mounts hears of it. */
static void set_trouble_locked(struct mounts *m, struct mount_host *host, const char *trouble)
{
	if (host->trouble == trouble)
		return;
	host->trouble = trouble;
	list_for_each (it, &m->all) {
		struct mount *mt = list_entry(it, struct mount, link);

		if (mt->attached && mt->host == host)
			mount_publish_locked(mt, MOUNT_EVENT_CHANGED);
	}
}

static void became_stuck_locked(
	struct mounts *m, struct mount_host *host, uint64_t waiting, uint64_t for_ns)
{
	set_trouble_locked(m, host, stuck);
	counter_add(m->metrics.stuck, 1);
	log_warn("session_stuck", LOG_S("tenant", host->tenant), LOG_U("waiting", waiting),
		LOG_U("seconds", for_ns / NS_PER_S));
}

/* The last step. The host is found dead at the next look of the reaper, which is called. */
static void end_it_locked(struct mounts *m, struct mount_host *host, uint64_t waiting)
{
	log_error("session_aborted", LOG_S("tenant", host->tenant), LOG_U("waiting", waiting));
	counter_add(m->metrics.aborted, 1);
	sess_abandon(host->session);
	set_trouble_locked(m, host, ended);
	m->revive_asked = true;
	cond_signal(&m->reaper_wake);
}

static void look_at_locked(struct mounts *m, struct mount_host *host)
{
	const struct cfg *cfg = m->config.cfg;
	uint64_t now = clock_mono_ns(m->config.clock), waiting = 0, replies, for_ns;

	replies = sess_replies(host->session);
	/* without fusectl nothing is known: nothing is done */
	if (sess_waiting(host->session, &waiting) < 0 || waiting == 0 ||
		replies != host->replies_seen || !host->quiet_since_ns) {
		if (host->trouble)
			log_info("session_moves", LOG_S("tenant", host->tenant));
		host->replies_seen = replies;
		host->quiet_since_ns = now;
		set_trouble_locked(m, host, NULL);
		return;
	}
	for_ns = now - host->quiet_since_ns;
	if (cfg->watchdog_abort_ns && for_ns >= cfg->watchdog_abort_ns)
		end_it_locked(m, host, waiting);
	else if (!host->trouble && for_ns >= cfg->watchdog_stuck_ns)
		became_stuck_locked(m, host, waiting, for_ns);
}

/* Ended by somebody else, through fusectl or by umount -f. */
static void was_ended_locked(struct mounts *m, const struct mount_host *host)
{
	log_warn("session_ended", LOG_S("tenant", host->tenant));
	m->revive_asked = true;
	cond_signal(&m->reaper_wake);
}

static void look_locked(struct mounts *m)
{
	uint64_t count = 0;

	list_for_each (it, &m->hosts) {
		struct mount_host *host = list_entry(it, struct mount_host, link);

		if (host->state != HOST_OPEN || host->dead || host->adopted)
			continue;
		if (!sess_alive(host->session)) {
			was_ended_locked(m, host);
			continue;
		}
		look_at_locked(m, host);
		count += host->trouble == stuck;
	}
	gauge_set(m->metrics.stuck_now, (int64_t)count);
}

/* A handler that is under way for long; told of once. */
static void look_at_handlers(struct mounts *m, bool *told)
{
	unsigned opcode = 0;
	uint64_t longest_ns = sess_longest_handler(m->config.farm, &opcode);
	const char *name = sess_opcode_name(opcode);

	if (longest_ns < HANDLER_NS) {
		*told = false;
		return;
	}
	if (!*told)
		log_warn("handler_stuck", LOG_S("operation", name ? name : "?"),
			LOG_U("seconds", longest_ns / NS_PER_S));
	*told = true;
}

static void *watchdog_main(void *arg)
{
	struct mounts *m = arg;
	bool told = false;

	LOCK_GUARD(&m->mu);
	while (!m->watchdog_stop) {
		if (cond_wait_until(&m->watchdog_wake, &m->mu,
			    clock_after(m->config.clock, look_every_ns(m))))
			continue; /* woken to stop */
		look_locked(m);
		look_at_handlers(m, &told);
	}
	return NULL;
}

int mount_watchdog_start(struct mounts *m, struct err *e)
{
	int err;

	if (!m->config.cfg->watchdog_stuck_ns)
		return 0; /* switched off */
	err = -pthread_create(&m->watchdog, NULL, watchdog_main, m);
	if (err)
		return err_set(e, err, "", "cannot start the watchdog: %s", strerror(-err));
	(void)pthread_setname_np(m->watchdog, "watchdog"); /* only for people who look */
	m->watchdog_running = true;
	return 0;
}

void mount_watchdog_stop(struct mounts *m)
{
	if (!m->watchdog_running)
		return;
	lock_acquire(&m->mu);
	m->watchdog_stop = true;
	cond_signal(&m->watchdog_wake);
	lock_release(&m->mu);
	(void)pthread_join(m->watchdog, NULL); /* cannot fail: it is joinable and not us */
	m->watchdog_running = false;
}
