// SPDX-License-Identifier: Apache-2.0
/*
 * Guards an LMDB environment against a second process, crashes of the machine and damage.
 *
 *	DIR.lock            flock'ed while open; holds the pid. Beside DIR: it stays when DIR moves.
 *A holder that was killed and cannot end uses it no more. DIR/state           of a cache:
 *"boot=<id> state=<open|clean|damaged> kills=<n>", written before the first write, after the last
 *sync, and on damage. DIR.damaged-<time>  a cache that was set aside; only the newest is kept.
 *
 * A cache runs without fsync (MDB_NOSYNC). That survives a crash of the process, because the kernel
 * has all writes, but not one of the machine: if `state` says "open" under another boot id, the
 * cache is not trusted. A start after a kill must be fast, so it makes the short check only; after
 * two kills in a row the file itself may be what kills us, and all of it is checked.
 */
#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/process.h"
#include "kv/kv_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define STATE_FILE   "state"
#define DATA_FILE    "data.mdb"
#define READERS_FILE "lock.mdb"
#define READERS_BYTES \
	(64u << 10) /* LMDB wants some 32 KiB for KV_READERS, and takes what is there */
#define BOOT_ID_FILE  "/proc/sys/kernel/random/boot_id"
#define BOOT_ID_BYTES 36
#define KILLS_CHECK   2 /* ends without a close in a row, after which the whole file is checked */

struct past {
	bool trusted;
	unsigned kills; /* ends without a close since the last clean one or whole check */
};

static const char *const state_word[] = {
	[KV_STATE_OPEN] = "open",
	[KV_STATE_CLEAN] = "clean",
	[KV_STATE_DAMAGED] = "damaged",
};

int kv_guard_lock(const char *dir, int *ret_fd, struct err *e)
{
	_cleanup_free_ char *path = NULL;
	_cleanup_close_ int fd = -1;
	char pid[24] = {0};

	if (asprintf(&path, "%s.lock", dir) < 0)
		return path = NULL, err_set(e, -ENOMEM, NULL, "no memory");
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_wrap(e, -errno, "open %s", path);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK)
			return err_wrap(e, -errno, "lock %s", path);
		if (pread(fd, pid, sizeof(pid) - 1, 0) < 0)
			pid[0] = '\0';
		pid[strcspn(pid, "\n")] = '\0';
		if (!process_half_dead((pid_t)strtol(pid, NULL, 10)))
			return err_set(e, -EBUSY, "STORE_BUSY",
				"%s is in use by process %s; stop it first, or use another "
				"data_dir",
				dir, pid[0] ? pid : "(unknown)");
	}
	(void)snprintf(pid, sizeof(pid), "%ld\n", (long)getpid());
	/* The pid is only for the message above: a full disk must not keep us from starting. */
	if (ftruncate(fd, 0) == 0)
		(void)io_pwrite_full(fd, pid, strlen(pid), 0);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static void boot_id(char id[BOOT_ID_BYTES + 1])
{
	_cleanup_close_ int fd = open(BOOT_ID_FILE, O_RDONLY | O_CLOEXEC);

	/* Unknown never equals what is stored: "?" is refused by state_trusted(). */
	if (fd < 0 || io_read_full(fd, id, BOOT_ID_BYTES) < 0)
		id[0] = '?', id[1] = '\0';
	else
		id[BOOT_ID_BYTES] = '\0';
}

/* What the last run left. No answer (memory, permissions) is an error, not distrust: a good cache
 * must not be lost over it. */
static int read_state(const char *dir, struct past *ret_past)
{
	_cleanup_free_ char *path = NULL;
	_cleanup_free_ char *text = NULL;
	char now[BOOT_ID_BYTES + 1], then[BOOT_ID_BYTES + 1], state[8];
	struct past past = {0};
	size_t len;
	int r;

	*ret_past = past;
	if (asprintf(&path, "%s/" STATE_FILE, dir) < 0)
		return path = NULL, -ENOMEM;
	r = io_read_file(AT_FDCWD, path, 256, &text, &len);
	if (r == -ENOENT || r == -EFBIG)
		return 0;
	if (r < 0)
		return r;
	if (sscanf(text, "boot=%36s state=%7s kills=%u", then, state, &past.kills) != 3)
		return 0;
	boot_id(now);
	past.trusted = strcmp(state, state_word[KV_STATE_CLEAN]) == 0;
	if (strcmp(state, state_word[KV_STATE_OPEN]) == 0) {
		past.trusted = now[0] != '?' && strcmp(now, then) == 0;
		past.kills++;
	}
	*ret_past = past;
	return 0;
}

/* Over what is there, which has the same length and lies within a sector: so it needs no room, and
 * is the old or the new one. False: it could not be done so. */
