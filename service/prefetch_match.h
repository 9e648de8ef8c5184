/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which files a prefetch wants: patterns over paths relative to the workspace. A component may hold
 * *, ? and [sets] (they match no slash; a leading dot is nothing special), "**" is any number of
 * components. A pattern that matches a directory means all that is below it, as deep as `depth`
 * says. Pure.
 */
#pragma once
#include <stdbool.h>

struct err;

#define PREFETCH_PATTERNS_MAX      256
#define PREFETCH_PATTERN_PARTS_MAX 128

struct prefetch_match {
	const char *const *patterns; /* none: everything */
	unsigned count;
	unsigned depth; /* levels below what a pattern matches; UINT_MAX: all */
};

/* -EINVAL with the field "paths": too many, or not a relative path. */
int prefetch_match_check(const struct prefetch_match *m, struct err *e);
/* Is this file wanted? Of a directory: may anything in it be? */
bool prefetch_match_wanted(const struct prefetch_match *m, const char *path, bool directory);
/* Has it a *, ? or [ in it? */
bool prefetch_is_pattern(const char *path);
