/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which directories will be asked for next? Those of a tree that is walked in order are: the
 * subdirectories of what was listed last, then its brothers, as a stack says. Whoever asks for one
 * that was expected is walking, and each time he does, more is fetched ahead; a directory that was
 * not expected starts small again. Pure; guarded by the caller's lock.
 */
#pragma once
#include "storage/digest.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GITAHEAD_MAX 4096u

struct gitahead {
	struct oid *stack; /* the next one is last */
	size_t count;
	unsigned window; /* objects to fetch beyond those that were asked for */
	unsigned window_min, window_max;
	uint64_t last_ns; /* when something was missing */
};

/* -ENOMEM */
int gitahead_init(struct gitahead *a, unsigned window_min, unsigned window_max);
void gitahead_fini(struct gitahead *a);
/* A directory was listed; `children` in its order. Beyond GITAHEAD_MAX the oldest are forgotten. */
void gitahead_listed(
	struct gitahead *a, const struct oid *tree, const struct oid *children, size_t count);
/* Something of this directory is missing: how many objects more to fetch, at most. */
unsigned gitahead_missed(struct gitahead *a, const struct oid *tree, uint64_t now_ns);
/* What comes after `tree`, the next first, at most `cap`. */
size_t gitahead_next(
	const struct gitahead *a, const struct oid *tree, struct oid *ret_trees, size_t cap);
