/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to service/workflow: one workspace, opened for one verb.
 *
 * Three trees say everything: HEAD's, the staged one ("index"), and what the job sees ("work": the
 * upper over the base's tree). Trees and blobs of the base come from the storage; what the
 * workspace made itself is in its own object directory, <workspace>/git/objects. Both are read
 * through here, so no verb knows the difference.
 */
#pragma once
#include "mount/mount_use.h"
#include "workflow/change_list.h"
#include "workflow/git_tree.h"
#include "workflow/state.h"

#include <base/err.h>
#include <service/workflow.h>

struct origin;
struct ovl_ws;
struct storage;
struct wf_odb;
struct wf_seen;

#define WF_OBJECT_MAX (512u << 20) /* what is read whole into memory */

struct wf {
	const struct wf_call *call;
	struct mount_use *use;
	bool borrowed; /* the use is the caller's */
	struct storage *storage;
	struct origin *origin; /* a reference; NULL: it is gone, only what is local can be had */
	struct ovl_ws *ws;
	int dirfd; /* <workspace>/git, -1 if it is not there */
	struct wf_state state;
	bool has_state;       /* there were changes before */
	struct wf_odb *odb;   /* NULL: no own objects yet */
	struct wf_list list;  /* empty without a change list */
	struct wf_seen *seen; /* NULL as odb */
	uint64_t added_bytes; /* charged by this verb */
	struct err *e;        /* of the caller */
};

/* `changes`: take a turn, and make git/ if it is not there. */
int wf_open(struct wf *w, const struct wf_call *call, bool changes, struct err *e);
/* The same with a use that changes, which stays the caller's. */
int wf_open_use(struct wf *w, const struct wf_call *call, struct mount_use *use, struct err *e);
/* Charges are kept for what was written, also after a failure. */
void wf_close(struct wf *w);
/* The state after a change, durable. */
int wf_save(struct wf *w, const struct wf_state *next);
void wf_head_of(const struct wf *w, struct wf_head *ret_head);
/* -ECANCELED, -ETIMEDOUT: the verb must end. */
int wf_check(const struct wf *w);
/* Says in the caller's error that `r` came from doing `what`; returns it. */
int wf_failed(const struct wf *w, int r, const char *what);
/* Does nothing if an error was said already. */
int wf_failed_at(const struct wf *w, int r, const char *what, const char *path);

/* ---- odb.c ---- */

enum wf_object { WF_COMMIT = 1, WF_TREE, WF_BLOB }; /* as Git numbers them */
static inline enum object_kind wf_object_kind(enum wf_object type)
{
	return type == WF_COMMIT ? OBJECT_COMMIT : type == WF_TREE ? OBJECT_TREE : OBJECT_BLOB;
}
struct wf_odb *wf_odb_free(struct wf_odb *odb);
int wf_odb_open(int dirfd, struct wf_odb **ret_odb);
/* Many objects may be written: all but the first are to be one pack. They can be read at once, but
 * are kept only when they are sealed (wf_save does it); `durable`: also after a power failure. */
void wf_odb_batch(struct wf_odb *odb);
int wf_odb_seal(struct wf_odb *odb, bool durable);
/* Forgets those that are not sealed, and gives their charge back. */
void wf_odb_drop(struct wf *w);
/* An object without a charge, for a repository that is removed again. */
int wf_odb_put(struct wf_odb *odb, enum wf_object type, const void *data, size_t len);
/* An object of any such directory, or of its alternates: malloc'ed, with a NUL behind it. -ENOENT.
 */
int wf_odb_get(struct wf_odb *odb, const struct oid *oid, enum wf_object type, void **ret_data,
	size_t *ret_len);
bool wf_odb_has(struct wf *w, const struct oid *oid);
/* An object of the workspace's own: malloc'ed. -ENOENT. */
int wf_odb_read(
	struct wf *w, const struct oid *oid, enum wf_object type, void **ret_data, size_t *ret_len);
/* Writes it unless it is there. Charged to the quota: -EDQUOT; -ENOSPC. */
int wf_odb_write(
	struct wf *w, enum wf_object type, const void *data, size_t len, struct oid *ret_oid);
/* Of an own blob. -ENOENT. */
int wf_odb_size(struct wf *w, const struct oid *oid, uint64_t *ret_size);
/* Of what is kept beside the objects: charged like one. */
int wf_odb_charge(struct wf *w, uint64_t size);
void wf_odb_uncharge(struct wf *w, uint64_t size);
/* The content of a file of `size` bytes as a blob. -ESTALE: it has another size now. */
int wf_odb_write_file(struct wf *w, int fd, uint64_t size, struct oid *ret_oid);

/* ---- contents.c: wherever it lives ---- */

/* A directory; an empty one for no oid. */
int wf_load_dir(struct wf *w, const struct oid *tree, struct wf_dir *ret_dir);
/* The same of a directory that the storage may have merged: submodules without their commits. */
int wf_load_merged(struct wf *w, const struct oid *tree, struct wf_dir *ret_dir);
/* Size of a blob: in the node afterwards. */
int wf_blob_size(struct wf *w, struct wf_node *node);
/* Content of a blob, malloc'ed and with a NUL behind it. -EFBIG beyond `max`. */
int wf_blob_read(struct wf *w, const struct oid *oid, size_t max, char **ret_data, size_t *ret_len);

/* The blob's bytes in order; a large one in pieces. */
typedef int (*wf_piece)(void *arg, const void *data, size_t len, uint64_t offset);
int wf_blob_each(struct wf *w, const struct oid *oid, wf_piece fn, void *arg);
/* What a call of the overlay that answered -EAGAIN needs. */
struct ovl_need;
int wf_need_wait(struct wf *w, struct ovl_need *need);

/* ---- index.c ---- */

struct wf_matcher;
/* Every spec matched something that changed, or something that is staged. -ENOENT
 * PATHSPEC_NO_MATCH.
 */
int wf_check_matched(struct wf *w, struct wf_matcher *paths);
