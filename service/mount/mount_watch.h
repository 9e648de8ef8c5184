/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events: one sequence of numbers, a ring of the last ones for those who come back, and the
 * watchers. The numbers go on over restarts: they are reserved in the journal in blocks, so a
 * restart skips what is left of a block. Everything is guarded by the registry's lock.
 */
#pragma once
#include <base/list.h>
#include <service/mounts.h>
#include <stddef.h>

struct mount_record;

#define WATCH_RING_EVENTS 4096

/* A past event, as the bytes of its record: a tenth of the structure. */
struct watch_event {
	uint64_t sequence, wall_ns;
	enum mount_event_kind kind;
	void *bytes;
	size_t len;
};

struct watch_hub {
	struct list watchers;
	struct watch_event ring[WATCH_RING_EVENTS];
	uint64_t first; /* number of the oldest event that can be repeated; 0: none yet */
	uint64_t last;  /* number of the newest event, or the one before the first of this run */
};

void watch_hub_init(struct watch_hub *hub, uint64_t next_sequence);
void watch_hub_fini(struct watch_hub *hub);
/* Number the event, remember it, tell the watchers. `view->sequence` is set to the number, which is
 * returned. */
uint64_t watch_publish_locked(struct watch_hub *hub, enum mount_event_kind kind, uint64_t wall_ns,
	const struct mount_record *r, struct mount_info *view);
/* Can everything after `since` be repeated? */
bool watch_can_resume(const struct watch_hub *hub, uint64_t since);

/* The subscription. `root_of` makes the root path of a repeated event's mount (malloc'ed). */
typedef char *(*watch_root_fn)(void *arg, const char *tenant, const char *job_id);
int watch_replay_locked(struct watch_hub *hub, struct mount_watch *w, uint64_t since,
	watch_root_fn root_of, void *root_arg);
struct mount_watch *watch_new(
	const struct mount_filter *filter, mount_watch_fn fn, void *arg); /* NULL: no memory */
struct mount_watch *watch_free(struct mount_watch *w);
void watch_add_locked(struct watch_hub *hub, struct mount_watch *w);
void watch_remove_locked(struct mount_watch *w);
/* Tell one watcher, if its filter lets it pass. */
void watch_tell(struct mount_watch *w, const struct mount_event *event);
