/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a look at many blobs did not find a moment ago, so that asking for each of them right after
 * does not ask Redis again. Fixed memory, forgetful by design: a note serves once, for half a
 * second, and may be pushed out by another. Any thread.
 */
#pragma once
#include "base/lock.h"
#include "storage/digest.h"

#include <stdbool.h>
#include <stdint.h>

#define L3_MISSED_NOTES 4096u /* a power of two */

struct l3_missed {
	struct lock mu; /* LOCK_RANK_LEAF */
	struct {
		uint64_t name; /* guarded by mu, as the next; the oid's first bytes */
		uint64_t until_ns;
	} note[L3_MISSED_NOTES];
};

void l3_missed_init(struct l3_missed *m);
void l3_missed_fini(struct l3_missed *m);
void l3_missed_add(struct l3_missed *m, const struct oid *oid, uint64_t now_ns);
/* Was it noted? The note is used up. */
bool l3_missed_take(struct l3_missed *m, const struct oid *oid, uint64_t now_ns);
