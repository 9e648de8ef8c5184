/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Leases and housekeeping. One thread, the reaper, sleeps until the soonest deadline; what has run
 * out is deleted on the pool of deleters, so that one slow deletion does not hold up the others.
 * Every half minute it also forgets mounts that ended long ago, closes sessions that nobody uses,
 * gives memory back, and reserves numbers for events.
 *
 * The reaper blocks on local disk (journal, closing a session); it stops when told to, after what
 * it is doing.
 */
#include "mount_host.h"
#include "mounts_internal.h"
#include "trash.h"

#include <base/clock.h>
#include <base/log.h>
#include <base/pool.h>
#include <errno.h>
#include <pthread.h>
#include <service/config.h>
#include <string.h>

#define HOUSEKEEPING_NS   (30 * NS_PER_S)
#define RETRY_NS          (10 * NS_PER_S)
#define DELETE_CLAIM_NS   (60 * NS_PER_S)
#define SEQUENCE_LOW_MARK (UINT64_C(1) << 19)

uint64_t mount_lease_end(const struct mounts *m, uint32_t lease_seconds)
{
	return lease_seconds ? clock_wall_ns(m->config.clock) + lease_seconds * NS_PER_S : 0;
}

static void set_locked(struct mount *mt, uint64_t due_ns)
{
	struct mounts *m = mt->registry;

	lease_heap_set(&m->leases, &mt->lease, due_ns);
	if (lease_heap_first(&m->leases) == &mt->lease)
		cond_signal(&m->reaper_wake);
}

void mount_lease_arm_locked(struct mount *mt)
{
	const struct clock *clock = mt->registry->config.clock;
	const struct mount_record *r = &mt->rec;
	uint64_t now = clock_wall_ns(clock);

	if ((r->state == MOUNT_READY || r->state == MOUNT_QUIESCING) && r->lease_expires_wall_ns)
		set_locked(mt, clock_after(clock, r->lease_expires_wall_ns > now
							  ? r->lease_expires_wall_ns - now
							  : 0));
	else
		lease_heap_remove(&mt->registry->leases, &mt->lease);
}

void mount_retry_locked(struct mount *mt)
{
	set_locked(mt, clock_after(mt->registry->config.clock, RETRY_NS));
}

/* ---- what has run out ---- */

static int expire_claimed(struct mount *mt, struct err *e)
{
	char reason[96];
	int err;

	if (mt->rec.state == MOUNT_READY) {
		(void)snprintf(reason, sizeof(reason), "the lease of %u s was not renewed",
			mt->rec.lease_seconds);
		err = mount_move(mt, MOUNT_EXPIRED, reason, 0, e);
		if (err)
			return err;
		counter_add(mt->registry->metrics.expired, 1);
		log_info("lease_expired", LOG_S("mount_id", mt->rec.mount_id),
			LOG_S("tenant", mt->rec.tenant), LOG_S("job_id", mt->rec.job_id));
	}
	return mount_delete_claimed(mt, e);
}

/* Whether it is still to be deleted: it may have been renewed while this waited. */
static bool is_due_locked(const struct mount *mt)
{
	uint64_t now = clock_wall_ns(mt->registry->config.clock);

	switch (mt->rec.state) {
	case MOUNT_READY:
		return mt->rec.lease_expires_wall_ns && mt->rec.lease_expires_wall_ns <= now;
	case MOUNT_EXPIRED:
	case MOUNT_DELETING:
		return true;
	case MOUNT_FAILED:
		return !mt->rec.files_kept && mt->rec.ended_wall_ns + ENDED_KEPT_NS <= now;
	default:
		return false;
	}
}

/* On a deleter's thread, with a reference on the mount. */
static void expire(void *arg)
{
	struct mount *mt = arg;
	struct mounts *m = mt->registry;
	struct err e = {0};
	int err;

	LOCK_GUARD(&m->mu);
	err = mount_claim_locked(mt, clock_after(m->config.clock, DELETE_CLAIM_NS), &e);
	if (!err) {
		bool due = mt->known && is_due_locked(mt);

		lock_release(&m->mu);
		if (due)
			err = expire_claimed(mt, &e);
		lock_acquire(&m->mu);
		if (!due)
			mount_lease_arm_locked(mt);
		mount_release_locked(mt);
	}
	if (err) {
		log_error("mount_delete_failed", LOG_S("mount_id", mt->rec.mount_id),
			LOG_S("message", err_message(&e)));
		if (mt->known)
			mount_retry_locked(mt);
	}
	mount_unref_locked(mt);
}

static void submit_locked(struct mounts *m, struct mount *mt)
{
	mt->refs++;
	if (pool_submit(m->deleters, expire, mt, false)) {
		mount_unref_locked(mt);
		mount_retry_locked(mt); /* the queue is full: later */
	}
}

