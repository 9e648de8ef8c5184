/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a Mega server advertises at <directory>.git/info/refs: the commit of the directory's main,
 * and a refs/cl/<link> for each change list of it. In the first version of Git's protocol. Not
 * trusted; pure.
 */
#pragma once
#include "storage/digest.h"

#include <stdbool.h>
#include <stddef.h>

struct mega_ref {
	char name[256];
	struct oid oid;
};
/* Each ref; a negative result ends it. */
typedef int (*mega_ref_fn)(void *arg, const struct mega_ref *ref);
/* -EIO: that is no advertisement. */
int mega_refs_each(const char *data, size_t len, mega_ref_fn fn, void *arg);
