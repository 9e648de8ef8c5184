/* SPDX-License-Identifier: Apache-2.0 */
/* A "fetch" is a record on a list that one thread looks through every millisecond. */
#include "mini_internal.h"

#include <base/clock.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool next_due(struct overlay *o, struct fetch *ret_fetch)
{
	LOCK_GUARD(&o->fetch_lock);
	for (unsigned i = 0; i < o->fetches; i++) {
		if (o->fetch[i].due_ns > clock_mono_ns(&clock_system) && !o->stop)
			continue;
		*ret_fetch = o->fetch[i];
		if (o->stop && ret_fetch->due_ns == NS_NEVER)
			ret_fetch->result = -ECANCELED;
		o->fetch[i] = o->fetch[--o->fetches];
		return true;
	}
	return false;
}

void *mini_fetch_main(void *arg)
{
	struct overlay *o = arg;
	struct fetch f;
	bool stop = false;

	while (!stop) {
		lock_acquire(&o->fetch_lock);
		if (!o->stop)
			(void)cond_wait_until(
				&o->wake, &o->fetch_lock, clock_after(&clock_system, NS_PER_MS));
		stop = o->stop;
		lock_release(&o->fetch_lock);
		while (next_due(o, &f)) {
			rwlock_write(&o->lock);
			mini_node(o, f.id)->local = f.result == 0;
			if (f.result == 0 && strncmp(mini_node(o, f.id)->name, "count-", 6) == 0)
				mini_node(o, f.id)->attr.st_nlink = 3;
			rwlock_release(&o->lock);
			f.fn(f.arg, f.result);
		}
	}
	return NULL;
}

bool mini_must_fetch(const struct node *n, const char *prefix)
{
	size_t len = strlen(prefix);
	const char *rest = n->name + len;

	if (n->local || strncmp(n->name, prefix, len) != 0)
		return false;
	return strncmp(rest, "late-", 5) == 0 || strncmp(rest, "never", 5) == 0 ||
	       strncmp(rest, "fail-", 5) == 0;
}

/* The overlay travels in the place of the workspace. */
int mini_need(struct overlay *o, struct ovl_req *rq, uint64_t id)
{
	rq->need = (struct ovl_need){.kind = LOWER_NEED_BLOB, .ws = (struct ovl_ws *)(void *)o};
	memcpy(rq->need.oid.bytes, &id, sizeof(id));
	return -EAGAIN;
}

int ovl_fetch(struct ovl_need *want, uint64_t deadline_ns, lower_done fn, void *arg)
{
	struct overlay *o = (struct overlay *)(void *)want->ws;
	struct fetch f = {.fn = fn, .arg = arg, .due_ns = NS_NEVER};
	const char *name;

	(void)deadline_ns; /* a fetch that ignores it: the session's own deadline must do */
	memcpy(&f.id, want->oid.bytes, sizeof(f.id));
	rwlock_read(&o->lock);
	name = mini_node(o, f.id)->name;
	if (strncmp(name, "lk-", 3) == 0)
		name += 3;
	else if (strncmp(name, "count-", 6) == 0)
		name += 6;
	if (strncmp(name, "late-", 5) == 0)
		f.due_ns = clock_after(&clock_system, strtoul(name + 5, NULL, 10) * NS_PER_MS);
	else if (strncmp(name, "fail-", 5) == 0)
		f.result = -(int)strtol(name + 5, NULL, 10);
	rwlock_release(&o->lock);
	if (f.result < 0) {
		fn(arg, f.result); /* before we return: allowed */
		return 0;
	}
	LOCK_GUARD(&o->fetch_lock);
	if (o->fetches == FETCHES_MAX)
		return -ENOMEM;
	o->fetch[o->fetches++] = f;
	return 0;
}

void ovl_need_drop(struct ovl_need *want)
{
	*want = (struct ovl_need){0};
}

int mini_count_links(struct overlay *o, struct ovl_req *rq, uint64_t id)
{
	if (!rq->count_links || !mini_must_fetch(mini_node(o, id), "count-"))
		return 0;
	(void)mini_need(o, rq, id);
	rq->need.optional = true;
	return -EAGAIN;
}
