/* SPDX-License-Identifier: Apache-2.0 */
/* The rule in one sentence: an admin may name any tenant, everybody else has one and can neither
 * name nor see another. */
#include "access.h"

#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "call.h"
#include "codec_mount.h"
#include "codec_workflow.h"
#include "server_internal.h"
#include "service/node.h"
#include "service/tenants.h"
#include "service/workflow.h"

int access_tenant(
	const struct rpc_call *call, const char *name, struct tenant **ret_tenant, struct err *e)
{
	struct tenant *found;
	int r = codec_tenant_name(name, e);

	if (r < 0)
		return r;
	if (!name[0] || strcmp(name, tenant_name(call->tenant)) == 0) {
		*ret_tenant = call->tenant;
		return 0;
	}
	if (!call->admin)
		return err_set(e, -EACCES, "ADMIN_ONLY",
			"\"%s\" may not act for another tenant; leave tenant empty",
			tenant_name(call->tenant));
	found = tenants_find(call->server->node->tenants, name);
	if (!found)
		return err_set(e, -ENOENT, "TENANT_NOT_FOUND", "there is no tenant \"%s\"", name);
	*ret_tenant = found;
	return 0;
}

int access_scope(
	const struct rpc_call *call, const char *name, const char **ret_scope, struct err *e)
{
	struct tenant *tenant = call->tenant;
	int r;

	if (call->admin && !name[0]) {
		*ret_scope = NULL;
		return 0;
	}
	r = access_tenant(call, name, &tenant, e);
	if (r == 0)
		*ret_scope = tenant_name(tenant);
	return r;
}

int access_key(const struct rpc_call *call, const char *name, struct mount_key *key, struct err *e)
{
	struct tenant *tenant = call->tenant;
	int r;

	if (key->mount_id)
		return access_scope(call, name, &key->tenant, e);
	r = access_tenant(call, name, &tenant, e);
	if (r == 0)
		key->tenant = tenant_name(tenant);
	return r;
}

int access_workspace(const struct rpc_call *call, const Coppice__V1__WorkspaceRef *in,
	struct wf_call *ret_call, struct err *e)
{
	int r = codec_workspace(in, ret_call, e);

	ret_call->mounts = call->server->node->mounts;
	ret_call->cancel = call->cancel;
	ret_call->admin = call->admin;
	ret_call->deadline_ns = call->deadline_ns;
	return r == 0 ? access_key(call, in->tenant, &ret_call->key, e) : r;
}
