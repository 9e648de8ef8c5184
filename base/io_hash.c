/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SipHash-1-3 (Aumasson and Bernstein, with one round per word and three at the end): a keyed hash
 * whose collisions cannot be chosen without the key, at a few cycles per byte. Enough for tables;
 * not for signatures. Pure.
 */
#include <endian.h>
#include <string.h>

#include "base/io.h"

struct sip {
	uint64_t a, b, c, d;
};

static inline uint64_t rotate(uint64_t x, unsigned bits)
{
	return (x << bits) | (x >> (64 - bits));
}

static inline void sip_round(struct sip *v)
{
	v->a += v->b;
	v->b = rotate(v->b, 13) ^ v->a;
	v->a = rotate(v->a, 32);
	v->c += v->d;
	v->d = rotate(v->d, 16) ^ v->c;
	v->a += v->d;
	v->d = rotate(v->d, 21) ^ v->a;
	v->c += v->b;
	v->b = rotate(v->b, 17) ^ v->c;
	v->c = rotate(v->c, 32);
}

static inline void sip_word(struct sip *v, uint64_t word)
{
	v->d ^= word;
	sip_round(v);
	v->a ^= word;
}

uint64_t io_hash(const void *data, size_t len, const uint64_t key[2])
{
	/* the constants spell "somepseudorandomlygeneratedbytes" */
	struct sip v = {
		key[0] ^ 0x736f6d6570736575ull,
		key[1] ^ 0x646f72616e646f6dull,
		key[0] ^ 0x6c7967656e657261ull,
		key[1] ^ 0x7465646279746573ull,
	};
	const unsigned char *at = data;
	uint64_t word, last = (uint64_t)len << 56;
	size_t rest = len;

	for (; rest >= 8; rest -= 8, at += 8) {
		memcpy(&word, at, 8);
		sip_word(&v, le64toh(word));
	}
	for (size_t i = 0; i < rest; i++)
		last |= (uint64_t)at[i] << (8 * i);
	sip_word(&v, last);
	v.c ^= 0xff;
	for (int i = 0; i < 3; i++)
		sip_round(&v);
	return v.a ^ v.b ^ v.c ^ v.d;
}
