/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The three requests that a Git server is asked, over a channel: which refs it has, for a pack of
 * objects, and for the sizes of objects. Errors as gitfault_of.
 */
#pragma once
#include "origin/git_channel.h"

struct err;

struct gitwire {
	struct gitchan *chan;
	struct gitrun_wait wait;
	struct err *e;
};

typedef int (*gitwire_ref_fn)(void *arg, const struct gitpkt_ref *ref);
/* Those whose names begin with one of the prefixes; a negative result of `fn` ends it. */
int gitwire_refs(const struct gitwire *w, const char *const *prefixes, unsigned count,
	gitwire_ref_fn fn, void *arg);

struct gitwire_wish {
	const struct oid *want;
	size_t want_count;
	const struct oid *have; /* commits that we have, with all their trees */
	size_t have_count;
	bool shallow;       /* of each wanted commit nothing that came before */
	const char *filter; /* or NULL */
};
typedef int (*gitwire_pack_fn)(void *arg, const void *data, size_t len);
int gitwire_fetch(
	const struct gitwire *w, const struct gitwire_wish *wish, gitwire_pack_fn fn, void *arg);

typedef void (*gitwire_size_fn)(void *arg, const struct oid *oid, uint64_t size);
int gitwire_sizes(const struct gitwire *w, const struct oid *oids, size_t count, gitwire_size_fn fn,
	void *arg);
