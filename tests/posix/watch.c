/* SPDX-License-Identifier: Apache-2.0 */
/* Events are compared in their order; cookies only as "there is one". */
#include "watch.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

int watch_begin(const struct step *step)
{
	char dir[PATH_CAP];
	int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);

	parent_of(step->a, dir);
	if (fd >= 0 && inotify_add_watch(fd, dir, IN_ALL_EVENTS) < 0) {
		(void)close(fd);
		return -1;
	}
	if (fd >= 0 && step->number % 2) /* what it is now, if it is there */
		(void)inotify_add_watch(fd, step->a, IN_ALL_EVENTS | IN_DONT_FOLLOW);
	return fd;
}

/* A file without a name has one in events, which the kernel makes up: "#" and a number on ext4, "/"
 * on FUSE. */
static const char *name_of(const struct inotify_event *e)
{
	const char *name = e->len ? e->name : "";

	if (strcmp(name, "/") == 0 || (name[0] == '#' && isdigit((unsigned char)name[1])))
		return "(none)";
	return name;
}

/* What was printed of one watch, latest first. */
struct heard {
	uint32_t mask[2];
	char name[2][256];
};

static bool is(const struct heard *h, size_t i, uint32_t mask, const char *name)
{
	return h->mask[i] == mask && strcmp(h->name[i], name) == 0;
}

/* Of writes by another user to a set-id file the kernel tells twice that the attributes changed
 * (docs/posix.md). */
static bool is_told_again(const struct heard *h, const struct inotify_event *e)
{
	return e->mask == IN_ATTRIB && is(h, 0, IN_MODIFY, name_of(e)) &&
	       is(h, 1, IN_ATTRIB, name_of(e));
}

static void hear(struct heard *h, const struct inotify_event *e)
{
	h->mask[1] = h->mask[0];
	memcpy(h->name[1], h->name[0], sizeof(h->name[1]));
	h->mask[0] = e->mask;
	(void)snprintf(h->name[0], sizeof(h->name[0]), "%s", name_of(e));
}

/* At most two watches, 1 and 2. `last`: of which the last event was. */
static void print_event(
	struct side *side, struct heard heard[3], int *last, const struct inotify_event *e)
{
	int wd = e->wd >= 1 && e->wd <= 2 ? e->wd : 0;
	struct heard *h = &heard[wd];

	if (is_told_again(h, e))
		return;
	if (*last == wd && e->mask == IN_MODIFY && is(h, 0, IN_MODIFY, name_of(e)))
		return; /* as the kernel merges two that are alike */
	hear(h, e);
	*last = wd;
	(void)fprintf(side->out, " [%x %s%s]", e->mask, name_of(e), e->cookie ? " cookie" : "");
}

void watch_end(struct side *side, int fd)
{
	static char buf[1 << 16] __attribute__((aligned(8)));
	struct heard heard[3] = {0};
	int last = -1;
	ssize_t n;

	if (fd < 0)
		return;
	while ((n = read(fd, buf, sizeof(buf))) > 0) {
		for (ssize_t at = 0; at < n;) {
			const struct inotify_event *e =
				(const struct inotify_event *)(const void *)(buf + at);

			print_event(side, heard, &last, e);
			at += (ssize_t)(sizeof(*e) + e->len);
		}
	}
	(void)close(fd);
}
