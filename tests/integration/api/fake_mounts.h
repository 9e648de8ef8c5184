/* SPDX-License-Identifier: Apache-2.0 */
/* The in-memory registry of the test server: what fake_mounts.c and fake_watch.c share. */
#pragma once
#include <pthread.h>

#include "base/list.h"
#include "service/mounts.h"

struct fake_mount {
	struct list link;
	struct mount_info info;
	bool deleted;
};

struct mounts {
	pthread_mutex_t mu;
	struct list all; /* in order of creation, deleted ones too */
	struct list watches;
	uint64_t sequence;
	unsigned made;
};

struct mounts *fake_mounts_new(void);
struct mounts *fake_mounts_free(struct mounts *m);
/* Number the event and tell the watchers. With mu held. */
void fake_tell(struct mounts *m, struct fake_mount *mount, enum mount_event_kind kind);
bool fake_matches(const struct mount_filter *f, const struct mount_info *info);
