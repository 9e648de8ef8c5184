/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A Git tree object from a listing that lacks the modes. The tree's id tells which modes are right:
 * they are guessed, and a guess is believed only if the object made from it has the id. So a
 * listing is either proved to be the directory that was asked for, or refused. Pure.
 */
#pragma once
#include "origin/mega_json.h"

struct buf;

/* One of the entries that are known from elsewhere, such as from the head of the branch. */
struct mega_hint {
	const char *name;
	size_t name_len;
	uint32_t mode; /* as in a Git tree: 0100644 … */
};

/* The tree object of a listing into `out` (which is cleared), its files' modes from the hints
 * (sorted or not), 0100644 for others. -EIO: names that no tree has. */
int mega_modes_guess(const struct mega_listing *l, const struct mega_hint *hints, size_t hint_count,
	struct buf *out);
/* Changes modes of a guess until it is the object `want`: then 0. -EBADMSG: none found with a
 * bounded number of tries; this is (nearly always) another directory. */
int mega_modes_solve(struct buf *guess, const struct oid *want);
