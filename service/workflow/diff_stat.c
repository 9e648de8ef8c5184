/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See diff_stat.h. The rules are those of git 2.39's diff.c, so that the answers are the same: at
 * least 16 columns for names and 6 for the graph; when both do not fit, the graph shrinks to three
 * eighths first, then the names lose their beginnings.
 */
#include "workflow/diff_stat.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define NAMES_MAX (64u << 20)
#define NAME_MIN  16u
#define GRAPH_MIN 6u
#define BIN_WORDS 14u /* "Bin  ->  bytes" */

void wf_stat_init(struct wf_stat *s)
{
	*s = (struct wf_stat){0};
	buf_init(&s->names, NAMES_MAX);
}

void wf_stat_fini(struct wf_stat *s)
{
	buf_fini(&s->names);
	free(s->rows);
	*s = (struct wf_stat){0};
}

int wf_stat_add(struct wf_stat *s, const char *name, const struct wf_stat_row *counts)
{
	if (s->count == s->cap) {
		size_t cap = s->cap ? 2 * s->cap : 64;
		struct wf_stat_row *rows = reallocarray(s->rows, cap, sizeof(*rows));

		if (!rows)
			return -ENOMEM;
		s->rows = rows;
		s->cap = cap;
	}
	s->rows[s->count] = *counts;
	s->rows[s->count++].name = s->names.len;
	return buf_append(&s->names, name, strlen(name) + 1);
}

static size_t digits(uint64_t number)
{
	size_t n = 1;

	for (; number >= 10; number /= 10)
		n++;
	return n;
}

static size_t larger(size_t a, size_t b)
{
	return a > b ? a : b;
}

/* ---- columns ---- */

struct columns {
	size_t name, number, graph;
	uint64_t max_change;
};

/* *ret_binary: the width of the widest "Bin 1 -> 2 bytes". */
static struct columns wanted(const struct wf_stat *s, size_t *ret_binary)
{
	struct columns c = {0};

	*ret_binary = 0;
	for (size_t i = 0; i < s->count; i++) {
		const struct wf_stat_row *row = &s->rows[i];

		c.name = larger(c.name, strlen(s->names.data + row->name));
		if (row->binary) {
			*ret_binary = larger(
				*ret_binary, BIN_WORDS + digits(row->added) + digits(row->deleted));
			c.number = strlen("Bin");
		} else if (row->added + row->deleted > c.max_change) {
			c.max_change = row->added + row->deleted;
		}
	}
	c.number = larger(c.number, digits(c.max_change));
	return c;
}

static struct columns decide(const struct wf_stat *s, size_t width)
{
	size_t binary, rest;
	struct columns c = wanted(s, &binary);

	width = larger(width, NAME_MIN + GRAPH_MIN + c.number);
	rest = width - c.number - 6; /* " ", " | ", " ", and one that is left free */
	c.graph = c.max_change + 4 > binary ? (size_t)c.max_change : binary - 4;
	if (c.name + c.graph <= rest)
		return c;
	if (c.graph + c.number + 6 > width * 3 / 8)
		c.graph = width * 3 / 8 > c.number + 6 + GRAPH_MIN ? width * 3 / 8 - c.number - 6
								   : GRAPH_MIN;
	if (c.name > rest - c.graph)
		c.name = rest - c.graph;
	else
		c.graph = rest - c.name;
	return c;
}

/* ---- lines ---- */

static void repeat(struct buf *out, char c, size_t count)
{
	while (count--)
		(void)buf_putc(out, c); /* the buffer remembers a failure */
}

/* A name that is too long loses its beginning, at a '/' if there is one. */
static void put_name(struct buf *out, const char *name, size_t width)
{
	const char *dots = "", *slash;
	size_t len = strlen(name);

	if (len > width) {
		dots = "...";
		width = width > 3 ? width - 3 : 0;
		name += len - width;
		slash = strchr(name, '/');
		name = slash ? slash : name;
	}
	len = strlen(name);
	(void)buf_printf(out, " %s%s", dots, name); /* as above */
	repeat(out, ' ', width > len ? width - len : 0);
}

static uint64_t scaled(uint64_t count, const struct columns *c)
{
	return count ? 1 + count * (c->graph - 1) / c->max_change : 0;
}

static void put_graph(struct buf *out, const struct wf_stat_row *row, const struct columns *c)
{
	uint64_t added = row->added, deleted = row->deleted;

	if (c->graph <= c->max_change) {
		uint64_t total = scaled(added + deleted, c);

		if (total < 2 && added && deleted)
			total = 2;
		if (added < deleted) {
			added = scaled(added, c);
			deleted = total - added;
		} else {
			deleted = scaled(deleted, c);
			added = total - deleted;
		}
	}
	repeat(out, '+', (size_t)added);
	repeat(out, '-', (size_t)deleted);
}

static void put_binary(struct buf *out, const struct wf_stat_row *row, const struct columns *c)
{
	(void)buf_printf(out, " | %*s", (int)c->number, "Bin"); /* as above */
	if (row->added || row->deleted)
		(void)buf_printf(out, " %" PRIu64 " -> %" PRIu64 " bytes", row->deleted,
			row->added); /* as above */
}

int wf_stat_draw(const struct wf_stat *s, unsigned width, struct buf *out)
{
	struct columns c = decide(s, width ? width : WF_STAT_WIDTH);

	for (size_t i = 0; i < s->count; i++) {
		const struct wf_stat_row *row = &s->rows[i];
		uint64_t changed = row->added + row->deleted;

		put_name(out, s->names.data + row->name, c.name);
		if (row->binary) {
			put_binary(out, row, &c);
		} else {
			(void)buf_printf(out, " | %*" PRIu64 "%s", (int)c.number, changed,
				changed ? " " : ""); /* as above */
			put_graph(out, row, &c);
		}
		(void)buf_putc(out, '\n'); /* as above */
	}
	return buf_error(out);
}

static void put_count(struct buf *out, uint64_t count, const char *what, const char *sign)
{
	(void)buf_printf(out, ", %" PRIu64 " %s%s(%s)", count, what, count == 1 ? "" : "s",
		sign); /* as above */
}

int wf_stat_sum(const struct wf_stat *s, struct buf *out)
{
	uint64_t added = 0, deleted = 0;

	if (!s->count)
		return 0;
	for (size_t i = 0; i < s->count; i++)
		if (!s->rows[i].binary) {
			added += s->rows[i].added;
			deleted += s->rows[i].deleted;
		}
	(void)buf_printf(
		out, " %zu file%s changed", s->count, s->count == 1 ? "" : "s"); /* as above */
	if (added || !deleted)
		put_count(out, added, "insertion", "+");
	if (deleted || !added)
		put_count(out, deleted, "deletion", "-");
	return buf_putc(out, '\n');
}
