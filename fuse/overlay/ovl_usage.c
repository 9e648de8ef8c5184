/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a workspace has charged to its quota, also where it survives a kill: a takeover goes on with
 * these numbers and serves at once, and a chore counts the upper anew afterwards.
 *
 * Whatever is charged is charged before it is on the disk, and given back after it is gone, so what
 * a kill leaves here is right or too much: by what the calls that were under way had reserved or
 * removed. The quota is never exceeded meanwhile. The count is exact only if nothing changes beside
 * it: no call is under way when it begins or ends, and nothing was charged in between. A workspace
 * that is never quiet for so long is counted with the calls kept out, if that takes no longer than
 * what is lost among other pauses.
 *
 * The numbers count if work/refs and the journal carry the same stamp. A version that does not know
 * of them writes journals without, so after it all is counted first.
 */
#include "overlay/ovl_usage.h"

#include "overlay/ovl_change.h"
#include "overlay/ovl_chores.h"
#include "overlay/ovl_journal_internal.h"
#include "overlay/ovl_state.h"
#include "overlay/ovl_switch.h"

#include <base/clock.h>
#include <base/io.h>
#include <base/pool.h>
#include <errno.h>
#include <string.h>

#define CLOSED_MAX_NS (30 * NS_PER_MS)  /* a count that keeps calls out */
#define GATE_WAIT_NS  (100 * NS_PER_MS) /* for the calls that are under way */
#define TURN_NS       (50 * NS_PER_MS)  /* others of the tenant may have chores */
#define PAUSE_MIN_NS  (100 * NS_PER_MS)
#define PAUSE_MAX_NS  (30 * NS_PER_S)
#define PAUSE_TIMES   20 /* at most a twentieth of a CPU */

static _Atomic uint64_t *slot(struct ovl_ws *ws, enum quota_kind kind)
{
	struct ovl_kept_usage *kept = ovl_refs_usage(ws);

	return kind == QUOTA_BYTES ? &kept->bytes : &kept->inodes;
}

