/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A directory of 100,000 names that others change while it is listed.
 *
 *	coppice_big_dir DIR COUNT
 *
 * DIR has some files already ("source...", from a lower layer or not); this program makes more of
 * them, up to COUNT. Then, while a child makes, renames and removes names of its own, it is listed,
 * left in the middle with telldir, wound back, and taken up again with seekdir. Names that nobody
 * touches must each come exactly once, whatever happens around them, and a name that comes and goes
 * at most once in a pass for each time that it was made. Exit status 0, or 1 with what was wrong.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define PASSES  3
#define CHURN   400u /* names of the child */
#define MARKS   64u  /* places that are gone back to in a pass */
#define KIND_AT 6    /* "stable" and "source" are as long */

struct names {
	uint8_t *seen; /* of "stableN" and "sourceN": how often */
	size_t count;
};

_Noreturn static void fail(const char *what, const char *name)
{
	(void)fprintf(stderr, "big_dir: %s: %s (%s)\n", what, name, strerror(errno));
	exit(1);
}

static void make(int dir, const char *kind, size_t n)
{
	char name[32];
	int fd;

	(void)snprintf(name, sizeof(name), "%s%zu", kind, n); /* fits */
	fd = openat(dir, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0)
		fail("cannot make", name);
	(void)close(fd);
}

/* Until it is killed. */
_Noreturn static void churn(int dir)
{
	char from[32], to[32];

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (size_t round = 0;; round++) {
		size_t n = round % CHURN;

		(void)snprintf(from, sizeof(from), "churn%zu", n);
		(void)snprintf(to, sizeof(to), "churn-moved%zu", n);
		make(dir, "churn", n);
		if (renameat(dir, from, dir, to) < 0)
			_exit(1);
		if (round >= CHURN / 2) { /* one that was moved half a round ago */
			(void)snprintf(to, sizeof(to), "churn-moved%zu", (n + CHURN / 2) % CHURN);
			(void)unlinkat(dir, to, 0); /* or it is not there yet */
		}
	}
}

/* The number of a name that stays; SIZE_MAX for others. */
static size_t number_of(const char *name, size_t count)
{
	char *end;
	unsigned long n;

	if (strncmp(name, "stable", KIND_AT) != 0 && strncmp(name, "source", KIND_AT) != 0)
		return SIZE_MAX;
	n = strtoul(name + KIND_AT, &end, 10);
	return *end || n >= count ? SIZE_MAX : n;
}

static void note(struct names *names, const char *name)
{
	size_t n = number_of(name, names->count);

	if (n != SIZE_MAX && names->seen[n]++)
		fail("listed twice", name);
}

/* Lists all; goes back to the places that it remembered on the way, where what came next then must
 * come again. */
static void list_with_jumps(DIR *d, struct names *names)
{
	struct {
		long at;
		char next[64];
	} marks[MARKS];
	size_t count = 0, passed = 0, every = names->count / MARKS + 1;
	struct dirent *e;
	long here = telldir(d);

	memset(names->seen, 0, names->count);
	while ((errno = 0, e = readdir(d))) {
		note(names, e->d_name);
		if (passed++ % every == 0 && count < MARKS &&
			number_of(e->d_name, names->count) != SIZE_MAX) {
			marks[count].at = here;
			(void)snprintf(
				marks[count].next, sizeof(marks[count].next), "%s", e->d_name);
			count++;
		}
		here = telldir(d);
	}
	if (errno)
		fail("readdir", "");
	for (size_t n = 0; n < names->count; n++)
		if (!names->seen[n]) {
			char text[32];

			(void)snprintf(text, sizeof(text), "number %zu", n);
			fail("not listed", text);
		}
	for (size_t i = count; i-- > 0;) { /* backwards, so that each is a jump */
		seekdir(d, marks[i].at);
		do /* what was made since may stand before it */
			e = readdir(d);
		while (e && number_of(e->d_name, names->count) == SIZE_MAX);
		if (!e || strcmp(e->d_name, marks[i].next) != 0)
			fail("after seekdir another name came than", marks[i].next);
	}
}

static size_t count_sources(int dir)
{
	char name[32];
	size_t n = 0;

	do
		(void)snprintf(name, sizeof(name), "source%zu", n);
	while (faccessat(dir, name, F_OK, 0) == 0 && ++n);
	return n;
}

int main(int argc, char **argv)
{
	struct names names = {.count = argc == 3 ? strtoul(argv[2], NULL, 10) : 0};
	DIR *d = names.count ? opendir(argv[1]) : NULL;
	size_t sources;
	pid_t child;

	if (!d)
		fail("usage: big_dir DIR COUNT", argc > 1 ? argv[1] : "");
	names.seen = calloc(names.count, 1);
	if (!names.seen)
		fail("memory", "");
	sources = count_sources(dirfd(d));
	for (size_t n = sources; n < names.count; n++)
		make(dirfd(d), "stable", n);
	child = fork();
	if (child == 0)
		churn(dirfd(d));
	for (unsigned pass = 0; pass < PASSES; pass++) {
		rewinddir(d);
		list_with_jumps(d, &names);
	}
	if (waitpid(child, NULL, WNOHANG) != 0)
		fail("the other process has ended", "");
	(void)kill(child, SIGKILL);
	(void)waitpid(child, NULL, 0);
	(void)printf("%zu names, %zu of them from the sources\n", names.count, sources);
	(void)closedir(d);
	free(names.seen);
	return 0;
}
