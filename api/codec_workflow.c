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
		r = codec_bytes(&in[i], field, a, &spec[i], e);
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

int codec_add_request(const Coppice__V1__AddRequest *in, struct arena *a,
	struct wf_add_request *ret_request, struct err *e)
{
	*ret_request = (struct wf_add_request){.update = in->update, .force = in->force};
	if (in->all && (in->n_paths || in->update))
		return err_field(e, "all", "is set, and so is paths or update");
	if (!in->all && !in->update && !in->n_paths)
		return err_field(e, "paths", "is empty; set paths, all or update");
	return codec_paths(in->paths, in->n_paths, a, &ret_request->paths, e);
}

int codec_reset_request(const Coppice__V1__ResetRequest *in, struct arena *a,
	struct wf_reset_request *ret_request, struct err *e)
{
	static const enum wf_reset_mode modes[] = {
		[COPPICE__V1__RESET_REQUEST__MODE__MIXED] = WF_RESET_MIXED,
		[COPPICE__V1__RESET_REQUEST__MODE__SOFT] = WF_RESET_SOFT,
		[COPPICE__V1__RESET_REQUEST__MODE__HARD] = WF_RESET_HARD,
	};

	if ((unsigned)in->mode >= sizeof(modes) / sizeof(modes[0]))
		return err_field(e, "mode", "%d is not a known value", (int)in->mode);
	if (strlen(in->to) > 255)
		return err_field(e, "to", "is longer than 255 bytes");
	*ret_request = (struct wf_reset_request){.mode = modes[in->mode], .to = in->to};
	return codec_paths(in->paths, in->n_paths, a, &ret_request->paths, e);
}

int codec_signature(const Coppice__V1__Signature *in, const char *field, struct wf_signature *ret,
	struct err *e)
{
	if (strlen(in->name) > 1024 || strlen(in->email) > 1024)
		return err_field(e, field, "has a name or an address of more than 1024 bytes");
	*ret = (struct wf_signature){.name = in->name,
		.email = in->email,
		.time_s = in->time,
		.offset_minutes = in->offset_minutes,
		.has_time = in->time != 0};
	return 0;
}

int codec_commit_request(
	const Coppice__V1__CommitRequest *in, struct wf_commit_request *ret_request, struct err *e)
{
	int r;

	*ret_request = (struct wf_commit_request){
		.message = in->message, .allow_empty = in->allow_empty, .signature = in->signature};
	if (!in->author)
		return err_field(e, "author", "is not set");
	if (strlen(in->message) > 1u << 20)
		return err_field(e, "message", "is longer than 1 MiB");
	if (strlen(in->signature) > 64u << 10)
		return err_field(e, "signature", "is longer than 64 KiB");
	r = codec_signature(in->author, "author", &ret_request->author, e);
	if (r == 0 && in->committer)
		r = codec_signature(in->committer, "committer", &ret_request->committer, e);
	return r;
}

char **codec_parents(const char *parent, struct arena *a)
{
	char **parents = arena_array(a, 1, sizeof(*parents));

	if (parents)
		parents[0] = arena_strdup(a, parent);
	return parents && parents[0] ? parents : NULL;
}

static Coppice__V1__Signature *encode_signature(const struct wf_signature *s, struct arena *a)
{
	Coppice__V1__Signature *out = arena_alloc(a, sizeof(*out));

	if (!out)
		return NULL;
	coppice__v1__signature__init(out);
	out->name = codec_text(s->name, a);
	out->email = codec_text(s->email, a);
	out->time = s->time_s;
	out->offset_minutes = s->offset_minutes;
	return out->name && out->email ? out : NULL;
}

Coppice__V1__LogEntry *codec_log_entry(const struct wf_log_entry *entry, struct arena *a)
{
	Coppice__V1__LogEntry *out = arena_alloc(a, sizeof(*out));

	if (!out)
		return NULL;
	coppice__v1__log_entry__init(out);
	out->commit = arena_strdup(a, entry->commit);
	out->tree = arena_strdup(a, entry->tree);
	out->parents = codec_parents(entry->parent, a);
	out->n_parents = 1;
	out->author = encode_signature(&entry->author, a);
	out->committer = encode_signature(&entry->committer, a);
	return out->commit && out->tree && out->parents && out->author && out->committer &&
			       put_bytes(&out->message, entry->message, a)
		       ? out
		       : NULL;
}

