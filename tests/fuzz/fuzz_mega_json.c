// SPDX-License-Identifier: Apache-2.0
/*
 * What a Mega server sends, as hostile bytes: listings and commits. A listing that is accepted is
 * made into a tree object, which must be one, with the same names.
 */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "origin/mega_modes.h"
#include "origin/raw_tree.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool ok)
{
	if (!ok)
		abort();
}

static bool one_kind_of_ids(const struct mega_listing *l)
{
	for (size_t i = 0; i < l->count; i++)
		if (l->entries[i].oid.len != l->entries[0].oid.len)
			return false;
	return true;
}

static void make_tree(const struct mega_listing *l)
{
	uint8_t oid_len = l->count ? l->entries[0].oid.len : 20;
	struct raw_tree_entry entry;
	struct raw_tree raw;
	struct buf tree;
	size_t n = 0;
	int r;

	buf_init(&tree, 1 << 20);
	if (one_kind_of_ids(l) && mega_modes_guess(l, NULL, 0, &tree) == 0) {
		raw = raw_tree_begin(tree.data, tree.len, oid_len);
		while ((r = raw_tree_next(&raw, &entry)) > 0)
			n++;
		expect(r < 0 || n == l->count); /* ".git" is refused there */
	}
	buf_fini(&tree);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size ? size : 1); /* exact, so that one byte too far is seen */
	struct mega_listing l;
	struct mega_commit c;

	if (!text)
		return 0;
	if (size)
		memcpy(text, data, size);
	if (mega_json_listing(text, size, &l) == 0) {
		make_tree(&l);
		mega_listing_fini(&l);
	}
	if (mega_json_commit(text, size, &c) == 0)
		expect(c.oid.len == 20 || c.oid.len == 32);
	free(text);
	return 0;
}
