/* SPDX-License-Identifier: Apache-2.0 */
/* See git_peek.h. */
#include "origin/git_peek.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#define PACK_HEADER 12u
#define TYPE_BLOB   3

/* "PACK", version, number of objects. */
static int check_header(const struct gitpeek *p)
{
	uint32_t version, count;

	memcpy(&version, p->in + 4, sizeof(version));
	memcpy(&count, p->in + 8, sizeof(count));
	version = be32toh(version);
	return memcmp(p->in, "PACK", 4) == 0 && (version == 2 || version == 3) &&
			       be32toh(count) == 1
		       ? 0
		       : -EBADMSG;
}

/* Type and the low four bits of the size, then seven bits a byte while the highest is set. */
static int read_size(struct gitpeek *p)
{
	const uint8_t *at = p->in + PACK_HEADER, *end = p->in + p->have;
	uint64_t size = at < end ? *at & 15u : 0;
	unsigned shift = 4;

	if (at < end && (*at >> 4 & 7u) != TYPE_BLOB)
		return -EBADMSG;
	while (at < end && (*at & 0x80u)) {
		if (++at == end)
			break;
		if (shift > 56) /* more than any size */
			return -EBADMSG;
		size |= (uint64_t)(*at & 0x7fu) << shift;
		shift += 7;
	}
	if (at < end) {
		p->known = true;
		p->size = size;
	}
	return 0;
}

int gitpeek_take(struct gitpeek *p, const void *data, size_t len)
{
	size_t room = sizeof(p->in) - p->have;
	int r = 0;

	if (p->known)
		return 0;
	if (len > room)
		len = room;
	memcpy(p->in + p->have, data, len);
	p->have += len;
	if (p->have >= PACK_HEADER) {
		r = check_header(p);
		if (r == 0)
			r = read_size(p);
	}
	return r;
}
