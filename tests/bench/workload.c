// SPDX-License-Identifier: Apache-2.0
/*
 * bench_workload ROW ARGUMENT...: one row of the benchmark on one directory. run.py measures the
 * process (wall, CPU) and the filesystem's server beside it; this program prints only what must be
 * timed inside, as "name value" lines.
 */
#include "workload.h"

#include "base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

int workload_failed(int error, const char *what)
{
	(void)fprintf(stderr, "bench_workload: %s: %s\n", what, strerror(error));
	return -error;
}

unsigned long workload_number(const char *text)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (*end || end == text) {
		(void)fprintf(stderr, "bench_workload: \"%s\" is not a number\n", text);
		exit(2);
	}
	return n;
}

static int read_all(int fd, char *text, size_t size)
{
	for (size_t done = 0; done < size;) {
		ssize_t n = read(fd, text + done, size - done);

		if (n <= 0)
			return n ? -errno : -EIO;
		done += (size_t)n;
	}
	return 0;
}

static int split_lines(struct path_list *l, size_t size)
{
	size_t lines = 0;

	for (size_t i = 0; i < size; i++)
		lines += l->text[i] == '\n';
	l->path = calloc(lines ? lines : 1, sizeof(*l->path));
	if (!l->path)
		return -ENOMEM;
	for (char *at = l->text, *end; (end = strchr(at, '\n')); at = end + 1) {
		*end = '\0';
		l->path[l->count++] = at;
	}
	return 0;
}

int path_list_load(struct path_list *l, const char *dir, const char *file)
{
	_cleanup_close_ int fd = open(file, O_RDONLY | O_CLOEXEC);
	struct stat st;
	int r;

	*l = (struct path_list){0};
	if (fd < 0 || fstat(fd, &st) < 0)
		return workload_failed(errno, file);
	l->text = calloc(1, (size_t)st.st_size + 1);
	if (!l->text)
		return workload_failed(ENOMEM, file);
	r = read_all(fd, l->text, (size_t)st.st_size);
	if (r == 0)
		r = split_lines(l, (size_t)st.st_size);
	if (r == 0 && l->count == 0)
		r = -ENODATA;
	if (r == 0 && chdir(dir) < 0)
		r = -errno;
	if (r < 0) {
		path_list_fini(l);
		return workload_failed(-r, file);
	}
	return 0;
}

void path_list_fini(struct path_list *l)
{
	free(l->path);
	free(l->text);
	*l = (struct path_list){0};
}

static const struct workload *const tables[] = {
	workload_reads, workload_writes, workload_floor, workload_nullfs};

static const struct workload *find(const char *name)
{
	for (unsigned i = 0; i < sizeof(tables) / sizeof(*tables); i++)
		for (const struct workload *w = tables[i]; w->name; w++)
			if (strcmp(w->name, name) == 0)
				return w;
	return NULL;
}

static int usage(void)
{
	for (unsigned i = 0; i < sizeof(tables) / sizeof(*tables); i++)
		for (const struct workload *w = tables[i]; w->name; w++)
			(void)fprintf(stderr, "bench_workload %s %s\n", w->name, w->usage);
	return 2;
}

int main(int argc, char **argv)
{
	const struct workload *w;

	if (argc < 2)
		return usage();
	w = find(argv[1]);
	if (!w || argc != 2 + w->args)
		return usage();
	return w->run(argv + 2) == 0 ? 0 : 1;
}
