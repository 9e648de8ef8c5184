/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records of the workspace journal. Pure; a decoder of disk content, fuzzed. Numbers are
 * little-endian:
 *
 *	u32 length (of all, a multiple of 8) | u32 CRC-32C of what follows
 *	u8 type | u8 op | u8 name length | u8 new name length | u8 oid length | 3 zero bytes
 *	u64 words (as many as the type has) | oid | name | new name | zeros
 *
 *	BLOCK   base, dir, count + tree oid   ids [base, base + count) are the entries of `dir`
 *	NODE    id, parent, ino, mode, flags  an object in the upper and its place; the latest one
 *	                                      of an id holds; new name: ovl_removed.h
 *	DROP    id                            the kernel has forgotten it
 *	INTENT  unique, id, parent,           a change is going to be made
 *	        new parent, ino
 *	DONE    unique                        it succeeded
 *	VOID    unique                        it failed and changed nothing
 *	PART    base, dir, first and count,   ids [base, base + count) are the entries of `dir` in
 *	        time + tree oid               this tree from `first` on; op 1: all of them
 *	RUN     base, dir, first and count,   from switch `attempt` on, the entries of `dir` from
 *	        attempt, generation, time     `first` on have the ids from `base` on; the runs of a
 *	        + tree oid                    directory follow each other. attempt 0: it holds
 *	SWITCH  attempt, generation, time,    the workspace was switched to this root, and the RUNs
 *	        first time + tree oid         of this attempt hold
 *
 * Ids are local ones. A file is records back to back; a zero length, or a record that does not
 * check, is the end.
 */
#pragma once
#include "storage/digest.h"

#include <stddef.h>
#include <stdint.h>

enum ovl_record_type {
	OVL_REC_BLOCK = 1,
	OVL_REC_NODE,
	OVL_REC_DROP,
	OVL_REC_INTENT,
	OVL_REC_DONE,
	OVL_REC_VOID,
	OVL_REC_PART,
	OVL_REC_RUN,
	OVL_REC_SWITCH
};

struct ovl_record {
	enum ovl_record_type type;
	uint8_t op;                  /* INTENT: enum ovl_intent_op */
	uint64_t unique;             /* INTENT, DONE, VOID */
	uint64_t id;                 /* NODE, DROP, INTENT; BLOCK, PART, RUN: base */
	uint64_t parent;             /* NODE, INTENT; BLOCK, PART, RUN: the directory */
	uint64_t new_parent;         /* INTENT */
	uint64_t ino;                /* NODE, INTENT: of the upper object, 0 = not known */
	uint32_t mode;               /* NODE */
	uint32_t flags;              /* NODE: enum ovl_node_flag */
	uint32_t count;              /* BLOCK, PART, RUN */
	uint32_t first;              /* PART, RUN: index in the tree */
	uint32_t generation;         /* RUN, SWITCH */
	uint64_t attempt;            /* RUN, SWITCH */
	uint64_t time_ns;            /* PART, RUN, SWITCH */
	uint64_t first_time_ns;      /* SWITCH: of what was entered before the first one */
	struct oid tree;             /* BLOCK, PART, RUN, SWITCH */
	const char *name, *new_name; /* not NUL-terminated; NULL with length 0 */
	size_t name_len, new_name_len;
};

#define OVL_RECORD_DONE_BYTES ((size_t)24)

size_t ovl_record_size(const struct ovl_record *rec);
/* Writes ovl_record_size bytes. Names of at most 255 bytes. */
void ovl_record_encode(const struct ovl_record *rec, void *buf);
/* Its length, with names pointing into `data`; 0: there is no (sound) record. */
size_t ovl_record_decode(const void *data, size_t len, struct ovl_record *ret_rec);
/* The same of a record that was found to be sound before. */
void ovl_record_read(const void *data, struct ovl_record *ret_rec);
