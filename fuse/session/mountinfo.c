/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /proc/self/mountinfo (see proc(5)): one mount per line, in order of mounting, with spaces and the
 * like in paths as octal escapes. A path in it is compared as text and handed to umount2; it is
 * never opened, because a dead or busy mount of ours would answer or hang.
 */
#include "session/mountinfo.h"

#include "session/device.h"

#include <base/cleanup.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

static void close_file(FILE **f)
{
	if (*f)
		(void)fclose(*f); /* it was only read */
}

static bool is_octal(char c)
{
	return c >= '0' && c <= '7';
}

static void unescape(char *s)
{
	char *out = s;

	for (; *s; out++) {
		if (s[0] == '\\' && is_octal(s[1]) && is_octal(s[2]) && is_octal(s[3])) {
			*out = (char)((s[1] - '0') * 64 + (s[2] - '0') * 8 + (s[3] - '0'));
			s += 4;
		} else {
			*out = *s++;
		}
	}
	*out = '\0';
}

bool mountinfo_parse(char *line, struct mount_point *ret_mount)
{
	struct mount_point m = {0};
	char *field[5], *rest = line, *tail;

	line[strcspn(line, "\n")] = '\0';
	for (unsigned i = 0; i < 5; i++) {
		field[i] = strsep(&rest, " ");
		if (!field[i] || !rest)
			return false;
	}
	if (sscanf(field[2], "%u:%u", &m.major, &m.minor) != 2)
		return false;
	/* Optional fields end with a lone dash; then type, source, options. */
	tail = strncmp(rest, "- ", 2) == 0 ? rest : strstr(rest, " - ");
	if (!tail)
		return false;
	tail = strchr(tail, '-') + 2;
	m.fstype = strsep(&tail, " ");
	m.source = tail ? strsep(&tail, " ") : NULL;
	if (!m.fstype || !*m.fstype || !m.source)
		return false;
	m.root = field[3];
	m.path = field[4];
	unescape(m.root);
	unescape(m.path);
	unescape(m.source);
	*ret_mount = m;
	return true;
}

bool mountinfo_below(const char *path, const char *dir)
{
	size_t len = strlen(dir);

	while (len > 0 && dir[len - 1] == '/')
		len--;
	return strncmp(path, dir, len) == 0 && (path[len] == '\0' || path[len] == '/');
}

int mountinfo_each_in(
	const char *file, int (*fn)(void *arg, const struct mount_point *m), void *arg)
{
	CLEANUP(close_file) FILE *f = fopen(file, "re");
	_cleanup_free_ char *line = NULL;
	struct mount_point m;
	size_t cap = 0;
	int r;

	if (!f)
		return -errno;
	errno = 0;
	while (getline(&line, &cap, f) >= 0) {
		if (!mountinfo_parse(line, &m))
			return -EPROTO;
		r = fn(arg, &m);
		if (r)
			return r;
	}
	return ferror(f) ? -EIO : 0;
}

int mountinfo_each(int (*fn)(void *arg, const struct mount_point *m), void *arg)
{
	return mountinfo_each_in("/proc/self/mountinfo", fn, arg);
}

/* The path as the kernel tells it: what leads there without symbolic links. The end is not looked
 * at. NULL: no memory. */
static char *as_told(const char *path)
{
	_cleanup_free_ char *parent = strdup(path);
	char *slash = parent ? strrchr(parent, '/') : NULL, *told = NULL;
	char real[PATH_MAX];

	if (!slash || slash == parent || !slash[1])
		return parent ? strdup(path) : NULL;
	*slash = '\0';
	if (!realpath(parent, real)) /* not there: then nothing is mounted there */
		return strdup(path);
	return asprintf(&told, "%s/%s", strcmp(real, "/") == 0 ? "" : real, slash + 1) < 0 ? NULL
											   : told;
}

/* The newest matching mount: the one to take away next. */
struct newest {
	const char *dir;
	char *path;
};

static int remember_newest(void *arg, const struct mount_point *m)
{
	struct newest *n = arg;
	char *copy;

	if (strcmp(m->fstype, DEVICE_FSTYPE) != 0 || !mountinfo_below(m->path, n->dir))
		return 0;
	copy = strdup(m->path);
	if (!copy)
		return -ENOMEM;
	free(n->path);
	n->path = copy;
	return 0;
}

int mountinfo_sweep(const char *dir)
{
	_cleanup_free_ char *told = as_told(dir);
	int count = 0, r;

	if (!told)
		return -ENOMEM;
	/* One at a time, because a detached mount takes those on top of it along. The bound is for
	 * a mount that does not go. */
	while (count < 65536) {
		_cleanup_free_ char *path = NULL;
		struct newest n = {.dir = told};

		r = mountinfo_each(remember_newest, &n);
		path = n.path;
		if (r < 0)
			return r;
		if (!path)
			return count;
		r = device_detach(path);
		if (r < 0 && r != -EINVAL && r != -ENOENT)
			return r;
		count++;
	}
	return -ELOOP;
}

struct aborted {
	const char *dir;
	int count;
};

static int abort_one(void *arg, const struct mount_point *m)
{
	struct aborted *a = arg;

	if (strcmp(m->fstype, DEVICE_FSTYPE) == 0 && mountinfo_below(m->path, a->dir) &&
		device_abort(m->path) == 0)
		a->count++;
	return 0;
}

int mountinfo_abort(const char *dir)
{
	_cleanup_free_ char *told = as_told(dir);
	struct aborted a = {.dir = told};
	int r = told ? mountinfo_each(abort_one, &a) : -ENOMEM;

	return r < 0 ? r : a.count;
}

struct wanted {
	const char *path;
	unsigned major, minor;
	bool found;
};

static int remember_device(void *arg, const struct mount_point *m)
{
	struct wanted *w = arg;

	if (strcmp(m->fstype, DEVICE_FSTYPE) == 0 && strcmp(m->path, w->path) == 0) {
		w->major = m->major;
		w->minor = m->minor;
		w->found = true;
	}
	return 0;
}

int mountinfo_device(const char *path, unsigned *ret_major, unsigned *ret_minor)
{
	_cleanup_free_ char *told = as_told(path);
	struct wanted w = {.path = told};
	int r = told ? mountinfo_each(remember_device, &w) : -ENOMEM;

	if (r < 0)
		return r;
	if (!w.found)
		return -ENOENT;
	*ret_major = w.major;
	*ret_minor = w.minor;
	return 0;
}

static int remember_seal(void *arg, const struct mount_point *m)
{
	struct mount_seals *s = arg;

	if (strcmp(m->path, s->path) != 0)
		return 0;
	s->on_top = strcmp(m->fstype, "tmpfs") == 0 && strcmp(m->source, SEAL_SOURCE) == 0;
	s->any = s->any || s->on_top;
	s->major = m->major;
	s->minor = m->minor;
	return 0;
}

int mountinfo_seals(const char *path, struct mount_seals *ret_seals)
{
	_cleanup_free_ char *told = as_told(path);
	struct mount_seals s = {.path = told};
	int r = told ? mountinfo_each(remember_seal, &s) : -ENOMEM;

	if (r < 0)
		return r;
	s.path = NULL;
	*ret_seals = s;
	return 0;
}
