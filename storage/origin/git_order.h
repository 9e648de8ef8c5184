/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The order in which files were listed, for those who read them in that order: a reader who wants
 * one blob after the other gets more and more of the following ones with each. Bounded: the oldest
 * are forgotten. Pure; guarded by the caller's lock.
 */
#pragma once
#include "base/hashmap.h"
#include "storage/digest.h"

#define GITORDER_MAX 32768u

struct gitorder {
	struct oid *ring;
	uint64_t count; /* ever listed; number n is at n % GITORDER_MAX */
	struct hashmap places;
	uint64_t last;   /* the place up to which was asked for; 0: nothing */
	unsigned window; /* how many more to ask for */
};

int gitorder_init(struct gitorder *o); /* -ENOMEM */
void gitorder_fini(struct gitorder *o);
void gitorder_listed(struct gitorder *o, const struct oid *blob);
/* `blob` is missing: those that come after it, the next first, at most `cap` and as many as the
 * reader deserves. */
size_t gitorder_missed(
	struct gitorder *o, const struct oid *blob, struct oid *ret_next, size_t cap);
