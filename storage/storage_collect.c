// SPDX-License-Identifier: Apache-2.0
/*
 * When to collect, and what to keep. The order of a round matters for trees that no origin has:
 *
 *	from now on puts are kept → what unfinished merges have put → the roots that are shown,
 *	and those made in the last quarter of an hour → others, the newest first, while there is
 *	room → the rest goes
 *
 * Threads: `index-collect`, which sleeps until the index has grown. Those that put and find the
 * index full wait for the end of a round.
 */
#include "storage_collect.h"

#include "base/clock.h"
#include "base/log.h"
#include "storage_internal.h"
#include "tree/tree_sweep.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BEGIN_PERCENT  75
#define TARGET_PERCENT 50
#define SURE_NS        (900 * NS_PER_S) /* more than any call may take */
#define FULL_WAIT_NS   (30 * NS_PER_S)
#define REST_NS        (60 * NS_PER_S)
#define STEPS          32 /* of the index' size: how often is looked */

/* ---- what others tell ---- */

/* Until when it counts as new. */
static uint64_t new_until(const struct recent_root *r)
{
	return r->used_ns + (r->made ? SURE_NS : 0);
}

void collector_used(struct collector *c, const struct oid *root, bool made)
{
	struct recent_root *oldest = &c->recent[0];
	uint64_t now_ns = clock_mono_ns(&clock_system);
	LOCK_GUARD(&c->mu);

	for (unsigned i = 0; i < c->recent_count; i++) {
		struct recent_root *r = &c->recent[i];

		if (oid_equal(&r->root, root)) {
			r->used_ns = now_ns;
			r->made = r->made || made;
			return;
		}
		if (new_until(r) < new_until(oldest))
			oldest = r;
	}
	if (c->recent_count < COLLECT_RECENT_MAX)
		oldest = &c->recent[c->recent_count++];
	*oldest = (struct recent_root){*root, now_ns, made};
}

void collector_merge_begin(struct collector *c, struct collect_merge *m)
{
	LOCK_GUARD(&c->mu);
	*m = (struct collect_merge){0};
	list_push_back(&c->merges, &m->node);
}

static int note_put(struct collect_merge *m, const struct oid *tree)
{
	if (m->count == m->cap) {
		size_t cap = m->cap ? 2 * m->cap : 64;
		struct oid *more = reallocarray(m->put, cap, sizeof(*more));

		if (!more)
			return -ENOMEM;
		m->put = more;
		m->cap = cap;
	}
	m->put[m->count++] = *tree;
	return 0;
}

void collector_merge_put(struct collector *c, struct collect_merge *m,
	const struct tree_record *records, unsigned count)
{
	LOCK_GUARD(&c->mu);
	for (unsigned i = 0; i < count && !m->incomplete; i++)
		m->incomplete = note_put(m, &records[i].tree) < 0;
}

void collector_merge_end(struct collector *c, struct collect_merge *m, const struct oid *root)
{
	if (root)
		collector_used(c, root, true);
	lock_acquire(&c->mu);
	list_remove(&m->node);
	lock_release(&c->mu);
	free(m->put);
}

static void grown(void *arg)
{
	struct collector *c = arg;
	LOCK_GUARD(&c->mu);

	c->wanted = true;
	cond_broadcast(&c->wake);
}

static bool full(void *arg)
{
	struct collector *c = arg;
	uint64_t round, give_up_ns = clock_after(&clock_system, FULL_WAIT_NS);
	LOCK_GUARD(&c->mu);

	if (!c->started || clock_mono_ns(&clock_system) < c->rest_until_ns)
		return false;
	c->urgent = c->wanted = true;
	cond_broadcast(&c->wake);
	for (round = c->rounds; c->rounds == round && c->started;)
		if (!cond_wait_until(&c->ended, &c->mu, give_up_ns))
			return false;
	return true;
}

struct tree_pressure collector_pressure(struct collector *c, uint64_t index_bytes)
{
	return (struct tree_pressure){
		.step = index_bytes / STEPS, .grown = grown, .full = full, .arg = c};
}

/* ---- a round ---- */

