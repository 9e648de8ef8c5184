/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is a loose object whole? libgit2 1.5.1 never returns from reading one whose file was cut short,
 * so that is looked at before.
 */
#pragma once
#include "storage/digest.h"

#define LOOSE_DIRS_MAX 16

/* Where a repository keeps objects: its own directory, and its alternates. */
struct loose_dirs {
	char *dir[LOOSE_DIRS_MAX];
	unsigned count;
};

/* `objects`: the repository's object directory. Alternates are followed as libgit2 does, five deep.
 * -ENOMEM. */
int loose_dirs_init(struct loose_dirs *dirs, const char *objects);
void loose_dirs_fini(struct loose_dirs *dirs);
/* 0: whole, or not loose at all, or damaged in a way that libgit2 reports itself. -EIO: cut short.
 */
int loose_check(const struct loose_dirs *dirs, const struct oid *oid);
