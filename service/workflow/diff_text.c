/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See diff_text.h. Headers are written here, after git 2.39's diff.c; hunks come from libgit2's
 * copy of xdiff with the indent heuristic, which is what Git uses by default. Their headings are
 * looked for here too (heading.h): libgit2 knows other languages than Git.
 */
#include "workflow/diff_text.h"

#include "workflow/diff_stat.h"
#include "workflow/heading.h"

#include <base/buf.h>
#include <errno.h>
#include <git2.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define BINARY_LOOK    8000u
#define ABBREV         7
#define NAME_BYTES_MAX (64u << 10)

/* ---- names ---- */

static char escape_of(unsigned char c)
{
	static const char letters[] = "abtnvfr"; /* \a is 7 */

	if (c == '"' || c == '\\')
		return (char)c;
	return c >= 7 && c <= 13 ? letters[c - 7] : 0;
}

static bool needs_quotes(const char *path)
{
	for (const unsigned char *at = (const void *)path; *at; at++)
		if (*at < ' ' || *at >= 0x7f || *at == '"' || *at == '\\')
			return true;
	return false;
}

void wf_quote(struct buf *out, const char *prefix, const char *path)
{
	if (!needs_quotes(path)) {
		(void)buf_printf(out, "%s%s", prefix, path); /* the buffer remembers a failure */
		return;
	}
	(void)buf_printf(out, "\"%s", prefix);
	for (const unsigned char *at = (const void *)path; *at; at++)
		if (escape_of(*at))
			(void)buf_printf(out, "\\%c", escape_of(*at));
		else if (*at < ' ' || *at >= 0x7f)
			(void)buf_printf(out, "\\%03o", *at);
		else
			(void)buf_putc(out, (char)*at);
	(void)buf_putc(out, '"');
}

/* "a/path" or "/dev/null". */
static void put_label(struct buf *out, const char *prefix, const char *path, bool there)
{
	if (there)
		wf_quote(out, prefix, path);
	else
		(void)buf_puts(out, "/dev/null");
}

/* ---- headers ---- */

static void put_index(struct buf *out, const struct wf_patch *p)
{
	static const struct oid none;
	char before[OID_HEX_MAX] = "0000000000", after[OID_HEX_MAX] = "0000000000";

	if (wf_same(&p->old_node, &p->new_node) ||
		(p->old_node.mode && p->new_node.mode &&
			oid_equal(&p->old_node.oid, &p->new_node.oid)))
		return;
	if (p->old_node.mode && !oid_equal(&p->old_node.oid, &none))
		(void)oid_hex(&p->old_node.oid, before);
	if (p->new_node.mode && !oid_equal(&p->new_node.oid, &none))
		(void)oid_hex(&p->new_node.oid, after);
	(void)buf_printf(out, "index %.*s..%.*s", ABBREV, before, ABBREV, after);
	if (p->old_node.mode == p->new_node.mode)
		(void)buf_printf(out, " %06o", p->old_node.mode);
	(void)buf_putc(out, '\n');
}

static void put_header(struct buf *out, const struct wf_patch *p)
{
	(void)buf_puts(out, "diff --git ");
	wf_quote(out, "a/", p->old_path);
	(void)buf_putc(out, ' ');
	wf_quote(out, "b/", p->new_path);
	(void)buf_putc(out, '\n');
	if (!p->old_node.mode)
		(void)buf_printf(out, "new file mode %06o\n", p->new_node.mode);
	else if (!p->new_node.mode)
		(void)buf_printf(out, "deleted file mode %06o\n", p->old_node.mode);
	else if (p->old_node.mode != p->new_node.mode)
		(void)buf_printf(
			out, "old mode %06o\nnew mode %06o\n", p->old_node.mode, p->new_node.mode);
	if (strcmp(p->old_path, p->new_path) != 0) {
		(void)buf_printf(out, "similarity index %u%%\nrename from ", p->similarity);
		wf_quote(out, "", p->old_path);
		(void)buf_puts(out, "\nrename to ");
		wf_quote(out, "", p->new_path);
		(void)buf_putc(out, '\n');
	}
	put_index(out, p);
}

/* A tab after names with blanks, so that `patch` knows their end. */
static void put_file_line(
	struct buf *out, const char *sign, const char *prefix, const char *path, bool there)
{
	(void)buf_printf(out, "%s ", sign);
	put_label(out, prefix, path, there);
	(void)buf_puts(out, there && strchr(path, ' ') ? "\t\n" : "\n");
}

