/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys: "coppice:1:{<oid>}:<what>". The 1 is the version of the values, so that versions never
 * meet. The braces put all that belongs to one object (its value, chunks, lease) into one slot of a
 * cluster, where one command can see it whole, and objects of any kind into all of them.
 */
#pragma once
#include "blob/blob_redis_slots.h"
#include "storage/digest.h"

#include <stdint.h>
#include <stdio.h>

#define L3_KEY_PREFIX "coppice:1:"

struct l3_key {
	char text[sizeof(L3_KEY_PREFIX) + OID_HEX_MAX + 24];
	unsigned len;
	uint16_t slot;
};

static inline struct l3_key l3_key_make(const struct oid *oid, const char *what)
{
	char hex[OID_HEX_MAX];
	struct l3_key key;

	key.len = (unsigned)snprintf(
		key.text, sizeof(key.text), L3_KEY_PREFIX "{%s}:%.12s", oid_hex(oid, hex), what);
	key.slot = l3_slot(hex, 2u * oid->len);
	return key;
}

static inline struct l3_key l3_key_value(const struct oid *oid)
{
	return l3_key_make(oid, "b");
}

static inline struct l3_key l3_key_tree(const struct oid *oid)
{
	return l3_key_make(oid, "t");
}

static inline struct l3_key l3_key_lease(const struct oid *oid)
{
	return l3_key_make(oid, "l");
}

static inline struct l3_key l3_key_chunk(const struct oid *oid, uint32_t index)
{
	char what[16];

	(void)snprintf(what, sizeof(what), "c%u", index);
	return l3_key_make(oid, what);
}
