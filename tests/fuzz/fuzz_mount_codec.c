/* SPDX-License-Identifier: Apache-2.0 */
/* Decoding the record of a mount: any bytes, as they are and under a good checksum. What decodes
 * must encode to the same bytes; or, if it is not in the oldest format that says it, to bytes for
 * which that holds.
 */
#include "mount/mount_codec.h"

#include <base/buf.h>
#include <base/crc32c.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const uint8_t *data, size_t size)
{
	struct mount_record r;
	struct buf again;

	if (mount_record_decode(data, size, &r))
		return;
	buf_init(&again, MOUNT_RECORD_MAX);
	if (mount_record_encode(&r, &again))
		abort();
	if (data[0] < mount_record_format(&r))
		abort(); /* it cannot have said that */
	if (data[0] != mount_record_format(&r))
		check((const uint8_t *)again.data, again.len);
	else if (again.len != size || memcmp(again.data, data, size) != 0)
		abort();
	buf_fini(&again);
	mount_record_fini(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *sealed;
	uint32_t crc;

	check(data, size);
	sealed = malloc(size + 4);
	if (!sealed)
		return 0;
	if (size)
		memcpy(sealed, data, size);
	crc = crc32c(0, sealed, size);
	for (unsigned i = 0; i < 4; i++)
		sealed[size + i] = (uint8_t)(crc >> 8 * i);
	check(sealed, size + 4);
	free(sealed);
	return 0;
}
