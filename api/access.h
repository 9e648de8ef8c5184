/* SPDX-License-Identifier: Apache-2.0 */
/* Which tenant a request is about, and whether the caller may name it. */
#pragma once
#include <coppice/v1/workflow.pb-c.h>

struct err;
struct mount_key;
struct rpc_call;
struct tenant;
struct wf_call;

/* `name` as the request has it. "" or its own: the caller's. Another: admins only (-EACCES reason
 * ADMIN_ONLY), and it must exist
 * (-ENOENT reason TENANT_NOT_FOUND). */
int access_tenant(
	const struct rpc_call *call, const char *name, struct tenant **ret_tenant, struct err *e);
/* The tenant to confine a query to: NULL = all, which only an admin gets who names none. */
int access_scope(
	const struct rpc_call *call, const char *name, const char **ret_scope, struct err *e);
/* Decode and complete what names a workspace. */
int access_workspace(const struct rpc_call *call, const Coppice__V1__WorkspaceRef *in,
	struct wf_call *ret_call, struct err *e);
/* Complete a decoded key: with a job_id always one tenant; with a mount_id all for an admin. */
int access_key(const struct rpc_call *call, const char *name, struct mount_key *key, struct err *e);
