/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Diff: between two of the files, what is staged, HEAD, the base and the workspace's commits. One
 * walk finds and writes, a path at a time; renames need all that came and went first, so a walk
 * that only looks at ids goes before.
 */
#include "workflow/attr.h"
#include "workflow/commits.h"
#include "workflow/diff_stat.h"
#include "workflow/diff_text.h"
#include "workflow/heading.h"
#include "workflow/paths.h"
#include "workflow/rename.h"
#include "workflow/walk.h"

#include <base/buf.h>
#include <base/cleanup.h>
#include <errno.h>
#include <fuse/upper.h>
#include <stdlib.h>
#include <string.h>

#define CONTENT_MAX (64u << 20) /* what is larger is told as binary */
#define TEXT_MAX    (1u << 30)  /* of one path */
#define FLUSH_BYTES (64u << 10)

struct diff {
	struct wf w;
	const struct wf_diff_request *rq;
	wf_diff_fn fn;
	void *arg;
	struct wf_matcher paths;
	struct wf_renames renames;
	struct wf_walk walk;
	bool to_files;
	struct buf out;
	struct wf_stat stat;
	struct wf_headings *headings;
};

/* ---- the two sides of a path ---- */

struct pair {
	struct wf_node before, after;
	bool after_is_file; /* `after` is what the job sees now */
};

/* False: nothing to say of it. */
static int pair_of(struct diff *d, struct wf_item *item, struct pair *ret_pair, bool *ret_differs)
{
	struct wf_node before = item->head;
	bool differs;
	int r = 0;

	if (!d->to_files) {
		*ret_pair = (struct pair){item->head, item->index, false};
		*ret_differs = !wf_same(&item->head, &item->index);
		return 0;
	}
	*ret_differs = false;
	if (!item->index.mode) { /* not tracked: as if it were not there */
		*ret_pair = (struct pair){.before = before};
		*ret_differs = before.mode != 0;
		return 0;
	}
	r = wf_work_differs(&d->w, item, &before, &differs);
	if (r == 0 && differs)
		r = wf_work_hash(&d->w, item);
	if (r < 0 || !differs)
		return r;
	*ret_pair = (struct pair){before, item->work, item->upper != NULL};
	*ret_differs = before.mode || item->work.mode;
	return 0;
}

/* ---- renames ---- */

static int collect(void *arg, struct wf_item *item)
{
	struct diff *d = arg;
	struct pair pair;
	bool differs;
	int r;

	if (!wf_matcher_has(&d->paths, item->path, item->path_len) ||
		(item->head.mode && d->to_files && item->index.mode && item->work.mode))
		return 0;
	r = pair_of(d, item, &pair, &differs);
	if (r < 0 || !differs)
		return r;
	if (!pair.before.mode)
		return wf_renames_add(&d->renames, true, item->path, &pair.after);
	if (!pair.after.mode)
		return wf_renames_add(&d->renames, false, item->path, &pair.before);
	return 0;
}

/* A file of the job by its path, or else the blob of that id. */
static int read_candidate(
	void *arg, const struct wf_rename_path *p, size_t max, char **ret_data, size_t *ret_len)
{
	struct diff *d = arg;
	bool came =
		d->to_files && p >= d->renames.come && p < d->renames.come + d->renames.come_count;

	if (came && !wf_odb_has(&d->w, &p->node.oid))
		return wf_work_read_path(&d->w, p->path, max, ret_data, ret_len);
	return wf_blob_read(&d->w, &p->node.oid, max, ret_data, ret_len);
}

/* ---- writing ---- */

static int flush(struct diff *d)
{
	int r = buf_error(&d->out);

	if (r == 0 && d->out.len)
		r = d->fn(d->arg, d->out.data, d->out.len);
	buf_clear(&d->out);
	return r;
}

static int read_link_to_commit(const struct oid *oid, char **ret_data, size_t *ret_len)
{
	char hex[OID_HEX_MAX];
	int len = asprintf(ret_data, "Subproject commit %s\n", oid_hex(oid, hex));

	*ret_len = len < 0 ? 0 : (size_t)len;
	return len < 0 ? -ENOMEM : 0;
}

