/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The size of an object from the first bytes of a pack that holds nothing else: it stands before
 * the content (gitformat-pack(5)), so that a huge file need not be fetched for its size. Pure.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GITPEEK_MAX 24u /* header of the pack, and the longest of an object */

struct gitpeek {
	uint8_t in[GITPEEK_MAX];
	size_t have;
	bool known;
	uint64_t size; /* if known */
};

/* The next bytes. -EBADMSG: this is no pack of one blob. */
int gitpeek_take(struct gitpeek *p, const void *data, size_t len);
