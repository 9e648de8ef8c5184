/* SPDX-License-Identifier: Apache-2.0 */
#include "base/process.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

bool process_half_dead(pid_t pid)
{
	char path[40], text[512];
	const char *state;
	ssize_t len;
	int fd;

	if (pid <= 0)
		return false;
	(void)snprintf(path, sizeof(path), "/proc/%ld/stat", (long)pid); /* fits */
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	len = read(fd, text, sizeof(text) - 1);
	(void)close(fd); /* it was only read */
	if (len <= 0)
		return false;
	text[len] = '\0';
	state = strrchr(text, ')'); /* the name before it may contain anything */
	return state && state[1] == ' ' && state[2] == 'Z';
}
