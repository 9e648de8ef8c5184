// SPDX-License-Identifier: Apache-2.0
/* Archives as hostile bytes: what is let through is inside the archive, and a relative path. The
 * checksum of each block that might be a header is mended first, or nothing would get past it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/path.h"
#include "storage/tar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void mend(char *header)
{
	unsigned sum = 0;

	memset(header + 148, ' ', 8);
	for (unsigned i = 0; i < 512; i++)
		sum += (unsigned char)header[i];
	(void)snprintf(header + 148, 8, "%06o", sum);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *copy = malloc(size + 1);
	struct tar_member *m = malloc(sizeof(*m));
	struct tar_reader r;

	if (!copy || !m)
		abort();
	memcpy(copy, data, size);
	for (size_t at = 0; at + 512 <= size; at += 512)
		if (memcmp(copy + at + 257, "ustar", 5) == 0)
			mend(copy + at);
	r = tar_begin(copy, size);
	while (tar_next(&r, m) == 1) {
		if (m->len && (m->data < copy || m->data + m->len > copy + size))
			abort();
		if (!path_relative_ok(m->path))
			abort();
	}
	free(m);
	free(copy);
	return 0;
}
