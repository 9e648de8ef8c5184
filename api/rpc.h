/* SPDX-License-Identifier: Apache-2.0 */
/* The handlers that methods.c lists. See rpc_handler in methods.h for what they may do. */
#pragma once
#include <protobuf-c/protobuf-c.h>

struct err;
struct rpc_call;

/* mount_rpc.c */
int rpc_create_mount(struct rpc_call *call, const ProtobufCMessage *in, struct err *e);
int rpc_get_mount(struct rpc_call *call, const ProtobufCMessage *in, struct err *e);
int rpc_list_mounts(struct rpc_call *call, const ProtobufCMessage *in, struct err *e);
int rpc_delete_mount(struct rpc_call *call, const ProtobufCMessage *in, struct err *e);
int rpc_renew_lease(struct rpc_call *call, const ProtobufCMessage *in, struct err *e);
int rpc_update_mount(struct rpc_call *call, const ProtobufCMessage *in, struct err *e);
/* switch_rpc.c */
int rpc_set_change_list(struct rpc_call *call, const ProtobufCMessage *in, struct err *e);
int rpc_clear_change_list(struct rpc_call *call, const ProtobufCMessage *in, struct err *e);
int rpc_rebase(struct rpc_call *call, const ProtobufCMessage *in, struct err *e);
int rpc_list_change_list(struct rpc_call *call, const ProtobufCMessage *in, struct err *e);
int rpc_fetch(struct rpc_call *call, const ProtobufCMessage *in, struct err *e);
/* prefetch_rpc.c */
int rpc_prefetch(struct rpc_call *call, const ProtobufCMessage *in, struct err *e);
/* watch_rpc.c */
int rpc_watch_mounts(struct rpc_call *call, const ProtobufCMessage *in, struct err *e);
/* node_rpc.c */
int rpc_get_node(struct rpc_call *call, const ProtobufCMessage *in, struct err *e);
int rpc_upgrade(struct rpc_call *call, const ProtobufCMessage *in, struct err *e);
int rpc_drain(struct rpc_call *call, const ProtobufCMessage *message, struct err *e);
int rpc_drain(struct rpc_call *call, const ProtobufCMessage *in, struct err *e);
int rpc_get_cache_stats(struct rpc_call *call, const ProtobufCMessage *in, struct err *e);
/* workflow_rpc.c */
int rpc_status(struct rpc_call *call, const ProtobufCMessage *in, struct err *e);
int rpc_add(struct rpc_call *call, const ProtobufCMessage *in, struct err *e);
int rpc_reset(struct rpc_call *call, const ProtobufCMessage *in, struct err *e);
int rpc_commit(struct rpc_call *call, const ProtobufCMessage *in, struct err *e);
int rpc_diff(struct rpc_call *call, const ProtobufCMessage *in, struct err *e);
int rpc_push(struct rpc_call *call, const ProtobufCMessage *in, struct err *e);
int rpc_log(struct rpc_call *call, const ProtobufCMessage *in, struct err *e);
/* health.c */
int rpc_health_check(struct rpc_call *call, const ProtobufCMessage *in, struct err *e);
int rpc_health_watch(struct rpc_call *call, const ProtobufCMessage *in, struct err *e);
/* reflection.c */
int rpc_reflection(struct rpc_call *call, const ProtobufCMessage *in, struct err *e);
