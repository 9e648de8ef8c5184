/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who uses a workspace: every process that has a file of it open or mapped, or stands in a
 * directory of it. Found in /proc alone: the links there are text that the kernel makes without
 * asking a file system, so nothing here can hang on a mount, and the mount table of each process
 * says which path is ours, in containers too. Paths of one process are read at different moments;
 * what comes or goes meanwhile may be missed.
 *
 * Any thread; some milliseconds per hundred processes.
 */
#include "session/device.h"
#include "session/mountinfo.h"

#include "fuse/session.h"

#include <base/cleanup.h>
#include <base/io.h>
#include <base/path.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PLACES_MAX   4096u
#define SEEN_MAX     64u /* workspaces of one process that are reported */
#define NAME_MAX_LEN 255u
#define FILE_MAX     ((size_t)64 << 20)

/* A mount of ours in some process's view. */
struct place {
	unsigned major, minor;
	char *path, *root; /* where it is; which directory of the session is shown there */
};

struct walk {
	int (*fn)(void *arg, const struct sess_holder *h);
	void *arg;
	char namespace[64]; /* whose mounts `places` has */
	struct place *places;
	unsigned count;

	/* the process at hand */
	int proc_fd;
	struct sess_holder holder;
	char command[32];
	char seen[SEEN_MAX][NAME_MAX_LEN + 1];
	unsigned seen_minor[SEEN_MAX], seen_count;
};

static void close_dir(DIR **d)
{
	if (*d)
		(void)closedir(*d); /* it was only read */
}

/* ---- the mounts of a process ---- */

static void forget_places(struct walk *w)
{
	for (unsigned i = 0; i < w->count; i++) {
		free(w->places[i].path);
		free(w->places[i].root);
	}
	w->count = 0;
}

