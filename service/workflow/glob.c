/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See glob.h. Backtracking over stars can be exponential for hostile patterns, so every comparison
 * has a budget of steps; beyond it the answer is "does not match".
 */
#include "workflow/glob.h"

#include <ctype.h>
#include <stddef.h>
#include <string.h>

#define STEPS_MAX 100000u

enum verdict { NO, YES, ABORT /* no match with more text either */ };

struct match {
	unsigned flags, steps;
};

static int fold(const struct match *m, char c)
{
	return m->flags & GLOB_ICASE ? tolower((unsigned char)c) : (unsigned char)c;
}

static const struct {
	const char *name;
	int (*is)(int c);
} classes[] = {{"alnum", isalnum}, {"alpha", isalpha}, {"blank", isblank}, {"cntrl", iscntrl},
	{"digit", isdigit}, {"graph", isgraph}, {"lower", islower}, {"print", isprint},
	{"punct", ispunct}, {"space", isspace}, {"upper", isupper}, {"xdigit", isxdigit}};

/* "[:name:]" at *p: sets whether c is of it and moves to the last ']'. */
static bool in_class(const char **p, int c, bool *ret_in)
{
	const char *end = strstr(*p + 2, ":]");
	size_t len = end ? (size_t)(end - *p - 2) : 0;

	for (size_t i = 0; end && i < sizeof(classes) / sizeof(classes[0]); i++)
		if (strlen(classes[i].name) == len && memcmp(classes[i].name, *p + 2, len) == 0) {
			*ret_in = classes[i].is(c) != 0;
			*p = end + 1;
			return true;
		}
	return false;
}

/* One member of a bracket at *p, perhaps a range; moves to its last character. False: malformed. */
static bool bracket_member(const struct match *m, const char **p, int c, bool *matched)
{
	const char *at = *p;
	int low, high;
	bool in = false;

	if (at[0] == '[' && at[1] == ':') {
		if (!in_class(&at, c, &in))
			return false;
		*matched |= in;
		*p = at;
		return true;
	}
	if (*at == '\\')
		at++;
	if (!*at)
		return false;
	low = high = fold(m, *at);
	if (at[1] == '-' && at[2] && at[2] != ']') {
		at += 2;
		if (*at == '\\')
			at++;
		if (!*at)
			return false;
		high = fold(m, *at);
	}
	*matched |= c >= low && c <= high;
	*p = at;
	return true;
}

/* The bracket that begins at *p against c; moves to its ']'. False: no match or malformed. */
static bool bracket(const struct match *m, const char **p, int c)
{
	const char *at = *p + 1;
	bool negated = *at == '!' || *at == '^', matched = false, first = true;

	if (negated)
		at++;
	for (; first || *at != ']'; at++, first = false)
		if (!*at || !bracket_member(m, &at, c, &matched))
			return false;
	*p = at;
	return matched != negated && !(c == '/' && m->flags & GLOB_PATHNAME);
}

static enum verdict match_here(struct match *m, const char *start, const char *p, const char *t);

static enum verdict match_stars(struct match *m, const char *start, const char *p, const char *t)
{
	const char *first = p;
	bool crosses = !(m->flags & GLOB_PATHNAME);

	while (*p == '*')
		p++;
	if (m->flags & GLOB_PATHNAME && p - first == 2 && (first == start || first[-1] == '/') &&
		(*p == '\0' || *p == '/')) {
		/* a double star between slashes: any number of directories, also none */
		if (*p == '/' && match_here(m, start, p + 1, t) == YES)
			return YES;
		crosses = true;
	}
	if (!*p)
		return crosses || !strchr(t, '/') ? YES : NO;
	for (;; t++) {
		enum verdict v = match_here(m, start, p, t);

		if (v != NO)
			return v;
		if (!*t)
			return ABORT;
		if (!crosses && *t == '/')
			return NO;
	}
}

static enum verdict match_here(struct match *m, const char *start, const char *p, const char *t)
{
	for (; *p; p++, t++) {
		if (++m->steps > STEPS_MAX)
			return ABORT;
		if (*p == '*')
			return match_stars(m, start, p, t);
		if (!*t)
			return ABORT;
		if (*p == '?') {
			if (*t == '/' && m->flags & GLOB_PATHNAME)
				return NO;
		} else if (*p == '[') {
			if (!bracket(m, &p, fold(m, *t)))
				return NO;
		} else {
			if (*p == '\\' && p[1])
				p++;
			if (fold(m, *p) != fold(m, *t))
				return NO;
		}
	}
	return *t ? NO : YES;
}

bool glob_match(const char *pattern, const char *text, unsigned flags)
{
	struct match m = {.flags = flags};

	return match_here(&m, pattern, pattern, text) == YES;
}

bool glob_is_pattern(const char *text)
{
	return strpbrk(text, "*?[\\") != NULL;
}
