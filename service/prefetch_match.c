// SPDX-License-Identifier: Apache-2.0
/* See prefetch_match.h. A "**" tries every number of components; the number of components and of
 * "**" in a pattern is bounded, so a hostile pattern costs no more than a long one. */
#include "prefetch_match.h"

#include <base/err.h>
#include <base/path.h>
#include <errno.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#define STARS_MAX 2 /* "**" in one pattern */

/* Below the end of a pattern: how deep? NO: it does not match; UNDER: something below may. */
#define NO    UINT_MAX
#define UNDER (UINT_MAX - 1)

struct part {
	const char *text;
	size_t len;
};

static bool is_stars(const struct part *p)
{
	return p->len == 2 && p->text[0] == '*' && p->text[1] == '*';
}

static unsigned split(const char *path, struct part *parts, unsigned max)
{
	unsigned count = 0;

	while (count < max && path_next(&path, &parts[count].text, &parts[count].len))
		count++;
	return count;
}

static bool part_matches(const struct part *pattern, const struct part *part)
{
	char p[PATH_NAME_MAX + 1], t[PATH_NAME_MAX + 1];

	(void)snprintf(p, sizeof(p), "%.*s", (int)pattern->len, pattern->text);
	(void)snprintf(t, sizeof(t), "%.*s", (int)part->len, part->text);
	return fnmatch(p, t, 0) == 0;
}

static unsigned better(unsigned a, unsigned b)
{
	return a < b ? a : b; /* a depth, the smallest; then UNDER; then NO */
}

/* The components of a path that are below the end of the pattern, or UNDER, or NO. */
static unsigned match(
	const struct part *pattern, unsigned patterns, const struct part *parts, unsigned count)
{
	for (; patterns && !is_stars(pattern); pattern++, patterns--, parts++, count--) {
		if (!count)
			return UNDER;
		if (!part_matches(pattern, parts))
			return NO;
	}
	if (!patterns)
		return count;
	unsigned best = UNDER; /* "**" at the end of what is there: anything may follow */

	for (unsigned skip = 0; skip <= count; skip++)
		best = better(best, match(pattern + 1, patterns - 1, parts + skip, count - skip));
	return best;
}

static unsigned match_one(const char *pattern, const struct part *parts, unsigned count)
{
	struct part pieces[PREFETCH_PATTERN_PARTS_MAX];
	unsigned n = split(pattern, pieces, PREFETCH_PATTERN_PARTS_MAX);

	return match(pieces, n, parts, count);
}

bool prefetch_match_wanted(const struct prefetch_match *m, const char *path, bool directory)
{
	struct part parts[PREFETCH_PATTERN_PARTS_MAX];
	unsigned count = split(path, parts, PREFETCH_PATTERN_PARTS_MAX);

	for (unsigned i = 0; i < m->count || i == 0; i++) {
		unsigned below = m->count ? match_one(m->patterns[i], parts, count) : count;

		if (below == NO)
			continue;
		if (below == UNDER ? directory : below <= m->depth)
			return true;
		/* a file at the pattern's own end is no level below it */
		if (below != UNDER && !directory && below && below - 1 <= m->depth)
			return true;
	}
	return false;
}

static int check_one(const char *pattern, struct err *e)
{
	struct part parts[PREFETCH_PATTERN_PARTS_MAX];
	unsigned stars = 0, count;

	if (!path_relative_ok(pattern))
		return err_field(e, "paths", "\"%.200s\" is not a relative path", pattern);
	count = split(pattern, parts, PREFETCH_PATTERN_PARTS_MAX);
	for (unsigned i = 0; i < count; i++)
		stars += is_stars(&parts[i]);
	if (count == PREFETCH_PATTERN_PARTS_MAX || stars > STARS_MAX)
		return err_field(e, "paths",
			"\"%.200s\" has too many components, or more than %d \"**\"", pattern,
			STARS_MAX);
	return 0;
}

int prefetch_match_check(const struct prefetch_match *m, struct err *e)
{
	int err = 0;

	if (m->count > PREFETCH_PATTERNS_MAX)
		return err_field(e, "paths", "are more than %d", PREFETCH_PATTERNS_MAX);
	for (unsigned i = 0; !err && i < m->count; i++)
		err = check_one(m->patterns[i], e);
	return err;
}

bool prefetch_is_pattern(const char *path)
{
	return strpbrk(path, "*?[") != NULL;
}
