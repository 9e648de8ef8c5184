/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guessing modes; see mega_modes.h. All modes but a directory's have six digits, so a guess is
 * changed in place: three bytes, then one hash. Tried are: as it is; all plain files executable;
 * one file other than the guess; two. That finds the usual directory (few scripts, or scripts only)
 * in a few hashes, and the effort is bounded by the bytes hashed.
 */
#include "origin/mega_modes.h"

#include "base/buf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define EFFORT_BYTES (64ull << 20) /* of hashing: about 0.1 s */

static const char *const kinds[] = {"100644", "100755", "120000", "160000"};
#define KIND_COUNT (sizeof(kinds) / sizeof(kinds[0]))

/* Git's order: as if a directory's name ended in '/'. */
static int by_git_order(const void *a, const void *b)
{
	const struct mega_entry *x = *(const struct mega_entry *const *)a;
	const struct mega_entry *y = *(const struct mega_entry *const *)b;
	size_t len = x->name_len < y->name_len ? x->name_len : y->name_len;
	int order = memcmp(x->name, y->name, len);
	unsigned char c, d;

	if (order)
		return order;
	c = len < x->name_len ? (unsigned char)x->name[len] : x->directory ? '/' : '\0';
	d = len < y->name_len ? (unsigned char)y->name[len] : y->directory ? '/' : '\0';
	return (int)c - (int)d;
}

static int by_name(const void *a, const void *b)
{
	const struct mega_hint *x = a, *y = b;
	size_t len = x->name_len < y->name_len ? x->name_len : y->name_len;
	int order = memcmp(x->name, y->name, len);

	return order ? order : (x->name_len > y->name_len) - (x->name_len < y->name_len);
}

static const char *mode_text(
	const struct mega_entry *entry, const struct mega_hint *hints, size_t hint_count)
{
	const struct mega_hint key = {.name = entry->name, .name_len = entry->name_len};
	const struct mega_hint *hint;
	char text[16];

	if (entry->directory)
		return "40000";
	hint = hint_count ? bsearch(&key, hints, hint_count, sizeof(key), by_name) : NULL;
	(void)snprintf(text, sizeof(text), "%06o", hint ? hint->mode : 0u);
	for (unsigned i = 0; i < KIND_COUNT; i++)
		if (strcmp(text, kinds[i]) == 0)
			return kinds[i];
	return kinds[0];
}

static int write_tree(const struct mega_entry **order, size_t count, const struct mega_hint *hints,
	size_t hint_count, struct buf *out)
{
	for (size_t i = 0; i < count; i++) {
		const struct mega_entry *entry = order[i];

		if (i && by_git_order(&order[i - 1], &order[i]) == 0)
			return -EIO; /* twice the same name */
		(void)buf_puts(out, mode_text(entry, hints, hint_count));
		(void)buf_putc(out, ' ');
		(void)buf_append(out, entry->name, entry->name_len + 1);
		(void)buf_append(out, entry->oid.bytes, entry->oid.len);
	}
	return buf_error(out);
}

int mega_modes_guess(const struct mega_listing *l, const struct mega_hint *hints, size_t hint_count,
	struct buf *out)
{
	const struct mega_entry **order = calloc(l->count ? l->count : 1, sizeof(*order));
	struct mega_hint *sorted = calloc(hint_count ? hint_count : 1, sizeof(*sorted));
	int r = -ENOMEM;

	if (order && sorted) {
		for (size_t i = 0; i < l->count; i++)
			order[i] = &l->entries[i];
		for (size_t i = 0; i < hint_count; i++)
			sorted[i] = hints[i];
		qsort(order, l->count, sizeof(*order), by_git_order);
		qsort(sorted, hint_count, sizeof(*sorted), by_name);
		buf_clear(out);
		r = write_tree(order, l->count, sorted, hint_count, out);
	}
	free(sorted);
	free(order);
	return r;
}

struct search {
	struct buf *tree;
	const struct oid *want;
	uint64_t effort_bytes; /* left */
	char **files;          /* where the six digits of each file are */
	size_t file_count;
};

/* 0: it is the one; -EBADMSG: it is not; -E2BIG: no effort is left; others are failures. */
static int try(struct search *s)
{
	if (s->effort_bytes < s->tree->len + 64)
		return -E2BIG;
	s->effort_bytes -= s->tree->len + 64;
	return digest_verify(s->want, OBJECT_TREE, s->tree->data, s->tree->len);
}

/* Runs `next` with each other mode of file `i`, and leaves the file as it was unless that found it.
 */
static int with_each_mode(
	struct search *s, size_t i, size_t from, int (*next)(struct search *s, size_t from))
{
	char before[6];
	int r = -EBADMSG;

	memcpy(before, s->files[i], sizeof(before));
	for (unsigned k = 0; k < KIND_COUNT && r == -EBADMSG; k++) {
		if (memcmp(before, kinds[k], sizeof(before)) == 0)
			continue;
		memcpy(s->files[i], kinds[k], sizeof(before));
		r = next(s, from);
	}
	if (r < 0)
		memcpy(s->files[i], before, sizeof(before));
	return r;
}

static int try_as_it_is(struct search *s, size_t from)
{
	(void)from;
	return try(s);
}

static int try_one_more(struct search *s, size_t from)
{
	int r = -EBADMSG;

	for (size_t i = from; i < s->file_count && r == -EBADMSG; i++)
		r = with_each_mode(s, i, 0, try_as_it_is);
	return r;
}

static int try_two(struct search *s)
{
	int r = -EBADMSG;

	for (size_t i = 0; i + 1 < s->file_count && r == -EBADMSG; i++)
		r = with_each_mode(s, i, i + 1, try_one_more);
	return r;
}

/* Every plain file executable. */
static int try_all_executable(struct search *s)
{
	for (size_t i = 0; i < s->file_count; i++)
		if (memcmp(s->files[i], kinds[0], 6) == 0)
			memcpy(s->files[i], kinds[1], 6);
	return try(s);
}

static int find_files(struct search *s, uint8_t oid_len)
{
	char *at = s->tree->data, *end = at + s->tree->len;

	s->files = calloc(s->tree->len / (8u + oid_len) + 1, sizeof(*s->files));
	if (!s->files)
		return -ENOMEM;
	while (at < end) {
		char *nul = memchr(at, '\0', (size_t)(end - at));

		if (!nul || end - nul - 1 < oid_len)
			return -EIO;
		if (memcmp(at, "40000 ", 6) != 0)
			s->files[s->file_count++] = at;
		at = nul + 1 + oid_len;
	}
	return 0;
}

static int search(struct search *s)
{
	char *before = malloc(s->tree->len);
	int r = before ? try(s) : -ENOMEM;

	if (before)
		memcpy(before, s->tree->data, s->tree->len);
	if (r == -EBADMSG) {
		r = try_all_executable(s);
		if (r == -EBADMSG)
			memcpy(s->tree->data, before, s->tree->len);
	}
	free(before);
	if (r == -EBADMSG)
		r = try_one_more(s, 0);
	if (r == -EBADMSG)
		r = try_two(s);
	return r == -E2BIG ? -EBADMSG : r;
}

int mega_modes_solve(struct buf *guess, const struct oid *want)
{
	struct search s = {.tree = guess, .want = want, .effort_bytes = EFFORT_BYTES};
	int r;

	if (guess->len == 0)
		return digest_verify(want, OBJECT_TREE, "", 0);
	r = find_files(&s, want->len);
	if (r == 0)
		r = search(&s);
	free(s.files);
	return r;
}