static int read_node(struct diff *d, const struct wf_node *node, char **ret_data, size_t *ret_len)
{
	if (!node->mode)
		return 0;
	if (node->mode == WF_MODE_GITLINK)
		return read_link_to_commit(&node->oid, ret_data, ret_len);
	return wf_blob_read(&d->w, &node->oid, CONTENT_MAX, ret_data, ret_len);
}

static bool same_content(const struct wf_patch *p)
{
	return p->old_node.mode && p->new_node.mode &&
	       oid_equal(&p->old_node.oid, &p->new_node.oid);
}

/* Of what is too large to be read: how large it is. */
static int measure(struct diff *d, struct wf_patch *p)
{
	struct wf_node *nodes[] = {&p->old_node, &p->new_node};
	size_t *const lens[] = {&p->old_len, &p->new_len};
	int r = 0;

	p->large = true;
	for (unsigned i = 0; r == 0 && i < 2; i++) {
		if (nodes[i]->mode && nodes[i]->mode != WF_MODE_GITLINK)
			r = wf_blob_size(&d->w, nodes[i]);
		*lens[i] = (size_t)nodes[i]->size;
	}
	return r;
}

static int append(struct diff *d, const struct wf_patch *p)
{
	switch (d->rq->format) {
	case WF_DIFF_NUMSTAT:
		return wf_patch_numstat(p, &d->out);
	case WF_DIFF_STAT:
	case WF_DIFF_SHORTSTAT:
		return wf_patch_stat(p, &d->stat);
	default:
		return wf_patch_text(p, &d->out);
	}
}

static int write_patch(struct diff *d, struct wf_item *item, struct wf_patch *p, bool is_file)
{
	_cleanup_free_ char *before = NULL;
	_cleanup_free_ char *after = NULL;
	struct wf_attr attrs[WF_ATTRS];
	bool same = same_content(p);
	int r = 0;

	if (!same)
		r = read_node(d, &p->old_node, &before, &p->old_len);
	if (r == 0 && (!same || d->rq->format != WF_DIFF_PATCH)) /* is it text? */
		r = is_file ? wf_work_read(&d->w, item, CONTENT_MAX, &after, &p->new_len)
			    : read_node(d, &p->new_node, &after, &p->new_len);
	if (r == -EFBIG)
		r = measure(d, p);
	if (r < 0)
		return wf_failed_at(&d->w, r, "read", item->path);
	p->old_data = before;
	p->new_data = after;
	r = wf_attrs_of(&d->w, item->level, item->path, item->name_at, attrs);
	if (r < 0)
		return r;
	p->kind = attrs[WF_ATTR_DIFF].state == WF_ATTR_UNSET ? WF_IS_BINARY
		  : attrs[WF_ATTR_DIFF].state == WF_ATTR_SET ? WF_IS_TEXT
							     : WF_LOOK;
	p->context = d->rq->context;
	p->headings = d->headings;
	if (attrs[WF_ATTR_DIFF].state == WF_ATTR_VALUE)
		p->driver = attrs[WF_ATTR_DIFF].value;
	r = append(d, p);
	return r == -EMSGSIZE ? err_set(d->w.e, -EFBIG, "DIFF_TOO_LARGE",
					"the difference of %.256s is too large", item->path)
			      : r;
}

static int write_pair(struct diff *d, struct wf_item *item, const struct pair *pair)
{
	struct wf_patch p = {.old_path = item->path,
		.new_path = item->path,
		.old_node = pair->before,
		.new_node = pair->after};
	const struct wf_rename_path *from =
		pair->before.mode ? NULL : wf_renames_come(&d->renames, item->path);
	int r;

	if (!pair->after.mode && wf_renames_gone(&d->renames, item->path))
		return 0;
	if (from) {
		p.old_path = from->path;
		p.old_node = from->node;
		p.similarity = wf_renames_score(&d->renames, item->path);
	}
	if (d->rq->format == WF_DIFF_NAME_ONLY) {
		wf_quote(&d->out, "", item->path);
		r = buf_putc(&d->out, '\n');
	} else if (d->rq->format == WF_DIFF_NAME_STATUS) {
		r = wf_patch_name_status(&p, &d->out);
	} else {
		r = write_patch(d, item, &p, pair->after_is_file);
	}
	return r == 0 && d->out.len >= FLUSH_BYTES ? flush(d) : r;
}

