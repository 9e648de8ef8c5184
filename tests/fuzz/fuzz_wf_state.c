/* SPDX-License-Identifier: Apache-2.0 */
/* The state file of a workspace's Git workflow: any bytes. What decodes has a commit and ids of a
 * known length. */
#include "workflow/state.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool length_ok(const struct oid *oid, bool may_be_none)
{
	return oid->len == 20 || oid->len == 32 || (may_be_none && oid->len == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct wf_state s;

	if (wf_state_decode((const char *)data, size, &s))
		return 0;
	if (!length_ok(&s.head, false) || !length_ok(&s.tree, true) || !length_ok(&s.index, true))
		abort();
	return 0;
}
