/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commit: the staged tree, with HEAD as its parent. All trees and blobs were written when they were
 * staged; what remains is the way up from the workspace's path, and the commit object.
 */
#include "workflow/commits.h"
#include "workflow/walk.h"

#include <base/buf.h>
#include <base/clock.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define COMMIT_MAX (2u << 20)

/* ---- what a commit is made of ---- */

int wf_signature_check(const struct wf *w, const char *who, const struct wf_signature *s)
{
	char field[64];

	(void)snprintf(field, sizeof(field), "%s.name", who);
	if (!s->name || !s->name[strspn(s->name, " .,:;\"\\'")])
		return err_field(w->e, field, "is empty");
	if (strpbrk(s->name, "<>\n"))
		return err_field(w->e, field, "has one of < > or a line break in it");
	(void)snprintf(field, sizeof(field), "%s.email", who);
	if (!s->email || strpbrk(s->email, "<>\n"))
		return err_field(w->e, field, "is missing, or has < > or a line break in it");
	(void)snprintf(field, sizeof(field), "%s.offset_minutes", who);
	if (s->offset_minutes <= -1440 || s->offset_minutes >= 1440)
		return err_field(w->e, field, "is a day or more");
	(void)snprintf(field, sizeof(field), "%s.time", who);
	if (s->has_time && (s->time_s < 0 || s->time_s > INT64_C(253402300799)))
		return err_field(w->e, field, "is before 1970 or after 9999");
	return 0;
}

/* Without the characters around it that Git takes away. */
static void put_trimmed(struct buf *b, const char *text)
{
	static const char crud[] = " .,:;<>\"\\'\t\r";
	size_t from = strspn(text, crud), to = strlen(text);

	while (to > from && strchr(crud, text[to - 1]))
		to--;
	(void)buf_append(b, text + from, to - from); /* the buffer remembers a failure */
}

void wf_signature_put(struct buf *b, const char *who, const struct wf_signature *s, int64_t now_s)
{
	int minutes = abs(s->offset_minutes);

	(void)buf_printf(b, "%s ", who);
	put_trimmed(b, s->name);
	(void)buf_puts(b, " <");
	put_trimmed(b, s->email);
	(void)buf_printf(b, "> %" PRId64 " %c%02d%02d\n", s->has_time ? s->time_s : now_s,
		s->offset_minutes < 0 ? '-' : '+', minutes / 60, minutes % 60);
}

/* As `git commit -m` does it: no blanks at ends of lines, no empty lines around, one at a time
 * within. */
static void put_message(struct buf *b, const char *text)
{
	size_t empty = 0, start = b->len;

	while (*text) {
		size_t line = strcspn(text, "\n"), len = line;

		while (len && strchr(" \t\r\v\f", text[len - 1]))
			len--;
		if (len) {
			if (empty && b->len > start)
				(void)buf_putc(b, '\n');
			(void)buf_append(b, text, len);
			(void)buf_putc(b, '\n');
		}
		empty = len ? 0 : empty + 1;
		text += line + (text[line] == '\n');
	}
}

/* A header of several lines: those after the first begin with a blank. */
static void put_gpgsig(struct buf *b, const char *text)
{
	(void)buf_puts(b, "gpgsig ");
	for (; *text; text++)
		if (*text != '\n')
			(void)buf_putc(b, *text);
		else if (text[1])
			(void)buf_puts(b, "\n ");
	(void)buf_putc(b, '\n');
}

static int build(
	struct wf *w, const struct wf_commit_request *rq, const struct oid *root, struct buf *b)
{
	const struct wf_signature *committer = rq->committer.name ? &rq->committer : &rq->author;
	int64_t now_s = (int64_t)(clock_wall_ns(&clock_system) / NS_PER_S);
	char hex[OID_HEX_MAX];
	size_t header;

	(void)buf_printf(b, "tree %s\n", oid_hex(root, hex));
	(void)buf_printf(b, "parent %s\n", oid_hex(&w->state.head, hex));
	wf_signature_put(b, "author", &rq->author, now_s);
	wf_signature_put(b, "committer", committer, now_s);
	if (rq->signature && rq->signature[0])
		put_gpgsig(b, rq->signature);
	(void)buf_putc(b, '\n');
	header = b->len;
	put_message(b, rq->message);
	if (buf_error(b))
		return err_field(w->e, "message", "is longer than 1 MiB");
	return b->len == header ? err_field(w->e, "message", "is empty") : 0;
}

/* ---- statistics ---- */

struct counting {
	struct wf *w;
	struct wf_commit_result *result;
};

static int count(void *arg, struct wf_item *item)
{
	struct wf_commit_result *result = ((struct counting *)arg)->result;
	struct wf *w = ((struct counting *)arg)->w;

	if (!item->head.mode)
		result->added++;
	else if (!item->index.mode)
		result->deleted++;
	else
		result->modified++;
	if (!w->use->has_change_list || !item->index.mode || item->index.mode == WF_MODE_GITLINK)
		return 0;
	return wf_list_own(w, &item->index.oid);
}

static int count_changes(struct wf *w, struct wf_commit_result *result)
{
	struct counting counting = {w, result};
	struct wf_walk *walk = calloc(1, sizeof(*walk));
	int r;

	if (!walk)
		return -ENOMEM;
	*walk = (struct wf_walk){.w = w,
		.head = w->state.tree,
		.index = w->state.index,
		.visit = count,
		.arg = &counting};
	r = wf_walk(walk, NULL);
	free(walk);
	return r;
}

/* ---- the verb ---- */

static int check(const struct wf *w, const struct wf_commit_request *rq)
{
	int r = wf_signature_check(w, "author", &rq->author);

	if (r == 0 && rq->committer.name)
		r = wf_signature_check(w, "committer", &rq->committer);
	if (r < 0)
		return r;
	if (!rq->allow_empty && oid_equal(&w->state.index, &w->state.tree))
		return err_set(w->e, -EBUSY, "NOTHING_TO_COMMIT",
			"nothing is staged; add changes first, or allow an empty commit");
	return 0;
}

static int run(struct wf *w, const struct wf_commit_request *rq, struct wf_commit_result *result)
{
	struct wf_state next = w->state;
	struct oid root, commit;
	struct buf b;
	int r = check(w, rq);

	if (r == 0)
		r = wf_root_of_head(w, &root);
	if (r == 0)
		r = wf_root_with(w, &root, &w->state.index, &root);
	if (r < 0)
		return r;
	buf_init(&b, COMMIT_MAX);
	r = build(w, rq, &root, &b);
	if (r == 0)
		r = wf_odb_write(w, WF_COMMIT, b.data, b.len, &commit);
	buf_fini(&b);
	if (r == 0)
		r = count_changes(w, result);
	if (r < 0)
		return r;
	(void)oid_hex(&commit, result->commit);
	(void)oid_hex(&root, result->tree);
	(void)oid_hex(&w->state.head, result->parent);
	next.head = commit;
	next.tree = w->state.index;
	return wf_save(w, &next);
}

int wf_commit(const struct wf_call *call, const struct wf_commit_request *rq,
	struct wf_commit_result *ret_result, struct err *e)
{
	struct wf_commit_result result = {0};
	struct wf w;
	int r = wf_open(&w, call, true, e);

	if (r < 0)
		return r;
	r = run(&w, rq, &result);
	if (r < 0)
		(void)wf_failed(&w, r, "commit");
	else
		*ret_result = result;
	wf_close(&w);
	return r;
}
