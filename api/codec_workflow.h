/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Workflow messages ↔ domain structs. As codec_mount.h: every limit that workflow.proto states is
 * checked here, the field that breaks one is named, and what is returned lives as long as message
 * and arena. Pure.
 */
#pragma once
#include <coppice/v1/mount.pb-c.h>
#include <coppice/v1/workflow.pb-c.h>

#include "service/workflow.h"

struct arena;
struct err;

/* The key's tenant is left NULL. */
int codec_workspace(const Coppice__V1__WorkspaceRef *in, struct wf_call *ret_call, struct err *e);
int codec_paths(const ProtobufCBinaryData *in, size_t count, struct arena *a,
	struct wf_paths *ret_paths, struct err *e);
int codec_status_request(const Coppice__V1__StatusRequest *in, struct arena *a,
	struct wf_status_request *ret_request, struct err *e);

int codec_add_request(const Coppice__V1__AddRequest *in, struct arena *a,
	struct wf_add_request *ret_request, struct err *e);
int codec_reset_request(const Coppice__V1__ResetRequest *in, struct arena *a,
	struct wf_reset_request *ret_request, struct err *e);
int codec_diff_request(const Coppice__V1__DiffRequest *in, struct arena *a,
	struct wf_diff_request *ret_request, struct err *e);
int codec_push_request(
	const Coppice__V1__PushRequest *in, struct wf_push_request *ret_request, struct err *e);
int codec_commit_request(
	const Coppice__V1__CommitRequest *in, struct wf_commit_request *ret_request, struct err *e);

int codec_signature(const Coppice__V1__Signature *in, const char *field, struct wf_signature *ret,
	struct err *e);

/* Into `out`, as copies in the arena. -ENOMEM. */
int codec_rebased(const struct wf_rebase_result *result, struct arena *a, Coppice__V1__Mount *out);
/* Copies in the arena. NULL: no memory. */
Coppice__V1__WorkspaceHead *codec_head(const struct wf_head *head, struct arena *a);
Coppice__V1__StatusEntry *codec_status_entry(const struct wf_status_entry *entry, struct arena *a);
Coppice__V1__LogEntry *codec_log_entry(const struct wf_log_entry *entry, struct arena *a);
/* One parent in an array. */
char **codec_parents(const char *parent, struct arena *a);
