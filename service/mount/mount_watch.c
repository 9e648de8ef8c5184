/* SPDX-License-Identifier: Apache-2.0 */
/* See mount_watch.h. Everything here runs under the registry's lock; callbacks only copy and queue.
 */
#include "mount_watch.h"

#include "mounts_internal.h"

#include <base/buf.h>
#include <base/cleanup.h>
#include <base/log.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct mount_watch {
	struct list link;
	struct mount_filter filter; /* owns its strings and labels */
	mount_watch_fn fn;
	void *arg;
};

void watch_hub_init(struct watch_hub *hub, uint64_t next_sequence)
{
	list_init(&hub->watchers);
	hub->first = 0;
	hub->last = next_sequence - 1;
}

static void forget_all(struct watch_hub *hub)
{
	for (unsigned i = 0; i < WATCH_RING_EVENTS; i++)
		free(hub->ring[i].bytes);
	memset(hub->ring, 0, sizeof(hub->ring));
	hub->first = 0;
}

void watch_hub_fini(struct watch_hub *hub)
{
	forget_all(hub);
}

static void remember(
	struct watch_hub *hub, const struct watch_event *event, const struct mount_record *r)
{
	struct watch_event *slot = &hub->ring[event->sequence % WATCH_RING_EVENTS];
	struct buf bytes;

	buf_init(&bytes, MOUNT_RECORD_MAX);
	if (mount_record_encode(r, &bytes)) {
		buf_fini(&bytes);
		forget_all(hub); /* a hole: whoever comes back gets the present state instead */
		return;
	}
	free(slot->bytes);
	*slot = *event;
	slot->len = bytes.len;
	slot->bytes = buf_take(&bytes);
	if (!slot->bytes) {
		forget_all(hub);
		return;
	}
	if (!hub->first)
		hub->first = event->sequence;
	if (event->sequence - hub->first >= WATCH_RING_EVENTS)
		hub->first = event->sequence - WATCH_RING_EVENTS + 1;
}

uint64_t watch_publish_locked(struct watch_hub *hub, enum mount_event_kind kind, uint64_t wall_ns,
	const struct mount_record *r, struct mount_info *view)
{
	struct watch_event past = {.sequence = ++hub->last, .wall_ns = wall_ns, .kind = kind};
	struct mount_event event = {
		.kind = kind, .sequence = past.sequence, .wall_ns = wall_ns, .mount = view};

	view->sequence = past.sequence;
	remember(hub, &past, r);
	list_for_each_safe (it, &hub->watchers)
		watch_tell(list_entry(it, struct mount_watch, link), &event);
	return past.sequence;
}

bool watch_can_resume(const struct watch_hub *hub, uint64_t since)
{
	if (!since || since > hub->last)
		return false;
	/* with an empty ring only the newest number can be gone on from, and only if nothing was
	 * lost since */
	return hub->first ? since + 1 >= hub->first : since == hub->last;
}

static int replay_one(struct mount_watch *w, const struct watch_event *past, watch_root_fn root_of,
	void *root_arg)
{
	struct mount_event event = {
		.kind = past->kind, .sequence = past->sequence, .wall_ns = past->wall_ns};
	_cleanup_free_ char *root = NULL;
	struct mount_record r;
	struct mount_info view;
	int err = mount_record_decode(past->bytes, past->len, &r);

	if (err)
		return err;
	root = root_of(root_arg, r.tenant, r.job_id);
	if (!root) {
		mount_record_fini(&r);
		return -ENOMEM;
	}
	mount_view_of_record(&r, root, &view);
	view.sequence = past->sequence;
	event.mount = &view;
	watch_tell(w, &event);
	mount_record_fini(&r);
	return 0;
}

int watch_replay_locked(struct watch_hub *hub, struct mount_watch *w, uint64_t since,
	watch_root_fn root_of, void *root_arg)
{
	for (uint64_t sequence = since + 1; sequence <= hub->last; sequence++) {
		int err =
			replay_one(w, &hub->ring[sequence % WATCH_RING_EVENTS], root_of, root_arg);

		if (err)
			return err;
	}
	return 0;
}

static int copy_string(const char *from, const char **ret_copy)
{
	*ret_copy = from ? strdup(from) : NULL;
	return from && !*ret_copy ? -ENOMEM : 0;
}

static int copy_filter(const struct mount_filter *from, struct mount_filter *to)
{
	struct mount_label *labels = NULL;

	to->states = from->states;
	if (copy_string(from->tenant, &to->tenant) || copy_string(from->origin, &to->origin) ||
		copy_string(from->mount_id, &to->mount_id))
		return -ENOMEM;
	if (!from->label_count)
		return 0;
	labels = calloc(from->label_count, sizeof(*labels));
	if (!labels)
		return -ENOMEM;
	memcpy(labels, from->labels, from->label_count * sizeof(*labels));
	to->labels = labels;
	to->label_count = from->label_count;
	return 0;
}

struct mount_watch *watch_new(const struct mount_filter *filter, mount_watch_fn fn, void *arg)
{
	struct mount_watch *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	list_init(&w->link);
	w->fn = fn;
	w->arg = arg;
	if (filter && copy_filter(filter, &w->filter))
		return watch_free(w);
	return w;
}

struct mount_watch *watch_free(struct mount_watch *w)
{
	if (!w)
		return NULL;
	free((char *)w->filter.tenant);
	free((char *)w->filter.origin);
	free((char *)w->filter.mount_id);
	free((struct mount_label *)w->filter.labels);
	free(w);
	return NULL;
}

void watch_add_locked(struct watch_hub *hub, struct mount_watch *w)
{
	list_push_back(&hub->watchers, &w->link);
}

void watch_remove_locked(struct mount_watch *w)
{
	list_remove(&w->link);
}

void watch_tell(struct mount_watch *w, const struct mount_event *event)
{
	if (!event->mount || mount_filter_matches(&w->filter, event->mount))
		w->fn(w->arg, event);
}
