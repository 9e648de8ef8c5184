/* SPDX-License-Identifier: Apache-2.0 */
/* See clean.h. Text is converted in memory; a larger file is taken as it is. */
#include "workflow/clean.h"

#include "workflow/attr.h"
#include "workflow/eol.h"
#include "workflow/lfs.h"

#include <base/cleanup.h>
#include <base/io.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MAX (64u << 20)

int wf_clean_of(struct wf *w, struct wf_item *item, enum wf_clean *ret_how)
{
	static const enum wf_clean of_eol[] = {[WF_EOL_KEEP] = WF_CLEAN_NONE,
		[WF_EOL_TEXT] = WF_CLEAN_TEXT,
		[WF_EOL_AUTO] = WF_CLEAN_AUTO};
	struct wf_attr attrs[WF_ATTRS];
	bool lfs = false;
	int r = 0;

	if (item->clean == WF_CLEAN_UNKNOWN) {
		r = wf_attrs_of(w, item->level, item->path, item->name_at, attrs);
		if (r == 0)
			r = wf_lfs_wanted(w, &attrs[WF_ATTR_FILTER], &lfs);
		if (r < 0)
			return r;
		item->clean = lfs ? WF_CLEAN_LFS : of_eol[wf_eol_of(attrs)];
	}
	*ret_how = item->clean;
	return 0;
}

static enum wf_eol eol_of(const struct wf_item *item)
{
	return item->clean == WF_CLEAN_TEXT   ? WF_EOL_TEXT
	       : item->clean == WF_CLEAN_AUTO ? WF_EOL_AUTO
					      : WF_EOL_KEEP;
}

/* What Git guesses to be text keeps the CRLFs that are staged already. */
static int staged_has_crlf(struct wf *w, const struct wf_item *item, bool *ret_has)
{
	_cleanup_free_ char *data = NULL;
	size_t len = 0;
	int r = 0;

	if (item->index.mode == WF_MODE_FILE || item->index.mode == WF_MODE_EXEC)
		r = wf_blob_read(w, &item->index.oid, TEXT_MAX, &data, &len);
	if (r < 0 && r != -EFBIG)
		return r;
	*ret_has = r == 0 && data && wf_eol_matters(WF_EOL_AUTO, data, len);
	return 0;
}

static int clean_text(
	struct wf *w, const struct wf_item *item, char *data, size_t *len, bool *ret_lasting)
{
	enum wf_eol how = eol_of(item);
	bool keep = false;
	int r = 0;

	*ret_lasting = true;
	if (!wf_eol_matters(how, data, *len))
		return 0;
	if (how == WF_EOL_AUTO) {
		*ret_lasting = false; /* it depends on what is staged */
		r = staged_has_crlf(w, item, &keep);
	}
	if (r == 0 && !keep)
		*len = wf_eol_clean(how, data, *len);
	return r;
}

static int text_content(
	struct wf *w, struct wf_item *item, const struct wf_content *content, bool *ret_lasting)
{
	_cleanup_free_ char *data = malloc((size_t)content->size + 1);
	size_t len = (size_t)content->size;
	int r;

	if (!data)
		return -ENOMEM;
	r = wf_read_exactly(content->fd, len, data);
	if (r == 0)
		r = clean_text(w, item, data, &len, ret_lasting);
	if (r < 0)
		return r;
	if (content->store)
		return wf_odb_write(w, WF_BLOB, data, len, &item->work.oid);
	return digest_object(DIGEST_SHA1, OBJECT_BLOB, data, len, &item->work.oid);
}

int wf_clean_content(
	struct wf *w, struct wf_item *item, const struct wf_content *content, bool *ret_lasting)
{
	enum wf_clean how;
	int r = wf_clean_of(w, item, &how);

	*ret_lasting = true;
	if (r < 0)
		return r;
	if (how == WF_CLEAN_LFS)
		return wf_lfs_content(w, content, &item->work.oid);
	if (how != WF_CLEAN_NONE && content->size <= TEXT_MAX)
		return text_content(w, item, content, ret_lasting);
	return content->store ? wf_odb_write_file(w, content->fd, content->size, &item->work.oid)
			      : wf_hash_file(w, content->fd, content->size, &item->work.oid);
}

int wf_clean_data(struct wf *w, struct wf_item *item, char **data, size_t *len)
{
	enum wf_clean how;
	bool lasting;
	int r = wf_clean_of(w, item, &how);

	if (r < 0 || how == WF_CLEAN_NONE)
		return r;
	if (how == WF_CLEAN_LFS)
		return wf_lfs_pointer(data, len);
	r = clean_text(w, item, *data, len, &lasting);
	(*data)[*len] = '\0'; /* it has not grown */
	return r;
}
