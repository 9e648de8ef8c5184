/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a workspace has to do besides its calls, on a thread of its tenant's: nobody waits for it.
 */
#pragma once
#include <stdbool.h>

struct overlay;
struct ovl_ws;

enum ovl_chore {
	OVL_CHORE_COMPACT = 1 << 0, /* rewrite the journal (ovl_compact.c) */
	OVL_CHORE_REVIVE = 1 << 1,  /* what the last process left comes back (ovl_left.c) */
	OVL_CHORE_RECOUNT = 1 << 2, /* what is charged is compared with the disk (ovl_usage.c) */
};

int ovl_chores_new(struct overlay *o);
void ovl_chores_free(struct overlay *o); /* after its workspaces; waits for what runs */
/* Never blocks; any locks may be held. If it cannot be done now (no room, no memory for the
 * thread), false: ask again later.
 * Somebody else's asking may be lost with it, so whoever asks does it again and again. */
bool ovl_chore_ask(struct ovl_ws *ws, enum ovl_chore chore);
