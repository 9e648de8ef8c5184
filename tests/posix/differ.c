/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The same random steps in two directories that begin equal; what they show must stay equal.
 *
 *	differ --seed N --steps M --left DIR --right DIR [--only 3,17] [--first N] [--whole-every N]
 *	differ --list --seed N --steps M [--only 3,17]
 *
 * Two children make the steps, each in its directory (side.h), and send a text after each step:
 * length, then bytes. This process compares. Exit status: 0 equal, 1 a difference (the step, the
 * texts and the steps before it are printed), 2 something else.
 */
#include "gen.h"
#include "watch.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define RECENT 40
#define OLDEST_NOW                                                                               \
	1750000000 /* later than all times that are set and the commit's; earlier than any clock \
		    */
#define TEXT_MAX (64u << 20)

struct run {
	uint64_t seed;
	unsigned first, steps, whole_every; /* steps: the number after the last one */
	const char *dirs[2];
	unsigned char *only; /* a flag per step; NULL: all */
};

#define EXCUSES_MAX (1u << 20)

/* By class (ids.h): how often ctime has moved on the right only. */
struct excuses {
	uint8_t count[EXCUSES_MAX];
};

struct text {
	char *bytes;
	uint32_t len;
};

/* ---- in a child ---- */

static void look_after(struct side *side, const struct step *step)
{
	unsigned uses = gen_op(step->op)->uses;
	char dir[PATH_CAP];

	if (uses & USES_A) {
		put_stat_at(side, "a", AT_FDCWD, step->a);
		parent_of(step->a, dir);
		put_stat_at(side, "a/..", AT_FDCWD, dir);
	}
	if (uses & USES_B) {
		put_stat_at(side, "b", AT_FDCWD, step->b);
		parent_of(step->b, dir);
		put_stat_at(side, "b/..", AT_FDCWD, dir);
	}
	if (uses & USES_S)
		put_stat_at(side, "s", side->slots[step->s], "");
	if (uses & USES_T)
		put_stat_at(side, "t", side->slots[step->t], "");
}

static void make_step(struct side *side, const struct step *step)
{
	int watch;
	long r;

	(void)umask(step->umask);
	watch = step->watch && (gen_op(step->op)->uses & (USES_A | UNORDERED)) == USES_A
			? watch_begin(step)
			: -1;
	side_become(step->who);
	r = gen_op(step->op)->run(side, step);
	side_become(0);
	(void)fprintf(
		side->out, " -> %ld%s%s", r, r < 0 ? " " : "", r < 0 ? strerror((int)-r) : "");
	watch_end(side, watch);
	(void)fputc('\n', side->out);
	look_after(side, step);
}

static bool send_all(int fd, const void *data, size_t len)
{
	const char *at = data;

	while (len > 0) {
		ssize_t n = write(fd, at, len);

		if (n <= 0)
			return false;
		at += n;
		len -= (size_t)n;
	}
	return true;
}

static bool wanted(const struct run *run, unsigned step)
{
	return step >= run->first && (!run->only || run->only[step]);
}

/* Returns when the parent has heard enough. */
static void make_all(const struct run *run, struct side *side, int to_parent)
{
	for (unsigned i = 0; i <= run->steps; i++) {
		bool last = i == run->steps;
		struct step step;
		struct text text = {0};
		size_t len;

		if (!last && !wanted(run, i))
			continue;
		side->out = open_memstream(&text.bytes, &len);
		if (!side->out)
			return;
		side->no_change = false;
		if (!last) {
			gen_step(run->seed, i, &step);
			make_step(side, &step);
		}
		if (last || i % run->whole_every == run->whole_every - 1)
			put_everything(side);
		if (fclose(side->out) != 0)
			return;
		text.len = (uint32_t)len;
		if (!send_all(to_parent, &text.len, sizeof(text.len)) ||
			!send_all(to_parent, text.bytes, len))
			return;
		free(text.bytes);
	}
}

