/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Git LFS on the way out: what `.gitattributes` send there (filter=lfs) is committed as a pointer,
 * its content waits in <workspace>/git/lfs/<sha256> and goes to the origin's LFS server before the
 * commits do. Only for origins with LFS: others show pointers, and commit files as they are.
 */
#pragma once
#include "workflow/walk.h"

struct wf_attr;

/* Does a file with this attribute become a pointer? -EHOSTUNREACH: the origin is gone. */
int wf_lfs_wanted(const struct wf *w, const struct wf_attr *filter, bool *ret_wanted);
/* The id of the file's pointer; with `store` pointer and content are kept. What is empty or a
 * pointer already stays as it is. */
int wf_lfs_content(struct wf *w, const struct wf_content *content, struct oid *ret_oid);
/* A content in memory becomes its pointer. */
int wf_lfs_pointer(char **data, size_t *len);
/* As wf_blob_each, with the content that a pointer stands for. */
int wf_lfs_each(struct wf *w, const struct oid *blob, wf_piece fn, void *arg);
/* Contents of all commits from `head` down to the base, to the server; each is told before. */
typedef int (*wf_lfs_fn)(void *arg, uint64_t objects, uint64_t bytes);
int wf_lfs_push(struct wf *w, const struct oid *head, wf_lfs_fn fn, void *arg);
