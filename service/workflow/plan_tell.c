/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See plan.h. A process that is killed between a change and its notice leaves a kernel that goes on
 * with the old file; the next one cannot know which it was, so all are told, in one batch.
 */
#include "workflow/files.h"
#include "workflow/plan.h"

#include "mount/mount_host.h"
#include "mount/mounts_internal.h"

#include <base/cleanup.h>
#include <base/clock.h>
#include <errno.h>
#include <fuse/session.h>
#include <fuse/switch.h>
#include <stdlib.h>
#include <string.h>

#define TELL_WAIT_NS (10 * NS_PER_S)

struct telling {
	struct wf_files files;
	struct ovl_switched list;
	size_t cap;
};

static int add(struct telling *t, uint64_t parent, const char *name)
{
	struct ovl_switched *l = &t->list;
	char *copy = NULL;

	if (l->notice_count == t->cap) {
		size_t cap = t->cap ? 2 * t->cap : 64;
		struct ovl_notice *more = reallocarray(l->notices, cap, sizeof(*more));

		if (!more)
			return -ENOMEM;
		l->notices = more;
		t->cap = cap;
	}
	if (name) {
		copy = strdup(name);
		if (!copy)
			return -ENOMEM;
	}
	l->notices[l->notice_count++] = (struct ovl_notice){.parent = parent, .name = copy};
	return 0;
}

/* 1: there is no such directory, so nothing below it is remembered. */
static int add_path(struct telling *t, const char *path)
{
	struct wf_place place;
	size_t restored = 0;
	int r = wf_files_enter(&t->files, path, false, &place, &restored);

	if (r < 0)
		return r == -ENOENT || r == -ENOTDIR ? 1 : r;
	r = add(t, place.parent, place.name);
	if (r == 0)
		r = add(t, place.parent, NULL);
	wf_files_leave(&t->files, &place);
	return r;
}

/* How much of `path` are directories that `before` lies in too. */
static size_t shared(const char *path, const char *before)
{
	size_t len = 0;

	for (size_t i = 0; before && path[i] && path[i] == before[i]; i++)
		if (path[i] == '/')
			len = i + 1;
	return len;
}

/* The path, and the directories on the way that were not told with the one before. */
static int add_all(struct telling *t, const char *path, const char *before)
{
	_cleanup_free_ char *part = strdup(path);
	char *at;
	int r = 0;

	if (!part)
		return -ENOMEM;
	for (at = part + shared(path, before); r == 0 && (at = strchr(at, '/')); at++) {
		*at = '\0';
		r = add_path(t, part);
		*at = '/';
	}
	if (r == 0)
		r = add_path(t, part);
	return r < 0 ? r : 0;
}

/* Behind what the switch wants to be told. */
static int tell_later(struct ovl_switched *later, struct ovl_switched *list)
{
	struct ovl_notice *all;

	if (!list->notice_count)
		return 0;
	all = reallocarray(later->notices, later->notice_count + list->notice_count, sizeof(*all));
	if (!all)
		return -ENOMEM;
	memcpy(all + later->notice_count, list->notices, list->notice_count * sizeof(*all));
	later->notices = all;
	later->notice_count += list->notice_count;
	list->notice_count = 0; /* the names are the other's */
	return 0;
}

int wf_plan_tell(struct wf *w, const struct wf_plan *p)
{
	struct mount *mt = w->use->mount;
	struct telling t = {.cap = 0};
	int r = 0;

	wf_files_init(&t.files, w);
	for (size_t i = 0; r == 0 && i < p->count; i++) {
		r = wf_check(w);
		if (r == 0)
			r = add_all(&t, p->ops[i].path, i ? p->ops[i - 1].path : NULL);
	}
	if (r == 0 && mt->host->adopted)
		r = tell_later(&mt->to_tell, &t.list);
	else if (r == 0)
		r = sess_tell(mt->host->session, &t.list, clock_after(&clock_system, TELL_WAIT_NS));
	ovl_switched_fini(&t.list);
	/* it goes on; or nothing is remembered any more */
	return r == -ETIMEDOUT || r == -ESHUTDOWN ? 0 : r;
}
