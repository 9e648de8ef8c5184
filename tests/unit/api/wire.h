/* SPDX-License-Identifier: Apache-2.0 */
/* Messages as bytes, built by hand: what no well-meaning encoder would make. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct wire {
	uint8_t data[1 << 16];
	size_t len;
};

static inline void wire_byte(struct wire *w, unsigned byte)
{
	w->data[w->len++] = (uint8_t)byte;
}

static inline void wire_varint(struct wire *w, uint64_t value)
{
	for (; value > 127; value >>= 7)
		wire_byte(w, (unsigned)(value & 127) | 128);
	wire_byte(w, (unsigned)value);
}

static inline void wire_tag(struct wire *w, unsigned number, unsigned type)
{
	wire_varint(w, (uint64_t)number << 3 | type);
}

static inline void wire_bytes(struct wire *w, unsigned number, const void *data, size_t len)
{
	wire_tag(w, number, 2);
	wire_varint(w, len);
	memcpy(w->data + w->len, data, len);
	w->len += len;
}
