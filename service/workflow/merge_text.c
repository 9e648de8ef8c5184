/* SPDX-License-Identifier: Apache-2.0 */
/* A job's file merged with what was done to it elsewhere, by lines, through libgit2 (the door). */
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

/* *ret_merged stays empty if there is no clean result. */
static int merge(const struct text sides[3], git_merge_file_result *ret_merged, bool *ret_clean)
{
	const git_merge_file_input base = input(&sides[0]), ours = input(&sides[1]),
				   theirs = input(&sides[2]);

	for (unsigned i = 0; i < 3; i++)
		if (memchr(sides[i].data, '\0', sides[i].len))
			return 0; /* no text */
	if (git_merge_file(ret_merged, &base, &ours, &theirs, NULL) < 0)
		return -ENOMEM; /* all else was checked */
	*ret_clean = ret_merged->automergeable;
	return 0;
}

static int write_merged(struct wf *w, const struct text sides[3], struct oid *ret_oid)
{
	git_merge_file_result merged = {0};
	bool clean = false;
	int r = merge(sides, &merged, &clean);

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
	int r;

	*ret_node = (struct wf_node){0};
	if (!is_file(base) || !is_file(ours) || !is_file(&item->work))
		return 0;
	r = wf_blob_read(w, &base->oid, TEXT_MAX, &sides[0].data, &sides[0].len);
	if (r == 0)
		r = wf_blob_read(w, &ours->oid, TEXT_MAX, &sides[1].data, &sides[1].len);
	if (r == 0)
		r = wf_work_read(w, item, TEXT_MAX, &sides[2].data, &sides[2].len);
	if (r == 0)
		r = write_merged(w, sides, &merged.oid);
	for (unsigned i = 0; i < 3; i++)
		free(sides[i].data);
	if (r == 0 && !oid_is_none(&merged.oid))
		*ret_node = merged;
	return r == -EFBIG ? 0 : r;
}
