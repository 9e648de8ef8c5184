/* SPDX-License-Identifier: Apache-2.0 */
/* What ovl_journal.c (appending), ovl_compact.c (rewriting) and ovl_replay.c (reading) share. */
#pragma once
#include "overlay/ovl_index.h"
#include "overlay/ovl_internal.h"
#include "overlay/ovl_journal_codec.h"
#include "overlay/ovl_mapfile.h"

#define JOURNAL_MAGIC         0x316c6e726a6c766full /* "ovljrnl1" */
#define JOURNAL_HEADER_BYTES  ((size_t)64)
#define JOURNAL_RESERVE_BYTES ((size_t)1 << 30)
#define JOURNAL_COMPACT_BYTES ((size_t)1 << 20) /* below it no journal is worth rewriting */
#define JOURNAL_DONE_KEPT     65536u

/* The file begins with this, in a header of JOURNAL_HEADER_BYTES. */
struct ovl_journal_head {
	uint64_t magic;
	uint64_t start; /* offset: of the records before it only the blocks still hold */
	uint64_t stamp; /* see ovl_usage.c */
};

/* Which records of a journal still hold. Values of the maps point at the records' bytes. */
struct ovl_scan {
	struct ovl_index nodes; /* local id → latest NODE */
	struct hashmap intents; /* unique → INTENT without DONE or VOID */
	struct hashmap runs;    /* local id of a directory → attempt that its RUNs hold of */
	struct hashmap pending; /* the same, of the attempt whose SWITCH was not seen yet */
	uint64_t attempt;       /* that one; 0: none */
	const void *last_switch;
	uint64_t done_count;
	size_t end; /* offset behind the last sound record */
};

struct ovl_journal {
	struct lock lock; /* LOCK_RANK_OVL_JOURNAL: all below, except that `left` is for the opening
			     thread alone */
	struct ovl_mapfile map;
	size_t tail;
	size_t promised;   /* bytes kept free for the DONE of open intents */
	size_t compact_at; /* ask for a rewrite when the tail passes it */
	/* The rewritten journal while it takes the place of the other: both get what is appended,
	 * so that whichever has the name is whole. It has a fixed size then; who finds it full
	 * waits for `replaced`. */
	struct ovl_mapfile next;
	size_t next_tail;
	struct cond replaced;
	struct ovl_scan *left; /* of the last process; NULL once recovered */
	bool set_aside;        /* what was there was damaged; for the opening thread, as the next */
	bool fresh; /* the file was not there before this process; for the opening thread */
};

/* -ENOSPC: nothing was done; not for what ends an intent. */
int ovl_journal_append(struct ovl_ws *ws, const struct ovl_record *rec);

/* Where the records of this connection begin. Whatever a lying file says, the walk over the records
 * goes from the header on. */
size_t ovl_journal_start(const uint8_t *base);

/* Records that are of interest to every later process: blocks and what switches have made. */
typedef int (*ovl_record_visit)(void *arg, const struct ovl_record *rec);
/* -ENOMEM, or 0 with a scan to be ended with ovl_scan_fini. A damaged record ends it early. `fn`
 * gets what is for good, in its order; NULL: nobody does. */
int ovl_scan_init(
	struct ovl_scan *s, const uint8_t *base, size_t len, ovl_record_visit fn, void *arg);
void ovl_scan_fini(struct ovl_scan *s);

/* The place that a NODE record tells; name NULL: none. */
void ovl_record_place(const struct ovl_ws *ws, const void *bytes, struct ovl_left_place *ret_place);
/* What the scan has found of nodes is the caller's from now on: ovl_left.c. */
void ovl_journal_take_left(struct ovl_ws *ws, struct ovl_index *ret_nodes);

/* What still holds goes to a new file in the place of the old one; `blocks_only`: nothing but the
 * blocks does. Others may append meanwhile. On failure the old one goes on. */
int ovl_journal_rewrite(struct ovl_ws *ws, bool blocks_only);
