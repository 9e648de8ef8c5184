/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a Mega origin must remember. A Mega server is asked by path and commit, we are asked by tree
 * id: so where a tree was seen is kept (any place will do: equal ids are equal trees), with the
 * roots of commits, and the sizes of blobs, which cost a request each. In a table on disk, because
 * a workspace outlives the process. A cache: none of it is believed without a check, but a tree
 * whose place is lost cannot be fetched until someone lists the directory above it again.
 *
 * Threads: any; writes block until they are committed.
 */
#pragma once
#include "storage/digest.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct mega_memory;
struct origin_config;

/* Below config->state_dir. */
int mega_memory_open(
	struct mega_memory **ret_memory, const struct origin_config *config, struct err *e);
struct mega_memory *mega_memory_close(struct mega_memory *m);

struct mega_place {
	struct oid commit;
	char *path;     /* below the root, without slashes at its ends; "" = the root; malloc'ed */
	const char *at; /* of the commit, as struct mega_root has it; NULL: as it is remembered */
};
/* -ENOENT: not known. */
int mega_memory_place(struct mega_memory *m, const struct oid *tree, struct mega_place *ret_place);

#define MEGA_AT_MAX 512

struct mega_root {
	struct oid tree;
	int64_t time_s;
	/* Commits of change lists have the tree of one directory: where that is in the monorepo, as
	 * far as it is known and not too long. "" for all others. It only helps to find things. */
	char at[MEGA_AT_MAX];
};
int mega_memory_root(struct mega_memory *m, const struct oid *commit, struct mega_root *ret_root);
/* Its place too. */
int mega_memory_put_root(
	struct mega_memory *m, const struct oid *commit, const struct mega_root *root);

/* Roots of commits, at most `cap`, in no order. */
int mega_memory_roots(
	struct mega_memory *m, struct oid *ret_roots, unsigned cap, unsigned *ret_count);
bool mega_memory_knows_place(struct mega_memory *m, const struct oid *tree);

int mega_memory_size(struct mega_memory *m, const struct oid *blob, uint64_t *ret_size);

/* Many facts in one commit: collect, then write. */
struct mega_facts;
struct mega_facts *mega_facts_new(void);
struct mega_facts *mega_facts_free(struct mega_facts *f);
/* The first failure sticks. */
void mega_facts_size(struct mega_facts *f, const struct oid *blob, uint64_t size);
/* A place that is known already is kept. */
void mega_facts_place(struct mega_facts *f, const struct oid *tree, const struct oid *commit,
	const char *path, size_t path_len);
int mega_memory_learn(struct mega_memory *m, struct mega_facts *f);
