// SPDX-License-Identifier: Apache-2.0
/*
 * Workloads that change nothing: walks with stat, reading of all, lstat by path, names that are not
 * there, opening at random from several threads.
 */
#include "workload.h"

#include "base/cleanup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define READ_SIZE (128u << 10)
#define DEPTH_MAX 128

/* What a walk does with the regular files it finds. */
struct walk {
	char *buf; /* NULL: only stat */
	uint64_t entries, bytes;
};

static int read_file(struct walk *w, int dir_fd, const char *name)
{
	_cleanup_close_ int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return workload_failed(errno, name);
	while ((n = read(fd, w->buf, READ_SIZE)) > 0)
		w->bytes += (uint64_t)n;
	return n < 0 ? workload_failed(errno, name) : 0;
}

static int walk(struct walk *w, int dir_fd, unsigned depth);

static int visit(struct walk *w, int dir_fd, const char *name, unsigned depth)
{
	struct stat st;

	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return workload_failed(errno, name);
	w->entries++;
	if (S_ISREG(st.st_mode) && w->buf)
		return read_file(w, dir_fd, name);
	if (!S_ISDIR(st.st_mode))
		return 0;
	int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? workload_failed(errno, name) : walk(w, fd, depth + 1);
}

/* Takes dir_fd over. */
static int walk(struct walk *w, int dir_fd, unsigned depth)
{
	DIR *d = depth < DEPTH_MAX ? fdopendir(dir_fd) : NULL;
	struct dirent *e;
	int r = 0;

	if (!d) {
		(void)close(dir_fd); /* opened for reading */
		return workload_failed(depth < DEPTH_MAX ? errno : ELOOP, "directory");
	}
	while (r == 0 && (errno = 0, e = readdir(d)))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			r = visit(w, dirfd(d), e->d_name, depth);
	if (r == 0 && errno)
		r = workload_failed(errno, "readdir");
	(void)closedir(d); /* opened for reading */
	return r;
}

static int walk_passes(const char *root, const char *passes, bool read)
{
	_cleanup_free_ char *buf = read ? malloc(READ_SIZE) : NULL;
	struct walk w = {.buf = buf};
	int r = 0;

	if (read && !buf)
		return workload_failed(ENOMEM, "buffer");
	for (unsigned long n = workload_number(passes); n > 0 && r == 0; n--) {
		int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		r = fd < 0 ? workload_failed(errno, root) : walk(&w, fd, 0);
	}
	printf("entries %" PRIu64 "\nbytes %" PRIu64 "\n", w.entries, w.bytes);
	return r;
}

static int run_find(char **args)
{
	return walk_passes(args[0], args[1], false);
}

static int run_read(char **args)
{
	return walk_passes(args[0], args[1], true);
}

static int run_lstat(char **args)
{
	CLEANUP(path_list_fini) struct path_list l;
	int r = path_list_load(&l, args[0], args[1]);
	struct stat st;

	for (unsigned long n = r ? 0 : workload_number(args[2]); n > 0; n--)
		for (size_t i = 0; i < l.count; i++)
			if (lstat(l.path[i], &st) < 0)
				return workload_failed(errno, l.path[i]);
	return r;
}

/* COUNT absent names, as many in each directory as in any other, in the order of a search path. */
static int run_negative(char **args)
{
	CLEANUP(path_list_fini) struct path_list l;
	int r = path_list_load(&l, args[0], args[1]);
	unsigned long count = workload_number(args[2]);
	char path[4200];
	struct stat st;

	for (unsigned long n = r ? 0 : workload_number(args[3]); n > 0; n--)
		for (unsigned long i = 0; i < count; i++) {
			(void)snprintf(path, sizeof(path), "%s/absent-%lu.h", l.path[i % l.count],
				i / l.count);
			if (lstat(path, &st) == 0 || errno != ENOENT)
				return workload_failed(errno ? errno : EEXIST, path);
		}
	return r;
}

/* One thread of `opens`. */
struct opener {
	pthread_t thread;
	const struct path_list *paths; /* shared, const */
	uint64_t state;
	unsigned long count;
	int result;
};

static void *open_at_random(void *arg)
{
	struct opener *o = arg;
	char buf[4096];

	for (unsigned long i = 0; i < o->count; i++) {
		o->state = o->state * 6364136223846793005ull + 1442695040888963407ull;
		const char *path = o->paths->path[(o->state >> 33) % o->paths->count];
		_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);

		if (fd < 0 || read(fd, buf, sizeof(buf)) < 0) {
			o->result = workload_failed(errno, path);
			return NULL;
		}
	}
	return NULL;
}

static int run_opens(char **args)
{
	CLEANUP(path_list_fini) struct path_list l;
	int r = path_list_load(&l, args[0], args[1]);
	unsigned long threads = workload_number(args[2]), count = workload_number(args[3]);
	_cleanup_free_ struct opener *o = calloc(threads ? threads : 1, sizeof(*o));
	unsigned long started = 0;

	if (r < 0)
		return r;
	for (; o && started < threads; started++) {
		o[started] = (struct opener){
			.paths = &l, .state = started + 1, .count = count / threads};
		r = pthread_create(&o[started].thread, NULL, open_at_random, &o[started]);
		if (r)
			break;
	}
	if (!o || r)
		r = workload_failed(o ? r : ENOMEM, "threads");
	for (unsigned long i = 0; i < started; i++) {
		(void)pthread_join(o[i].thread, NULL); /* cannot fail: started above */
		r = r ? r : o[i].result;
	}
	return r;
}

const struct workload workload_reads[] = {
	{"find", "DIR PASSES", 2, run_find},
	{"read", "DIR PASSES", 2, run_read},
	{"lstat", "DIR LIST PASSES", 3, run_lstat},
	{"negative", "DIR LIST-OF-DIRECTORIES COUNT PASSES", 4, run_negative},
	{"opens", "DIR LIST THREADS COUNT", 4, run_opens},
	{0},
};
