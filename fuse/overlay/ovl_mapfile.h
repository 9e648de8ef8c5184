/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file that is mapped shared and grows in place: address space is reserved once, and the file's
 * blocks are allocated before they are mapped, so that a full disk is -ENOSPC from ovl_mapfile_grow
 * and never a SIGBUS. What is stored survives a kill of the process without a sync. The caller
 * serialises growing; readers of what is mapped need no lock, as it never moves.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

struct ovl_mapfile {
	int dirfd;        /* borrowed; with `name`, for the rare call that needs a descriptor */
	const char *name; /* a literal; NULL: not open */
	uint64_t ino;     /* what the name must still stand for */
	uint8_t *base;    /* const after open */
	size_t len;       /* mapped and allocated; a multiple of the page size */
	size_t reserved;  /* address space; len never passes it */
};

/* Opens or creates `name` and maps what is there (of a file larger than `reserve`: the first part).
 * No descriptor stays open: `dirfd` and `name` must outlive the mapping. */
int ovl_mapfile_open(struct ovl_mapfile *m, int dirfd, const char *name, size_t reserve);
/* Nothing mapped, nothing in the file. */
int ovl_mapfile_clear(struct ovl_mapfile *m);
/* The file has another name in the same directory now. */
void ovl_mapfile_renamed(struct ovl_mapfile *m, const char *name);
/* At least `len` bytes. New ones read as zero. -ENOSPC: disk full, or the reserve is used up. */
int ovl_mapfile_grow(struct ovl_mapfile *m, size_t len);
/* A zeroed or closed one is fine. */
void ovl_mapfile_close(struct ovl_mapfile *m);
