/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Domain → messages: what answers and events are made of. Unlimited is UINT64_MAX inside and 0 on
 * the wire. Pure.
 */
#include "codec_mount.h"

#include <string.h>

#include "arena.h"
#include "base/clock.h"
#include "utf8.h"

/* The numbers of both enums are part of contracts; equal by design, checked here. */
_Static_assert((int)MOUNT_PROVISIONING == COPPICE__V1__MOUNT_STATE__PROVISIONING, "state");
_Static_assert((int)MOUNT_READY == COPPICE__V1__MOUNT_STATE__READY, "state");
_Static_assert((int)MOUNT_QUIESCING == COPPICE__V1__MOUNT_STATE__QUIESCING, "state");
_Static_assert((int)MOUNT_DELETING == COPPICE__V1__MOUNT_STATE__DELETING, "state");
_Static_assert((int)MOUNT_DELETED == COPPICE__V1__MOUNT_STATE__DELETED, "state");
_Static_assert((int)MOUNT_FAILED == COPPICE__V1__MOUNT_STATE__FAILED, "state");
_Static_assert((int)MOUNT_EXPIRED == COPPICE__V1__MOUNT_STATE__EXPIRED, "state");
_Static_assert((int)MOUNT_EVENT_PRESENT == COPPICE__V1__MOUNT_EVENT__KIND__PRESENT, "kind");
_Static_assert((int)MOUNT_EVENT_SYNCED == COPPICE__V1__MOUNT_EVENT__KIND__SYNCED, "kind");
_Static_assert((int)MOUNT_EVENT_CHANGED == COPPICE__V1__MOUNT_EVENT__KIND__CHANGED, "kind");
_Static_assert((int)MOUNT_EVENT_REMOVED == COPPICE__V1__MOUNT_EVENT__KIND__REMOVED, "kind");

char *codec_text(const char *s, struct arena *a)
{
	size_t cap = (s ? strlen(s) : 0) + 1;
	char *text = arena_alloc(a, cap);

	if (text && s)
		utf8_repair(s, text, cap);
	return text;
}

Google__Protobuf__Timestamp *codec_timestamp(uint64_t wall_ns, struct arena *a)
{
	Google__Protobuf__Timestamp *t = arena_alloc(a, sizeof(*t));

	if (!t)
		return NULL;
	google__protobuf__timestamp__init(t);
	t->seconds = (int64_t)(wall_ns / NS_PER_S);
	t->nanos = (int32_t)(wall_ns % NS_PER_S);
	return t;
}

static uint64_t limit_on_wire(uint64_t limit)
{
	return limit == UINT64_MAX ? 0 : limit;
}

static bool put_texts(Coppice__V1__Mount *m, const struct mount_info *info, struct arena *a)
{
	m->mount_id = codec_text(info->mount_id, a);
	m->job_id = codec_text(info->job_id, a);
	m->tenant = codec_text(info->tenant, a);
	m->origin = codec_text(info->origin, a);
	m->path = codec_text(info->path, a);
	m->revision = codec_text(info->revision, a);
	m->commit = codec_text(info->commit, a);
	m->root_tree = codec_text(info->root_tree, a);
	m->reason = codec_text(info->reason, a);
	m->root = codec_text(info->root, a);
	m->mountpoint = codec_text(info->mountpoint, a);
	return m->mount_id && m->job_id && m->tenant && m->origin && m->path && m->revision &&
	       m->commit && m->root_tree && m->reason && m->root && m->mountpoint;
}

static bool put_change_source(
	Coppice__V1__ChangeList *list, const struct mount_info *info, struct arena *a)
{
	char *text = codec_text(info->change_text, a);

	list->path = codec_text(info->change_path, a);
	if (!text || !list->path)
		return false;
	switch (info->change_kind) {
	case MOUNT_CHANGE_LINK:
		list->source_case = COPPICE__V1__CHANGE_LIST__SOURCE_LINK;
		list->link = text;
		break;
	case MOUNT_CHANGE_REF:
		list->source_case = COPPICE__V1__CHANGE_LIST__SOURCE_REF;
		list->ref = text;
		break;
	case MOUNT_CHANGE_RANGE:
		list->source_case = COPPICE__V1__CHANGE_LIST__SOURCE_RANGE;
		list->range = text;
		break;
	case MOUNT_CHANGE_PATCH: /* its bytes are not repeated */
		list->source_case = COPPICE__V1__CHANGE_LIST__SOURCE_PATCH;
		list->digest = text;
		break;
	default:
		list->source_case = COPPICE__V1__CHANGE_LIST__SOURCE_TAR;
		list->digest = text;
		list->tar = arena_alloc(a, sizeof(*list->tar));
		if (!list->tar)
			return false;
		coppice__v1__file_archive__init(list->tar);
	}
	return true;
}

