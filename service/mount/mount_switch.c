/* SPDX-License-Identifier: Apache-2.0 */
/* See mount_switch.h. Runs on the caller's thread; blocks on the local disk and on the origin. */
#include "mount_switch.h"

#include "mount_change_list.h"
#include "mount_host.h"
#include "mount_use.h"
#include "mounts_internal.h"
#include "workflow/plan.h"
#include "workflow/state.h"

#include <base/cancel.h>
#include <base/cleanup.h>
#include <base/clock.h>
#include <base/log.h>
#include <base/path.h>
#include <errno.h>
#include <fuse/session.h>
#include <fuse/switch.h>
#include <service/origins.h>
#include <stdlib.h>
#include <storage/storage.h>
#include <string.h>

#define FETCHES_MAX  64 /* trees asked for at once */
#define ROUNDS_MAX   4096
#define SLICE_NS     (100 * NS_PER_MS) /* how soon a waiter sees that it was cancelled */
#define GATE_WAIT_NS (30 * NS_PER_S)   /* for a moment without requests */
#define TELL_WAIT_NS (60 * NS_PER_S)

/* ---- claiming ---- */

static int claim(struct mount *mt, const struct mount_use *use, struct err *e)
{
	struct mounts *m = mt->registry;

	LOCK_GUARD(&m->mu);
	while (mt->busy) {
		int r = cancel_check(use->cancel, use->deadline_ns);

		if (r < 0)
			return err_set(e, r, "",
				"mount %s is being worked on, and that took too long",
				mt->rec.mount_id);
		(void)cond_wait_until(&mt->changed, &m->mu, clock_after(&clock_system, SLICE_NS));
	}
	if (mt->rec.state != MOUNT_READY || mt->closing)
		return err_set(e, -EBUSY, "NOT_READY", "mount %s is %s", mt->rec.mount_id,
			mount_state_name(mt->rec.state));
	mt->busy = true;
	return 0;
}

int mount_switch_begin(struct mount_switch *sw, struct mount_use *use, struct err *e)
{
	struct mount *mt = use->mount;
	const struct mounts_config *c = &mt->registry->config;
	int err;

	*sw = (struct mount_switch){.use = use};
	err = mount_use_alone(use, e);
	if (!err)
		err = claim(mt, use, e);
	if (err)
		return err;
	sw->mt = mt;
	err = origins_get(c->storage, c->cfg, c->metrics, mt->rec.origin, &sw->origin, e);
	if (!err) {
		err = mount_record_copy(&mt->rec, &sw->next);
		if (err)
			(void)err_set(e, err, "", "no memory");
	}
	if (err)
		mount_switch_end(sw);
	return err;
}

void mount_switch_end(struct mount_switch *sw)
{
	mount_record_fini(&sw->next);
	origin_unref(sw->origin);
	sw->origin = NULL;
	if (sw->mt)
		mount_release(sw->mt);
	sw->mt = NULL;
}

/* ---- what is to be shown ---- */

int mount_switch_resolve(struct mount_switch *sw, const char *revision,
	const struct mount_change_source *source, struct err *e)
{
	struct mount_record *next = &sw->next;
	const struct mount_change_call call = {
		.origin = sw->origin, .source = source, .deadline_ns = sw->use->deadline_ns};
	char commit[OID_HEX_MAX];

	if (!revision)
		revision = oid_hex(&next->commit, commit);
	return mount_root_resolve(sw->mt, &call, revision, next, e);
}

/* ---- trees that are needed ---- */

struct fetching {
	struct lock lock; /* LOCK_RANK_LEAF: all below */
	struct cond ended;
	unsigned running;
	int error; /* the first */
};

static void fetched(void *arg, int result)
{
	struct fetching *f = arg;

	LOCK_GUARD(&f->lock);
	f->running--;
	if (result < 0 && !f->error)
		f->error = result;
	cond_broadcast(&f->ended);
}

