/* SPDX-License-Identifier: Apache-2.0 */
/* What all operations need: users, children, bytes that depend on the step only. */
#include "side.h"

#include <errno.h>
#include <grp.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

long result_of(long r)
{
	return r < 0 ? -errno : r;
}

void fill_bytes(const struct step *step, void *data, size_t len)
{
	uint8_t *bytes = data;
	uint64_t x = step->n[3] | 1;

	for (size_t i = 0; i < len; i++) {
		x = x * 6364136223846793005u + 1442695040888963407u;
		bytes[i] = (uint8_t)(x >> 56);
	}
}

uint64_t hash_bytes(uint64_t hash, const void *data, size_t len)
{
	const uint8_t *bytes = data;

	for (size_t i = 0; i < len; i++)
		hash = (hash ^ bytes[i]) * 0x100000001b3u;
	return hash;
}

bool is_set_id(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && (st.st_mode & (S_ISUID | S_ISGID));
}

void parent_of(const char *path, char *ret)
{
	size_t len = strlen(path);

	while (len > 1 && path[len - 1] == '/')
		len--;
	while (len > 1 && path[len - 1] != '/')
		len--;
	while (len > 1 && path[len - 1] == '/')
		len--;
	memcpy(ret, path, len);
	ret[len] = '\0';
}

void side_become(unsigned who)
{
	static const struct {
		uid_t uid;
		gid_t gid;
		size_t group_count;
		gid_t groups[2];
	} users[] = {
		{0, 0, 0, {0}},
		{1000, 1000, 2, {1000, 2000}},
		{1001, 1001, 0, {0}},
		{1000, 2000, 0, {0}},
		{1001, 1000, 1, {0}},
	};

	/* Only this thread: the calls of libc change all of them. Back to root first, which may do
	 * it. A failure shows as a difference. */
	(void)syscall(SYS_setresuid, -1, 0, -1);
	(void)syscall(SYS_setgroups, users[who].group_count, users[who].groups);
	(void)syscall(SYS_setresgid, -1, users[who].gid, -1);
	(void)syscall(SYS_setresuid, -1, users[who].uid, -1);
}

long side_in_child(
	struct side *side, const struct step *step, long (*fn)(struct side *, const struct step *))
{
	pid_t pid = fork();
	int status;

	if (pid < 0)
		return -errno;
	if (pid == 0)
		_exit((int)fn(side, step) & 255); /* nothing of the parent's buffers is written */
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}
