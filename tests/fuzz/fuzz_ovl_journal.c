/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A workspace journal as hostile bytes: decoding must stay inside, whatever lengths and checksums
 * say, and a record that is believed must come out the same when it is encoded again. Checksums are
 * mended first, or the fuzzer would never get past them.
 */
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "overlay/ovl_journal_codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Wherever a record could begin by its length, make its checksum right. */
static void mend(uint8_t *p, size_t len)
{
	uint32_t u32;

	while (len >= 16) {
		memcpy(&u32, p, sizeof(u32));
		u32 = le32toh(u32);
		if (u32 < 16 || u32 > len)
			return;
		size_t size = u32;

		u32 = htole32(crc32c(0, p + 8, size - 8));
		memcpy(p + 4, &u32, sizeof(u32));
		p += size;
		len -= size;
	}
}

static void check_same(const struct ovl_record *rec)
{
	struct ovl_record again;
	size_t size = ovl_record_size(rec);
	uint8_t *buf = malloc(size);

	if (!buf)
		return;
	ovl_record_encode(rec, buf);
	if (ovl_record_decode(buf, size, &again) != size || again.id != rec->id ||
		again.unique != rec->unique || again.parent != rec->parent ||
		again.name_len != rec->name_len ||
		(rec->name_len && memcmp(again.name, rec->name, rec->name_len) != 0))
		abort();
	free(buf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size ? size : 1);
	struct ovl_record rec;
	size_t at = 0, n;

	if (!copy)
		return 0;
	if (size)
		memcpy(copy, data, size);
	mend(copy, size);
	while ((n = ovl_record_decode(copy + at, size - at, &rec))) {
		check_same(&rec);
		at += n;
	}
	free(copy);
	return 0;
}
