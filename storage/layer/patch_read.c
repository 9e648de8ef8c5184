/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files of a patch: their headers, and where their hunks are. By the rules of `git apply`: what
 * stands between files is skipped (that is how mails and their signatures are read); lines of a
 * hunk are counted, so that a removed "-- a" is not taken for a header; of names the first part is
 * taken away, but not of those that a rename or a copy tells.
 */
#include "storage/patch.h"

#include "layer/patch_internal.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

void patch_file_fini(struct patch_file *f)
{
	free(f->old_path);
	free(f->new_path);
	*f = (struct patch_file){0};
}

struct patch_reader patch_begin(const char *text, size_t len)
{
	return (struct patch_reader){.at = text, .end = text + len, .line = 1};
}

/* ---- lines ---- */

bool patch_line(const char *at, const char *end, struct patch_text *ret_line)
{
	const char *stop;

	if (at >= end)
		return false;
	stop = memchr(at, '\n', (size_t)(end - at));
	ret_line->at = at;
	ret_line->len = (size_t)((stop ? stop : end) - at);
	ret_line->next = stop ? stop + 1 : end;
	return true;
}

bool patch_starts(const struct patch_text *line, const char *word)
{
	size_t len = strlen(word);

	return line->len >= len && memcmp(line->at, word, len) == 0;
}

static bool peek(const struct patch_reader *r, struct patch_text *ret_line)
{
	return patch_line(r->at, r->end, ret_line);
}

static void step(struct patch_reader *r, const struct patch_text *line)
{
	r->at = line->next;
	r->line++;
}

static int bad(struct patch_reader *r, const char *why)
{
	r->why = why;
	return -EBADMSG;
}

/* ---- names ---- */

static int set_name(struct patch_reader *r, char **slot, char *name)
{
	if (!name)
		return bad(r, "has a name that cannot be read");
	free(*slot);
	*slot = name;
	return 0;
}

/* Of a line "--- a/name\tdate". */
static int set_side(struct patch_reader *r, const struct patch_text *line, char **slot)
{
	const char *at = line->at + 4, *end = line->at + line->len, *tab;

	tab = *at == '"' ? NULL : memchr(at, '\t', (size_t)(end - at));
	if (tab)
		end = tab;
	if (end > at && end[-1] == '\r')
		end--;
	if (end - at == 9 && memcmp(at, "/dev/null", 9) == 0) {
		free(*slot);
		*slot = NULL;
		return 0;
	}
	return set_name(r, slot, patch_name(at, end, true));
}

/* The time that `diff -N` writes for what is not there. */
static bool says_never(const struct patch_text *line)
{
	const char *tab = memchr(line->at, '\t', line->len);
	size_t left = tab ? (size_t)(line->at + line->len - tab - 1) : 0;

	return left > 19 &&
	       (memcmp(tab + 1, "1970-01-01 ", 11) == 0 || memcmp(tab + 1, "1969-12-31 ", 11) == 0);
}

/* ---- headers ---- */

static bool octal(const char *at, const char *end, uint32_t *ret)
{
	uint32_t n = 0;

	if (end - at < 5 || end - at > 6)
		return false;
	for (; at < end; at++) {
		if (*at < '0' || *at > '7')
			return false;
		n = n * 8 + (uint32_t)(*at - '0');
	}
	*ret = n;
	return true;
}

static size_t take_id(const char *at, const char *end, char *to)
{
	size_t n = 0;

	while (at + n < end && n < PATCH_ID_MAX - 1 && isxdigit((unsigned char)at[n])) {
		to[n] = (char)tolower((unsigned char)at[n]);
		n++;
	}
	to[n] = '\0';
	return n;
}

/* "index 1234..5678 100644" */
static bool index_line(const char *at, const char *end, struct patch_file *f)
{
	at += take_id(at, end, f->old_id);
	if (end - at < 2 || at[0] != '.' || at[1] != '.')
		return false;
	at += 2;
	at += take_id(at, end, f->new_id);
	if (at == end)
		return true;
	if (*at != ' ' || !octal(at + 1, end, &f->old_mode))
		return false;
	if (!f->new_mode)
		f->new_mode = f->old_mode;
	return true;
}

