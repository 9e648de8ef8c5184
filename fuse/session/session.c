/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One FUSE connection: how it begins and how it ends.
 *
 *	STARTING ──INIT reply──► RUNNING ──ENODEV──► ENDED
 *	    └──────failure─────► FAILED
 *
 * Beginning: the place is cleared and mounted (session_mount.c), workers begin to read, INIT is
 * answered and saved.
 *
 * The end (sess_close) has an order that cannot be changed: refuse new requests; answer the parked
 * ones, or the kernel never reports the end; detach the mount; wait for the kernel's ENODEV; else
 * abort the connection (open files and other mount namespaces make that the normal way); stop
 * reading; wait until no thread uses the session; destroy, which closes the descriptor and thereby
 * ends whatever was left.
 *
 * Threads: sess_open and sess_close on the caller's, never on a worker; sess_ended and sess_started
 * on workers.
 */
#include "session/park.h"
#include "session/session_internal.h"
#include "session/slots.h"

#include <base/cleanup.h>
#include <base/clock.h>
#include <base/err.h>
#include <base/io.h>
#include <base/path.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define INIT_WAIT_NS      (5 * NS_PER_S)
#define ANSWER_WAIT_NS    (5 * NS_PER_S)
#define END_WAIT_NS       (150 * NS_PER_MS)
#define ABORT_WAIT_NS     (1 * NS_PER_S)
#define USERS_WAIT_NS     (30 * NS_PER_S)
#define SHUTDOWN_EVERY_NS (50 * NS_PER_MS)

void sess_ended(struct session *s)
{
	LOCK_GUARD(&s->lock);
	if (s->life == SESS_STARTING) {
		s->life = SESS_FAILED;
		s->failure = -ENODEV;
	} else if (s->life == SESS_RUNNING) {
		s->life = SESS_ENDED;
	}
	cond_broadcast(&s->changed);
}

void sess_started(struct session *s, int result)
{
	LOCK_GUARD(&s->lock);
	if (s->life != SESS_STARTING)
		return;
	s->life = result < 0 ? SESS_FAILED : SESS_RUNNING;
	s->failure = result;
	cond_broadcast(&s->changed);
}

bool sess_alive(struct session *s)
{
	LOCK_GUARD(&s->lock);
	return s->life == SESS_RUNNING;
}

/* ---- open ---- */

static struct session *session_free(struct session *s)
{
	if (!s)
		return NULL;
	if (s->se)
		fuse_session_destroy(s->se); /* closes the descriptor */
	if (s->state_fd >= 0)
		(void)close(s->state_fd); /* a directory */
	sess_init_forget(s);
	free(s->agreed);
	cond_fini(&s->changed);
	lock_fini(&s->lock);
	free(s->tenant);
	free(s->mountpoint);
	free(s->state_dir);
	free(s);
	return NULL;
}

static int session_new(
	struct session **ret_session, struct sess_farm *farm, const struct sess_config *config)
{
	char *argv[] = {(char *)"coppice", NULL};
	struct fuse_args args = FUSE_ARGS_INIT(1, argv);
	struct session *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->farm = farm;
	s->overlay = config->overlay;
	s->adopt = config->adopt;
	s->state_fd = -1;
	lock_init(&s->lock, LOCK_RANK_SESSION);
	cond_init(&s->changed);
	list_init(&s->in_farm);
	list_init(&s->parked);
	s->tenant = strdup(config->tenant);
	s->mountpoint = strdup(config->mountpoint);
	s->state_dir = strdup(config->state_dir);
	/* Fails for want of memory, or of a pthread key: a process has about a thousand. */
	s->se = fuse_session_new(&args, &sess_ops, sizeof(sess_ops), s);
	fuse_opt_free_args(&args);
	if (!s->tenant || !s->mountpoint || !s->state_dir || !s->se) {
		(void)session_free(s); /* returns NULL always */
		return -ENOMEM;
	}
	*ret_session = s;
	return 0;
}

