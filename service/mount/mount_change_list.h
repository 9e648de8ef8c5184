/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The change list of a mount: a range of commits, laid over its revision before anything is shown
 * (ADR 0004). The record has the range as it was asked for and the commits that it was resolved to.
 */
#pragma once
#include <stdint.h>

struct err;
struct mount_record;
struct origin;
struct storage;

/* "a..b", or NULL. -EINVAL with the field. */
int mount_change_list_check(const char *range, struct err *e);
/* Resolves the range of `next` and lays it over next->root, which is the root of the revision and
 * becomes what is shown: the directory at next->path. Changes elsewhere do not count. -ESTALE
 * reason CHANGE_LIST_DOES_NOT_APPLY, with the first paths. Blocks. */
int mount_change_list_lay(struct storage *st, struct origin *o, struct mount_record *next,
	uint64_t deadline_ns, struct err *e);
/* The same from the pinned commits, if the index has lost what came out (it is a cache, and no
 * origin has it). Blocks only then. */
int mount_change_list_again(struct storage *st, struct origin *o, const struct mount_record *rec,
	uint64_t deadline_ns, struct err *e);
