/* SPDX-License-Identifier: Apache-2.0 */
/* The workflow of a registry that has no workspaces: tests/e2e/test_workflow.py tests the real one.
 */
#include <base/err.h>
#include <errno.h>
#include <service/workflow.h>

static int none(struct err *e)
{
	return err_set(e, -ENOENT, "MOUNT_NOT_FOUND", "this registry has no workspaces");
}

int wf_status(const struct wf_call *call, const struct wf_status_request *rq, wf_status_fn fn,
	void *arg, struct wf_head *ret_head, struct err *e)
{
	(void)call, (void)rq, (void)fn, (void)arg, (void)ret_head;
	return none(e);
}
