/* SPDX-License-Identifier: Apache-2.0 */
/* Events are compared in their order; cookies only as "there is one". */
#include "watch.h"

#include <ctype.h>
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

void watch_end(struct side *side, int fd)
{
	static char buf[1 << 16] __attribute__((aligned(8)));
	ssize_t n;

	if (fd < 0)
		return;
	while ((n = read(fd, buf, sizeof(buf))) > 0) {
		for (ssize_t at = 0; at < n;) {
			const struct inotify_event *e =
				(const struct inotify_event *)(const void *)(buf + at);

			(void)fprintf(side->out, " [%x %s%s]", e->mask, name_of(e),
				e->cookie ? " cookie" : "");
			at += (ssize_t)(sizeof(*e) + e->len);
		}
	}
	(void)close(fd);
}
