/* SPDX-License-Identifier: Apache-2.0 */
/* What the fetches need of storage_kept.c; the storage holds one table. */
#pragma once
#include "base/list.h"
#include "base/lock.h"
#include "storage/blob.h"
#include "storage/kept.h"

struct kept_table {
	struct lock mu;   /* LOCK_RANK_LEAF */
	struct list dirs; /* guarded by mu */
};
void kept_table_init(struct kept_table *t);
void kept_table_fini(struct kept_table *t); /* all have been closed */
bool kept_has(struct kept_table *t, const struct oid *blob);
/* The blob's bytes into the sink. -ENOENT: nobody keeps it. */
int kept_produce(struct kept_table *t, const struct oid *blob, struct blob_sink *sink);