static int visit(void *arg, struct wf_item *item)
{
	struct diff *d = arg;
	struct pair pair;
	bool differs;
	int r;

	if (!wf_matcher_has(&d->paths, item->path, item->path_len))
		return 0;
	r = pair_of(d, item, &pair, &differs);
	return r < 0 || !differs ? r : write_pair(d, item, &pair);
}

static bool enter(void *arg, const char *path, size_t len, struct wf_level *level)
{
	const struct diff *d = arg;

	/* what is not tracked is of no interest */
	return (level->tracked || level->head.count || !level->up) &&
	       wf_matcher_may_enter(&d->paths, path, len);
}

/* ---- the sides ---- */

static int tree_called(struct diff *d, const char *name, struct oid *ret_tree)
{
	struct oid commit;

	if (strcmp(name, "INDEX") == 0) {
		*ret_tree = d->w.state.index;
		return 0;
	}
	return wf_commit_find(&d->w, name, &commit, ret_tree);
}

static int set_sides(struct diff *d)
{
	const char *from = d->rq->from ? d->rq->from : "", *to = d->rq->to ? d->rq->to : "";
	int r;

	d->to_files = !*to;
	if (!*from)
		from = d->to_files ? "INDEX" : "HEAD";
	/* the job's files are looked at in any case: their .gitattributes count */
	d->walk = (struct wf_walk){.w = &d->w, .with_work = true, .enter = enter, .arg = d};
	d->walk.index = d->w.state.index;
	r = tree_called(d, from, &d->walk.head);
	return r == 0 && !d->to_files ? tree_called(d, to, &d->walk.index) : r;
}

static int run(struct diff *d)
{
	int r = set_sides(d);

	if (r == 0 && !d->rq->no_renames) {
		d->walk.visit = collect;
		r = wf_walk(&d->walk, NULL);
		if (r == 0)
			r = wf_renames_find(&d->w, &d->renames, read_candidate, d);
	}
	d->walk.visit = visit;
	if (r == 0)
		r = wf_walk(&d->walk, NULL);
	if (r == 0 && d->rq->format == WF_DIFF_STAT)
		r = wf_stat_draw(&d->stat, d->rq->width, &d->out);
	if (r == 0 && (d->rq->format == WF_DIFF_STAT || d->rq->format == WF_DIFF_SHORTSTAT))
		r = wf_stat_sum(&d->stat, &d->out);
	return r == 0 ? flush(d) : r;
}

int wf_diff(const struct wf_call *call, const struct wf_diff_request *rq, wf_diff_fn fn, void *arg,
	struct wf_head *ret_head, struct err *e)
{
	struct diff *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return err_set(e, -ENOMEM, "", "no memory");
	d->rq = rq;
	d->fn = fn;
	d->arg = arg;
	buf_init(&d->out, TEXT_MAX);
	wf_stat_init(&d->stat);
	r = wf_matcher_init(&d->paths, &rq->paths, e);
	if (r == 0)
		r = wf_open(&d->w, call, false, e);
	if (r == 0) {
		wf_head_of(&d->w, ret_head);
		d->headings = wf_headings_new(d->w.use->cancel, d->w.use->deadline_ns);
		r = d->headings ? run(d) : -ENOMEM;
		if (r < 0)
			(void)wf_failed(&d->w, r, "compare");
		d->headings = wf_headings_free(d->headings);
		wf_renames_fini(&d->renames);
		wf_close(&d->w);
	}
	wf_matcher_fini(&d->paths);
	buf_fini(&d->out);
	wf_stat_fini(&d->stat);
	free(d);
	return r;
}
