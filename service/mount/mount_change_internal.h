/* SPDX-License-Identifier: Apache-2.0 */
/* What the kinds of change lists share: mount_change_list.c calls them, each has a file. */
#pragma once
#include "mount_change_list.h"
#include "mount_codec.h"

#include <base/buf.h>
#include <base/err.h>
#include <storage/layer.h>
#include <storage/storage.h>

/* A change list while it is laid. */
struct change_work {
	struct mount *mt;
	const struct mount_change_call *call;
	struct mount_record *next;
	struct storage *st;
	struct oid base; /* the revision's directory at the mount's path; none: there is none */
	struct err *e;
	/* what does not fit */
	size_t conflicts;
	struct err told; /* its lines, and the first ones for the message */
	/* of a link: what the server told of it, unless that is kept already */
	struct buf list;
	bool no_delta; /* it does not give the trees that would have to be compared */
};

struct change_ops {
	const char *field; /* of a request */
	int (*check)(const struct mount_change_source *source, struct err *e);
	/* Into the record what is resolved once; NULL: nothing. */
	int (*pin)(struct change_work *w);
	/* The tree that is shown into next->root. */
	int (*lay)(struct change_work *w);
};
extern const struct change_ops change_range, change_ref, change_link, change_patch, change_tar;

/* mount_change_link.c: the ref of a request that is a change list of the server ("refs/cl/<link>",
 * or the commit of one) becomes that link. Unchanged: it is not. */
int change_pin_as_link(struct change_work *w);
/* mount_change_told.c: the link, which belongs at `path`, is what the server tells of its files. If
 * `commit` is given, the server must say that it still has that one. */
#define CHANGE_LIST_BYTES_MAX (64u << 20)
int change_pin_told(struct change_work *w, const char *path, const struct oid *commit);
int change_lay_told(struct change_work *w);

/* One that does not fit. */
void change_conflict(struct change_work *w, const char *path, const char *reason);
/* A layer_conflict. */
void change_conflict_of_layer(void *work, const char *path, const char *reason);
/* -ESTALE with all that was told. */
int change_does_not_apply(struct change_work *w);
/* Lays `l` over `base`, result into ret_root. */
int change_merge(
	struct change_work *w, const struct oid *base, struct layer *l, struct oid *ret_root);
/* The mount's directory in `root`; none if there is none. */
int change_subtree(struct change_work *w, const struct oid *root, struct oid *ret_tree);
/* The part of `path` below the mount's; NULL: it is elsewhere. */
const char *change_inside(const struct change_work *w, const char *path);
int change_too_large(struct change_work *w);