/* What merges that began before the sweep have put so far. */
static int keep_merges(struct collector *c, struct collect_walk *w)
{
	int r = 0;
	LOCK_GUARD(&c->mu);

	list_for_each (it, &c->merges) {
		const struct collect_merge *m = list_entry(it, struct collect_merge, node);

		if (m->incomplete)
			return -ENOMEM;
		for (size_t i = 0; i < m->count && r != -ENOMEM; i++)
			r = tree_sweep_keep_alone(w->sweep, &m->put[i]);
	}
	return r == -EEXIST ? 0 : r;
}

struct roots {
	struct oid *root;
	size_t count, cap;
	bool incomplete;
};

static void add_root(void *arg, const struct oid *root)
{
	struct roots *r = arg;

	if (r->count == r->cap) {
		size_t cap = r->cap ? 2 * r->cap : 64;
		struct oid *more = reallocarray(r->root, cap, sizeof(*more));

		if (!more) {
			r->incomplete = true;
			return;
		}
		r->root = more;
		r->cap = cap;
	}
	r->root[r->count++] = *root;
}

static int keep_shown(struct collector *c, struct collect_walk *w)
{
	struct roots roots = {0};
	int r;

	c->roots.each(c->roots.arg, add_root, &roots);
	r = roots.incomplete ? -ENOMEM : 0;
	for (size_t i = 0; i < roots.count && r == 0; i++)
		r = collect_keep(w, &roots.root[i], UINT64_MAX);
	free(roots.root);
	return r;
}

static int newest_first(const void *a, const void *b)
{
	const struct recent_root *x = a, *y = b;

	return x->used_ns < y->used_ns ? 1 : x->used_ns > y->used_ns ? -1 : 0;
}

static int keep_recent(struct collector *c, struct collect_walk *w, uint64_t target)
{
	struct recent_root *recent = malloc(sizeof(c->recent));
	uint64_t now_ns = clock_mono_ns(&clock_system);
	unsigned count;
	int r = 0;

	if (!recent)
		return -ENOMEM;
	lock_acquire(&c->mu);
	count = c->recent_count;
	memcpy(recent, c->recent, count * sizeof(*recent));
	lock_release(&c->mu);
	qsort(recent, count, sizeof(*recent), newest_first);
	for (unsigned i = 0; i < count && r == 0; i++) {
		bool sure = now_ns < new_until(&recent[i]);

		if (sure || w->bytes < target)
			r = collect_keep(w, &recent[i].root, sure ? UINT64_MAX : target);
	}
	free(recent);
	return r;
}

static int collect(struct collector *c, const struct tree_stats *before, struct tree_swept *swept)
{
	struct collect_walk w = {.st = c->st, .stop = &c->stop, .lfs = before->lfs > 0};
	int r = tree_sweep_begin(c->st->index, &w.sweep);

	if (r == 0)
		r = keep_merges(c, &w);
	if (r == 0)
		r = keep_shown(c, &w);
	if (r == 0)
		r = keep_recent(c, &w, before->max_bytes / 100 * TARGET_PERCENT);
	if (r == 0)
		r = tree_sweep_drop(w.sweep, &c->stop, swept);
	tree_sweep_end(w.sweep);
	free(w.stack);
	return r;
}

static bool needed(const struct tree_stats *s)
{
	return s->live_bytes / BEGIN_PERCENT >= s->max_bytes / 100;
}

/* Too little was dropped: the next one would find the same. */
static void rest(struct collector *c)
{
	LOCK_GUARD(&c->mu);
	c->rest_until_ns = clock_after(&clock_system, REST_NS);
}

static void tell(const struct tree_stats *before, const struct tree_stats *after,
	const struct tree_swept *swept, int r)
{
	if (r < 0 && r != -ECANCELED)
		log_warn("index_not_collected", LOG_E(r), LOG_U("live_bytes", after->live_bytes),
			LOG_U("max_bytes", after->max_bytes));
	else if (needed(after))
		log_warn("index_crowded", LOG_U("live_bytes", after->live_bytes),
			LOG_U("max_bytes", after->max_bytes), LOG_U("dropped", swept->dropped),
			LOG_S("advice", "what is mounted needs more: raise cache.index"));
	else
		log_info("index_collected", LOG_U("before_bytes", before->live_bytes),
			LOG_U("live_bytes", after->live_bytes), LOG_U("dropped", swept->dropped));
}

