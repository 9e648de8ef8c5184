/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Table hash of an oid, keyed. Oids are uniform, but a tenant can choose content until many oids
 * share low bits; with a secret key that buys nothing. One 64 × 64 → 128 bit multiplication,
 * folded: far cheaper than a string hash.
 */
#pragma once
#include <stdint.h>
#include <string.h>

struct blob_hash_key {
	uint64_t k[2];
};

/* `bytes`: the first 16 bytes of an oid. */
static inline uint64_t blob_hash(const struct blob_hash_key *key, const uint8_t *bytes)
{
	uint64_t a, b;
	unsigned __int128 product;

	memcpy(&a, bytes, sizeof(a));
	memcpy(&b, bytes + sizeof(a), sizeof(b));
	product = (unsigned __int128)(a ^ key->k[0]) * (b ^ key->k[1]);
	return (uint64_t)product ^ (uint64_t)(product >> 64);
}
