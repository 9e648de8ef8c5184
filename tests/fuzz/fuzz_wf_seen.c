/* SPDX-License-Identifier: Apache-2.0 */
/* What a workspace remembers of its files: any bytes. What decodes lies within them. */
#include "workflow/seen.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	void *copy = malloc(size ? size : 1); /* aligned, and its end is guarded */
	const struct wf_seen_record *records;
	struct oid sum = {.len = 20};
	size_t count = 0;

	if (!copy)
		return 0;
	memcpy(copy, data, size);
	records = wf_seen_decode(copy, size, &count);
	for (size_t i = 0; records && i < count; i++)
		for (size_t k = 0; k < sum.len; k++)
			sum.bytes[k] ^= records[i].oid[k];
	if (sum.len != 20)
		abort();
	free(copy);
	return 0;
}
