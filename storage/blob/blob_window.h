/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tier `window`: a part of each large blob that neither the disk nor the tier `spill` takes, so
 * that it can still be read: the whole blob streams past, is hashed, and what a reader waits for is
 * kept. Used only while the disk takes nothing. See blob_window.c.
 */
#pragma once
#include "blob/blob_internal.h"

/* At most `window_bytes` of one blob, of a few blobs. */
int blob_window_new(struct blob_tier *ret_tier, uint64_t window_bytes, struct metrics *metrics);
/* Was the disk asked for it a moment ago, in vain? */
bool blob_window_refused(const struct blob_tier *tier, const struct oid *oid);