static void wait_below(struct fetching *f, unsigned count)
{
	LOCK_GUARD(&f->lock);
	while (f->running >= count)
		cond_wait(&f->ended, &f->lock); /* each fetch has the deadline */
}

static int fetch_one(
	struct fetching *f, struct ovl_ws *ws, const struct oid *tree, uint64_t deadline_ns)
{
	int r;

	wait_below(f, FETCHES_MAX);
	lock_acquire(&f->lock);
	f->running++;
	lock_release(&f->lock);
	r = ovl_switch_fetch(ws, tree, deadline_ns, fetched, f);
	if (r < 0) {
		lock_acquire(&f->lock);
		f->running--;
		lock_release(&f->lock);
	}
	if (r == -EAGAIN) { /* the queue is full: not with ours alone */
		wait_below(f, 1);
		r = 0;
	}
	return r;
}

/* Those that could not be asked for are missing in the next round again. */
static int fetch_missing(struct ovl_ws *ws, const struct ovl_switched *s, uint64_t deadline_ns)
{
	struct fetching f = {.running = 0};
	int r = 0;

	lock_init(&f.lock, LOCK_RANK_LEAF);
	cond_init(&f.ended);
	for (size_t i = 0; i < s->missing_count && r == 0; i++)
		r = fetch_one(&f, ws, &s->missing[i], deadline_ns);
	wait_below(&f, 1);
	if (r == 0)
		r = f.error;
	cond_fini(&f.ended);
	lock_fini(&f.lock);
	return r;
}

/* ---- the overlay's part ---- */

struct turn {
	struct mount *mt;
	struct ovl_switch_config config;
	const struct oid *recall; /* see ovl_switch_recall; NULL: switch */
	struct cancel *cancel;
	uint64_t deadline_ns;
};

static int try_once(const struct turn *t, struct ovl_switched *done)
{
	struct overlay *o = t->mt->host->overlay;

	return t->recall ? ovl_switch_recall(o, &t->config, t->recall, done)
			 : ovl_switch(o, &t->config, done);
}

/* Until no tree is missing any more. `done` is to be ended by the caller, whatever the answer. */
static int turn(struct turn *t, struct ovl_switched *done)
{
	unsigned rounds = 0;
	int r;

	for (;;) {
		t->config.deadline_ns = clock_after(&clock_system, GATE_WAIT_NS);
		r = try_once(t, done);
		if (r != -EAGAIN)
			return r;
		r = cancel_check(t->cancel, t->deadline_ns);
		if (r == 0)
			r = fetch_missing(t->mt->ws, done, t->deadline_ns);
		if (r == 0 && ++rounds == ROUNDS_MAX)
			r = -ELOOP;
		if (r < 0)
			return r;
		ovl_switched_fini(done);
	}
}

static int failed(const struct mount *mt, int r, struct err *e)
{
	if (r == -EBUSY)
		return err_set(e, -ETIMEDOUT, "WORKSPACE_BUSY",
			"the workspace never paused for the moment that a switch takes; try again");
	if (r == -ENOSPC)
		return err_set(e, r, "DISK_FULL", "no room on the disk of %s",
			mt->registry->workspaces_dir);
	if (r == -EIO || r == -EHOSTUNREACH)
		return err_set(e, -EHOSTUNREACH, "ORIGIN_UNAVAILABLE",
			"origin %s cannot be read: %s", mt->rec.origin, strerror(-r));
	return err_set(e, r, "", "cannot switch the workspace: %s", strerror(-r));
}

/* Everything that can take long, before the mount is said to be QUIESCING. */
static int rehearse(struct mount_switch *sw, struct err *e)
{
	struct turn t = {.mt = sw->mt,
		.config = {.ws = sw->mt->ws, .root = &sw->next.root, .rehearsal = true},
		.cancel = sw->use->cancel,
		.deadline_ns = sw->use->deadline_ns};
	struct ovl_switched done;
	int r = turn(&t, &done);

	ovl_switched_fini(&done);
	return r < 0 ? failed(sw->mt, r, e) : 0;
}

