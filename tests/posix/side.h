/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One side of the comparison. Two processes, each shut into its directory by chroot, make the same
 * steps; what each of them sees of a step is written as text in which nothing is left that may
 * differ (inode numbers become classes in the order in which they are met, times become "older,
 * same, newer than at the last look"). The two texts must be equal, byte for byte.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#define SLOTS    8
#define MAPS     4
#define PATH_CAP 1400

/* Everything about a step is decided before it is made, from the seed and its number alone. So any
 * subset of the steps of a run is a run. */
struct step {
	unsigned number, op;
	unsigned who;  /* as which user, an index for side_become */
	unsigned s, t; /* slots of open descriptors */
	uint64_t n[4]; /* each operation takes of them what it needs */
	mode_t umask;
	bool watch; /* with inotify on the directory of `a` */
	char a[PATH_CAP], b[PATH_CAP];
};

struct ids;

struct side {
	FILE *out; /* the text of this step */
	int slots[SLOTS];
	void *maps[MAPS]; /* mapped MAP_MAX bytes, read only; NULL: none */
	int bounce;       /* a file in memory, through which mapped bytes are looked at */
	struct ids *ids;
	int64_t start;  /* seconds; what is later is "now" and not compared as a number */
	bool no_change; /* of this step: a chmod or chown, which may have changed nothing */
	int caches;     /* /proc/sys/vm/drop_caches, or -1 */
};

/* Result of the call, or -errno. What else is to be compared goes to side->out. */
typedef long (*op_fn)(struct side *side, const struct step *step);

enum op_uses {
	USES_A = 1,
	USES_B = 2,
	USES_S = 4,
	USES_T = 8,
	AS_ROOT = 16,   /* only as root */
	UNORDERED = 32, /* its events come in the order of a listing, or of processes */
};

struct op {
	const char *name;
	unsigned weight;
	unsigned uses;
	op_fn run;
};

struct op_table {
	const struct op *ops;
	size_t count;
};
extern const struct op_table file_ops, space_ops, name_ops, attr_ops, xattr_ops, dir_ops, lock_ops,
	map_ops, special_ops, exec_ops;

/* r, or -errno if it is -1. */
long result_of(long r);
/* Bytes that depend on the step only. */
void fill_bytes(const struct step *step, void *data, size_t len);
uint64_t hash_bytes(uint64_t hash, const void *data, size_t len);
#define HASH_START 0xcbf29ce484222325u

/* The kernel takes set-id bits before it knows that a file cannot be so large (docs/posix.md). */
bool is_set_id(int fd);

/* The directory part of a path into `ret` (PATH_CAP bytes). */
void parent_of(const char *path, char *ret);

void side_become(unsigned who);
/* A child process as the same user: its exit status, 0..255, or -errno. `fn` runs in the child. */
long side_in_child(
	struct side *side, const struct step *step, long (*fn)(struct side *, const struct step *));

/* What lstat or fstat show, as text; what a symlink leads to is shown too. */
void put_stat_at(struct side *side, const char *label, int dirfd, const char *path);
/* Everything below the root: names, attributes, bytes, xattrs. */
void put_everything(struct side *side);
void put_xattrs(struct side *side, const char *path);
/* The names in an open directory, sorted, with types. */
void put_names(struct side *side, int dirfd);

struct ids *ids_new(void);
struct ids *ids_free(struct ids *ids);
