/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The packs of an object directory, read with little memory: their indexes are mapped, their
 * objects read. Only packs that pack.c made: whole objects, none as a difference.
 *
 * One verb's, on its thread; packs that are sealed later are not seen. A door to zlib (ADR 0008).
 */
#pragma once
#include "workflow/wf.h"

struct wf_packs;

/* Of the object directory below `dirfd`. */
int wf_packs_open(int dirfd, struct wf_packs **ret_packs);
struct wf_packs *wf_packs_free(struct wf_packs *p);
size_t wf_packs_count(const struct wf_packs *p);
bool wf_packs_has(const struct wf_packs *p, const struct oid *oid);
/* -ENOENT: none has it; -EIO: damaged. */
int wf_packs_size(const struct wf_packs *p, const struct oid *oid, uint64_t *ret_size);
/* malloc'ed, with a NUL behind it, and verified. -ENOENT, -EIO as above or of another type. */
int wf_packs_read(struct wf_packs *p, const struct oid *oid, enum wf_object type, void **ret_data,
	size_t *ret_len);
