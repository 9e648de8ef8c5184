// SPDX-License-Identifier: Apache-2.0
/*
 * Guards an LMDB environment against what LMDB does not look for: a second process, a crash of the
 *machine between unsynced writes, and a file that is not what its meta pages say.
 *
 *	DIR.lock		flock'ed while open; holds the pid. Beside DIR, so that it stays
 *when DIR is moved away. DIR/state		"boot=<id> state=<open|clean|damaged>": before the
 *first write, after the last sync, on damage.
 *	DIR/data.mdb		LMDB's file; its two meta pages are read here without mapping it.
 *	DIR.damaged-<time>	a cache that was set aside; only the newest is kept.
 *
 * LMDB keeps no page checksums and maps the file: a truncated one would end in SIGBUS, so its size
 *is compared with the last page in use. A cache runs without fsync (MDB_NOSYNC). That survives a
 *crash of the process, because the kernel has all writes, but not one of the machine: if `state`
 *says "open" under another boot id, it is not trusted.
 */
#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "kv/kv_internal.h"

#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define STATE_FILE    "state"
#define DATA_FILE     "data.mdb"
#define BOOT_ID_FILE  "/proc/sys/kernel/random/boot_id"
#define BOOT_ID_BYTES 36

/* LMDB 0.9's meta page: a page header of 16 bytes, then MDB_meta, in the machine's byte order. */
#define META_MAGIC   0xBEEFC0DEu
#define META_VERSION 1u
#define META_BYTES   (16 + 136)

struct meta {
	uint32_t magic, version, page_bytes;
	uint64_t last_page, txn_id;
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
		return err_set(e, -EBUSY, "STORE_BUSY",
			"%s is in use by process %s; stop it first, or use another data_dir", dir,
			pid[0] ? pid : "(unknown)");
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

/* No answer (memory, permissions) is an error, not distrust: a good cache must not be lost over it.
 */
static int state_trusted(const char *dir, bool *ret_trusted)
{
	_cleanup_free_ char *path = NULL;
	_cleanup_free_ char *text = NULL;
	char now[BOOT_ID_BYTES + 1], then[BOOT_ID_BYTES + 1], state[8];
	size_t len;
	int r;

	*ret_trusted = false;
	if (asprintf(&path, "%s/" STATE_FILE, dir) < 0)
		return path = NULL, -ENOMEM;
	r = io_read_file(AT_FDCWD, path, 256, &text, &len);
	if (r == -ENOENT || r == -EFBIG)
		return 0;
	if (r < 0)
		return r;
	if (sscanf(text, "boot=%36s state=%7s", then, state) != 2)
		return 0;
	boot_id(now);
	if (strcmp(state, state_word[KV_STATE_OPEN]) == 0)
		*ret_trusted = now[0] != '?' && strcmp(now, then) == 0;
	else
		*ret_trusted = strcmp(state, state_word[KV_STATE_CLEAN]) == 0;
	return 0;
}

int kv_guard_mark(const char *dir, enum kv_state state)
{
	_cleanup_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char id[BOOT_ID_BYTES + 1], text[80];
	int r;

	if (fd < 0)
		return -errno;
	boot_id(id);
	(void)snprintf(text, sizeof(text), "boot=%s state=%s\n", id, state_word[state]);
	r = io_write_file(fd, STATE_FILE, text, strlen(text), 0600, true);
	/* Without room for it, no state at all is the safe one: it reads as "do not trust". */
	if (r == -ENOSPC || r == -EDQUOT)
		r = unlinkat(fd, STATE_FILE, 0) == 0 || errno == ENOENT ? io_fsync_dir(fd, ".")
									: -errno;
	return r;
}

static uint32_t get32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static uint64_t get64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static int meta_read(int fd, uint64_t offset, struct meta *ret_meta)
{
	uint8_t page[META_BYTES];
	const uint8_t *m = page + 16;
	int r = io_pread_full(fd, page, sizeof(page), offset);

	if (r < 0)
		return r;
	*ret_meta = (struct meta){
		.magic = get32(m),
		.version = get32(m + 4),
		.page_bytes = get32(m + 24),
		.last_page = get64(m + 120),
		.txn_id = get64(m + 128),
	};
	return 0;
}

static const char *meta_fault(const struct meta *m, uint64_t file_bytes)
{
	if (m->magic != META_MAGIC)
		return "not an LMDB file";
	if (m->version != META_VERSION)
		return "written by another LMDB format";
	if (m->page_bytes < 512 || m->page_bytes > 65536 || (m->page_bytes & (m->page_bytes - 1)))
		return "meta page is damaged";
	if (m->last_page >= UINT64_MAX / m->page_bytes - 1)
		return "meta page is damaged";
	if ((m->last_page + 1) * m->page_bytes > file_bytes)
		return "file is truncated";
	return NULL;
}

/* The finding about an open data file, or NULL. */
static const char *data_fault(int fd, uint64_t file_bytes)
{
	struct meta first, second;
	const char *why;

	if (meta_read(fd, 0, &first) < 0)
		return "file is truncated";
	/* The first page tells the size of pages, thus where the second is. */
	why = meta_fault(&first, UINT64_MAX);
	if (why)
		return why;
	if (meta_read(fd, first.page_bytes, &second) < 0)
		return "file is truncated";
	why = meta_fault(&second, UINT64_MAX);
	if (why)
		return why;
	return meta_fault(second.txn_id > first.txn_id ? &second : &first, file_bytes);
}

int kv_guard_inspect(const char *dir, enum kv_mode mode, const char **ret_why)
{
	_cleanup_free_ char *path = NULL;
	_cleanup_close_ int fd = -1;
	struct stat st;
	const char *why;
	bool trusted;

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
	why = data_fault(fd, (uint64_t)st.st_size);
	if (!why && mode == KV_CACHE) {
		int r = state_trusted(dir, &trusted);

		if (r < 0)
			return r;
		if (!trusted)
			why = "damaged, or not closed before the machine stopped";
	}
	if (!why)
		return 0;
	*ret_why = why;
	return -EIO;
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

int kv_guard_set_aside(const char *dir, struct err *e)
{
	_cleanup_free_ char *parent = strdup(dir);
	_cleanup_free_ char *prefix = NULL, *target = NULL;
	_cleanup_close_ int parent_fd = -1;
	const char *name = strrchr(dir, '/');
	int r;

	if (!parent)
		return err_set(e, -ENOMEM, NULL, "no memory");
	name = name ? name + 1 : dir;
	parent[name - dir] = '\0';
	if (asprintf(&prefix, "%s.damaged-", name) < 0)
		return prefix = NULL, err_set(e, -ENOMEM, NULL, "no memory");
	if (asprintf(&target, "%s%lld", prefix, (long long)time(NULL)) < 0)
		return target = NULL, err_set(e, -ENOMEM, NULL, "no memory");
	parent_fd = open(parent[0] ? parent : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (parent_fd < 0)
		return err_wrap(e, -errno, "open the directory of %s", dir);
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
