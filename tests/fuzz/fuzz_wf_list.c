/* SPDX-License-Identifier: Apache-2.0 */
/* The list file of a workspace over a change list: any bytes. What decodes can be searched. */
#include "workflow/change_list.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct wf_list l;

	if (wf_list_decode((const char *)data, size, &l))
		return 0;
	for (size_t i = 0; i < l.same_count; i++)
		if (wf_list_find(&l, &l.same[i][0])->len == 0)
			abort();
	wf_list_fini(&l);
	return 0;
}
