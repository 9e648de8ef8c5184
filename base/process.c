/* SPDX-License-Identifier: Apache-2.0 */
/* /proc/PID/stat and /proc/PID/task/TID/stat: "PID (NAME) STATE ...", where the name may contain
 * anything. */
#include "base/process.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct stat_line {
	char text[512];
	char *name, state;
};

static bool read_stat(const char *path, struct stat_line *s)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *end;
	ssize_t len;

	if (fd < 0)
		return false;
	len = read(fd, s->text, sizeof(s->text) - 1);
	(void)close(fd); /* it was only read */
	if (len <= 0)
		return false;
	s->text[len] = '\0';
	s->name = strchr(s->text, '(');
	end = strrchr(s->text, ')');
	if (!s->name || !end || end[1] != ' ')
		return false;
	s->name++;
	*end = '\0';
	s->state = end[2];
	return true;
}

bool process_half_dead(pid_t pid)
{
	struct stat_line s;
	char path[40];

	(void)snprintf(path, sizeof(path), "/proc/%ld/stat", (long)pid); /* fits */
	return pid > 0 && read_stat(path, &s) && s.state == 'Z';
}

/* A name, or a pool's thread: NAME-N. */
static bool is_called(const char *name, const char *wanted)
{
	size_t len = strlen(wanted);
	const char *rest = name + len;

	if (strncmp(name, wanted, len) != 0)
		return false;
	return !*rest || (*rest == '-' && rest[1] && !rest[1 + strspn(rest + 1, "0123456789")]);
}

static bool is_one_of(const char *name, const char *const *names)
{
	while (*names)
		if (is_called(name, *names++))
			return true;
	return false;
}

bool process_only_left(pid_t pid, const char *const *names)
{
	bool only = process_half_dead(pid), alive = false;
	struct stat_line s;
	char path[64];
	DIR *dir;

	(void)snprintf(path, sizeof(path), "/proc/%ld/task", (long)pid); /* fits */
	dir = only ? opendir(path) : NULL;
	if (!dir)
		return false;
	for (const struct dirent *e; only && (e = readdir(dir));) {
		if (e->d_name[0] == '.')
			continue;
		(void)snprintf(path, sizeof(path), "/proc/%ld/task/%.10s/stat", (long)pid,
			e->d_name); /* fits */
		if (!read_stat(path, &s) || s.state == 'Z' || s.state == 'X')
			continue; /* it has ended */
		alive = true;
		only = is_one_of(s.name, names);
	}
	(void)closedir(dir);
	return only && alive;
}
