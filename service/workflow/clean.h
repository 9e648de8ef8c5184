/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What happens to a file's content on its way into an object, by its attributes: ends of lines, and
 * Git LFS, where the object is a pointer and the content is kept apart until it is pushed.
 */
#pragma once
#include "workflow/walk.h"

/* How item->work becomes an object; loads attributes. Remembered in the item. */
int wf_clean_of(struct wf *w, struct wf_item *item, enum wf_clean *ret_how);
/* The id of the cleaned content of the file, in item->work.oid; with `store` it is among the
 * workspace's own objects afterwards, and content for LFS in <workspace>/git/lfs. *ret_lasting: the
 * same file will have the same id again. -ESTALE: its size is not `size` any more. */
int wf_clean_content(
	struct wf *w, struct wf_item *item, const struct wf_content *content, bool *ret_lasting);
/* Content as it was read, into what the object has; in place (or another buffer). */
int wf_clean_data(struct wf *w, struct wf_item *item, char **data, size_t *len);
