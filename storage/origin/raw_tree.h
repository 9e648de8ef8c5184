/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decoder of a Git tree object: "<octal mode> <name>\0<oid>" … It comes from disk or network and is
 * not trusted. Pure.
 */
#pragma once
#include "storage/digest.h"

#include <stddef.h>
#include <stdint.h>

struct raw_tree {
	const uint8_t *next, *end;
	uint8_t oid_len;
};

struct raw_tree_entry {
	const char *name; /* in the object; NUL-terminated there */
	size_t name_len;
	uint32_t mode;  /* as the tree index has it: S_IFREG|0644 or |0755, S_IFLNK|0777,
			   S_IFDIR|0755 */
	struct oid oid; /* none for a submodule, which is a directory */
};

/* `data` must outlive the walk. */
struct raw_tree raw_tree_begin(const void *data, size_t len, uint8_t oid_len);
/* 1 and the next entry; 0 at the end; -EIO: not a tree; -EBADMSG: a tree, with an entry that cannot
 * exist here (see origin.h). */
int raw_tree_next(struct raw_tree *t, struct raw_tree_entry *ret_entry);
