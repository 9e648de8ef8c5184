// SPDX-License-Identifier: Apache-2.0
/*
 * LMDB files as hostile bytes: the check that stands between a damaged file and LMDB must itself
 * stay in bounds, end, and find in a file that it passes nothing else the second time.
 */
#include <stdlib.h>
#include <sys/mman.h>

#include "base/io.h"
#include "kv/kv_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *why = NULL;
	int fd = memfd_create("fuzz", MFD_CLOEXEC), whole, quick;

	if (fd < 0)
		return 0;
	if (io_pwrite_full(fd, data, size, 0) == 0) {
		whole = kv_check_file(fd, size, true, &why);
		quick = kv_check_file(fd, size, false, &why);
		/* What passes as a whole passes the short check, too. */
		if (whole == 0 && quick != 0)
			abort();
	}
	(void)close(fd);
	return 0;
}
