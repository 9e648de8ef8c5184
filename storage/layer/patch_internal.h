/* SPDX-License-Identifier: Apache-2.0 */
/* What patch_read.c, patch_apply.c and patch_binary.c share. */
#pragma once
#include "storage/patch.h"

struct patch_text {
	const char *at;
	size_t len; /* without the end of line */
	const char *next;
};
bool patch_line(const char *at, const char *end, struct patch_text *ret_line);
bool patch_starts(const struct patch_text *line, const char *word);

struct patch_hunk {
	uint64_t old_from, old_count, new_from, new_count;
};
bool patch_hunk_header(const struct patch_text *line, struct patch_hunk *ret_hunk);

/* patch_name.c; both to the caller: free. */
/* The name behind a word of the header; without its first part if `strip`. NULL: none that can be.
 */
char *patch_name(const char *at, const char *end, bool strip);
/* What "a/x b/x" agree on; NULL if they do not: then other lines tell the names. */
char *patch_common_name(const char *at, const char *end);

/* patch_binary.c: the body of a binary file over `old`. Errors as of patch_apply. */
int patch_apply_binary(
	const struct patch_file *f, const char *old, size_t old_len, struct patch_result *ret);
/* A delta of Git's packs. Pure. -EBADMSG. */
int patch_apply_delta(const void *delta, size_t delta_len, const char *old, size_t old_len,
	struct patch_result *ret);