static void tell_kernel(struct mount *mt, struct ovl_switched *done)
{
	size_t notices = done->notice_count;
	int r = sess_tell(mt->host->session, done, clock_after(&clock_system, TELL_WAIT_NS));

	if (r < 0) /* -ETIMEDOUT: it goes on; -ESHUTDOWN: nothing is cached any more */
		log_warn("switch_told_late", LOG_S("mount_id", mt->rec.mount_id),
			LOG_U("notices", notices), LOG_E(r));
}

static int workspace_dir(const struct mount *mt, char **ret_dir)
{
	*ret_dir = path_join(mt->registry->workspaces_dir, mt->rec.mount_id);
	return *ret_dir ? 0 : -ENOMEM;
}

/* ---- the record ---- */

static int enter_quiescing(struct mount_switch *sw, struct err *e)
{
	struct mount_record next;
	int err = mount_record_copy(&sw->next, &next);

	if (err)
		return err_set(e, err, "", "no memory");
	next.state = MOUNT_QUIESCING;
	next.switching_from = sw->mt->rec.root;
	/* what was changed meanwhile by nobody: the mount is claimed */
	err = mount_commit(sw->mt, &next, 0, MOUNT_EVENT_CHANGED, e);
	mount_record_fini(&next);
	return err;
}

/* It is shown already. If that cannot be written, the mount is READY all the same, and a next start
 * that finds it QUIESCING comes to this very record. */
static int leave_quiescing(struct mount *mt, struct err *e)
{
	struct mount_record next;
	struct err why = {0};
	int err = mount_record_copy(&mt->rec, &next);

	if (err)
		return err_set(e, err, "", "no memory");
	next.state = MOUNT_READY;
	next.switching_from = (struct oid){0};
	next.generation++;
	err = mount_commit(mt, &next, 0, MOUNT_EVENT_CHANGED, &why);
	if (err) {
		log_error("switch_not_journaled", LOG_S("mount_id", mt->rec.mount_id),
			LOG_S("message", err_message(&why)));
		LOCK_GUARD(&mt->registry->mu);
		mount_put_locked(mt, &next, MOUNT_EVENT_CHANGED);
	}
	mount_record_fini(&next);
	return 0;
}

/* As it was; takes `old`. If not even that can be written the next start goes forward. */
static void go_back(struct mount *mt, struct mount_record *old)
{
	struct err e = {0};
	int err = mount_commit(mt, old, 0, MOUNT_EVENT_CHANGED, &e);

	if (err)
		log_error("switch_not_taken_back", LOG_S("mount_id", mt->rec.mount_id),
			LOG_S("message", err_message(&e)));
}

static bool is_same_text(const char *a, const char *b)
{
	return strcmp(a ? a : "", b ? b : "") == 0;
}

static bool is_same(const struct mount_record *a, const struct mount_record *b)
{
	return oid_equal(&a->root, &b->root) && oid_equal(&a->commit, &b->commit) &&
	       strcmp(a->revision, b->revision) == 0 && a->change_kind == b->change_kind &&
	       is_same_text(a->change_text, b->change_text) &&
	       is_same_text(a->change_path, b->change_path) &&
	       oid_equal(&a->change_from, &b->change_from) &&
	       oid_equal(&a->change_to, &b->change_to);
}

static int act(struct mount_switch *sw, struct err *e)
{
	struct mount *mt = sw->mt;
	struct turn t = {.mt = mt,
		.config = {.ws = mt->ws,
			.root = &sw->next.root,
			.time_ns = clock_wall_ns(mt->registry->config.clock),
			.drop = sw->drop,
			.arg = sw->arg},
		.deadline_ns = sw->use->deadline_ns};
	struct ovl_switched done;
	int r = turn(&t, &done);

	if (r == 0) {
		sw->dropped = done.dropped;
		log_info("mount_switched", LOG_S("mount_id", mt->rec.mount_id),
			LOG_S("tenant", mt->rec.tenant), LOG_U("directories", done.directories),
			LOG_U("entries", done.entries), LOG_U("notices", done.notice_count),
			LOG_U("dropped", done.dropped), LOG_U("closed_us", done.closed_ns / 1000));
		tell_kernel(mt, &done);
	}
	ovl_switched_fini(&done);
	return r < 0 ? failed(mt, r, e) : 0;
}

