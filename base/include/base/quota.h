/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Charge-based accounts. An account counts several resources against limits and may have a parent
 * that is charged too (workspace → tenant). A charge either fits everywhere or changes nothing.
 * Lock-free; any thread.
 *
 * What is refused is -EDQUOT. Limits can be lowered below the usage: nothing is taken away, further
 * charges fail.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum quota_kind { QUOTA_BYTES, QUOTA_INODES, QUOTA_MOUNTS, QUOTA_REQUESTS, QUOTA_KIND_COUNT };
#define QUOTA_UNLIMITED UINT64_MAX

struct quota {
	struct quota *parent; /* const after init; must outlive this one; NULL at the top */
	_Atomic uint64_t used[QUOTA_KIND_COUNT];
	_Atomic uint64_t limit[QUOTA_KIND_COUNT];
	_Atomic uint64_t refused[QUOTA_KIND_COUNT];
};

void quota_init(struct quota *q, struct quota *parent); /* all unlimited, nothing used */
/* Gives back what is still used to the parents. */
void quota_fini(struct quota *q);
void quota_set_limit(struct quota *q, enum quota_kind kind, uint64_t limit);
uint64_t quota_limit(const struct quota *q, enum quota_kind kind);
uint64_t quota_used(const struct quota *q, enum quota_kind kind);
/* Charges that this account (not one of its parents or children) has refused. */
uint64_t quota_refused(const struct quota *q, enum quota_kind kind);
/* What a charge may still take here, all parents considered. */
uint64_t quota_available(const struct quota *q, enum quota_kind kind);
/* 0 or -EDQUOT. */
int quota_charge(struct quota *q, enum quota_kind kind, uint64_t amount);
/* Charge without a check (recovery, what already is on disk). */
void quota_charge_force(struct quota *q, enum quota_kind kind, uint64_t amount);
/* Give back, to the parents too. More than was charged here is clamped, so that a parent keeps what
 * it holds for others (and asserts in debug builds). */
void quota_release(struct quota *q, enum quota_kind kind, uint64_t amount);