struct heading {
	struct patch_reader *r;
	struct patch_file *f;
	char *common;
	bool added, deleted, sides;
};

enum word {
	WORD_NONE,
	WORD_OLD_MODE,
	WORD_NEW_MODE,
	WORD_DELETED,
	WORD_NEW_FILE,
	WORD_COPY_FROM,
	WORD_COPY_TO,
	WORD_RENAME_FROM,
	WORD_RENAME_TO,
	WORD_INDEX,
	WORD_SIMILAR
};

static const struct {
	const char *text;
	enum word word;
} words[] = {
	{"old mode ", WORD_OLD_MODE},
	{"new mode ", WORD_NEW_MODE},
	{"deleted file mode ", WORD_DELETED},
	{"new file mode ", WORD_NEW_FILE},
	{"copy from ", WORD_COPY_FROM},
	{"copy to ", WORD_COPY_TO},
	{"rename from ", WORD_RENAME_FROM},
	{"rename to ", WORD_RENAME_TO},
	{"rename old ", WORD_RENAME_FROM},
	{"rename new ", WORD_RENAME_TO},
	{"index ", WORD_INDEX},
	{"similarity index ", WORD_SIMILAR},
	{"dissimilarity index ", WORD_SIMILAR},
};

static int take_word(struct heading *h, enum word word, const char *at, const char *end)
{
	struct patch_file *f = h->f;
	bool good = true;

	switch (word) {
	case WORD_OLD_MODE:
		good = octal(at, end, &f->old_mode);
		break;
	case WORD_NEW_MODE:
		good = octal(at, end, &f->new_mode);
		break;
	case WORD_DELETED:
		h->deleted = true;
		good = octal(at, end, &f->old_mode);
		break;
	case WORD_NEW_FILE:
		h->added = true;
		good = octal(at, end, &f->new_mode);
		break;
	case WORD_COPY_FROM:
	case WORD_RENAME_FROM:
		*(word == WORD_COPY_FROM ? &f->copied : &f->renamed) = true;
		return set_name(h->r, &f->old_path, patch_name(at, end, false));
	case WORD_COPY_TO:
	case WORD_RENAME_TO:
		return set_name(h->r, &f->new_path, patch_name(at, end, false));
	case WORD_INDEX:
		good = index_line(at, end, f);
		break;
	default:
		break;
	}
	return good ? 0 : bad(h->r, "has a header that cannot be read");
}

/* One line of the header of a file: 1; its end: 0. */
static int header_line(struct heading *h, const struct patch_text *line)
{
	const char *end = line->at + line->len;

	if (end > line->at && end[-1] == '\r')
		end--;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		const char *at = line->at + strlen(words[i].text);
		int r;

		if (!patch_starts(line, words[i].text) || at > end)
			continue;
		r = take_word(h, words[i].word, at, end);
		return r < 0 ? r : 1;
	}
	return 0;
}

static int sides(struct heading *h, const struct patch_text *old)
{
	struct patch_text new;
	int r;

	if (!patch_line(old->next, h->r->end, &new) || !patch_starts(&new, "+++ "))
		return 0;
	r = set_side(h->r, old, &h->f->old_path);
	if (r == 0)
		r = set_side(h->r, &new, &h->f->new_path);
	if (r < 0)
		return r;
	h->sides = true;
	step(h->r, old);
	step(h->r, &new);
	return 0;
}

/* Names that only the first line told; and that fit what the others say. */
static int settle(struct heading *h)
{
	struct patch_file *f = h->f;

	if (!h->sides && !f->renamed && !f->copied) {
		if (!h->common)
			return bad(h->r, "does not tell which file it is about");
		f->old_path = h->added ? NULL : strdup(h->common);
		f->new_path = h->deleted ? NULL : strdup(h->common);
		if ((!h->added && !f->old_path) || (!h->deleted && !f->new_path))
			return -ENOMEM;
	}
	if ((h->added && f->old_path) || (h->deleted && f->new_path) ||
		(!f->old_path && !f->new_path) || (h->added && h->deleted) ||
		((f->renamed || f->copied) && (!f->old_path || !f->new_path)))
		return bad(h->r, "contradicts itself about which files there are");
	if (!f->renamed && !f->copied && f->old_path && f->new_path &&
		strcmp(f->old_path, f->new_path) != 0)
		return bad(h->r, "has two names for one file");
	return 0;
}

