/* SPDX-License-Identifier: Apache-2.0 */
/* See inflate.h. What comes in is bounded by a message, what goes out by who asks. */
#include "inflate.h"

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <zlib.h>

/* What is left of the input, or -EBADMSG. */
static long unpack(const void *in, size_t in_len, void *out, size_t out_len)
{
	uint8_t one; /* of nothing there is no place to write to */
	z_stream z = {.next_in = (Bytef *)in, .avail_in = (uInt)in_len};
	int r;

	if (in_len > INT_MAX || out_len > INT_MAX)
		return -EBADMSG;
	z.next_out = out_len ? out : &one;
	z.avail_out = out_len ? (uInt)out_len : 1;
	if (inflateInit(&z) != Z_OK)
		return -ENOMEM;
	r = inflate(&z, Z_FINISH);
	(void)inflateEnd(&z); /* only says whether the stream was at its end, as `r` does */
	return r == Z_STREAM_END && z.total_out == out_len ? (long)z.avail_in : -EBADMSG;
}

int inflate_whole(const void *in, size_t in_len, void *out, size_t out_len)
{
	long left = unpack(in, in_len, out, out_len);

	return left > 0 ? -EBADMSG : (int)left;
}

int inflate_start(const void *in, size_t in_len, void *out, size_t out_len)
{
	long left = unpack(in, in_len, out, out_len);

	return left > 0 ? 0 : (int)left;
}
