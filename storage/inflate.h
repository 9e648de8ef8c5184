/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes that zlib has compressed, all at once. With loose_check.c the door to zlib (ADR 0008).
 * Pure.
 */
#pragma once
#include <stddef.h>

/* Exactly `out_len` bytes must come out, and nothing of the input be left: else -EBADMSG. -ENOMEM.
 */
int inflate_whole(const void *in, size_t in_len, void *out, size_t out_len);
/* The same where more of the input may follow that is not ours. */
int inflate_start(const void *in, size_t in_len, void *out, size_t out_len);