/* ---- hunks ---- */

static bool is_binary(const struct wf_patch *p)
{
	size_t a = p->old_len < BINARY_LOOK ? p->old_len : BINARY_LOOK;
	size_t b = p->new_len < BINARY_LOOK ? p->new_len : BINARY_LOOK;

	if (p->large || p->kind != WF_LOOK)
		return p->large || p->kind == WF_IS_BINARY;
	return (a && memchr(p->old_data, 0, a)) || (b && memchr(p->new_data, 0, b));
}

static int make_hunks(const struct wf_patch *p, git_patch **ret_patch)
{
	git_diff_options options;

	if (git_diff_options_init(&options, GIT_DIFF_OPTIONS_VERSION) < 0)
		return -EIO;
	options.context_lines = p->context;
	options.flags |= GIT_DIFF_INDENT_HEURISTIC | GIT_DIFF_FORCE_TEXT;
	return git_patch_from_buffers(ret_patch, p->old_data ? p->old_data : "", p->old_len, NULL,
		       p->new_data ? p->new_data : "", p->new_len, NULL, &options) < 0
		       ? -ENOMEM
		       : 0;
}

/* "@@ -1,2 +3,4 @@", without what libgit2 takes for the heading. */
static int put_hunk_line(
	const git_diff_hunk *hunk, struct wf_heading_search *headings, struct buf *out)
{
	const char *end = memmem(hunk->header, hunk->header_len, " @@", 3);
	/* of an empty range Git names the line before it */
	int first = hunk->old_lines ? hunk->old_start - 1 : hunk->old_start;
	int r;

	if (!end || first < 0)
		return -EIO;
	(void)buf_append(out, hunk->header, (size_t)(end + 3 - hunk->header));
	r = wf_heading_append(headings, (size_t)first, out);
	return r < 0 ? r : buf_putc(out, '\n');
}

static int put_hunk(
	git_patch *patch, size_t at, struct wf_heading_search *headings, struct buf *out)
{
	const git_diff_hunk *hunk;
	size_t lines;
	int r;

	if (git_patch_get_hunk(&hunk, &lines, patch, at) < 0)
		return -EIO;
	r = put_hunk_line(hunk, headings, out);
	if (r < 0)
		return r;
	for (size_t i = 0; i < lines; i++) {
		const git_diff_line *line;

		if (git_patch_get_line_in_hunk(&line, patch, at, i) < 0)
			return -EIO;
		if (line->origin == GIT_DIFF_LINE_CONTEXT ||
			line->origin == GIT_DIFF_LINE_ADDITION ||
			line->origin == GIT_DIFF_LINE_DELETION)
			(void)buf_putc(out, line->origin);
		(void)buf_append(out, line->content, line->content_len);
	}
	return buf_error(out);
}

static int put_hunks(const struct wf_patch *p, struct buf *out)
{
	struct wf_heading_search headings;
	git_patch *patch;
	int r = wf_heading_search_init(&headings, p->headings, p->driver, p->old_data, p->old_len);

	if (r == 0)
		r = make_hunks(p, &patch);
	if (r < 0)
		return r;
	if (git_patch_num_hunks(patch)) {
		put_file_line(out, "---", "a/", p->old_path, p->old_node.mode);
		put_file_line(out, "+++", "b/", p->new_path, p->new_node.mode);
	}
	for (size_t i = 0; r == 0 && i < git_patch_num_hunks(patch); i++)
		r = put_hunk(patch, i, &headings, out);
	git_patch_free(patch);
	return r;
}

static bool same_content(const struct wf_patch *p)
{
	return p->old_node.mode && p->new_node.mode &&
	       oid_equal(&p->old_node.oid, &p->new_node.oid);
}

static int put_patch(const struct wf_patch *p, struct buf *out)
{
	put_header(out, p);
	if (same_content(p))
		return buf_error(out);
	if (!is_binary(p))
		return put_hunks(p, out);
	(void)buf_puts(out, "Binary files ");
	put_label(out, "a/", p->old_path, p->old_node.mode);
	(void)buf_puts(out, " and ");
	put_label(out, "b/", p->new_path, p->new_node.mode);
	return buf_puts(out, " differ\n");
}

static bool type_changes(const struct wf_patch *p)
{
	return p->old_node.mode && p->new_node.mode &&
	       (p->old_node.mode & S_IFMT) != (p->new_node.mode & S_IFMT);
}

