/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Binary changes: base85 in lines, compressed; either all the bytes of the file, or a delta of the
 * kind that packs have.
 */
#include "layer/patch_internal.h"

#include "base/cleanup.h"
#include "inflate.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
			     "!#$%&()*+-;<=>?@^_`{|}~";

static int damaged(struct patch_result *ret, const char *why)
{
	ret->why = why;
	return -EBADMSG;
}

static int value_of(char c)
{
	const char *found = c ? strchr(digits, c) : NULL;

	return found ? (int)(found - digits) : -1;
}

/* One line: its length in bytes as a letter, then five digits for each four bytes. */
static bool decode_line(const struct patch_text *line, uint8_t *out, size_t *ret_len)
{
	char c = line->len ? line->at[0] : 0;
	size_t len = c >= 'A' && c <= 'Z'   ? (size_t)(c - 'A' + 1)
		     : c >= 'a' && c <= 'z' ? (size_t)(c - 'a' + 27)
					    : 0;

	if (!len || line->len != 1 + (len + 3) / 4 * 5)
		return false;
	*ret_len = len;
	for (const char *at = line->at + 1; len; at += 5) {
		uint64_t word = 0;

		for (unsigned i = 0; i < 5; i++) {
			int v = value_of(at[i]);

			if (v < 0)
				return false;
			word = word * 85 + (uint64_t)v;
		}
		if (word > UINT32_MAX)
			return false;
		for (int shift = 24; shift >= 0 && len; shift -= 8, len--)
			*out++ = (uint8_t)(word >> shift);
	}
	return true;
}

static bool parse_head(const struct patch_text *line, bool *ret_literal, uint64_t *ret_size)
{
	const char *at, *end = line->at + line->len;
	uint64_t size = 0;

	*ret_literal = patch_starts(line, "literal ");
	if (!*ret_literal && !patch_starts(line, "delta "))
		return false;
	at = line->at + (*ret_literal ? 8 : 6);
	if (at == end || end - at > 10)
		return false;
	for (; at < end; at++) {
		if (*at < '0' || *at > '9')
			return false;
		size = size * 10 + (uint64_t)(*at - '0');
	}
	*ret_size = size;
	return true;
}

static int decode(
	const struct patch_file *f, const struct patch_text *head, uint8_t *out, size_t *ret_len)
{
	const char *at = head->next, *end = f->body + f->body_len;
	struct patch_text line;
	size_t total = 0, len;

	for (; patch_line(at, end, &line) && line.len; at = line.next) {
		if (line.at[line.len - 1] == '\r')
			line.len--;
		if (!decode_line(&line, out + total, &len))
			return -EBADMSG;
		total += len;
	}
	*ret_len = total;
	return 0;
}

int patch_apply_binary(
	const struct patch_file *f, const char *old, size_t old_len, struct patch_result *ret)
{
	_cleanup_free_ uint8_t *packed = malloc(f->body_len + 4);
	_cleanup_free_ char *plain = NULL;
	struct patch_text head;
	size_t packed_len;
	uint64_t size;
	bool literal;

	if (!packed)
		return -ENOMEM;
	if (!patch_line(f->body, f->body + f->body_len, &head))
		return damaged(ret, "has no bytes");
	if (head.len && head.at[head.len - 1] == '\r')
		head.len--;
	if (!parse_head(&head, &literal, &size) || decode(f, &head, packed, &packed_len) < 0)
		return damaged(ret, "has damaged binary data");
	if (size > PATCH_CONTENT_MAX)
		return -EFBIG;
	plain = malloc((size_t)size + 1);
	if (!plain)
		return -ENOMEM;
	if (inflate_whole(packed, packed_len, plain, (size_t)size) < 0)
		return damaged(ret, "has damaged binary data");
	if (!literal)
		return patch_apply_delta(plain, (size_t)size, old, old_len, ret);
	plain[size] = '\0';
	ret->data = TAKE_PTR(plain);
	ret->len = (size_t)size;
	return 0;
}

/* ---- deltas ---- */

struct bytes {
	const uint8_t *at, *end;
};

static bool take_size(struct bytes *b, uint64_t *ret)
{
	uint64_t n = 0;

	for (unsigned shift = 0; shift < 42; shift += 7) {
		uint8_t c;

		if (b->at == b->end)
			return false;
		c = *b->at++;
		n |= (uint64_t)(c & 127) << shift;
		if (!(c & 128)) {
			*ret = n;
			return true;
		}
	}
	return false;
}

/* Those of `count` bytes whose bits are set. */
static bool take_bits(struct bytes *b, unsigned bits, unsigned count, uint64_t *ret)
{
	*ret = 0;
	for (unsigned i = 0; i < count; i++) {
		if (!(bits & 1u << i))
			continue;
		if (b->at == b->end)
			return false;
		*ret |= (uint64_t)*b->at++ << 8 * i;
	}
	return true;
}

static bool run_delta(struct bytes *b, const char *old, size_t old_len, char *out, size_t out_len)
{
	size_t done = 0;

	while (b->at < b->end) {
		uint8_t op = *b->at++;
		uint64_t from = 0, len = op;
		const char *source = (const char *)b->at;

		if (op & 128) {
			if (!take_bits(b, op & 15u, 4, &from) ||
				!take_bits(b, op >> 4 & 7u, 3, &len))
				return false;
			len = len ? len : 0x10000;
			if (from > old_len || len > old_len - from)
				return false;
			source = old + from;
		} else if (!op || op > b->end - b->at) {
			return false;
		} else {
			b->at += op;
		}
		if (len > out_len - done)
			return false;
		memcpy(out + done, source, (size_t)len);
		done += (size_t)len;
	}
	return done == out_len;
}

int patch_apply_delta(const void *delta, size_t delta_len, const char *old, size_t old_len,
	struct patch_result *ret)
{
	struct bytes b = {delta, (const uint8_t *)delta + delta_len};
	_cleanup_free_ char *out = NULL;
	uint64_t from_len, to_len;

	if (!take_size(&b, &from_len) || !take_size(&b, &to_len))
		return damaged(ret, "has a damaged delta");
	if (from_len != old_len) {
		ret->why = "was made for another content of the file";
		return -ESTALE;
	}
	if (to_len > PATCH_CONTENT_MAX)
		return -EFBIG;
	out = malloc((size_t)to_len + 1);
	if (!out)
		return -ENOMEM;
	if (!run_delta(&b, old, old_len, out, (size_t)to_len))
		return damaged(ret, "has a damaged delta");
	out[to_len] = '\0';
	ret->data = TAKE_PTR(out);
	ret->len = (size_t)to_len;
	return 0;
}
