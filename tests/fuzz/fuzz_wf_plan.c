/* SPDX-License-Identifier: Apache-2.0 */
/* The plan of a rebase: any bytes. What decodes names paths that stay below the workspace, in
 * order, and modes that Git has. */
#include "workflow/plan.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool node_ok(const struct wf_node *n)
{
	if (n->oid.len != 0 && n->oid.len != 20 && n->oid.len != 32)
		return false;
	return n->mode == 0 || n->mode == WF_MODE_FILE || n->mode == WF_MODE_EXEC ||
	       n->mode == WF_MODE_LINK || n->mode == WF_MODE_GITLINK;
}

static bool path_ok(const char *path)
{
	size_t len = strlen(path);

	return len && path[0] != '/' && path[len - 1] != '/' && !strstr(path, "//") &&
	       strcmp(path, "..") != 0 && strncmp(path, "../", 3) != 0 && !strstr(path, "/../") &&
	       (len < 3 || strcmp(path + len - 3, "/..") != 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct wf_plan p;

	if (wf_plan_decode((const char *)data, size, &p))
		return 0;
	for (size_t i = 0; i < p.count; i++) {
		const struct wf_plan_op *op = &p.ops[i];

		if (!node_ok(&op->from) || !node_ok(&op->to) || !path_ok(op->path))
			abort();
		if (i && strcmp(p.ops[i - 1].path, op->path) > 0)
			abort();
	}
	wf_plan_fini(&p);
	return 0;
}