static bool put_change_list(Coppice__V1__Mount *m, const struct mount_info *info, struct arena *a)
{
	if (info->change_kind == MOUNT_CHANGE_NONE)
		return true;
	m->change_list = arena_alloc(a, sizeof(*m->change_list));
	m->change_list_commit = codec_text(info->change_commit, a);
	m->change_list_paths = info->change_paths;
	if (!m->change_list || !m->change_list_commit)
		return false;
	coppice__v1__change_list__init(m->change_list);
	return put_change_source(m->change_list, info, a);
}

static bool put_labels(Coppice__V1__Mount *m, const struct mount_info *info, struct arena *a)
{
	if (!info->label_count)
		return true;
	m->labels = arena_array(a, info->label_count, sizeof(m->labels[0]));
	if (!m->labels)
		return false;
	for (; m->n_labels < info->label_count; m->n_labels++) {
		Coppice__V1__Label *label = arena_alloc(a, sizeof(*label));

		if (!label)
			return false;
		coppice__v1__label__init(label);
		label->key = codec_text(info->labels[m->n_labels].key, a);
		label->value = codec_text(info->labels[m->n_labels].value, a);
		if (!label->key || !label->value)
			return false;
		m->labels[m->n_labels] = label;
	}
	return true;
}

static bool put_numbers(Coppice__V1__Mount *m, const struct mount_info *info, struct arena *a)
{
	m->quota = arena_alloc(a, sizeof(*m->quota));
	m->usage = arena_alloc(a, sizeof(*m->usage));
	m->fetch = arena_alloc(a, sizeof(*m->fetch));
	m->owner = arena_alloc(a, sizeof(*m->owner));
	if (!m->quota || !m->usage || !m->fetch || !m->owner)
		return false;
	coppice__v1__quota__init(m->quota);
	m->quota->bytes = limit_on_wire(info->quota_bytes);
	m->quota->inodes = limit_on_wire(info->quota_inodes);
	coppice__v1__usage__init(m->usage);
	m->usage->bytes = info->used_bytes;
	m->usage->inodes = info->used_inodes;
	coppice__v1__fetch_statistics__init(m->fetch);
	m->fetch->trees_fetched = info->trees_fetched;
	m->fetch->blobs_fetched = info->blobs_fetched;
	m->fetch->bytes_fetched = info->bytes_fetched;
	m->fetch->fetch_errors = info->fetch_errors;
	coppice__v1__owner__init(m->owner);
	m->owner->uid = info->uid;
	m->owner->gid = info->gid;
	return true;
}

static bool put_times(Coppice__V1__Mount *m, const struct mount_info *info, struct arena *a)
{
	m->lease_seconds = info->lease_seconds;
	if (info->lease_expires_wall_ns) {
		m->lease_expires_at = codec_timestamp(info->lease_expires_wall_ns, a);
		if (!m->lease_expires_at)
			return false;
	}
	m->created_at = codec_timestamp(info->created_wall_ns, a);
	return m->created_at;
}

Coppice__V1__Mount *codec_mount(const struct mount_info *info, struct arena *a)
{
	Coppice__V1__Mount *m = arena_alloc(a, sizeof(*m));

	if (!m)
		return NULL;
	coppice__v1__mount__init(m);
	m->state = (Coppice__V1__MountState)info->state;
	m->generation = info->generation;
	m->read_only = info->read_only;
	return put_texts(m, info, a) && put_change_list(m, info, a) && put_labels(m, info, a) &&
			       put_numbers(m, info, a) && put_times(m, info, a)
		       ? m
		       : NULL;
}

static Coppice__V1__Holder *codec_holder(const struct mount_holder *in, struct arena *a)
{
	Coppice__V1__Holder *out = arena_alloc(a, sizeof(*out));

	if (!out)
		return NULL;
	coppice__v1__holder__init(out);
	out->pid = (uint32_t)in->pid;
	out->uid = in->uid;
	out->command = codec_text(in->command, a);
	out->how = codec_text(in->how, a);
	out->mount_id = codec_text(in->mount_id, a);
	out->job_id = codec_text(in->job_id, a);
	out->tenant = codec_text(in->tenant, a);
	return out->command && out->how && out->mount_id && out->job_id && out->tenant ? out : NULL;
}

Coppice__V1__Holder **codec_holders(
	const struct mount_holder *holders, unsigned count, struct arena *a)
{
	Coppice__V1__Holder **out = arena_array(a, count ? count : 1, sizeof(*out));

	for (unsigned i = 0; out && i < count; i++) {
		out[i] = codec_holder(&holders[i], a);
		if (!out[i])
			return NULL;
	}
	return out;
}

Coppice__V1__MountEvent *codec_mount_event(const struct mount_event *event, struct arena *a)
{
	Coppice__V1__MountEvent *out = arena_alloc(a, sizeof(*out));

	if (!out)
		return NULL;
	coppice__v1__mount_event__init(out);
	out->sequence = event->sequence;
	out->kind = (Coppice__V1__MountEvent__Kind)event->kind;
	out->time = codec_timestamp(event->wall_ns, a);
	if (event->mount)
		out->mount = codec_mount(event->mount, a);
	return out->time && (out->mount || !event->mount) ? out : NULL;
}
