/* SPDX-License-Identifier: Apache-2.0 */
/* Events are compared in their order; cookies only as "there is one". */
#include "watch.h"

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
	return fd;
}

void watch_end(struct side *side, int fd)
{
	static char buf[1 << 16] __attribute__((aligned(8)));
	ssize_t n;

	if (fd < 0)
		return;
	while ((n = read(fd, buf, sizeof(buf))) > 0) {
		for (ssize_t at = 0; at < n;) {
			const struct inotify_event *e = (const struct inotify_event *)(const void *)(buf + at);

			(void)fprintf(side->out, " [%x %s%s]", e->mask, e->len ? e->name : "", e->cookie ? " cookie" : "");
			at += (ssize_t)(sizeof(*e) + e->len);
		}
	}
	(void)close(fd);
}
