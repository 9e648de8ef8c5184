/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One queue, two threads: if an invalidation of one session hangs behind a parked request, the
 * other thread serves the rest. Order is kept within a session, because a session is served by one
 * thread at a time.
 *
 * A queued item holds a reference on the session's slot, so that closing waits for it.
 */
#include "session/notify.h"

#include "session/session_internal.h"
#include "session/slots.h"

#include <errno.h>
#include <fuse/switch.h>
#include <stdlib.h>
#include <string.h>

#define NOTIFY_THREADS 2u
#define ITEMS_MAX      4096u

struct item {
	struct list queued;
	struct session *session;    /* referenced through its slot */
	struct ovl_notice *notices; /* owned, as their names; NULL: ids */
	uint64_t *ids;              /* owned */
	size_t count;
	bool running, done, abandoned; /* guarded by the lock */
};

struct notify {
	pthread_t thread[NOTIFY_THREADS];
	unsigned started;
	struct lock lock; /* LOCK_RANK_LEAF: all below, and the items' flags */
	struct cond wake, finished;
	struct list queue; /* oldest first, running ones included */
	unsigned count;
	bool stop;
};

static void free_notices(struct ovl_notice *notices, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free((char *)(uintptr_t)notices[i].name);
	free(notices);
}

static struct item *item_free(struct item *item)
{
	if (item->notices)
		free_notices(item->notices, item->count);
	free(item->ids);
	free(item);
	return NULL;
}

static bool session_is_busy_locked(struct notify *n, const struct session *s)
{
	list_for_each (it, &n->queue) {
		struct item *item = list_entry(it, struct item, queued);

		if (item->session == s && item->running)
			return true;
	}
	return false;
}

static struct item *startable_locked(struct notify *n)
{
	list_for_each (it, &n->queue) {
		struct item *item = list_entry(it, struct item, queued);

		if (!item->running && !session_is_busy_locked(n, item->session))
			return item;
	}
	return NULL;
}

static struct item *next_item(struct notify *n)
{
	struct item *item;

	LOCK_GUARD(&n->lock);
	while (!(item = startable_locked(n))) {
		if (n->stop)
			return NULL;
		cond_wait(&n->wake, &n->lock); /* idle; woken by an item or by stop */
	}
	item->running = true;
	return item;
}

static void finish(struct notify *n, struct item *item)
{
	struct session *s = item->session;
	uint64_t key = s->key;
	bool abandoned;

	lock_acquire(&n->lock);
	list_remove(&item->queued);
	n->count--;
	item->done = true;
	abandoned = item->abandoned;
	cond_broadcast(&n->finished);
	cond_broadcast(&n->wake); /* the session's next may start */
	lock_release(&n->lock);
	if (abandoned)
		(void)item_free(item); /* returns NULL always */
	slots_unref(s->farm->slots, key);
}

/* -ENOENT: the kernel does not know it, so there is nothing to forget. Nothing can be done about
 * others: a name in use is forgotten all the same. */
static void tell(struct fuse_session *se, const struct ovl_notice *n)
{
	if (!n->name)
		(void)fuse_lowlevel_notify_inval_inode(se, n->parent, 0, 0);
	else if (n->child) /* tells who watches it, too */
		(void)fuse_lowlevel_notify_delete(
			se, n->parent, n->child, n->name, strlen(n->name));
	else
		(void)fuse_lowlevel_notify_inval_entry(se, n->parent, n->name, strlen(n->name));
}

/* An offset below 0 is about attributes only, so nothing is lost by asking. */
static void ask(struct session *s, uint64_t id)
{
	if (fuse_lowlevel_notify_inval_inode(s->se, id, -1, 0) == -ENOENT)
		ovl_forget(s->overlay, id, UINT64_MAX);
}

static void work_off(const struct item *item)
{
	for (size_t i = 0; i < item->count; i++)
		if (item->ids)
			ask(item->session, item->ids[i]);
		else
			tell(item->session->se, &item->notices[i]);
}

static void *notify_main(void *arg)
{
	struct notify *n = arg;
	struct item *item;

	while ((item = next_item(n))) {
		work_off(item);
		finish(n, item);
	}
	return NULL;
}

