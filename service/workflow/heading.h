/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stands behind a hunk's line numbers: the nearest line above it that says where in the text
 * it is. Which lines do so depends on the language, which the attribute "diff" names as one of
 * Git's built-in drivers; without one, each line that begins with a letter, '_' or '$' does.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct cancel;

/* ---- languages; const ---- */

#define WF_HEADING_RULES 6

enum {
	WF_HEADING_NOT = 1,    /* such a line is no heading, whatever the rules below say */
	WF_HEADING_INDENT = 2, /* blanks in front of it do not count */
	WF_HEADING_PART = 4,   /* not the rest of the line: what the first group matched, or all */
};

/* The first rule that a line matches decides; POSIX extended expressions. */
struct wf_heading_rule {
	const char *match; /* NULL: the end */
	unsigned flags;
};
struct wf_heading_language {
	const char *name;
	bool any_case;
	struct wf_heading_rule rules[WF_HEADING_RULES];
};
extern const struct wf_heading_language wf_heading_languages[];
extern const size_t wf_heading_language_count;

/* ---- the rules made ready; for one thread at a time ---- */

struct wf_headings;
/* NULL: no memory. A search ends with the token or at the deadline. */
struct wf_headings *wf_headings_new(const struct cancel *cancel, uint64_t deadline_ns);
struct wf_headings *wf_headings_free(struct wf_headings *h);

/* ---- a search through the text before the change, from hunk to hunk ---- */

struct wf_heading_search {
	struct wf_headings *headings;
	const struct wf_heading_rules *rules; /* NULL: any letter */
	const char *data, *end;
	const char *at; /* the line that was asked about last */
	size_t line;    /* its number, from 0 */
	const char *name;
	size_t name_len;
};
/* `driver` NULL or unknown: the default. The text stays the caller's. */
int wf_heading_search_init(struct wf_heading_search *s, struct wf_headings *h, const char *driver,
	const char *data, size_t len);
/* Appends the heading of a hunk that begins with this line (from 0; not before that of the last
 * call): a blank and the words, or nothing. -ECANCELED, -ETIMEDOUT. */
int wf_heading_append(struct wf_heading_search *s, size_t line, struct buf *out);