static void reap_locked(struct mounts *m)
{
	uint64_t now = clock_mono_ns(m->config.clock);
	struct lease_node *node;

	while ((node = lease_heap_pop_due(&m->leases, now)))
		submit_locked(m, container_of(node, struct mount, lease));
}

/* ---- housekeeping ---- */

/* The oldest DELETED mount that need not be remembered, claimed and with a reference; NULL: none.
 */
static struct mount *take_forgettable_locked(struct mounts *m)
{
	uint64_t now = clock_wall_ns(m->config.clock);

	list_for_each (it, &m->all) {
		struct mount *mt = list_entry(it, struct mount, link);

		if (!mt->known || mt->busy || mt->rec.state != MOUNT_DELETED)
			continue;
		if (mt->rec.ended_wall_ns + ENDED_KEPT_NS > now &&
			m->ended_count <= ENDED_KEPT_COUNT)
			continue;
		mt->busy = true;
		mt->refs++;
		return mt;
	}
	return NULL;
}

/* Failed creations go the way of all others. */
static void delete_failed_locked(struct mounts *m)
{
	list_for_each (it, &m->all) {
		struct mount *mt = list_entry(it, struct mount, link);

		if (mt->known && !mt->busy && mt->rec.state == MOUNT_FAILED && is_due_locked(mt))
			submit_locked(m, mt);
	}
}

static void forget_ended(struct mounts *m)
{
	struct mount *mt;
	int err = 0;

	lock_acquire(&m->mu);
	delete_failed_locked(m);
	while (!err && (mt = take_forgettable_locked(m))) {
		bool has_job = mt->has_job;

		lock_release(&m->mu);
		err = mount_journal_remove(m->journal, &mt->rec, has_job);
		lock_acquire(&m->mu);
		if (err)
			log_error(
				"journal_failed", LOG_S("mount_id", mt->rec.mount_id), LOG_E(err));
		else
			mount_unregister_locked(mt);
		mount_release_locked(mt);
		mount_unref_locked(mt);
	}
	lock_release(&m->mu);
}

void mount_keep_house(struct mounts *m)
{
	bool low;

	lock_acquire(&m->mu);
	low = m->sequence_end - m->watch.last < SEQUENCE_LOW_MARK;
	lock_release(&m->mu);
	if (low) {
		int err = mount_reserve_sequence(m);

		if (err)
			log_error("journal_failed", LOG_S("what", "numbers of events"), LOG_E(err));
	}
	forget_ended(m);
	mounts_revive(m);
	mount_hosts_close(m, false);
	mount_memory_give_back(m);
	trash_sweep(m->trash);
}

static uint64_t next_wake_locked(const struct mounts *m, uint64_t housekeeping_ns)
{
	const struct lease_node *first = lease_heap_first(&m->leases);

	return first && first->due_ns < housekeeping_ns ? first->due_ns : housekeeping_ns;
}

static void *reaper_main(void *arg)
{
	struct mounts *m = arg;
	uint64_t housekeeping_ns = clock_after(m->config.clock, HOUSEKEEPING_NS);

	lock_acquire(&m->mu);
	while (!m->reaper_stop) {
		reap_locked(m);
		if (m->revive_asked) {
			m->revive_asked = false;
			lock_release(&m->mu);
			mounts_revive(m);
			lock_acquire(&m->mu);
			continue;
		}
		if (clock_mono_ns(m->config.clock) >= housekeeping_ns) {
			lock_release(&m->mu);
			mount_keep_house(m);
			lock_acquire(&m->mu);
			housekeeping_ns = clock_after(m->config.clock, HOUSEKEEPING_NS);
			continue; /* time has passed: look again before sleeping */
		}
		(void)cond_wait_until(
			&m->reaper_wake, &m->mu, next_wake_locked(m, housekeeping_ns));
	}
	lock_release(&m->mu);
	return NULL;
}

int mount_reaper_start(struct mounts *m, struct err *e)
{
	int err = -pthread_create(&m->reaper, NULL, reaper_main, m);

	if (err)
		return err_set(e, err, "", "cannot start the reaper of leases: %s", strerror(-err));
	(void)pthread_setname_np(m->reaper, "lease-reaper"); /* only for people who look */
	m->reaper_running = true;
	return 0;
}

void mount_reaper_stop(struct mounts *m)
{
	if (!m->reaper_running)
		return;
	lock_acquire(&m->mu);
	m->reaper_stop = true;
	cond_signal(&m->reaper_wake);
	lock_release(&m->mu);
	(void)pthread_join(m->reaper, NULL); /* cannot fail: it is joinable and not us */
	m->reaper_running = false;
}
