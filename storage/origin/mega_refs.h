/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a Mega server advertises at <directory>.git/info/refs: the commit of the directory's main,
 * and a refs/cl/<link> for each change list of it. In the first version of Git's protocol. Not
 * trusted; pure.
 */
#pragma once
#include "storage/origin.h"

#include <stddef.h>

/* -EIO: that is no advertisement. */
int mega_refs_each(const char *data, size_t len, origin_ref_fn fn, void *arg);
