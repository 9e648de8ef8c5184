/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decoders of a Mega server's JSON. It comes from the network and is not trusted: size, number and
 * depth are bounded, and what is not exactly as expected is -EIO. Pure.
 */
#pragma once
#include "storage/digest.h"
#include "storage/origin.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MEGA_JSON_MAX_BYTES (32u << 20)

struct mega_entry {
	const char *name; /* in the listing; NUL-terminated there */
	size_t name_len;
	bool directory; /* otherwise a file, link or submodule: Mega does not tell */
	struct oid oid;
};

struct mega_listing {
	struct mega_entry *entries; /* as sent, in no order to rely on */
	size_t count;
	char *names;
};

/* Answer of /tree/content-hash. -EIO, -ENOMEM. */
int mega_json_listing(const char *text, size_t len, struct mega_listing *ret_listing);
void mega_listing_fini(struct mega_listing *l);

struct mega_commit {
	struct oid oid;
	int64_t time_s; /* 0: the server's date is of no known form */
};

/* Answer of /latest-commit. */
int mega_json_commit(const char *text, size_t len, struct mega_commit *ret_commit);

/* Answer of /commits/history: each commit with its parents, in the order of the server. A negative
 * result of `fn` ends it. -EIO: that is no history. */
typedef int (*mega_history_fn)(
	void *arg, const struct oid *commit, const struct oid *parents, size_t count);
int mega_json_history(const char *text, size_t len, mega_history_fn fn, void *arg);

/* Answer of /cl/<link>/files-list, in the order of the server. A negative result of `fn` ends it.
 * -EIO: that is no list. */
int mega_json_files(const char *text, size_t len, origin_change_file_fn fn, void *arg);
