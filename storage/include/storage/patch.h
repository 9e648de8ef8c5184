/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Patches: what `git diff`, `git format-patch` (one mail or many, one after the other) and `diff
 * -u` write. Read file by file, and applied to contents in memory by the rules of `git apply`:
 * every line of context must be there, though perhaps elsewhere. Pure; the text is not trusted.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PATCH_CONTENT_MAX (64u << 20) /* of a file, before or after */
#define PATCH_ID_MAX      65

/* One file of a patch. Paths are NUL-terminated and checked by nobody yet. */
struct patch_file {
	char *old_path, *new_path;   /* NULL: not there on this side */
	uint32_t old_mode, new_mode; /* as Git writes them; 0: not told */
	bool renamed, copied;
	/* `diff -u` does not tell whether a file is made: it is if it is not there */
	bool perhaps_new;
	bool binary;
	const char *body; /* its hunks, in the text */
	size_t body_len;
	unsigned body_line;
	char old_id[PATCH_ID_MAX], new_id[PATCH_ID_MAX]; /* of the blobs, perhaps cut; "" */
	bool new_commit; /* the mail of a new commit began before it */
	unsigned line;   /* where it begins */
};
void patch_file_fini(struct patch_file *f);

struct patch_reader {
	const char *at, *end;
	unsigned line;
	bool mail;       /* a mail began since the last file */
	const char *why; /* of -EBADMSG: for a person */
};
struct patch_reader patch_begin(const char *text, size_t len);
/* 1: one; 0: the end; -EBADMSG: see `why` and `line`; -ENOMEM. What is not a patch is skipped. */
int patch_next(struct patch_reader *r, struct patch_file *ret_file);

struct patch_result {
	char *data; /* malloc'ed, NUL-terminated */
	size_t len;
	const char *why; /* of a failure */
	unsigned line;   /* in the patch, where that is known; else 0 */
};
/* `old` with the changes of the file. -ESTALE: they do not fit; -EBADMSG: damaged; -EFBIG, -ENOMEM.
 */
int patch_apply(
	const struct patch_file *f, const char *old, size_t old_len, struct patch_result *ret);
/* What the lines of a small text patch were made of: -EBADMSG unless that is one hunk from the
 * first line on. For submodules, whose former commit nobody keeps. malloc'ed. */
int patch_old_text(const struct patch_file *f, char **ret_text, size_t *ret_len);