static int open_state_dir(struct session *s, struct err *e)
{
	int r = io_mkdirs(s->state_dir, 0700);

	if (r < 0)
		return err_wrap(e, r, "create %s", s->state_dir);
	s->state_fd = open(s->state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return s->state_fd < 0 ? err_wrap(e, -errno, "open %s", s->state_dir) : 0;
}

static int wait_for_init(struct session *s, struct err *e)
{
	uint64_t deadline_ns = clock_after(&clock_system, INIT_WAIT_NS);

	LOCK_GUARD(&s->lock);
	while (s->life == SESS_STARTING)
		if (!cond_wait_until(&s->changed, &s->lock, deadline_ns) &&
			s->life == SESS_STARTING)
			return err_set(e, -ETIMEDOUT, NULL, "the kernel did not start the mount %s",
				s->mountpoint);
	if (s->life == SESS_RUNNING)
		return 0;
	return err_set(e, s->failure < 0 ? s->failure : -EIO, NULL,
		"the mount %s failed to start: %s", s->mountpoint,
		strerror(s->failure < 0 ? -s->failure : EIO));
}

/* The session must be torn down by sess_close whatever comes next: it has a descriptor and a slot.
 */
static int attach(struct session *s, int fd, struct err *e)
{
	int r = fuse_session_custom_io(s->se, &sess_custom_io, fd);

	if (r < 0) {
		(void)close(fd); /* nothing was exchanged yet */
		return err_wrap(e, r, "use /dev/fuse");
	}
	s->attached = true;
	r = slots_claim(s->farm->slots, s, &s->key);
	if (r < 0)
		return err_set(e, r, NULL,
			"too many tenants are mounted: at most %u in one process", SLOTS_MAX);
	s->has_slot = true;
	r = sess_workers_watch(s->farm, fd, s->key);
	return r < 0 ? err_wrap(e, r, "watch /dev/fuse") : 0;
}

/* Before the kernel lets go of cached pages it writes the changed ones back, and waits for that.
 * -ENOENT: it has no such inode, so no pages. Called on the overlay's threads for digests, which
 * serve nothing else. */
static void flush_pages(void *arg, uint64_t id)
{
	struct session *s = arg;

	(void)fuse_lowlevel_notify_inval_inode(s->se, id, 0, 0);
}

/* A new connection. */
static int begin(struct session *s, struct err *e)
{
	int fd = -1, r = sess_mount(s, &fd, e);

	if (r < 0)
		return r;
	s->mounted = true;
	return attach(s, fd, e);
}

static int start(struct session *s, struct err *e)
{
	int r = open_state_dir(s, e);

	if (r < 0)
		return r;
	r = s->adopt ? sess_adopt(s, e) : begin(s, e);
	if (r == 0)
		r = wait_for_init(s, e);
	if (r < 0)
		return r;
	sess_mount_tune(s);
	(void)ovl_set_flush(s->overlay, flush_pages, s, 0); /* waits only when taken away */
	return 0;
}

static int open_one(struct sess_farm *farm, struct session **ret_session,
	const struct sess_config *config, struct err *e)
{
	struct session *s;
	int r = session_new(&s, farm, config);

	if (r < 0)
		return err_wrap(e, r, "open a FUSE session for %s", config->tenant);
	lock_acquire(&farm->lock);
	list_push_back(&farm->sessions, &s->in_farm);
	lock_release(&farm->lock);
	r = start(s, e);
	if (r < 0) {
		(void)sess_close(s); /* returns NULL always */
		return err_wrap(e, r, "open a FUSE session for %s", config->tenant);
	}
	*ret_session = s;
	return 0;
}

int sess_open(struct sess_farm *farm, struct session **ret_session,
	const struct sess_config *config, struct err *e)
{
	struct sess_config fresh = *config;

	if (!path_ident_ok(config->tenant, 63))
		return err_field(e, "tenant", "\"%s\" is not a tenant's name", config->tenant);
	if (config->mountpoint[0] != '/')
		return err_field(
			e, "mountpoint", "\"%s\" is not an absolute path", config->mountpoint);
	fresh.adopt = false;
	/* Why not is of no interest: there is nothing to adopt, or it cannot be. */
	if (config->adopt && farm->mounter->adopt && open_one(farm, ret_session, config, NULL) == 0)
		return 0;
	return open_one(farm, ret_session, &fresh, e);
}

/* ---- close ---- */

/* A worker may be about to park one more: ask again until none is left. */
static void answer_parked(struct session *s)
{
	uint64_t end = clock_after(&clock_system, ANSWER_WAIT_NS);

	do
		park_shutdown(s->farm->park, s);
	while (!park_wait_empty(s->farm->park, s, clock_after(&clock_system, SHUTDOWN_EVERY_NS)) &&
		clock_mono_ns(&clock_system) < end);
}

static bool wait_for_end(struct session *s, uint64_t wait_ns)
{
	uint64_t deadline_ns = clock_after(&clock_system, wait_ns);

	LOCK_GUARD(&s->lock);
	while (s->life == SESS_RUNNING || s->life == SESS_STARTING)
		if (!cond_wait_until(&s->changed, &s->lock, deadline_ns))
			return s->life == SESS_ENDED || s->life == SESS_FAILED;
	return true;
}

/* Nobody may use the session after this. False: somebody still does. */
static bool detach(struct session *s)
{
	uint64_t deadline_ns = clock_after(&clock_system, USERS_WAIT_NS);

	if (s->attached)
		sess_workers_unwatch(s->farm, fuse_session_fd(s->se));
	if (s->has_slot && !slots_retire(s->farm->slots, s->key, deadline_ns))
		return false;
	if (s->attached && ovl_set_flush(s->overlay, NULL, NULL, deadline_ns) < 0)
		return false;
	park_shutdown(s->farm->park, s);
	return park_wait_empty(s->farm->park, s, deadline_ns);
}

static void remove_state(struct session *s)
{
	if (s->state_fd < 0)
		return;
	/* The connection is over: its INIT must not be found by a successor. Leftovers are
	 * overwritten by the next start. */
	(void)unlinkat(s->state_fd, "init", 0);
	(void)rmdir(s->state_dir);
}

struct session *sess_close(struct session *s)
{
	struct sess_farm *farm;

	if (!s)
		return NULL;
	farm = s->farm;
	atomic_store_explicit(&s->draining, true, memory_order_relaxed); /* see op_submit */
	answer_parked(s);
	if (s->mounted)
		sess_unmount(s);
	/* A file that is open somewhere keeps the connection: it does not end by waiting longer. */
	if (s->attached && !wait_for_end(s, END_WAIT_NS) && sess_mount_abort(s))
		(void)wait_for_end(
			s, ABORT_WAIT_NS); /* else closing the descriptor below ends it */
	lock_acquire(&farm->lock);
	list_remove(&s->in_farm);
	lock_release(&farm->lock);
	remove_state(s);
	if (!detach(s)) {
		counter_add(
			farm->m.leaked, 1); /* a thread is stuck in it: freeing would be worse */
		return NULL;
	}
	return session_free(s);
}

/* ---- statistics ---- */

void sess_stats(struct session *s, struct sess_stats *ret_stats)
{
	struct sess_stats st = {
		.replies = sess_counted(&s->replies),
		.reply_lost = sess_counted(&s->reply_lost),
		.parked_now = park_count(s->farm->park, s),
		.parked_total = sess_counted(&s->parked_total),
		.interrupted = sess_counted(&s->interrupted),
		.timed_out = sess_counted(&s->timed_out),
		.worker_busy_ns = sess_counted(&s->busy_ns),
		.spurious = sess_counted(&s->spurious),
	};

	for (unsigned i = 0; i < SESS_OPCODES; i++)
		st.requests[i] = sess_counted(&s->requests[i]);
	for (unsigned i = 0; i < SESS_ERRNOS; i++)
		st.errors[i] = sess_counted(&s->errors[i]);
	*ret_stats = st;
}

uint64_t sess_replies(struct session *s)
{
	return sess_counted(&s->replies);
}