static int add_place(void *arg, const struct mount_point *m)
{
	struct walk *w = arg;
	struct place *grown, p = {.major = m->major, .minor = m->minor};

	if (strcmp(m->fstype, DEVICE_FSTYPE) != 0 || w->count == PLACES_MAX)
		return 0;
	grown = reallocarray(w->places, w->count + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	w->places = grown;
	p.path = strdup(m->path);
	p.root = strdup(m->root);
	w->places[w->count++] = p; /* freed with the others, also half made */
	return p.path && p.root ? 0 : -ENOMEM;
}

/* Most processes share the mounts of the one before. */
static int read_places(struct walk *w, const char *pid)
{
	char path[32], name[sizeof(w->namespace)];
	ssize_t len = readlinkat(w->proc_fd, "ns/mnt", name, sizeof(name) - 1);

	if (len < 0)
		return -errno;
	name[len] = '\0';
	if (strcmp(name, w->namespace) == 0)
		return 0;
	forget_places(w);
	(void)snprintf(w->namespace, sizeof(w->namespace), "%s", name);   /* same size */
	(void)snprintf(path, sizeof(path), "/proc/%.10s/mountinfo", pid); /* fits */
	return mountinfo_each_in(path, add_place, w);
}

/* ---- one path ---- */

static const struct place *place_of(const struct walk *w, const char *path)
{
	const struct place *best = NULL;

	for (unsigned i = 0; i < w->count; i++)
		if (mountinfo_below(path, w->places[i].path) &&
			(!best || strlen(w->places[i].path) >= strlen(best->path)))
			best = &w->places[i];
	return best;
}

/* The first name of root + rest, which is the workspace's; false: the session's own directory. */
static bool workspace_of(const struct place *p, const char *path, char name[NAME_MAX_LEN + 1])
{
	const char *from = p->root[1] ? p->root : path + strlen(p->path);
	size_t len;

	while (*from == '/')
		from++;
	len = strcspn(from, "/");
	if (!len || len > NAME_MAX_LEN)
		return false;
	memcpy(name, from, len);
	name[len] = '\0';
	return true;
}

static bool is_new(struct walk *w, unsigned minor_number, const char *name)
{
	for (unsigned i = 0; i < w->seen_count; i++)
		if (w->seen_minor[i] == minor_number && strcmp(w->seen[i], name) == 0)
			return false;
	if (w->seen_count == SEEN_MAX)
		return false;
	w->seen_minor[w->seen_count] = minor_number;
	(void)snprintf(w->seen[w->seen_count++], sizeof(w->seen[0]), "%s", name); /* fits */
	return true;
}

static int report(struct walk *w, const char *path, const char *how)
{
	char name[NAME_MAX_LEN + 1];
	const struct place *p = place_of(w, path);

	if (!p || !workspace_of(p, path, name) || !is_new(w, p->minor, name))
		return 0;
	w->holder.major = p->major;
	w->holder.minor = p->minor;
	w->holder.workspace = name;
	w->holder.how = how;
	return w->fn(w->arg, &w->holder);
}

static int look_at_link(struct walk *w, int dir_fd, const char *link, const char *how)
{
	char path[PATH_MAX];
	ssize_t len = readlinkat(dir_fd, link, path, sizeof(path) - 1);

	if (len <= 0)
		return 0; /* it has gone, or is a kernel thread's */
	path[len] = '\0';
	return path[0] == '/' ? report(w, path, how) : 0;
}

/* ---- one process ---- */

static int look_at_descriptors(struct walk *w)
{
	int fd = openat(w->proc_fd, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CLEANUP(close_dir) DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	int r = 0;

	if (!dir) {
		if (fd >= 0)
			(void)close(fd); /* a directory */
		return 0;                /* the process has ended */
	}
	for (const struct dirent *e; r == 0 && (e = readdir(dir));)
		if (e->d_name[0] != '.')
			r = look_at_link(w, dirfd(dir), e->d_name, "open");
	return r;
}

static int look_at_maps(struct walk *w)
{
	_cleanup_free_ char *text = NULL;
	char *rest, *line;
	size_t len;
	int r = 0;

	if (io_read_file(w->proc_fd, "maps", FILE_MAX, &text, &len) < 0)
		return 0; /* the process has ended, or is out of all proportion */
	rest = text;
	while (r == 0 && (line = strsep(&rest, "\n"))) {
		char *path = strchr(line, '/');

		if (path)
			r = report(w, path, "mapped");
	}
	return r;
}

static void read_command(struct walk *w)
{
	_cleanup_free_ char *text = NULL;
	size_t len;

	w->command[0] = '\0';
	if (io_read_file(w->proc_fd, "comm", 256, &text, &len) == 0)
		(void)snprintf(w->command, sizeof(w->command), "%.*s", (int)strcspn(text, "\n"),
			text); /* cut to fit */
}

static int look_at_process(struct walk *w, const char *pid)
{
	static const struct {
		const char *link, *how;
	} links[] = {{"cwd", "directory"}, {"root", "root"}, {"exe", "program"}};
	struct stat st;
	int r = read_places(w, pid);

	if (r < 0)
		return r == -ENOMEM ? r : 0; /* it has ended meanwhile */
	if (!w->count || fstat(w->proc_fd, &st) < 0)
		return 0;
	read_command(w);
	w->seen_count = 0;
	w->holder = (struct sess_holder){
		.pid = (pid_t)strtol(pid, NULL, 10), .uid = st.st_uid, .command = w->command};
	r = look_at_descriptors(w);
	for (size_t i = 0; r == 0 && i < sizeof(links) / sizeof(links[0]); i++)
		r = look_at_link(w, w->proc_fd, links[i].link, links[i].how);
	return r == 0 ? look_at_maps(w) : r;
}

static int visit(struct walk *w, int dir_fd, const char *pid)
{
	_cleanup_close_ int fd = openat(dir_fd, pid, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return 0; /* it has ended */
	w->proc_fd = fd;
	return look_at_process(w, pid);
}

int sess_each_holder(int (*fn)(void *arg, const struct sess_holder *h), void *arg)
{
	struct walk w = {.fn = fn, .arg = arg};
	CLEANUP(close_dir) DIR *dir = opendir("/proc");
	int r = 0;

	if (!dir)
		return -errno;
	for (const struct dirent *e; r == 0 && (e = readdir(dir));)
		if (e->d_name[0] >= '1' && e->d_name[0] <= '9' &&
			strtol(e->d_name, NULL, 10) != (long)getpid())
			r = visit(&w, dirfd(dir), e->d_name);
	forget_places(&w);
	free(w.places);
	return r;
}
