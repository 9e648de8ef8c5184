/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A Git tree object as an array, and back. Entries are in memory by name as plain bytes, so that
 * several directories can be merged; the object itself has Git's order, in which a directory's name
 * ends in '/'. Pure.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <storage/digest.h>

struct buf;

#define WF_MODE_FILE    0100644u
#define WF_MODE_EXEC    0100755u
#define WF_MODE_LINK    0120000u
#define WF_MODE_GITLINK 0160000u
#define WF_MODE_DIR     0040000u

/* What a name is on one side. mode 0: nothing. */
struct wf_node {
	uint32_t mode; /* one of WF_MODE_* */
	bool size_known;
	struct oid oid; /* none: not computed yet */
	uint64_t size;
};

struct wf_dirent {
	const char *name;
	size_t len;
	struct wf_node node;
};

struct wf_dir {
	struct wf_dirent *entries;
	size_t count;
	void *memory; /* what the names point into; owned */
};

void wf_dir_fini(struct wf_dir *dir);
/* Takes `data` (malloc'ed), also on failure. Modes that Git does not write any more become those
 * that it does. -EBADMSG: not a tree, or names that cannot be files. */
int wf_dir_parse(void *data, size_t len, struct wf_dir *ret_dir);
/* Sort by name as bytes. */
void wf_dir_sort(struct wf_dir *dir);

/* Of a sorted one; NULL: none. */
const struct wf_dirent *wf_dir_find(const struct wf_dir *dir, const char *name, size_t len);

/* The order of Git: by name, where that of a directory ends in '/'. */
int wf_git_order(const char *a, size_t a_len, bool a_dir, const char *b, size_t b_len, bool b_dir);
/* One entry of a tree object; call it in Git's order. */
int wf_tree_append(struct buf *out, const char *name, size_t len, const struct wf_node *node);

static inline bool wf_is_dir(const struct wf_node *n)
{
	return n->mode == WF_MODE_DIR;
}

/* The same entry, if both contents are known. */
static inline bool wf_same(const struct wf_node *a, const struct wf_node *b)
{
	return a->mode == b->mode && (a->mode == 0 || oid_equal(&a->oid, &b->oid));
}
