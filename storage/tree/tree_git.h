/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is a packed directory the one that its id names? Its Git tree object is made again from names,
 * modes and ids, and hashed. Sizes are not part of a Git tree, so nothing is said about them.
 */
#pragma once
#include "storage/tree.h"

/* 0, or -EBADMSG: it is another directory, or one that cannot be made again (with a submodule,
 * whose id is not kept, or with a mode that Git no longer writes). -ENOMEM, -EIO. */
int tree_git_matches(const struct tree_view *view, const struct oid *tree);