static bool mark_in_place(int dirfd, const char *text, size_t len)
{
	_cleanup_close_ int fd = openat(dirfd, STATE_FILE, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	return fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == (off_t)len &&
	       io_pwrite_full(fd, text, len, 0) == 0 && fdatasync(fd) == 0;
}

int kv_guard_mark(const char *dir, enum kv_state state, unsigned kills)
{
	_cleanup_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char id[BOOT_ID_BYTES + 1], text[80];
	int r;

	if (fd < 0)
		return -errno;
	boot_id(id);
	(void)snprintf(text, sizeof(text), "boot=%-36s state=%-6s kills=%-10u\n", id,
		state_word[state], kills); /* of one length; it fits */
	if (mark_in_place(fd, text, strlen(text)))
		return 0;
	r = io_write_file(fd, STATE_FILE, text, strlen(text), 0600, true);
	/* Without room for it, no state at all is the safe one: it reads as "do not trust". */
	if (r == -ENOSPC || r == -EDQUOT)
		r = unlinkat(fd, STATE_FILE, 0) == 0 || errno == ENOENT ? io_fsync_dir(fd, ".")
									: -errno;
	return r;
}

int kv_guard_inspect(const char *dir, enum kv_mode mode, unsigned *ret_kills, const char **ret_why)
{
	_cleanup_free_ char *path = NULL;
	_cleanup_close_ int fd = -1;
	struct past past;
	struct stat st;
	int r;

	*ret_kills = 0;
	if (asprintf(&path, "%s/" DATA_FILE, dir) < 0)
		return path = NULL, -ENOMEM;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	/* LMDB creates the file before it writes the first pages: a crash in between leaves it
	 * empty, and LMDB starts anew. */
	if (st.st_size == 0)
		return 0;
	/* A journal is small and precious: always all of it. */
	if (mode == KV_DURABLE)
		return kv_check_file(fd, (uint64_t)st.st_size, true, ret_why);
	r = read_state(dir, &past);
	if (r < 0)
		return r;
	if (!past.trusted) {
		*ret_why = "damaged, or open when the machine stopped";
		return -EIO;
	}
	*ret_kills = past.kills < KILLS_CHECK ? past.kills : 0;
	return kv_check_file(fd, (uint64_t)st.st_size, past.kills >= KILLS_CHECK, ret_why);
}

int kv_guard_allocate(const char *dir)
{
	_cleanup_free_ char *path = NULL;
	_cleanup_close_ int fd = -1;
	struct stat st;

	if (asprintf(&path, "%s/" READERS_FILE, dir) < 0)
		return path = NULL, -ENOMEM;
	fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	/* what is there already has the length that LMDB wants */
	return -posix_fallocate(fd, 0, st.st_size ? st.st_size : READERS_BYTES);
}

/* Remove what earlier damages left beside DIR: nothing may pile up. */
static int remove_older(int parent_fd, const char *prefix)
{
	int fd = openat(parent_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	int r = 0;

	if (!d) {
		r = -errno;
		if (fd >= 0)
			(void)close(fd); /* read only: nothing to lose */
		return r;
	}
	for (const struct dirent *de; r == 0 && (de = readdir(d));)
		if (strncmp(de->d_name, prefix, strlen(prefix)) == 0)
			r = io_remove_tree(parent_fd, de->d_name);
	(void)closedir(d);
	return r;
}

/* Where DIR lies, its name there, and how what was set aside of it is called. Freed by the caller.
 */
static int open_parent(const char *dir, const char **ret_name, char **ret_prefix)
{
	_cleanup_free_ char *parent = strdup(dir);
	const char *name = strrchr(dir, '/');
	int fd;

	if (!parent)
		return -ENOMEM;
	name = name ? name + 1 : dir;
	parent[name - dir] = '\0';
	fd = open(parent[0] ? parent : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (asprintf(ret_prefix, "%s.damaged-", name) < 0) {
		(void)close(fd); /* a directory */
		*ret_prefix = NULL;
		return -ENOMEM;
	}
	*ret_name = name;
	return fd;
}

int kv_guard_drop_aside(const char *dir)
{
	_cleanup_free_ char *prefix = NULL;
	const char *name;
	_cleanup_close_ int parent_fd = open_parent(dir, &name, &prefix);

	return parent_fd < 0 ? parent_fd : remove_older(parent_fd, prefix);
}

int kv_guard_set_aside(const char *dir, struct err *e)
{
	_cleanup_free_ char *prefix = NULL, *target = NULL;
	const char *name;
	_cleanup_close_ int parent_fd = open_parent(dir, &name, &prefix);
	int r;

	if (parent_fd < 0)
		return err_wrap(e, parent_fd, "open the directory of %s", dir);
	if (asprintf(&target, "%s%lld", prefix, (long long)time(NULL)) < 0)
		return target = NULL, err_set(e, -ENOMEM, NULL, "no memory");
	r = remove_older(parent_fd, prefix);
	if (r < 0)
		return err_wrap(e, r, "remove older %s*", prefix);
	if (renameat(parent_fd, name, parent_fd, target) < 0)
		return err_wrap(e, -errno, "move %s to %s", dir, target);
	r = io_fsync_dir(parent_fd, ".");
	if (r < 0)
		return err_wrap(e, r, "sync the directory of %s", dir);
	if (mkdir(dir, 0700) < 0)
		return err_wrap(e, -errno, "create %s", dir);
	return 0;
}