int wf_patch_text(const struct wf_patch *p, struct buf *out)
{
	struct wf_patch half = *p;
	int r;

	if (!type_changes(p))
		return put_patch(p, out);
	half.new_node = (struct wf_node){0};
	half.new_data = NULL;
	half.new_len = 0;
	r = put_patch(&half, out);
	half = *p;
	half.old_node = (struct wf_node){0};
	half.old_data = NULL;
	half.old_len = 0;
	return r < 0 ? r : put_patch(&half, out);
}

/* ---- short forms ---- */

/* "a/{b => c}/d": what two paths share, in whole directories. */
static void put_renamed(struct buf *out, const char *a, const char *b)
{
	size_t a_len = strlen(a), b_len = strlen(b), front = 0, back = 0, shorter;

	if (needs_quotes(a) || needs_quotes(b)) {
		wf_quote(out, "", a);
		(void)buf_puts(out, " => ");
		wf_quote(out, "", b);
		return;
	}
	for (size_t i = 0; a[i] && a[i] == b[i]; i++)
		if (a[i] == '/')
			front = i + 1;
	/* what is in front may be shared by one '/' */
	shorter = (a_len < b_len ? a_len : b_len) - (front ? front - 1 : 0);
	for (size_t i = 1; i <= shorter && a[a_len - i] == b[b_len - i]; i++)
		if (a[a_len - i] == '/')
			back = i;
	if (!front && !back) {
		(void)buf_printf(out, "%s => %s", a, b);
		return;
	}
	(void)buf_printf(out, "%.*s{%.*s => %.*s}%s", (int)front, a,
		(int)(a_len > front + back ? a_len - front - back : 0), a + front,
		(int)(b_len > front + back ? b_len - front - back : 0), b + front,
		a + a_len - back);
}

static int count_lines(const struct wf_patch *p, size_t *ret_added, size_t *ret_deleted)
{
	git_patch *patch;
	int r = make_hunks(p, &patch);

	if (r < 0)
		return r;
	r = git_patch_line_stats(NULL, ret_added, ret_deleted, patch) < 0 ? -EIO : 0;
	git_patch_free(patch);
	return r;
}

static int count_changes(const struct wf_patch *p, struct wf_stat_row *ret_counts)
{
	struct wf_stat_row counts = {.binary = is_binary(p)};
	size_t added = 0, deleted = 0;
	int r = 0;

	if (!same_content(p) && counts.binary) {
		added = p->new_len;
		deleted = p->old_len;
	} else if (!same_content(p)) {
		r = count_lines(p, &added, &deleted);
	}
	counts.added = added;
	counts.deleted = deleted;
	if (r == 0)
		*ret_counts = counts;
	return r;
}

static void put_paths(const struct wf_patch *p, struct buf *out)
{
	if (strcmp(p->old_path, p->new_path) == 0)
		wf_quote(out, "", p->new_path);
	else
		put_renamed(out, p->old_path, p->new_path);
}

int wf_patch_numstat(const struct wf_patch *p, struct buf *out)
{
	struct wf_stat_row counts;
	int r = count_changes(p, &counts);

	if (r < 0)
		return r;
	if (counts.binary)
		(void)buf_puts(out, "-\t-\t");
	else
		(void)buf_printf(out, "%" PRIu64 "\t%" PRIu64 "\t", counts.added, counts.deleted);
	put_paths(p, out);
	return buf_putc(out, '\n');
}

int wf_patch_stat(const struct wf_patch *p, struct wf_stat *stat)
{
	struct wf_stat_row counts;
	struct buf name;
	int r = count_changes(p, &counts);

	if (r < 0)
		return r;
	buf_init(&name, NAME_BYTES_MAX);
	put_paths(p, &name);
	r = buf_error(&name);
	if (r == 0)
		r = wf_stat_add(stat, buf_cstr(&name), &counts);
	buf_fini(&name);
	return r;
}

int wf_patch_name_status(const struct wf_patch *p, struct buf *out)
{
	if (strcmp(p->old_path, p->new_path) != 0) {
		(void)buf_printf(out, "R%03u\t", p->similarity);
		wf_quote(out, "", p->old_path);
		(void)buf_putc(out, '\t');
	} else {
		(void)buf_printf(out, "%c\t",
			!p->old_node.mode   ? 'A'
			: !p->new_node.mode ? 'D'
			: type_changes(p)   ? 'T'
					    : 'M');
	}
	wf_quote(out, "", p->new_path);
	return buf_putc(out, '\n');
}
