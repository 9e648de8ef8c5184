/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One row per RPC. The lookup is a bisection, so the rows are in the order of their paths
 * (test_methods.c checks it). Const.
 */
#include "methods.h"

#include <coppice/v1/mount.pb-c.h>
#include <coppice/v1/node.pb-c.h>
#include <coppice/v1/workflow.pb-c.h>
#include <grpc/health/v1/health.pb-c.h>
#include <grpc/reflection/v1/reflection.pb-c.h>
#include <string.h>

#include "rpc.h"

#define CREATE_MAX_S   600
#define SHORT_MAX_S    60
#define REFLECT_MAX_S  300
#define WORKFLOW_MAX_S 3600
#define PREFETCH_MAX_S 86400

/* clang-format off */
const struct rpc_method rpc_methods[] = {
	{"/coppice.v1.MountService/ClearChangeList",
		&coppice__v1__clear_change_list_request__descriptor, rpc_clear_change_list,
		RPC_CREATE, RPC_UNARY, RPC_TENANT, CREATE_MAX_S},
	{"/coppice.v1.MountService/CreateMount", &coppice__v1__create_mount_request__descriptor,
		rpc_create_mount, RPC_CREATE, RPC_UNARY, RPC_TENANT, CREATE_MAX_S},
	{"/coppice.v1.MountService/DeleteMount", &coppice__v1__delete_mount_request__descriptor,
		rpc_delete_mount, RPC_DELETE, RPC_UNARY, RPC_TENANT, SHORT_MAX_S},
	{"/coppice.v1.MountService/GetMount", &coppice__v1__get_mount_request__descriptor,
		rpc_get_mount, RPC_WORK, RPC_UNARY, RPC_TENANT, SHORT_MAX_S},
	{"/coppice.v1.MountService/ListMounts", &coppice__v1__list_mounts_request__descriptor,
		rpc_list_mounts, RPC_WORK, RPC_UNARY, RPC_TENANT, SHORT_MAX_S},
	{"/coppice.v1.MountService/Prefetch", &coppice__v1__prefetch_request__descriptor,
		rpc_prefetch, RPC_PREFETCH, RPC_SERVER_STREAM, RPC_TENANT, PREFETCH_MAX_S},
	{"/coppice.v1.MountService/Rebase", &coppice__v1__rebase_request__descriptor, rpc_rebase,
		RPC_CREATE, RPC_UNARY, RPC_TENANT, CREATE_MAX_S},
	{"/coppice.v1.MountService/RenewLease", &coppice__v1__renew_lease_request__descriptor,
		rpc_renew_lease, RPC_WORK, RPC_UNARY, RPC_TENANT, SHORT_MAX_S},
	{"/coppice.v1.MountService/SetChangeList",
		&coppice__v1__set_change_list_request__descriptor, rpc_set_change_list,
		RPC_CREATE, RPC_UNARY, RPC_TENANT, CREATE_MAX_S},
	{"/coppice.v1.MountService/UpdateMount", &coppice__v1__update_mount_request__descriptor,
		rpc_update_mount, RPC_WORK, RPC_UNARY, RPC_TENANT, SHORT_MAX_S},
	{"/coppice.v1.MountService/WatchMounts", &coppice__v1__watch_mounts_request__descriptor,
		rpc_watch_mounts, RPC_WORK, RPC_SERVER_STREAM, RPC_TENANT, 0},
	{"/coppice.v1.NodeService/Drain", &coppice__v1__drain_request__descriptor, rpc_drain,
		RPC_WORK, RPC_UNARY, RPC_ADMIN, SHORT_MAX_S},
	{"/coppice.v1.NodeService/GetCacheStats", &coppice__v1__get_cache_stats_request__descriptor,
		rpc_get_cache_stats, RPC_WORK, RPC_UNARY, RPC_ADMIN, SHORT_MAX_S},
	{"/coppice.v1.NodeService/GetNode", &coppice__v1__get_node_request__descriptor,
		rpc_get_node, RPC_WORK, RPC_UNARY, RPC_ADMIN, SHORT_MAX_S},
	{"/coppice.v1.NodeService/Upgrade", &coppice__v1__upgrade_request__descriptor, rpc_upgrade,
		RPC_WORK, RPC_UNARY, RPC_ADMIN, SHORT_MAX_S},
	{"/coppice.v1.WorkflowService/Add", &coppice__v1__add_request__descriptor, rpc_add,
		RPC_WORKFLOW, RPC_UNARY, RPC_TENANT, WORKFLOW_MAX_S},
	{"/coppice.v1.WorkflowService/Commit", &coppice__v1__commit_request__descriptor, rpc_commit,
		RPC_WORKFLOW, RPC_UNARY, RPC_TENANT, WORKFLOW_MAX_S},
	{"/coppice.v1.WorkflowService/Diff", &coppice__v1__diff_request__descriptor, rpc_diff,
		RPC_WORKFLOW, RPC_SERVER_STREAM, RPC_TENANT, WORKFLOW_MAX_S},
	{"/coppice.v1.WorkflowService/Fetch", &coppice__v1__fetch_request__descriptor, rpc_fetch,
		RPC_WORKFLOW, RPC_UNARY, RPC_TENANT, WORKFLOW_MAX_S},
	{"/coppice.v1.WorkflowService/ListChangeList",
		&coppice__v1__list_change_list_request__descriptor, rpc_list_change_list,
		RPC_WORKFLOW, RPC_SERVER_STREAM, RPC_TENANT, WORKFLOW_MAX_S},
	{"/coppice.v1.WorkflowService/Log", &coppice__v1__log_request__descriptor, rpc_log,
		RPC_WORKFLOW, RPC_SERVER_STREAM, RPC_TENANT, WORKFLOW_MAX_S},
	{"/coppice.v1.WorkflowService/Push", &coppice__v1__push_request__descriptor, rpc_push,
		RPC_WORKFLOW, RPC_SERVER_STREAM, RPC_TENANT, WORKFLOW_MAX_S},
	{"/coppice.v1.WorkflowService/Reset", &coppice__v1__reset_request__descriptor, rpc_reset,
		RPC_WORKFLOW, RPC_UNARY, RPC_TENANT, WORKFLOW_MAX_S},
	{"/coppice.v1.WorkflowService/Status", &coppice__v1__status_request__descriptor, rpc_status,
		RPC_WORKFLOW, RPC_SERVER_STREAM, RPC_TENANT, WORKFLOW_MAX_S},
	{"/grpc.health.v1.Health/Check", &grpc__health__v1__health_check_request__descriptor,
		rpc_health_check, RPC_INLINE, RPC_UNARY, RPC_ANYONE, SHORT_MAX_S},
	{"/grpc.health.v1.Health/Watch", &grpc__health__v1__health_check_request__descriptor,
		rpc_health_watch, RPC_INLINE, RPC_SERVER_STREAM, RPC_ANYONE, 0},
	/* v1alpha is v1 on the wire */
	{"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
		&grpc__reflection__v1__server_reflection_request__descriptor,
		rpc_reflection, RPC_INLINE, RPC_BIDI, RPC_ANYONE, REFLECT_MAX_S},
	{"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
		&grpc__reflection__v1__server_reflection_request__descriptor,
		rpc_reflection, RPC_INLINE, RPC_BIDI, RPC_ANYONE, REFLECT_MAX_S},
};
/* clang-format on */
const size_t rpc_method_count = sizeof(rpc_methods) / sizeof(rpc_methods[0]);

static int compare(const char *path, size_t len, const char *other)
{
	size_t other_len = strlen(other);
	int order = memcmp(path, other, len < other_len ? len : other_len);

	return order ? order : (len > other_len) - (len < other_len);
}

const struct rpc_method *rpc_method_find(const char *path, size_t len)
{
	size_t low = 0, high = rpc_method_count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int order = compare(path, len, rpc_methods[mid].path);

		if (order == 0)
			return &rpc_methods[mid];
		if (order < 0)
			high = mid;
		else
			low = mid + 1;
	}
	return NULL;
}