/* `urgent`: somebody was refused, perhaps because free pages lie badly. */
static void round_of(struct collector *c, bool urgent)
{
	struct tree_swept swept = {0};
	struct tree_stats before, after;
	int r = tree_stats(c->st->index, &before);

	if (r < 0) {
		log_warn("index_not_collected", LOG_E(r));
		return;
	}
	gauge_set(c->m.live_bytes, (int64_t)before.live_bytes);
	if (!needed(&before) && !(urgent && before.live_bytes > before.max_bytes / 2))
		return;
	r = collect(c, &before, &swept);
	counter_add(c->m.rounds, 1);
	counter_add(c->m.dropped, swept.dropped);
	after = before;
	if (tree_stats(c->st->index, &after) == 0)
		gauge_set(c->m.live_bytes, (int64_t)after.live_bytes);
	tell(&before, &after, &swept, r);
	if (r < 0 || needed(&after))
		rest(c);
}

static void *collector_main(void *arg)
{
	struct collector *c = arg;
	bool urgent;

	lock_acquire(&c->mu);
	for (;;) {
		uint64_t now_ns = clock_mono_ns(&clock_system);

		if (atomic_load(&c->stop))
			break;
		if (!c->wanted) {
			cond_wait(&c->wake, &c->mu);
			continue;
		}
		if (now_ns < c->rest_until_ns) {
			(void)cond_wait_until(&c->wake, &c->mu, c->rest_until_ns);
			continue;
		}
		urgent = c->urgent;
		c->wanted = c->urgent = false;
		lock_release(&c->mu);
		round_of(c, urgent);
		lock_acquire(&c->mu);
		c->rounds++;
		cond_broadcast(&c->ended);
	}
	lock_release(&c->mu);
	return NULL;
}

/* ---- life ---- */

void collector_init(struct collector *c, struct storage *st, struct metrics *registry)
{
	*c = (struct collector){.st = st};
	lock_init(&c->mu, LOCK_RANK_COLLECT);
	list_init(&c->merges);
	cond_init(&c->wake);
	cond_init(&c->ended);
	c->m.rounds = &c->m.own_counter[0];
	c->m.dropped = &c->m.own_counter[1];
	c->m.live_bytes = &c->m.own_gauge;
	if (!registry)
		return;
	c->m.rounds = metrics_counter(registry, "coppice_index_collections_total",
		"Garbage collections of the index.", "");
	c->m.dropped = metrics_counter(registry, "coppice_index_collected_total",
		"Records that garbage collections dropped.", "");
	c->m.live_bytes = metrics_gauge(registry, "coppice_index_live_bytes",
		"What the index holds, of cache.index at most; when it was last looked.", "");
}

void collector_fini(struct collector *c)
{
	cond_fini(&c->ended);
	cond_fini(&c->wake);
	lock_fini(&c->mu);
}

int storage_collect_start(struct storage *st, const struct storage_roots *roots)
{
	struct collector *c = &st->collector;
	int r;

	c->roots = *roots;
	c->wanted = true; /* it may be full from before */
	r = -pthread_create(&c->thread, NULL, collector_main, c);
	if (r < 0)
		return r;
	(void)pthread_setname_np(c->thread, "index-collect"); /* for ps only */
	LOCK_GUARD(&c->mu);
	c->started = true;
	return 0;
}

void storage_collect_stop(struct storage *st)
{
	struct collector *c = &st->collector;
	bool started;

	lock_acquire(&c->mu);
	started = c->started;
	c->started = false;
	atomic_store(&c->stop, true);
	cond_broadcast(&c->wake);
	cond_broadcast(&c->ended);
	lock_release(&c->mu);
	if (started)
		(void)pthread_join(c->thread, NULL); /* ours, joined once */
}
