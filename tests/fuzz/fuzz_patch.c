// SPDX-License-Identifier: Apache-2.0
/* Patches as hostile bytes: reading stays inside them, and what is read can be applied to something
 * without harm. The first half is the patch, behind a zero byte is what it is applied to. */
#include <stdlib.h>
#include <string.h>

#include "layer/patch_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	const char *nul = size ? memchr(text, 0, size) : NULL;
	size_t len = nul ? (size_t)(nul - text) : size;
	const char *old = nul ? nul + 1 : "";
	size_t old_len = nul ? size - len - 1 : 0;
	struct patch_reader r = patch_begin(text, len);
	struct patch_result delta = {0};
	struct patch_file f;

	if (patch_apply_delta(data, size, old, old_len, &delta) == 0)
		free(delta.data);
	while (patch_next(&r, &f) == 1) {
		struct patch_result result;
		char *before;

		if (f.body && (f.body < text || f.body + f.body_len > text + len))
			abort();
		if (patch_apply(&f, old, old_len, &result) == 0)
			free(result.data);
		if (patch_old_text(&f, &before, &result.len) == 0)
			free(before);
		patch_file_fini(&f);
	}
	return 0;
}
