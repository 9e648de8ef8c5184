/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hunks applied to a text, as `git apply` does: a hunk is looked for where it says it belongs, then
 * further and further away; all its lines of context and of what goes must be there. A hunk that
 * begins at the first line must be there, one without context behind it must be at the end.
 * Hunks come in the order of the file.
 */
#include "layer/patch_internal.h"

#include "base/buf.h"
#include "base/cleanup.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define STEPS_MAX (UINT64_C(1) << 28) /* lines that are compared: hunks of a stranger */

struct line {
	const char *at;
	size_t len; /* with the end of line, if it has one */
};

struct lines {
	struct line *line;
	size_t count, cap;
};

static int add_line(struct lines *l, const char *at, size_t len)
{
	if (l->count == l->cap) {
		size_t cap = l->cap ? 2 * l->cap : 64;
		struct line *line = reallocarray(l->line, cap, sizeof(*line));

		if (!line)
			return -ENOMEM;
		l->line = line;
		l->cap = cap;
	}
	l->line[l->count++] = (struct line){at, len};
	return 0;
}

static int split(struct lines *l, const char *text, size_t len)
{
	struct patch_text line;
	int r = 0;

	for (const char *at = text; r == 0 && patch_line(at, text + len, &line); at = line.next)
		r = add_line(l, line.at, (size_t)(line.next - line.at));
	return r;
}

/* A hunk, taken apart: what must be there, and what will be. */
struct pieces {
	struct lines before, after;
	size_t leading, trailing; /* lines of context around */
	struct patch_hunk head;
	unsigned line; /* in the patch */
};

static void pieces_fini(struct pieces *p)
{
	free(p->before.line);
	free(p->after.line);
}

/* "\ No newline at end of file" is about the line before. */
static void cut_newline(struct lines *l)
{
	struct line *last = l->count ? &l->line[l->count - 1] : NULL;

	if (last && last->len && last->at[last->len - 1] == '\n')
		last->len--;
}

static int take_line(struct pieces *p, const struct patch_text *line, char kind)
{
	bool empty = line->len == 0; /* some mailers eat the blank of an empty line */
	const char *at = empty ? line->at : line->at + 1;
	size_t len = (size_t)(line->next - at);
	int r = 0;

	if (kind != '+')
		r = add_line(&p->before, at, len);
	if (r == 0 && kind != '-')
		r = add_line(&p->after, at, len);
	if (kind == ' ') {
		p->trailing++;
	} else {
		if (p->leading == SIZE_MAX)
			p->leading = p->trailing;
		p->trailing = 0;
	}
	return r;
}

/* The hunk at *at; lengths were checked when the patch was read. */
static int take_hunk(const char **at, const char *end, struct pieces *p)
{
	struct patch_text line;
	uint64_t old, new;
	char kind = ' ';
	int r = 0;

	p->leading = SIZE_MAX;
	if (!patch_line(*at, end, &line) || !patch_hunk_header(&line, &p->head))
		return -EBADMSG;
	old = p->head.old_count;
	new = p->head.new_count;
	*at = line.next;
	while (r == 0 && patch_line(*at, end, &line)) {
		char now = line.len ? line.at[0] : ' ';

		if (now == '\r' && line.len == 1)
			now = ' ';
		if (now == '\\') {
			if (kind != '+')
				cut_newline(&p->before);
			if (kind != '-')
				cut_newline(&p->after);
		} else if (!old && !new) {
			break;
		} else {
			kind = now;
			r = take_line(p, &line, kind);
			old -= kind != '+';
			new -= kind != '-';
		}
		*at = line.next;
	}
	if (p->leading == SIZE_MAX)
		p->leading = p->trailing;
	return r;
}

/* ---- where it belongs ---- */

struct image {
	struct lines old;
	size_t done;   /* lines that are settled */
	int64_t shift; /* how many lines longer the text has become */
	uint64_t steps;
	unsigned line; /* of the patch, behind the last hunk */
};

static bool same(const struct line *a, const struct line *b)
{
	return a->len == b->len && memcmp(a->at, b->at, a->len) == 0;
}

static bool matches(struct image *im, const struct pieces *p, size_t at)
{
	if (at < im->done || p->before.count > im->old.count - at)
		return false;
	for (size_t i = 0; i < p->before.count; i++) {
		im->steps++;
		if (!same(&im->old.line[at + i], &p->before.line[i]))
			return false;
	}
	return true;
}

