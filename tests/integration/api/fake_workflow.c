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

int wf_list_entries(const struct wf_call *call, wf_list_fn fn, void *arg, struct wf_head *ret_head,
	struct err *e)
{
	(void)call, (void)fn, (void)arg, (void)ret_head;
	return none(e);
}

int wf_rebase(const struct wf_call *call, const struct wf_rebase_request *rq,
	struct mount_info *ret_info, struct wf_rebase_result *ret_result, struct err *e)
{
	(void)call, (void)rq, (void)ret_info, (void)ret_result;
	return none(e);
}

void wf_rebase_result_fini(struct wf_rebase_result *result)
{
	(void)result;
}

int wf_fetch(const struct wf_call *call, const char *revision, struct wf_fetch_result *ret_result,
	struct err *e)
{
	(void)call, (void)revision, (void)ret_result;
	return none(e);
}

int wf_add(const struct wf_call *call, const struct wf_add_request *rq,
	struct wf_add_result *ret_result, struct err *e)
{
	(void)call, (void)rq, (void)ret_result;
	return none(e);
}

int wf_reset(const struct wf_call *call, const struct wf_reset_request *rq,
	struct wf_reset_result *ret_result, struct err *e)
{
	(void)call, (void)rq, (void)ret_result;
	return none(e);
}

int wf_commit(const struct wf_call *call, const struct wf_commit_request *rq,
	struct wf_commit_result *ret_result, struct err *e)
{
	(void)call, (void)rq, (void)ret_result;
	return none(e);
}

int wf_log(const struct wf_call *call, unsigned limit, wf_log_fn fn, void *arg,
	struct wf_head *ret_head, struct err *e)
{
	(void)call, (void)limit, (void)fn, (void)arg, (void)ret_head;
	return none(e);
}

int wf_diff(const struct wf_call *call, const struct wf_diff_request *rq, wf_diff_fn fn, void *arg,
	struct wf_head *ret_head, struct err *e)
{
	(void)call, (void)rq, (void)fn, (void)arg, (void)ret_head;
	return none(e);
}

int wf_push(const struct wf_call *call, const struct wf_push_request *rq, wf_push_fn progress,
	void *arg, struct wf_push_result *ret_result, struct err *e)
{
	(void)call, (void)rq, (void)progress, (void)arg, (void)ret_result;
	return none(e);
}
