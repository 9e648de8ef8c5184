/* SPDX-License-Identifier: Apache-2.0 */
/* What a workspace charges to its quota, kept where a takeover finds it. Any thread. */
#pragma once
#include "overlay/ovl_internal.h"

/* In the header of work/refs. */
struct ovl_kept_usage {
	uint64_t stamp; /* as the journal's; 0: the numbers mean nothing */
	_Atomic uint64_t bytes, inodes;
};

/* As quota_charge, quota_charge_force, quota_release on ws->quota; no more is released than is
 * charged. */
int ovl_usage_charge(struct ovl_ws *ws, enum quota_kind kind, uint64_t amount);
void ovl_usage_force(struct ovl_ws *ws, enum quota_kind kind, uint64_t amount);
void ovl_usage_release(struct ovl_ws *ws, enum quota_kind kind, uint64_t amount);

/* The opening thread: are there numbers of the last process to go on with? */
bool ovl_usage_kept(struct ovl_ws *ws, uint64_t *ret_bytes, uint64_t *ret_inodes);
/* Charges what is there; `counted`: on the disk, not by the last process. The journal must be the
 * one that goes on. */
void ovl_usage_begin(struct ovl_ws *ws, uint64_t bytes, uint64_t inodes, bool counted);
/* Counts, and corrects what is charged. A chore. */
void ovl_usage_chore(struct ovl_ws *ws);

struct ovl_kept_usage *ovl_refs_usage(struct ovl_ws *ws); /* [ovl_refs.c] */
uint64_t ovl_journal_stamp(struct ovl_ws *ws);            /* [ovl_journal.c] */
void ovl_journal_set_stamp(struct ovl_ws *ws, uint64_t stamp);