static _Noreturn void child(const struct run *run, const char *dir, int to_parent)
{
	struct side side = {.ids = ids_new(), .start = OLDEST_NOW};

	for (size_t i = 0; i < SLOTS; i++)
		side.slots[i] = -1;
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGXFSZ, SIG_IGN);
	side.caches = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);
	side.bounce = memfd_create("bounce", MFD_CLOEXEC);
	if (!side.ids || side.bounce < 0 || chroot(dir) < 0 || chdir("/") < 0) {
		perror(dir);
		_exit(2);
	}
	make_all(run, &side, to_parent);
	_exit(0); /* no library has anything to write, and there is no /proc here for a leak checker
		   */
}

/* ---- in the parent ---- */

static bool receive_all(int fd, void *data, size_t len)
{
	char *at = data;

	while (len > 0) {
		ssize_t n = read(fd, at, len);

		if (n <= 0)
			return false;
		at += n;
		len -= (size_t)n;
	}
	return true;
}

static bool receive(int fd, struct text *text)
{
	*text = (struct text){0};
	if (!receive_all(fd, &text->len, sizeof(text->len)) || text->len > TEXT_MAX)
		return false;
	text->bytes = malloc((size_t)text->len + 1);
	if (!text->bytes || !receive_all(fd, text->bytes, text->len)) {
		free(text->bytes);
		text->bytes = NULL;
		return false;
	}
	text->bytes[text->len] = '\0';
	return true;
}

/*
 * What ctime may do in a workspace (docs/posix.md), at a place where the texts differ:
 *	it moves where nothing seems to happen, "c=" and "c>": of a directory, when something in it
 *is copied up; of anything else once or twice, when the kernel forgets it and its number is written
 *down; it stays, "c>" and "c=", when an untouched lower file that is open loses its only name.
 */
static bool excused_ctime(struct excuses *excuses, const char *left, const char *right, size_t at)
{
	size_t line = at;
	unsigned long class;
	const char *number;
	unsigned mode, links;

	if (at < 1 || left[at - 1] != 'c')
		return false;
	while (line > 0 && left[line - 1] != '\n')
		line--;
	number = memrchr(left + line, '#', at - line); /* a name may have one too */
	if (!number || sscanf(number, "#%lu %o %*u:%*u n%u", &class, &mode, &links) != 3 ||
		class >= EXCUSES_MAX)
		return false;
	if (left[at] == '>' && right[at] == '=')
		return links == 0;
	return left[at] == '=' && right[at] == '>' &&
	       (S_ISDIR(mode) || excuses->count[class]++ < 2);
}

/* Blocks of an empty file: the overlay's attributes may need one, and the disk one more for its own
 * bookkeeping. */
static bool excused_blocks(const char *left, const char *right, size_t at)
{
	while (at > 0 && isdigit((unsigned char)left[at]))
		at--;
	if (at == 0 || left[at] != 'b' || left[at - 1] != ' ')
		return false;
	return labs(strtol(left + at + 1, NULL, 10) - strtol(right + at + 1, NULL, 10)) <= 2;
}

static bool excused(struct excuses *excuses, const char *left, const char *right, size_t at)
{
	return excused_ctime(excuses, left, right, at) || excused_blocks(left, right, at);
}

static bool equal(struct excuses *excuses, const struct text *left, const struct text *right)
{
	if (left->len != right->len)
		return false;
	if (memcmp(left->bytes, right->bytes, left->len) == 0)
		return true;
	for (size_t i = 0; i < left->len; i++)
		if (left->bytes[i] != right->bytes[i] &&
			!excused(excuses, left->bytes, right->bytes, i))
			return false;
	return true;
}

/* The lines that differ, the line before the first of them, and no more than a page. */
static void show_difference(const char *left, const char *right)
{
	unsigned shown = 0;

	while ((*left || *right) && shown < 20) {
		size_t l = strcspn(left, "\n"), r = strcspn(right, "\n");

		if (l != r || memcmp(left, right, l) != 0) {
			(void)printf("  left:  %.*s\n  right: %.*s\n", (int)l, left, (int)r, right);
			shown++;
		}
		left += l + (left[l] != '\0');
		right += r + (right[r] != '\0');
	}
}