int notify_new(struct notify **ret_notify)
{
	struct notify *n = calloc(1, sizeof(*n));
	int r;

	if (!n)
		return -ENOMEM;
	lock_init(&n->lock, LOCK_RANK_LEAF);
	cond_init(&n->wake);
	cond_init(&n->finished);
	list_init(&n->queue);
	for (; n->started < NOTIFY_THREADS; n->started++) {
		r = sess_thread_start(&n->thread[n->started], "fuse-notify", notify_main, n);
		if (r < 0) {
			(void)notify_free(n); /* returns NULL always */
			return r;
		}
	}
	*ret_notify = n;
	return 0;
}

struct notify *notify_free(struct notify *n)
{
	if (!n)
		return NULL;
	lock_acquire(&n->lock);
	n->stop = true;
	cond_broadcast(&n->wake);
	lock_release(&n->lock);
	for (unsigned i = 0; i < n->started; i++)
		(void)pthread_join(n->thread[i], NULL); /* ours, joined once */
	cond_fini(&n->finished);
	cond_fini(&n->wake);
	lock_fini(&n->lock);
	free(n);
	return NULL;
}

bool notify_wait_empty(struct notify *n, uint64_t deadline_ns)
{
	LOCK_GUARD(&n->lock);
	while (n->count)
		if (!cond_wait_until(&n->finished, &n->lock, deadline_ns))
			return n->count == 0;
	return true;
}

static int enqueue(struct notify *n, struct item *item)
{
	LOCK_GUARD(&n->lock);
	if (n->count >= ITEMS_MAX)
		return -EAGAIN;
	n->count++;
	list_push_back(&n->queue, &item->queued);
	cond_signal(&n->wake);
	return 0;
}

/* False: it goes on without us, and is freed when it is done. */
static bool wait_done(struct notify *n, struct item *item, uint64_t deadline_ns)
{
	LOCK_GUARD(&n->lock);
	while (!item->done)
		if (!cond_wait_until(&n->finished, &n->lock, deadline_ns) && !item->done) {
			item->abandoned = true;
			return false;
		}
	return true;
}

static int run(struct notify *n, struct item *item, uint64_t deadline_ns)
{
	struct session *s = item->session;
	int r = 0;

	if (!slots_ref(s->farm->slots, s->key)) {
		(void)item_free(item); /* returns NULL always */
		return -ESHUTDOWN;
	}
	r = enqueue(n, item);
	if (r < 0)
		slots_unref(s->farm->slots, s->key);
	else if (!wait_done(n, item, deadline_ns))
		return -ETIMEDOUT;
	(void)item_free(item); /* as above */
	return r;
}

int notify_all(struct notify *n, struct session *s, struct ovl_notice *notices, size_t count,
	uint64_t deadline_ns)
{
	struct item *item = malloc(sizeof(*item));

	if (!item) {
		free_notices(notices, count);
		return -ENOMEM;
	}
	*item = (struct item){.session = s, .notices = notices, .count = count};
	return run(n, item, deadline_ns);
}

int notify_entry(struct notify *n, struct session *s, uint64_t parent, const char *name,
	uint64_t deadline_ns)
{
	struct ovl_notice *notices = calloc(2, sizeof(*notices));
	char *copy = strdup(name);

	if (!notices || !copy) {
		free(notices);
		free(copy);
		return -ENOMEM;
	}
	notices[0] = (struct ovl_notice){.parent = parent, .name = copy};
	notices[1] = (struct ovl_notice){.parent = parent};
	return notify_all(n, s, notices, 2, deadline_ns);
}

void notify_ask(struct notify *n, struct session *s, uint64_t *ids, size_t count)
{
	struct item *item = malloc(sizeof(*item));
	int r = -ESHUTDOWN;

	if (!item) {
		free(ids);
		return;
	}
	*item = (struct item){.session = s, .ids = ids, .count = count, .abandoned = true};
	if (slots_ref(s->farm->slots, s->key)) {
		r = enqueue(n, item);
		if (r < 0)
			slots_unref(s->farm->slots, s->key);
	}
	if (r < 0)
		(void)item_free(item); /* returns NULL always */
}