/* relaxed throughout: sums, whose order with the disk is that of system calls */
static void note(struct ovl_ws *ws, enum quota_kind kind, uint64_t amount)
{
	if (!amount)
		return;
	atomic_fetch_add_explicit(&ws->usage_moves, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(slot(ws, kind), amount, memory_order_relaxed);
}

int ovl_usage_charge(struct ovl_ws *ws, enum quota_kind kind, uint64_t amount)
{
	int r = quota_charge(ws->quota, kind, amount);

	if (r == 0)
		note(ws, kind, amount);
	return r;
}

void ovl_usage_force(struct ovl_ws *ws, enum quota_kind kind, uint64_t amount)
{
	quota_charge_force(ws->quota, kind, amount);
	note(ws, kind, amount);
}

void ovl_usage_release(struct ovl_ws *ws, enum quota_kind kind, uint64_t amount)
{
	uint64_t used = quota_used(ws->quota, kind);

	amount = amount < used ? amount : used;
	quota_release(ws->quota, kind, amount);
	note(ws, kind, 0 - amount); /* modulo 2^64: a subtraction */
}

/* ---- at the start ---- */

bool ovl_usage_kept(struct ovl_ws *ws, uint64_t *ret_bytes, uint64_t *ret_inodes)
{
	const struct ovl_kept_usage *kept = ovl_refs_usage(ws);

	if (!ws->adopt || !kept->stamp || kept->stamp != ovl_journal_stamp(ws))
		return false;
	*ret_bytes = atomic_load(&kept->bytes);
	*ret_inodes = atomic_load(&kept->inodes);
	/* a sum that went below zero is none */
	return *ret_bytes <= INT64_MAX && *ret_inodes <= INT64_MAX;
}

void ovl_usage_begin(struct ovl_ws *ws, uint64_t bytes, uint64_t inodes, bool counted)
{
	struct ovl_kept_usage *kept = ovl_refs_usage(ws);

	quota_charge_force(ws->quota, QUOTA_BYTES, bytes);
	quota_charge_force(ws->quota, QUOTA_INODES, inodes);
	atomic_store(&ws->uncounted, !counted);
	if (!counted)
		return;
	kept->stamp = 0; /* while the two are of different times */
	atomic_store(&kept->bytes, bytes);
	atomic_store(&kept->inodes, inodes);
	if (io_random(&kept->stamp, sizeof(kept->stamp)) < 0)
		kept->stamp = 0; /* the next one counts */
	ovl_journal_set_stamp(ws, kept->stamp);
}

/* ---- counting anew ---- */

struct count {
	uint64_t bytes, inodes;
	uint64_t moves, took_ns;
};

/* Is no call on the way that has done half of what it charges? */
static bool is_quiet(struct ovl_ws *ws, bool closed)
{
	return atomic_load(&ws->reaping) == 0 &&
	       (closed || atomic_load(&ws->overlay->gate.inside) == 0);
}

/* -EAGAIN: something changed meanwhile. */
static int count(struct ovl_ws *ws, bool closed, struct count *ret)
{
	uint64_t begun_ns = clock_mono_ns(&clock_system);
	int r;

	ret->took_ns = 0;
	ret->moves = atomic_load(&ws->usage_moves);
	if (!is_quiet(ws, closed))
		return -EAGAIN;
	r = ovl_charge_scan(ws, &ret->bytes, &ret->inodes);
	ret->took_ns = clock_mono_ns(&clock_system) - begun_ns;
	if (r == -ENOENT || r == -ESTALE || r == -ENOTDIR) /* it changed beneath the walk */
		return -EAGAIN;
	if (r == 0 && (!is_quiet(ws, closed) || ret->moves != atomic_load(&ws->usage_moves)))
		r = -EAGAIN;
	return r;
}

/* What we charged: the quota may have charges of others, too. */
static uint64_t charged(struct ovl_ws *ws, enum quota_kind kind)
{
	return atomic_load(slot(ws, kind));
}

static bool is_right(struct ovl_ws *ws, const struct count *c)
{
	return c->bytes == charged(ws, QUOTA_BYTES) && c->inodes == charged(ws, QUOTA_INODES);
}

static void correct(struct ovl_ws *ws, enum quota_kind kind, uint64_t counted)
{
	uint64_t used = charged(ws, kind);

	if (counted > used)
		ovl_usage_force(ws, kind, counted - used);
	else
		ovl_usage_release(ws, kind, used - counted);
}

/* What differs is counted twice: once may have met what nobody keeps count of. */
static int check(struct ovl_ws *ws, bool closed, struct count *c)
{
	struct count again;
	int r = count(ws, closed, c);

	if (r < 0 || is_right(ws, c))
		return r;
	r = count(ws, closed, &again);
	if (r == 0 &&
		(again.bytes != c->bytes || again.inodes != c->inodes || again.moves != c->moves))
		r = -EAGAIN;
	if (r < 0)
		return r;
	correct(ws, QUOTA_BYTES, c->bytes);
	correct(ws, QUOTA_INODES, c->inodes);
	/* relaxed: a statistic */
	atomic_fetch_add_explicit(&ws->overlay->usage_corrected, 1, memory_order_relaxed);
	return 0;
}

static int check_closed(struct ovl_ws *ws, struct count *c)
{
	int r = ovl_gate_close(ws->overlay, clock_after(&clock_system, GATE_WAIT_NS));

	if (r < 0)
		return -EAGAIN;
	r = check(ws, true, c);
	ovl_gate_open(ws->overlay);
	return r;
}

static void wait_a_turn(struct ovl_ws *ws)
{
	uint64_t now = clock_mono_ns(&clock_system);
	uint64_t until = now + TURN_NS / (1 + pool_queued(ws->overlay->chores));

	if (now >= ws->count_at_ns)
		return;
	lock_acquire(&ws->copy_lock); /* a removal, and copies that end, wake it */
	(void)cond_wait_until(
		&ws->copy_done, &ws->copy_lock, until < ws->count_at_ns ? until : ws->count_at_ns);
	lock_release(&ws->copy_lock);
}

void ovl_usage_chore(struct ovl_ws *ws)
{
	struct count c = {0};
	uint64_t pause;
	int r;

	if (!atomic_load(&ws->uncounted))
		return;
	wait_a_turn(ws);
	if (clock_mono_ns(&clock_system) >= ws->count_at_ns) {
		r = check(ws, false, &c);
		if (r == -EAGAIN)
			ws->count_took_ns =
				c.took_ns > ws->count_took_ns ? c.took_ns : ws->count_took_ns;
		if (r == -EAGAIN && 2 * ws->count_took_ns < CLOSED_MAX_NS && ws->count_tries > 0)
			r = check_closed(ws, &c);
		if (r != -EAGAIN) { /* an error of the disk: the next start counts */
			atomic_store(&ws->uncounted, false);
			return;
		}
		pause = (PAUSE_MIN_NS << (ws->count_tries < 8 ? ws->count_tries : 8));
		pause = pause > PAUSE_TIMES * ws->count_took_ns ? pause
								: PAUSE_TIMES * ws->count_took_ns;
		ws->count_tries++;
		ws->count_at_ns =
			clock_after(&clock_system, pause < PAUSE_MAX_NS ? pause : PAUSE_MAX_NS);
	}
	(void)ovl_chore_ask(ws, OVL_CHORE_RECOUNT); /* else the next start counts */
}