static void show_recent(const struct run *run, unsigned failed)
{
	unsigned first = failed;
	char line[4096];
	struct step step;

	for (unsigned count = 0; first > 0 && count < RECENT;)
		count += wanted(run, --first);
	for (unsigned i = first; i <= failed && i < run->steps; i++) {
		if (!wanted(run, i))
			continue;
		gen_step(run->seed, i, &step);
		gen_describe(&step, line, sizeof(line));
		(void)printf("  %s\n", line);
	}
}

static int compare_all(const struct run *run, const int from[2], struct excuses *excuses)
{
	struct text texts[2] = {0};

	for (unsigned i = 0; i <= run->steps; i++) {
		bool differ;

		if (i < run->steps && !wanted(run, i))
			continue;
		for (size_t side = 0; side < 2; side++)
			if (!receive(from[side], &texts[side])) {
				(void)printf("seed %llu: %s ended at step %u\n",
					(unsigned long long)run->seed, run->dirs[side], i);
				show_recent(run, i);
				return 2;
			}
		differ = !equal(excuses, &texts[0], &texts[1]);
		if (differ) {
			(void)printf("seed %llu: a difference at step %u\n",
				(unsigned long long)run->seed, i);
			show_recent(run, i);
			show_difference(texts[0].bytes, texts[1].bytes);
		}
		free(texts[0].bytes);
		free(texts[1].bytes);
		if (differ)
			return 1;
	}
	return 0;
}

static int run_both(const struct run *run)
{
	struct excuses *excuses;
	int from[2], r;
	pid_t pids[2];

	for (size_t side = 0; side < 2; side++) {
		int ends[2];

		if (pipe2(ends, O_CLOEXEC) < 0 || (pids[side] = fork()) < 0) {
			perror("differ");
			return 2;
		}
		if (pids[side] == 0)
			child(run, run->dirs[side], ends[1]);
		(void)close(ends[1]);
		from[side] = ends[0];
	}
	excuses = calloc(1, sizeof(*excuses));
	r = excuses ? compare_all(run, from, excuses) : 2;
	free(excuses);
	for (size_t side = 0; side < 2; side++) {
		(void)close(from[side]);
		if (r != 0)
			(void)kill(pids[side], SIGKILL);
		(void)waitpid(pids[side], NULL, 0);
	}
	return r;
}

/* "3,17,40" as flags. */
static unsigned char *parse_only(const char *list, unsigned steps)
{
	unsigned char *only = calloc(steps + 1, 1);

	while (only && *list) {
		char *end;
		unsigned long n = strtoul(list, &end, 10);

		if (end == list || n >= steps) {
			free(only);
			return NULL;
		}
		only[n] = 1;
		list = *end == ',' ? end + 1 : end;
	}
	return only;
}

static int list_steps(const struct run *run)
{
	char line[4096];
	struct step step;

	for (unsigned i = 0; i < run->steps; i++) {
		if (!wanted(run, i))
			continue;
		gen_step(run->seed, i, &step);
		gen_describe(&step, line, sizeof(line));
		(void)printf("%s\n", line);
	}
	return 0;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"seed", 1, NULL, 's'}, {"steps", 1, NULL, 'n'},
		{"left", 1, NULL, 'l'}, {"right", 1, NULL, 'r'}, {"only", 1, NULL, 'o'},
		{"whole-every", 1, NULL, 'w'}, {"first", 1, NULL, 'f'}, {"list", 0, NULL, 'p'},
		{0}};
	struct run run = {.seed = 1, .steps = 1000, .whole_every = 100};
	const char *only = NULL;
	bool list = false;
	int c, r;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 's':
			run.seed = strtoull(optarg, NULL, 10);
			break;
		case 'n':
			run.steps = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 'f':
			run.first = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 'w':
			run.whole_every = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 'p':
			list = true;
			break;
		case 'o':
			only = optarg;
			break;
		case 'l':
		case 'r':
			run.dirs[c == 'r'] = optarg;
			break;
		default:
			return 2;
		}
	}
	if (only && !(run.only = parse_only(only, run.steps)))
		return 2;
	if (list)
		return list_steps(&run);
	if (!run.dirs[0] || !run.dirs[1] || run.whole_every == 0 || geteuid() != 0) {
		(void)fprintf(stderr, "differ: as root, with --left DIR --right DIR\n");
		return 2;
	}
	r = run_both(&run);
	free(run.only);
	return r;
}