#define CONTEXT_DEFAULT 3u
#define CONTEXT_MAX     1000000
#define WIDTH_MAX       10000u

int codec_diff_request(const Coppice__V1__DiffRequest *in, struct arena *a,
	struct wf_diff_request *ret_request, struct err *e)
{
	static const enum wf_diff_format formats[] = {
		[COPPICE__V1__DIFF_REQUEST__FORMAT__PATCH] = WF_DIFF_PATCH,
		[COPPICE__V1__DIFF_REQUEST__FORMAT__NUMSTAT] = WF_DIFF_NUMSTAT,
		[COPPICE__V1__DIFF_REQUEST__FORMAT__NAME_ONLY] = WF_DIFF_NAME_ONLY,
		[COPPICE__V1__DIFF_REQUEST__FORMAT__NAME_STATUS] = WF_DIFF_NAME_STATUS,
		[COPPICE__V1__DIFF_REQUEST__FORMAT__STAT] = WF_DIFF_STAT,
		[COPPICE__V1__DIFF_REQUEST__FORMAT__SHORTSTAT] = WF_DIFF_SHORTSTAT,
	};

	if ((unsigned)in->format >= sizeof(formats) / sizeof(formats[0]))
		return err_field(e, "format", "%d is not a known value", (int)in->format);
	if (strlen(in->from) > 255 || strlen(in->to) > 255)
		return err_field(e, "from", "or to is longer than 255 bytes");
	if (in->staged && (in->from[0] || in->to[0]))
		return err_field(e, "staged", "is set, and so is from or to");
	*ret_request = (struct wf_diff_request){.from = in->from,
		.to = in->staged ? "INDEX" : in->to,
		.format = formats[in->format],
		.no_renames = in->no_renames,
		.width = in->width,
		.context = in->context > 0 ? (unsigned)in->context : CONTEXT_DEFAULT};
	if (in->width > WIDTH_MAX)
		return err_field(e, "width", "is more than %u", WIDTH_MAX);
	if (in->context < -1 || in->context > CONTEXT_MAX)
		return err_field(e, "context", "is not -1 to %d", CONTEXT_MAX);
	if (in->context == -1)
		ret_request->context = 0;
	return codec_paths(in->paths, in->n_paths, a, &ret_request->paths, e);
}

int codec_push_request(
	const Coppice__V1__PushRequest *in, struct wf_push_request *ret_request, struct err *e)
{
	size_t len = strlen(in->force_with_lease);

	if (strlen(in->ref) > 250)
		return err_field(e, "ref", "is longer than 250 bytes");
	if (len && (len != 40 || strspn(in->force_with_lease, "0123456789abcdef") != len))
		return err_field(e, "force_with_lease", "is not a full commit id");
	*ret_request =
		(struct wf_push_request){.ref = in->ref, .force_with_lease = in->force_with_lease};
	return 0;
}

int codec_rebased(const struct wf_rebase_result *result, struct arena *a, Coppice__V1__Mount *out)
{
	Coppice__V1__RebasedCommit *rebased, **list;

	if (!result->count)
		return 0;
	rebased = arena_array(a, result->count, sizeof(*rebased));
	list = arena_array(a, result->count, sizeof(*list));
	if (!rebased || !list)
		return -ENOMEM;
	for (size_t i = 0; i < result->count; i++) {
		coppice__v1__rebased_commit__init(&rebased[i]);
		rebased[i].old = arena_strdup(a, result->commits[i].old);
		rebased[i].commit = arena_strdup(a, result->commits[i].commit);
		if (!rebased[i].old || !rebased[i].commit)
			return -ENOMEM;
		list[i] = &rebased[i];
	}
	out->rebased = list;
	out->n_rebased = result->count;
	return 0;
}
