/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The walk over the three trees of a workspace at once, in Git's order of paths: HEAD's, the staged
 * one, and the job's files (the upper over a lower tree). Where all three are the same tree it does
 * not go, so its cost is that of the changes and of the directories that they lie in.
 *
 * It can build a new tree on the way: each visited path says what it is to be there, all others
 * stay as they are staged.
 */
#pragma once
#include "workflow/wf.h"

#include <fuse/upper.h>

#define WF_PATH_MAX  4096
#define WF_DEPTH_MAX 512 /* a descriptor per level */

struct wf_attr_file;
struct wf_ignore;

/* The rules of one .gitattributes, loaded when needed. */
struct wf_level_attrs {
	struct wf_attr_file *file;
	bool loaded;
};

/* A directory on the way. Kept while what is below it is visited. */
struct wf_level {
	struct wf_level *up;
	size_t path_len; /* of "a/b/", 0 for the root */
	struct ovl_upper_dir upper;
	struct wf_dir lower, index, head, aside;
	struct oid lower_tree, index_tree, head_tree, aside_tree;
	bool tracked;             /* something of it is staged */
	struct wf_ignore *ignore; /* the visitor's: its rules, loaded when needed */
	bool ignore_loaded;
	struct wf_level_attrs attrs, head_attrs; /* of attr.c */
	int excluded; /* the visitor's: -1 not known, 0, 1: the directory is ignored */
};

/* See clean.h. */
enum wf_clean { WF_CLEAN_UNKNOWN, WF_CLEAN_NONE, WF_CLEAN_TEXT, WF_CLEAN_AUTO, WF_CLEAN_LFS };

/* What is not a directory, on any of the three sides. */
struct wf_item {
	const char *path;         /* NUL-terminated; valid during the call */
	size_t path_len, name_at; /* the name begins there */
	struct wf_level *level;
	struct wf_node head, index, work; /* mode 0: nothing, or a directory */
	struct wf_node aside;             /* only with_aside */
	const struct ovl_upper_entry
		*upper;        /* of `work`, if the job wrote it; its oid is unknown then */
	enum wf_clean clean;   /* of `work` */
	struct wf_node result; /* in: as staged. Out: what the new tree has */
};

struct wf_walk {
	struct wf *w;
	/* The sides; none: empty. */
	bool with_work;
	/* `lower` is a side, and items have it as their `work`; not together with_work, whose lower
	 * is what the job's files lie over. */
	bool with_lower;
	bool with_aside; /* one side more */
	bool removed;    /* files that the job has removed are visited also if no side has them */
	bool merged;     /* directories as the storage has them: submodules without commits */
	struct oid lower, index, head, aside;
	/* Called for whatever may differ between the sides. Non-zero ends the walk. */
	int (*visit)(void *arg, struct wf_item *item);
	/* May a directory have anything of interest? NULL: yes. `path` ends in '/'. */
	bool (*enter)(void *arg, const char *path, size_t len, struct wf_level *level);
	void (*leave)(void *arg, struct wf_level *level); /* NULL: nothing to free */
	void *arg;
	bool build;
	/* Set by the visitor: nothing more of the directory whose path has this length. 0: no. */
	size_t skip_len;
	char path[WF_PATH_MAX + 1];
};

/* *ret_tree (may be NULL): the new tree, none if empty; only with `build`. */
int wf_walk(struct wf_walk *walk, struct oid *ret_tree);

/* ---- work.c: the job's files ---- */

/* item->work.oid, by hashing if need be. A file that goes away meanwhile becomes nothing (mode 0).
 */
int wf_work_hash(struct wf *w, struct wf_item *item);
/* The same, and the content is among the workspace's own objects afterwards. */
int wf_work_store(struct wf *w, struct wf_item *item);
/* Is `work` the same as `node`? Looks at sizes before contents. */
int wf_work_differs(struct wf *w, struct wf_item *item, struct wf_node *node, bool *ret_differs);
/* The same by path; for a file only. -ENOENT: it is not of the upper. */
int wf_work_read_path(struct wf *w, const char *path, size_t max, char **ret_data, size_t *ret_len);
/* Content of the job's file as its object would have it, or of its symlink; malloc'ed. -EFBIG. */
int wf_work_read(struct wf *w, struct wf_item *item, size_t max, char **ret_data, size_t *ret_len);
/* The file of this name that the job sees in a directory, as it is. -ENOENT, -EFBIG. */
int wf_level_read(
	struct wf *w, struct wf_level *level, const char *name, char **ret_text, size_t *ret_len);

/* A file that is open, and what is wanted of it. */
struct wf_content {
	int fd;
	uint64_t size;
	bool store; /* into the workspace's own objects */
};
/* The id of the file as it is. -ESTALE: it has another size now. */
int wf_hash_file(struct wf *w, int fd, uint64_t size, struct oid *ret_oid);
/* Its `size` bytes, and no more may be there: -ESTALE. `data` has room for one byte more. */
int wf_read_exactly(int fd, size_t size, char *data);