static int git_header(struct patch_reader *r, const struct patch_text *first, struct patch_file *f)
{
	struct heading h = {.r = r, .f = f};
	const char *end = first->at + first->len;
	struct patch_text line;
	int err = 1;

	if (end[-1] == '\r')
		end--;
	h.common = patch_common_name(first->at + strlen("diff --git "), end);
	step(r, first);
	while (err == 1 && peek(r, &line)) {
		err = header_line(&h, &line);
		if (err == 1)
			step(r, &line);
	}
	if (err >= 0 && peek(r, &line) && patch_starts(&line, "--- "))
		err = sides(&h, &line);
	if (err >= 0)
		err = settle(&h);
	free(h.common);
	return err;
}

/* "--- old" and "+++ new" without more. */
static int plain_header(struct patch_reader *r, const struct patch_text *old, struct patch_file *f)
{
	struct heading h = {.r = r, .f = f};
	struct patch_text new = {0};
	int err;

	(void)patch_line(old->next, r->end, &new);
	err = sides(&h, old);
	if (err < 0)
		return err;
	if (f->old_path && says_never(old)) {
		free(f->old_path);
		f->old_path = NULL;
	}
	if (f->new_path && says_never(&new)) {
		free(f->new_path);
		f->new_path = NULL;
	}
	if (f->old_path && f->new_path && strcmp(f->old_path, f->new_path) != 0) {
		/* "x.orig" and "x": what it becomes is what it is about */
		free(f->old_path);
		f->old_path = strdup(f->new_path);
		if (!f->old_path)
			return -ENOMEM;
	}
	return f->old_path || f->new_path ? 0 : bad(r, "is about no file");
}

/* ---- bodies ---- */

static bool range(const char **at, const char *end, uint64_t *ret_from, uint64_t *ret_count)
{
	uint64_t n[2] = {0, 1};

	for (unsigned i = 0; i < 2; i++) {
		const char *start = *at;

		if (i == 1 && (*at == end || **at != ','))
			break;
		if (i == 1)
			start = ++*at;
		n[i] = 0;
		while (*at < end && **at >= '0' && **at <= '9' && *at - start < 10)
			n[i] = n[i] * 10 + (uint64_t)(*(*at)++ - '0');
		if (*at == start)
			return false;
	}
	*ret_from = n[0];
	*ret_count = n[1];
	return true;
}

bool patch_hunk_header(const struct patch_text *line, struct patch_hunk *ret_hunk)
{
	const char *at = line->at + 4, *end = line->at + line->len;

	if (!patch_starts(line, "@@ -") ||
		!range(&at, end, &ret_hunk->old_from, &ret_hunk->old_count) || end - at < 2 ||
		at[0] != ' ' || at[1] != '+')
		return false;
	at += 2;
	return range(&at, end, &ret_hunk->new_from, &ret_hunk->new_count) && end - at >= 3 &&
	       memcmp(at, " @@", 3) == 0;
}

static int skip_hunk(struct patch_reader *r, const struct patch_hunk *hunk)
{
	uint64_t old = hunk->old_count, new = hunk->new_count;
	struct patch_text line;

	while (old || new) {
		char kind;

		if (!peek(r, &line))
			return bad(r, "ends in the middle of a hunk");
		kind = line.len ? line.at[0] : ' ';
		if (kind == '\r' && line.len == 1)
			kind = ' ';
		if (kind == '\\') {
			step(r, &line);
			continue;
		}
		if ((kind != ' ' && kind != '-' && kind != '+') || (kind != '+' && !old) ||
			(kind != '-' && !new))
			return bad(r, "has a hunk that is not as long as it says");
		old -= kind != '+';
		new -= kind != '-';
		step(r, &line);
	}
	if (peek(r, &line) && patch_starts(&line, "\\ "))
		step(r, &line);
	return 0;
}

