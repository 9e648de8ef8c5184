/* SPDX-License-Identifier: Apache-2.0 */
/* See codec_workflow.h. */
#include "codec_workflow.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "arena.h"
#include "base/err.h"
#include "codec_mount.h"

#define SAME(kind) _Static_assert((int)WF_##kind == COPPICE__V1__STATUS_ENTRY__KIND__##kind, "kind")
SAME(ADDED);
SAME(MODIFIED);
SAME(DELETED);
SAME(RENAMED);
SAME(TYPE_CHANGED);
SAME(MODE_CHANGED);
SAME(UNTRACKED);
SAME(IGNORED);
#undef SAME

static int check_head(const char *head, struct err *e)
{
	size_t len = strlen(head);

	if (len && ((len != 40 && len != 64) || strspn(head, "0123456789abcdef") != len))
		return err_field(e, "workspace.expected_head", "is not a full commit id");
	return 0;
}

int codec_workspace(const Coppice__V1__WorkspaceRef *in, struct wf_call *ret_call, struct err *e)
{
	int r;

	if (!in)
		return err_field(e, "workspace", "is not set");
	*ret_call = (struct wf_call){
		.expected_generation = in->expected_generation, .expected_head = in->expected_head};
	r = check_head(in->expected_head, e);
	return r == 0 ? codec_mount_key(in->mount_id, in->job_id, &ret_call->key, e) : r;
}

static int decode_bytes(const ProtobufCBinaryData *in, const char *field, struct arena *a,
	const char **ret_text, struct err *e)
{
	char *text;

	if (in->len >= PATH_MAX || memchr(in->data, 0, in->len))
		return err_field(e, field, "is longer than %d bytes or has a NUL", PATH_MAX - 1);
	text = arena_alloc(a, in->len + 1);
	if (!text)
		return -ENOMEM;
	if (in->len)
		memcpy(text, in->data, in->len);
	*ret_text = text;
	return 0;
}

int codec_paths(const ProtobufCBinaryData *in, size_t count, struct arena *a,
	struct wf_paths *ret_paths, struct err *e)
{
	const char **spec;

	if (count > WF_PATHS_MAX)
		return err_field(e, "paths", "are more than %d", WF_PATHS_MAX);
	spec = arena_array(a, count + 1, sizeof(*spec));
	if (!spec)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		char field[32];
		int r;

		(void)snprintf(field, sizeof(field), "paths[%zu]", i);
		r = decode_bytes(&in[i], field, a, &spec[i], e);
		if (r < 0)
			return r;
		if (!spec[i][0])
			return err_field(e, field, "is empty; '.' is the whole workspace");
	}
	*ret_paths = (struct wf_paths){spec, count};
	return 0;
}

int codec_status_request(const Coppice__V1__StatusRequest *in, struct arena *a,
	struct wf_status_request *ret_request, struct err *e)
{
	static const enum wf_untracked modes[] = {
		[COPPICE__V1__STATUS_REQUEST__UNTRACKED__NORMAL] = WF_UNTRACKED_NORMAL,
		[COPPICE__V1__STATUS_REQUEST__UNTRACKED__ALL] = WF_UNTRACKED_ALL,
		[COPPICE__V1__STATUS_REQUEST__UNTRACKED__NO] = WF_UNTRACKED_NO,
	};

	if ((unsigned)in->untracked >= sizeof(modes) / sizeof(modes[0]))
		return err_field(e, "untracked", "%d is not a known value", (int)in->untracked);
	*ret_request = (struct wf_status_request){.untracked = modes[in->untracked],
		.ignored = in->ignored,
		.no_renames = in->no_renames};
	return codec_paths(in->paths, in->n_paths, a, &ret_request->paths, e);
}

Coppice__V1__WorkspaceHead *codec_head(const struct wf_head *head, struct arena *a)
{
	Coppice__V1__WorkspaceHead *out = arena_alloc(a, sizeof(*out));

	if (!out)
		return NULL;
	coppice__v1__workspace_head__init(out);
	out->base_commit = codec_text(head->base, a);
	out->head_commit = codec_text(head->head, a);
	out->generation = head->generation;
	return out->base_commit && out->head_commit ? out : NULL;
}

static bool put_bytes(ProtobufCBinaryData *out, const char *text, struct arena *a)
{
	out->len = text ? strlen(text) : 0;
	out->data = out->len ? (uint8_t *)arena_strdup(a, text) : NULL;
	return out->data || !out->len;
}

Coppice__V1__StatusEntry *codec_status_entry(const struct wf_status_entry *entry, struct arena *a)
{
	Coppice__V1__StatusEntry *out = arena_alloc(a, sizeof(*out));

	if (!out)
		return NULL;
	coppice__v1__status_entry__init(out);
	out->kind = (Coppice__V1__StatusEntry__Kind)entry->kind;
	out->staged = entry->staged;
	out->mode = entry->mode;
	out->old_mode = entry->old_mode;
	out->size = entry->size_bytes;
	out->similarity = entry->similarity;
	return put_bytes(&out->path, entry->path, a) &&
			       put_bytes(&out->old_path, entry->old_path, a)
		       ? out
		       : NULL;
}
