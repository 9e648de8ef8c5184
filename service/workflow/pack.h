/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A Git pack that grows: objects go to its end, compressed one by one, and can be read back at
 * once. Until it is sealed it has no name, so nothing of it is left whatever happens; sealed, it is
 * a pack as any other, for whoever opens the object directory.
 *
 * One verb's, on its thread. A door to zlib (ADR 0008).
 */
#pragma once
#include "workflow/wf.h"

struct wf_pack;

/* In the object directory of `dirfd` (objects/pack must be there). -EOPNOTSUPP: the filesystem has
 * no files without a name. */
int wf_pack_new(int dirfd, struct wf_pack **ret_pack);
/* What was not sealed is gone. */
struct wf_pack *wf_pack_free(struct wf_pack *p);
/* An object that it does not have yet, `oid`. After a failure (-ENOSPC) all further calls fail. */
int wf_pack_add(struct wf_pack *p, const struct oid *oid, enum wf_object type, const void *data,
	size_t len);
/* It should be sealed, and another one begun. */
bool wf_pack_is_full(const struct wf_pack *p);
/* False: it has no such object. */
bool wf_pack_has(const struct wf_pack *p, const struct oid *oid, uint64_t *ret_size);
/* malloc'ed, with a NUL behind it. -ENOENT. */
int wf_pack_read(struct wf_pack *p, const struct oid *oid, enum wf_object type, void **ret_data,
	size_t *ret_len);
/* Its index and its name; `durable`: also after a power failure. Only to be freed afterwards. */
int wf_pack_seal(struct wf_pack *p, bool durable);