/* -ESTALE: nowhere. */
static int find(struct image *im, const struct pieces *p, size_t *ret_at)
{
	bool at_start = p->head.old_from <= 1, at_end = p->trailing == 0;
	size_t count = im->old.count, back, ahead;
	int64_t guess = (p->head.new_from ? (int64_t)p->head.new_from - 1 : 0) - im->shift;

	if (p->before.count > count)
		return -ESTALE;
	if (at_start)
		guess = 0;
	else if (at_end)
		guess = (int64_t)(count - p->before.count);
	if (guess < 0)
		guess = 0;
	back = ahead = (size_t)guess > count ? count : (size_t)guess;
	if (at_start || at_end) {
		if (at_start && at_end && p->before.count != count)
			return -ESTALE;
		if (!matches(im, p, back))
			return -ESTALE;
		*ret_at = back;
		return 0;
	}
	for (bool forward = true;; forward = !forward) {
		size_t at = forward ? ahead : back;

		im->steps++;
		if (at <= count && matches(im, p, at)) {
			*ret_at = at;
			return 0;
		}
		if (im->steps > STEPS_MAX || (ahead >= count && back <= im->done))
			return -ESTALE;
		if (forward && back > 0)
			back--;
		if (!forward && ahead < count)
			ahead++;
	}
}

static int put_lines(struct buf *out, const struct line *line, size_t count)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < count; i++)
		r = buf_append(out, line[i].at, line[i].len);
	return r == -EMSGSIZE ? -EFBIG : r;
}

static int apply_hunk(
	struct image *im, const struct pieces *p, struct buf *out, struct patch_result *ret)
{
	size_t at;
	int r = find(im, p, &at);

	if (r < 0) {
		ret->why = im->steps > STEPS_MAX ? "is too much work to apply"
						 : "does not have the lines that the patch expects";
		return r;
	}
	r = put_lines(out, im->old.line + im->done, at - im->done);
	if (r == 0)
		r = put_lines(out, p->after.line, p->after.count);
	im->done = at + p->before.count;
	im->shift += (int64_t)p->after.count - (int64_t)p->before.count;
	return r;
}

/* ---- a file ---- */

/* Without an end of line in the middle only the last line of a text can be. */
static bool ends_lines(const struct lines *l)
{
	for (size_t i = 0; i + 1 < l->count; i++)
		if (!l->line[i].len || l->line[i].at[l->line[i].len - 1] != '\n')
			return false;
	return true;
}

static int apply_hunks(
	const struct patch_file *f, struct image *im, struct buf *out, struct patch_result *ret)
{
	const char *at = f->body, *end = f->body + f->body_len;
	int r = 0;

	while (r == 0 && at < end) {
		struct pieces p = {.leading = 0};
		const char *start = at;

		p.line = im->line;
		r = take_hunk(&at, end, &p);
		for (const char *c = start; c < at; c++)
			im->line += *c == '\n';
		if (r == 0 && (!ends_lines(&p.before) || !ends_lines(&p.after)))
			r = -EBADMSG;
		if (r == -EBADMSG)
			ret->why = "has a damaged hunk";
		if (r == 0)
			r = apply_hunk(im, &p, out, ret);
		if (r < 0)
			ret->line = p.line;
		pieces_fini(&p);
	}
	if (r == 0)
		r = put_lines(out, im->old.line + im->done, im->old.count - im->done);
	return r;
}

static int finish(struct buf *out, struct patch_result *ret)
{
	ret->len = out->len;
	if (buf_putc(out, '\0') < 0)
		return buf_error(out) == -ENOMEM ? -ENOMEM : -EFBIG;
	ret->data = buf_take(out);
	return ret->data ? 0 : -ENOMEM;
}

int patch_apply(
	const struct patch_file *f, const char *old, size_t old_len, struct patch_result *ret)
{
	struct image im = {.line = f->body_line};
	struct buf out;
	int r;

	*ret = (struct patch_result){0};
	if (f->binary)
		return patch_apply_binary(f, old, old_len, ret);
	buf_init(&out, PATCH_CONTENT_MAX + 1);
	r = split(&im.old, old, old_len);
	if (r == 0)
		r = apply_hunks(f, &im, &out, ret);
	if (r == 0)
		r = finish(&out, ret);
	free(im.old.line);
	buf_fini(&out);
	return r;
}

int patch_old_text(const struct patch_file *f, char **ret_text, size_t *ret_len)
{
	const char *at = f->body, *end = f->body + f->body_len;
	struct pieces p = {.leading = 0};
	struct patch_result text = {0};
	struct buf out;
	int r = f->binary ? -EBADMSG : 0;

	buf_init(&out, 1 << 16);
	if (r == 0 && at < end)
		r = take_hunk(&at, end, &p);
	if (r == 0 && (at != end || p.head.old_from > 1 || !ends_lines(&p.before)))
		r = -EBADMSG;
	if (r == 0)
		r = put_lines(&out, p.before.line, p.before.count);
	if (r == 0)
		r = finish(&out, &text);
	pieces_fini(&p);
	buf_fini(&out);
	if (r == 0) {
		*ret_text = text.data;
		*ret_len = text.len;
	}
	return r;
}
