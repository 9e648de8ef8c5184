/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Collecting garbage in the tree index, whose file has a size that it never exceeds
 * (storage_config.index_bytes). When three quarters of it are in use, a thread keeps what the
 * given roots show, then what was asked for last until half is full, and drops the rest. What is
 * dropped and asked for again comes from its origin once more.
 *
 * A root is the id of a directory. What was made here (storage_lay_over) within the last quarter of
 * an hour counts as given: no origin has it.
 */
#pragma once
#include "storage/digest.h"

struct storage;

typedef void (*storage_root_fn)(void *arg, const struct oid *root);
struct storage_roots {
	/* Calls `fn`, which only copies, for each root that is shown now. */
	void (*each)(void *arg, storage_root_fn fn, void *fn_arg);
	void *arg;
};

/* Once all roots from before a restart are known to the callback; nothing is collected before.
 * -EAGAIN, -ENOMEM: no thread. */
int storage_collect_start(struct storage *st, const struct storage_roots *roots);
/* Waits for what is under way, a batch at most. Before what the callback needs ends; also if it was
 * not started. */
void storage_collect_stop(struct storage *st);
