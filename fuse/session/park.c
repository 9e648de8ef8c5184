/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The park. A record keeps the libfuse request and a private copy of everything the op pointed to.
 * Its state changes only under the park's lock, from WAITING to one of the four outcomes; whoever
 * makes that change queues the record for an answering thread, and everyone who comes later finds
 * it decided. Replies happen outside the lock.
 *
 * Any signal interrupts a request, but a call on a disk goes on unless its caller is being killed
 * (make's SIGCHLD must not make a stat fail). So an interrupted record whose caller lives waits on;
 * the kernel says it only once, so whether the caller dies later is looked up now and then.
 *
 * libfuse's rules for interrupts: the callback runs under the request's own lock, perhaps at once
 * from the registering call, so it only marks; and a callback may be about to run while we answer,
 * so it is unregistered (which waits for it) first.
 *
 * References on a record: one for its answer, one for the fetch under way. The fetch may come back
 * after the answer, after the session and after the farm; then it finds only the record and the
 * park, both kept by its reference.
 *
 * Threads: workers park, fetchers and libfuse's interrupts mark, answerers answer and fire
 * deadlines.
 */
#include "session/park.h"

#include "session/op.h"
#include "session/park_heap.h"
#include "session/task.h"

#include <base/clock.h>
#include <base/ref.h>
#include <errno.h>
#include <string.h>

/* For what is only better to know (ovl_need.optional). The fetch itself goes on. */
#define OPTIONAL_NS (250 * NS_PER_MS)
/* How often a caller that was interrupted is looked at. */
#define WATCH_NS (100 * NS_PER_MS)

enum parked_state {
	PARKED_NEW,
	PARKED_WAITING,
	PARKED_READY,
	PARKED_INTERRUPTED,
	PARKED_TIMED_OUT,
	PARKED_SHUTDOWN
};

struct parked {
	struct op op; /* name, name2, data, attr point into this record */
	struct park *park;
	struct ref ref;
	struct park_timer timer;
	uint64_t start_ns, deadline_ns; /* of all its waits together */
	bool pausing;                   /* waits for nothing but a moment */
	bool optional;                  /* what it waits for may stay away */
	uint64_t until_ns;              /* the end of this wait; the timer may look earlier */
	bool watched;                   /* the caller was interrupted, and lived */
	bool fetched, shutdown; /* came while that was looked up; guarded by the park's lock */
	struct list of_session, ready; /* guarded by the park's lock, as the next two */
	enum parked_state state;
	int result; /* of the fetch */
	struct stat attr;
	size_t bytes_len;
	char bytes[];
};

struct park {
	struct ref ref; /* the farm's, and one per fetch under way */
	struct park_config config;
	struct lock lock;    /* LOCK_RANK_PARK: all below */
	struct cond wake;    /* the answerers: ready is not empty, an earlier deadline, stop */
	struct cond drained; /* a session has no record left */
	struct park_heap heap;
	uint64_t alarm_ns; /* until when one of them sleeps; NS_NEVER: all until they are woken */
	struct list ready;
	struct park_stats stats;
	bool stop;
};

int park_new(struct park **ret_park, const struct park_config *config)
{
	struct park *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return -ENOMEM;
	p->config = *config;
	r = park_heap_init(&p->heap, config->records_max);
	if (r < 0) {
		free(p);
		return r;
	}
	ref_init(&p->ref);
	lock_init(&p->lock, LOCK_RANK_PARK);
	cond_init(&p->wake);
	p->alarm_ns = NS_NEVER;
	cond_init(&p->drained);
	list_init(&p->ready);
	*ret_park = p;
	return 0;
}

struct park *park_unref(struct park *p)
{
	if (!p || !ref_put(&p->ref))
		return NULL;
	cond_fini(&p->drained);
	cond_fini(&p->wake);
	lock_fini(&p->lock);
	park_heap_fini(&p->heap);
	free(p);
	return NULL;
}

static void parked_unref(struct parked *rec)
{
	if (ref_put(&rec->ref))
		free(rec);
}

/* ---- records ---- */

static size_t size_of_name(const char *name)
{
	return name ? strlen(name) + 1 : 0;
}

static const void *copy_in(char **at, const void *from, size_t len)
{
	char *to = *at;

	if (!from)
		return NULL;
	memcpy(to, from, len);
	*at += len;
	return to;
}

static struct parked *parked_new(struct park *p, const struct op *op)
{
	size_t name = size_of_name(op->name), name2 = size_of_name(op->name2),
	       data = op->data ? op->len : 0;
	struct parked *rec = calloc(1, sizeof(*rec) + name + name2 + data);
	char *at;

	if (!rec)
		return NULL;
	rec->op = *op;
	rec->park = p;
	rec->bytes_len = name + name2 + data;
	at = rec->bytes;
	rec->op.name = copy_in(&at, op->name, name);
	rec->op.name2 = copy_in(&at, op->name2, name2);
	rec->op.data = copy_in(&at, op->data, data);
	if (op->attr) {
		rec->attr = *op->attr;
		rec->op.attr = &rec->attr;
	}
	rec->start_ns = clock_mono_ns(p->config.clock);
	rec->deadline_ns = clock_after(p->config.clock, op_is_patient(op->kind)
								? p->config.read_deadline_ns
								: p->config.metadata_deadline_ns);
	ref_init(&rec->ref);
	list_init(&rec->of_session);
	list_init(&rec->ready);
	return rec;
}

/* Count the record, if the limits let it in. */
static bool admit(struct park *p, struct parked *rec)
{
	struct session *s = rec->op.s;

	LOCK_GUARD(&p->lock);
	if (p->stop || p->stats.now >= p->config.records_max ||
		s->parked_count >= p->config.per_session_max ||
		rec->bytes_len > p->config.bytes_max - p->stats.bytes) {
		counter_add(s->farm->m.park_refused, 1);
		return false;
	}
	p->stats.now++;
	p->stats.bytes += rec->bytes_len;
	s->parked_count++;
	list_push_back(&s->parked, &rec->of_session);
	sess_count(&s->parked_total, 1);
	counter_add(s->farm->m.parked, 1);
	return true;
}

/* The reply is out: the session may go. */
static void dismiss(struct parked *rec)
{
	struct park *p = rec->park;

	histogram_observe(
		rec->op.s->farm->m.park_wait, clock_mono_ns(p->config.clock) - rec->start_ns);
	lock_acquire(&p->lock);
	list_remove(&rec->of_session);
	p->stats.now--;
	p->stats.bytes -= rec->bytes_len;
	if (--rec->op.s->parked_count == 0)
		cond_broadcast(&p->drained);
	lock_release(&p->lock);
	parked_unref(rec);
}

/* ---- the one decision ---- */

static void decide_locked(struct parked *rec, enum parked_state outcome)
{
	struct park *p = rec->park;

	if (rec->state != PARKED_WAITING) {
		/* Not yet waiting: start_waiting() will see it. Decided already: the first wins. */
		if (rec->state == PARKED_NEW)
			rec->state = outcome;
		return;
	}
	rec->state = outcome;
	park_heap_remove(&p->heap, &rec->timer);
	list_push_back(&p->ready, &rec->ready);
	cond_signal(&p->wake);
}

/* Called by libfuse under the request's lock: only mark. */
static void on_interrupt(fuse_req_t req, void *arg)
{
	struct parked *rec = arg;

	(void)req;
	LOCK_GUARD(&rec->park->lock);
	decide_locked(rec, PARKED_INTERRUPTED);
}

static void on_fetched(void *arg, int result)
{
	struct parked *rec = arg;
	struct park *p = rec->park;

	lock_acquire(&p->lock);
	rec->result = result;
	rec->fetched = true;
	decide_locked(rec, PARKED_READY);
	lock_release(&p->lock);
	parked_unref(rec);
	(void)park_unref(p);
}

static void start_waiting(struct parked *rec)
{
	struct park *p = rec->park;

	LOCK_GUARD(&p->lock);
	if (rec->state == PARKED_NEW) {
		rec->state = PARKED_WAITING;
		rec->timer.deadline_ns = rec->until_ns;
		if (rec->watched && clock_after(p->config.clock, WATCH_NS) < rec->until_ns)
			rec->timer.deadline_ns = clock_after(p->config.clock, WATCH_NS);
		park_heap_push(&p->heap, &rec->timer);
		/* Who sleeps until an earlier deadline will look then. */
		if (rec->timer.deadline_ns < p->alarm_ns)
			cond_signal(&p->wake);
	} else {
		list_push_back(&p->ready, &rec->ready);
		cond_signal(&p->wake);
	}
}

/* From here on the record belongs to whoever decides. */
static void wait_for_fetch(struct parked *rec)
{
	struct park *p = rec->park;
	struct ovl_need need = rec->op.rq.need;
	uint64_t deadline_ns = rec->deadline_ns;
	int r;

	rec->op.rq.need = (struct ovl_need){0};
	rec->optional = need.optional;
	rec->fetched = false; /* no earlier fetch is under way */
	rec->until_ns = need.optional ? clock_after(p->config.clock, OPTIONAL_NS) : deadline_ns;
	ref_get(&rec->ref);
	ref_get(&p->ref);
	fuse_req_interrupt_func(rec->op.req, on_interrupt, rec);
	start_waiting(rec);
	r = ovl_fetch(&need, deadline_ns, on_fetched, rec);
	if (r < 0)
		on_fetched(rec, r);
}

static void wait_a_moment(struct parked *rec)
{
	rec->pausing = true;
	rec->until_ns = clock_after(rec->park->config.clock, rec->op.pause_ns);
	fuse_req_interrupt_func(rec->op.req, on_interrupt, rec);
	start_waiting(rec);
}

static void start(struct parked *rec)
{
	if (rec->op.rq.need.kind == LOWER_NEED_NONE)
		wait_a_moment(rec);
	else
		wait_for_fetch(rec);
}

/* No room for it: what the caller is told. */
static void refuse(struct op *op)
{
	bool fetch = op->rq.need.kind != LOWER_NEED_NONE;

	if (fetch)
		ovl_need_drop(&op->rq.need);
	reply_error(op, fetch ? -EIO : -EDQUOT);
}

/* Answered without what is only better to know? */
static bool run_without(struct op *op)
{
	if (!op->rq.need.optional)
		return false;
	ovl_need_drop(&op->rq.need);
	op->rq.count_links = false;
	return op_run(op, sess_thread_self()) != -EAGAIN;
}

void park_op(struct park *p, struct op *op)
{
	struct parked *rec = parked_new(p, op);

	if (rec && admit(p, rec)) {
		start(rec);
		return;
	}
	if (!run_without(op))
		refuse(op);
	free(rec);
}

/* ---- answering ---- */

static int outcome_error(const struct parked *rec)
{
	switch (rec->state) {
	case PARKED_INTERRUPTED:
		return -EINTR;
	case PARKED_TIMED_OUT:
		return -ETIMEDOUT;
	case PARKED_SHUTDOWN:
		return -EIO;
	default:
		/* A fetch cannot know that a name is absent; an origin that says so has failed. */
		return rec->result == -ENOENT ? -EIO : rec->result;
	}
}

static void count_outcome(struct parked *rec)
{
	struct session *s = rec->op.s;

	if (rec->state == PARKED_INTERRUPTED) {
		sess_count(&s->interrupted, 1);
		counter_add(s->farm->m.park_interrupted, 1);
	} else if (rec->state == PARKED_TIMED_OUT) {
		sess_count(&s->timed_out, 1);
		counter_add(s->farm->m.park_timed_out, 1);
	}
}

/* Something else is missing. Only a shutdown may still look at the record. */
static void park_again(struct parked *rec)
{
	lock_acquire(&rec->park->lock);
	rec->state = PARKED_NEW;
	rec->pausing = rec->optional = false;
	lock_release(&rec->park->lock);
	start(rec);
}

/* One wait for what is only better to know; whether it came or not, the call is repeated. */
static bool may_do_without(struct parked *rec)
{
	if (!rec->optional)
		return false;
	rec->op.rq.count_links = false;
	return rec->state == PARKED_READY || rec->state == PARKED_TIMED_OUT;
}

/* It was interrupted, but its caller lives: it waits on, or has what it waited for (then the state
 * says so). True: the record is not ours any more. */
static bool waits_on(struct parked *rec)
{
	pid_t pid = fuse_req_ctx(rec->op.req)->pid;

	/* 0: of another namespace, so nothing can be looked up */
	if (rec->state != PARKED_INTERRUPTED || pid == 0 || task_is_dying((uint32_t)pid))
		return false;
	lock_acquire(&rec->park->lock);
	rec->watched = true;
	rec->state = rec->shutdown ? PARKED_SHUTDOWN : rec->fetched ? PARKED_READY : PARKED_NEW;
	lock_release(&rec->park->lock);
	if (rec->state != PARKED_NEW)
		return false;
	start_waiting(rec);
	return true;
}

static void answer(struct parked *rec, struct sess_thread *t)
{
	int r;

	if (waits_on(rec))
		return;
	r = outcome_error(rec);
	fuse_req_interrupt_func(rec->op.req, NULL, NULL); /* a running callback ends, none starts */
	if (may_do_without(rec))
		r = 0;
	if (r < 0) {
		count_outcome(rec);
		reply_error(&rec->op, r);
	} else if (op_run(&rec->op, t) == -EAGAIN) {
		park_again(rec);
		return;
	}
	dismiss(rec);
}

static void fire_deadlines_locked(struct park *p)
{
	uint64_t now = clock_mono_ns(p->config.clock);
	struct park_timer *t;

	while ((t = park_heap_first(&p->heap)) && t->deadline_ns <= now) {
		struct parked *rec = container_of(t, struct parked, timer);

		if (now < rec->until_ns)
			decide_locked(rec, PARKED_INTERRUPTED); /* watched: is it dying now? */
		else
			decide_locked(rec, rec->pausing ? PARKED_READY : PARKED_TIMED_OUT);
	}
}

/* One answerer sleeps until the first deadline, the others until they are woken. The alarm may be
 * too early, because what it was set for has been decided: then it is set anew. */
static void sleep_locked(struct park *p)
{
	struct park_timer *first = park_heap_first(&p->heap);

	if (!first || first->deadline_ns >= p->alarm_ns) {
		cond_wait(&p->wake, &p->lock);
		return;
	}
	p->alarm_ns = first->deadline_ns;
	(void)cond_wait_until(&p->wake, &p->lock, p->alarm_ns); /* either way: look again */
	p->alarm_ns = NS_NEVER;
}

/* The next decided record, or NULL when stopping. */
static struct parked *next_ready(struct park *p)
{
	LOCK_GUARD(&p->lock);
	for (;;) {
		struct list *ready;
		struct parked *rec;

		fire_deadlines_locked(p);
		ready = list_first(&p->ready);
		if (ready) {
			rec = list_entry(ready, struct parked, ready);
			list_remove(ready);
			return rec;
		}
		if (p->stop)
			return NULL;
		sleep_locked(p);
	}
}

void park_answer(struct park *p, struct sess_thread *t)
{
	struct parked *rec;

	while ((rec = next_ready(p)))
		answer(rec, t);
}

void park_stop(struct park *p)
{
	LOCK_GUARD(&p->lock);
	p->stop = true;
	cond_broadcast(&p->wake);
}

void park_shutdown(struct park *p, struct session *s)
{
	LOCK_GUARD(&p->lock);
	list_for_each (it, &s->parked) {
		struct parked *rec = list_entry(it, struct parked, of_session);

		rec->shutdown = true;
		decide_locked(rec, PARKED_SHUTDOWN);
	}
}

bool park_wait_empty(struct park *p, struct session *s, uint64_t deadline_ns)
{
	LOCK_GUARD(&p->lock);
	while (s->parked_count > 0)
		if (!cond_wait_until(&p->drained, &p->lock, deadline_ns))
			return s->parked_count == 0;
	return true;
}

bool park_wait_quiet(struct park *p, uint64_t deadline_ns)
{
	LOCK_GUARD(&p->lock);
	while (p->stats.now > 0)
		if (!cond_wait_until(&p->drained, &p->lock, deadline_ns))
			return p->stats.now == 0;
	return true;
}

uint64_t park_count(struct park *p, const struct session *s)
{
	LOCK_GUARD(&p->lock);
	return s->parked_count;
}

void park_stats(struct park *p, struct park_stats *ret_stats)
{
	LOCK_GUARD(&p->lock);
	*ret_stats = p->stats;
}
