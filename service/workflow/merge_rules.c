/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The .gitattributes that Git is to see in a merge: "merge" says how texts are merged (union), or
 * that they are not (binary, -merge); "diff" what is compared as text when a renamed file is looked
 * for. Git reads them from files, as in a clone in which the side that is merged into is checked
 * out: of each directory in which the sides differ there is that file, and nothing else.
 */
#include "workflow/merge.h"

#include "workflow/push.h"
#include "workflow/walk.h"

#include <base/cleanup.h>
#include <base/io.h>
#include <base/path.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_MAX (1u << 20) /* as attr.c */

static const char rules[] = ".gitattributes";

static const struct wf_dirent *find(const struct wf_dir *dir)
{
	return wf_dir_find(dir, rules, strlen(rules));
}

/* What lies there untracked stays there while Git merges. */
static int read_untracked(struct wf *w, const char *dir, char **ret_text, size_t *ret_len)
{
	_cleanup_free_ char *path = NULL;
	int r;

	if (asprintf(&path, "%s%s", dir, rules) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	r = wf_work_read_path(w, path, FILE_MAX, ret_text, ret_len);
	return r == -ENOTDIR || r == -ELOOP || r == -EISDIR || r == -EINVAL ? -ENOENT : r;
}

/* -ENOENT: there are none. */
static int read_rules(struct wf *w, const struct wf_level *level, const char *dir, char **ret_text,
	size_t *ret_len)
{
	const struct wf_dirent *ours = find(&level->index);

	if (!ours)
		return find(&level->lower) || find(&level->head)
			       ? -ENOENT
			       : read_untracked(w, dir, ret_text, ret_len);
	if (ours->node.mode != WF_MODE_FILE && ours->node.mode != WF_MODE_EXEC)
		return -ENOENT;
	return wf_blob_read(w, &ours->node.oid, FILE_MAX, ret_text, ret_len);
}

static int write_rules(const char *root, const char *dir, const char *text, size_t len)
{
	_cleanup_free_ char *folder = NULL, *path = NULL;
	int r;

	if (asprintf(&folder, "%s/%s", root, dir) < 0) {
		folder = NULL;
		return -ENOMEM;
	}
	if (asprintf(&path, "%s%s%s", folder, *dir ? "" : "/", rules) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	r = io_mkdirs(folder, 0700);
	if (r == 0)
		r = io_write_file(AT_FDCWD, path, text, len, 0600, false);
	return r == -ENAMETOOLONG ? 0 : r; /* where no checkout has it either */
}

int wf_merge_put_rules(
	struct wf *w, const char *root, const struct wf_level *level, const char *dir)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r;

	r = read_rules(w, level, dir, &text, &len);
	if (r < 0)
		return r == -ENOENT || r == -EFBIG ? 0 : r;
	return write_rules(root, dir, text, len);
}