static int text_body(struct patch_reader *r, struct patch_file *f)
{
	struct patch_hunk hunk;
	struct patch_text line;
	unsigned count = 0;
	int err = 0;

	f->body = r->at;
	f->body_line = r->line;
	while (err == 0 && peek(r, &line) && patch_starts(&line, "@@ -")) {
		if (!patch_hunk_header(&line, &hunk))
			return bad(r, "has a hunk whose head cannot be read");
		if (count++ == 0)
			f->perhaps_new = hunk.old_count == 0;
		else
			f->perhaps_new = false;
		step(r, &line);
		err = skip_hunk(r, &hunk);
	}
	f->body_len = (size_t)(r->at - f->body);
	return err;
}

/* "literal 12" or "delta 12", lines, an empty line; perhaps the way back, which is not needed. */
static int binary_body(struct patch_reader *r, const struct patch_text *first, struct patch_file *f)
{
	struct patch_text line;

	step(r, first);
	f->binary = true;
	f->body = r->at;
	for (unsigned i = 0; i < 2 && peek(r, &line); i++) {
		if (!patch_starts(&line, "literal ") && !patch_starts(&line, "delta "))
			break;
		while (peek(r, &line) && line.len) {
			step(r, &line);
			if (i == 0)
				f->body_len = (size_t)(r->at - f->body);
		}
		if (peek(r, &line))
			step(r, &line);
	}
	return f->body_len ? 0 : bad(r, "has a binary change without its bytes");
}

static int body(struct patch_reader *r, struct patch_file *f)
{
	struct patch_text line;

	if (!peek(r, &line))
		return 0;
	if (patch_starts(&line, "GIT binary patch"))
		return binary_body(r, &line, f);
	if (patch_starts(&line, "Binary files ") || patch_starts(&line, "Files "))
		return bad(r, "has a binary change without its bytes; make it with git diff "
			      "--binary");
	return text_body(r, f);
}

/* ---- files ---- */

/* "From <id> Mon Sep 17 00:00:00 2001", as git format-patch begins each mail */
static bool begins_mail(const struct patch_text *line)
{
	char id[PATCH_ID_MAX];
	size_t len;

	if (!patch_starts(line, "From "))
		return false;
	len = take_id(line->at + 5, line->at + line->len, id);
	return (len == 40 || len == 64) && line->len > 5 + len && line->at[5 + len] == ' ';
}

static bool begins_plain(const struct patch_reader *r, const struct patch_text *line)
{
	struct patch_text second, third;

	return patch_starts(line, "--- ") && patch_line(line->next, r->end, &second) &&
	       patch_starts(&second, "+++ ") && patch_line(second.next, r->end, &third) &&
	       patch_starts(&third, "@@ -");
}

static int read_file(struct patch_reader *r, const struct patch_text *first, struct patch_file *f)
{
	bool git = patch_starts(first, "diff");
	int err = git ? git_header(r, first, f) : plain_header(r, first, f);

	if (err == 0)
		err = body(r, f);
	if (err == 0 && !git && !f->body_len)
		err = bad(r, "has a file without a hunk");
	f->perhaps_new = !git && f->perhaps_new && f->old_path && f->new_path;
	return err;
}

int patch_next(struct patch_reader *r, struct patch_file *ret_file)
{
	struct patch_text line;

	while (peek(r, &line)) {
		bool git = patch_starts(&line, "diff --git ") && line.len > strlen("diff --git ");

		if (git || begins_plain(r, &line)) {
			struct patch_file f = {.line = r->line, .new_commit = r->mail};
			int err = read_file(r, &line, &f);

			if (err < 0) {
				patch_file_fini(&f);
				return err;
			}
			r->mail = false;
			*ret_file = f;
			return 1;
		}
		r->mail = r->mail || begins_mail(&line);
		if (patch_starts(&line, "@@ -"))
			return bad(r, "has a hunk that belongs to no file");
		step(r, &line);
	}
	return 0;
}
