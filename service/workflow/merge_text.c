/* SPDX-License-Identifier: Apache-2.0 */
/* A job's file merged with what was done to it elsewhere, by lines, through libgit2 (the door); or
 * as .gitattributes say. */
#include "workflow/attr.h"
#include "workflow/carry.h"
#include "workflow/walk.h"

#include <base/cleanup.h>
#include <errno.h>
#include <git2.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MAX (32u << 20)

struct text {
	char *data;
	size_t len;
};

static bool is_file(const struct wf_node *n)
{
	return n->mode == WF_MODE_FILE || n->mode == WF_MODE_EXEC;
}

static git_merge_file_input input(const struct text *t)
{
	return (git_merge_file_input){.version = GIT_MERGE_FILE_INPUT_VERSION,
		.ptr = t->data,
		.size = t->len,
		.path = "f"}; /* the same on all sides: names are not merged here */
}

/* How it is merged. A driver that somebody would have to configure is text, as to Git. */
static int merge_kind(struct wf *w, struct wf_item *item, bool *ret_binary, bool *ret_both)
{
	struct wf_attr attrs[WF_ATTRS];
	const struct wf_attr *merge = &attrs[WF_ATTR_MERGE];
	int r = wf_attrs_of_head(w, item->level, item->path, item->name_at, attrs);

	if (r < 0)
		return r;
	*ret_binary = merge->state == WF_ATTR_UNSET ||
		      (merge->state == WF_ATTR_VALUE && strcmp(merge->value, "binary") == 0);
	*ret_both = merge->state == WF_ATTR_VALUE && strcmp(merge->value, "union") == 0;
	return 0;
}

/* *ret_merged stays empty if there is no clean result. */
static int merge(
	const struct text sides[3], bool both, git_merge_file_result *ret_merged, bool *ret_clean)
{
	git_merge_file_options options = {.version = GIT_MERGE_FILE_OPTIONS_VERSION};
	const git_merge_file_input base = input(&sides[0]), ours = input(&sides[1]),
				   theirs = input(&sides[2]);

	for (unsigned i = 0; i < 3; i++)
		if (memchr(sides[i].data, '\0', sides[i].len))
			return 0; /* no text */
	if (both)
		options.favor = GIT_MERGE_FILE_FAVOR_UNION;
	if (git_merge_file(ret_merged, &base, &ours, &theirs, &options) < 0)
		return -ENOMEM; /* all else was checked */
	*ret_clean = ret_merged->automergeable;
	return 0;
}

static int write_merged(struct wf *w, const struct text sides[3], bool both, struct oid *ret_oid)
{
	git_merge_file_result merged = {0};
	bool clean = false;
	int r = merge(sides, both, &merged, &clean);

	*ret_oid = (struct oid){0};
	if (r == 0 && clean)
		r = wf_odb_write(w, WF_BLOB, merged.ptr ? merged.ptr : "", merged.len, ret_oid);
	git_merge_file_result_free(&merged);
	return r;
}

int wf_merge_work(struct wf *w, struct wf_item *item, const struct wf_node *base,
	const struct wf_node *ours, struct wf_node *ret_node)
{
	struct text sides[3] = {0};
	struct wf_node merged = {
		.mode = item->work.mode == base->mode ? ours->mode : item->work.mode};
	bool binary, both;
	int r;

	*ret_node = (struct wf_node){0};
	if (!is_file(base) || !is_file(ours) || !is_file(&item->work))
		return 0;
	r = merge_kind(w, item, &binary, &both);
	if (r < 0 || binary)
		return r;
	r = wf_blob_read(w, &base->oid, TEXT_MAX, &sides[0].data, &sides[0].len);
	if (r == 0)
		r = wf_blob_read(w, &ours->oid, TEXT_MAX, &sides[1].data, &sides[1].len);
	if (r == 0)
		r = wf_work_read(w, item, TEXT_MAX, &sides[2].data, &sides[2].len);
	if (r == 0)
		r = write_merged(w, sides, both, &merged.oid);
	for (unsigned i = 0; i < 3; i++)
		free(sides[i].data);
	if (r == 0 && !oid_is_none(&merged.oid))
		*ret_node = merged;
	return r == -EFBIG ? 0 : r;
}
