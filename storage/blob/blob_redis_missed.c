// SPDX-License-Identifier: Apache-2.0
/* See blob_redis_missed.h. A wrong answer (two oids with the same first 8 bytes) costs a fetch from
 * the source, nothing else. */
#include "blob/blob_redis_missed.h"

#include "base/clock.h"

#define NOTE_NS (500 * NS_PER_MS)

void l3_missed_init(struct l3_missed *m)
{
	*m = (struct l3_missed){0};
	lock_init(&m->mu, LOCK_RANK_LEAF);
}

void l3_missed_fini(struct l3_missed *m)
{
	lock_fini(&m->mu);
}

void l3_missed_add(struct l3_missed *m, const struct oid *oid, uint64_t now_ns)
{
	uint64_t name = oid_hash(oid);

	LOCK_GUARD(&m->mu);
	m->note[name % L3_MISSED_NOTES].name = name;
	m->note[name % L3_MISSED_NOTES].until_ns = now_ns + NOTE_NS;
}

bool l3_missed_take(struct l3_missed *m, const struct oid *oid, uint64_t now_ns)
{
	uint64_t name = oid_hash(oid);
	bool noted;

	LOCK_GUARD(&m->mu);
	noted = m->note[name % L3_MISSED_NOTES].name == name &&
		now_ns < m->note[name % L3_MISSED_NOTES].until_ns;
	if (noted)
		m->note[name % L3_MISSED_NOTES].until_ns = 0;
	return noted;
}
