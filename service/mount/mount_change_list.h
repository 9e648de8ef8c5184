/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The change list of a mount, laid over its revision (ADR 0004): when the mount is made, and when
 * it is switched. The record has the source as it was asked for and the commits that it was
 * resolved to; contents that no origin has are in the workspace's directory (mount_kept.h).
 *
 *	check   is it one at all? Before anything is done
 *	choose  into a record that is not in force yet
 *	lay     resolve it, compare, merge: the record's root becomes what is shown
 *	again   the same from what was pinned, at a start
 *
 * Whoever creates or switches a mount calls them in this order and knows nothing of the kinds of
 * sources.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct err;
struct mount;
struct mount_change_source;
struct mount_record;
struct oid;
struct origin;

struct mount_change_call {
	struct origin *origin;
	/* As it was asked for; NULL: what the record has pinned is laid once more, perhaps over
	 * another revision. */
	const struct mount_change_source *source;
	uint64_t deadline_ns;
};

/* NULL is none, and fine. -EINVAL with the field. */
int mount_change_list_check(const struct mount_change_source *source, struct err *e);
/* `next` has this change list, or none; what the last one was resolved to is forgotten. -ENOMEM. */
int mount_change_list_choose(struct mount_record *next, const struct mount_change_source *source);
/* It has one, laid or not. */
bool mount_change_list_given(const struct mount_record *rec);
/* A link whose files the server told, because it gave no commits of it. */
bool mount_change_list_is_told(const struct mount_record *rec);
/* The commit that the workspace's commits go on from: the revision's, or the last one of a change
 * list that is shown as it is. */
const struct oid *mount_change_list_base(const struct mount_record *rec);
/* Resolves the change list of `next` and lays it over next->root, which is the root of the whole
 * revision and becomes what is shown: the directory at next->path. Changes elsewhere do not count.
 * -ESTALE reason CHANGE_LIST_DOES_NOT_APPLY, with the paths. What the mount keeps for it counts
 * against its quota: -EDQUOT. Blocks. Claimer only. */
int mount_change_list_lay(struct mount *mt, const struct mount_change_call *call,
	struct mount_record *next, struct err *e);
/* The same for the mount's record, if the index has lost what came out (it is a cache, and no
 * origin has it). Blocks only then. Claimer only. */
int mount_change_list_again(
	struct mount *mt, struct origin *o, uint64_t deadline_ns, struct err *e);