static int go(struct mount_switch *sw, const char *dir, struct err *e)
{
	struct mount *mt = sw->mt;
	struct mount_record old;
	int err = mount_record_copy(&mt->rec, &old), more;

	if (err)
		return err_set(e, err, "", "no memory");
	err = enter_quiescing(sw, e);
	if (!err) {
		err = act(sw, e);
		if (err)
			go_back(mt, &old);
	}
	mount_record_fini(&old);
	if (err)
		return err;
	err = wf_state_take_next(dir);
	if (err)
		log_error("workflow_state_lost", LOG_S("mount_id", mt->rec.mount_id), LOG_E(err));
	sw->made = true;
	more = sw->shown ? sw->shown(sw->shown_arg, e) : 0;
	err = leave_quiescing(mt, e);
	return more < 0 ? more : err;
}

int mount_switch_go(struct mount_switch *sw, struct err *e)
{
	struct mounts *m = sw->mt->registry;
	_cleanup_free_ char *dir = NULL;
	uint64_t begun_ns = clock_mono_ns(m->config.clock);
	int err;

	sw->unchanged = is_same(&sw->mt->rec, &sw->next);
	err = workspace_dir(sw->mt, &dir);
	if (err)
		return err_set(e, err, "", "no memory");
	if (sw->unchanged) {
		wf_state_drop_next(dir);
		return 0;
	}
	err = rehearse(sw, e);
	if (!err)
		err = go(sw, dir, e);
	if (err) {
		wf_state_drop_next(dir);
		counter_add(m->metrics.switch_failed, 1);
		return err;
	}
	counter_add(m->metrics.switched, 1);
	histogram_observe(m->metrics.switch_time, clock_mono_ns(m->config.clock) - begun_ns);
	return 0;
}

/* ---- after a kill ---- */

static int resume(struct mount *mt, const char *dir, struct turn *t, struct err *e)
{
	const struct oid shown = ovl_ws_root_tree(mt->ws);
	struct ovl_switched done = {0};
	int r = 0;

	if (oid_equal(&shown, &mt->rec.root))
		t->recall = &mt->rec.switching_from;
	if (!t->recall || mt->host->adopted) /* else no kernel remembers */
		r = turn(t, &done);
	if (r == 0 && mt->host->adopted) /* told when its requests are served again */
		mt->to_tell = done;
	else
		ovl_switched_fini(&done);
	if (r == 0)
		r = wf_state_take_next(dir);
	return r < 0 ? failed(mt, r, e) : 0;
}

int mount_switch_resume(struct mount *mt, uint64_t deadline_ns, struct err *e)
{
	struct wf_plan plan;
	struct turn t = {.mt = mt,
		.config = {.ws = mt->ws,
			.root = &mt->rec.root,
			.time_ns = clock_wall_ns(mt->registry->config.clock),
			.drop = wf_plan_leaves,
			.arg = &plan},
		.deadline_ns = deadline_ns};
	_cleanup_free_ char *dir = NULL;
	int r = workspace_dir(mt, &dir);

	if (r == 0)
		r = wf_plan_resume(dir, &mt->rec.root, &plan);
	if (r < 0)
		return failed(mt, r, e);
	r = resume(mt, dir, &t, e);
	if (r == 0) {
		log_info("mount_switch_resumed", LOG_S("mount_id", mt->rec.mount_id));
		(void)wf_plan_end(mt, &plan, deadline_ns); /* told; the next verb tries again */
	}
	wf_plan_fini(&plan);
	return r;
}
