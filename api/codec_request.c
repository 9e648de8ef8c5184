/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages → domain: every check on a mount request that needs nothing but the request. Pure; see
 * codec_mount.h.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "arena.h"
#include "base/err.h"
#include "base/path.h"
#include "codec_mount.h"

#define JOB_ID_MAX     128
#define NAME_MAX_BYTES 63 /* tenants and origins */
#define PAGE_DEFAULT   100
#define PAGE_MAX       1000
#define LEASE_MIN_S    5
#define LEASE_MAX_S    604800

int codec_tenant_name(const char *name, struct err *e)
{
	if (name[0] && !path_ident_ok(name, NAME_MAX_BYTES))
		return err_field(
			e, "tenant", "is not a name of 1 to 63 letters, digits, '.', '_' and '-'");
	return 0;
}

static int check_origin(const char *origin, struct err *e)
{
	if (origin[0] && !path_ident_ok(origin, NAME_MAX_BYTES))
		return err_field(
			e, "origin", "is not a name of 1 to 63 letters, digits, '.', '_' and '-'");
	return 0;
}

static int check_job_id(const char *job_id, struct err *e)
{
	if (!path_ident_ok(job_id, JOB_ID_MAX))
		return err_field(e, "job_id",
			"must be 1 to 128 letters, digits, '.', '_' and '-', and not start with "
			"'.' or '-'");
	return 0;
}

/* 8-4-4-4-12 hex digits. */
static int check_mount_id(const char *id, struct err *e)
{
	static const char shape[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
	size_t i = 0;

	while (shape[i] && id[i] &&
		(shape[i] == '-' ? id[i] == '-' : strchr("0123456789abcdefABCDEF", id[i]) != NULL))
		i++;
	if (shape[i] || id[i])
		return err_field(e, "mount_id", "is not a UUID");
	return 0;
}

int codec_lease(uint32_t lease_seconds, struct err *e)
{
	if (lease_seconds && (lease_seconds < LEASE_MIN_S || lease_seconds > LEASE_MAX_S))
		return err_field(e, "lease_seconds", "must be 0 (none) or %d to %d", LEASE_MIN_S,
			LEASE_MAX_S);
	return 0;
}

int codec_mount_key(
	const char *mount_id, const char *job_id, struct mount_key *ret_key, struct err *e)
{
	int r;

	if (!mount_id[0] && !job_id[0])
		return err_field(e, "mount_id", "set either mount_id or job_id");
	if (mount_id[0] && job_id[0])
		return err_field(e, "job_id", "set either mount_id or job_id, not both");
	r = mount_id[0] ? check_mount_id(mount_id, e) : check_job_id(job_id, e);
	if (r == 0)
		*ret_key = (struct mount_key){.mount_id = mount_id[0] ? mount_id : NULL,
			.job_id = job_id[0] ? job_id : NULL};
	return r;
}

static int decode_path(const char *in, struct arena *a, const char **ret_path, struct err *e)
{
	char *path = arena_alloc(a, PATH_MAX);

	if (!path)
		return -ENOMEM;
	if (path_normalize(in, path, PATH_MAX) < 0 || !path_relative_ok(path))
		return err_field(e, "path",
			"must be a directory of the repository without '.' and '..', at most 4095 "
			"bytes");
	*ret_path = path;
	return 0;
}

static int decode_mountpoint(const char *in, struct arena *a, const char **ret_path, struct err *e)
{
	char *path;

	*ret_path = "";
	if (!in[0])
		return 0;
	path = arena_alloc(a, PATH_MAX + 1);
	if (!path)
		return -ENOMEM;
	path[0] = '/';
	if (in[0] != '/' || path_normalize(in, path + 1, PATH_MAX - 1) < 0 || !path[1])
		return err_field(e, "mountpoint",
			"must be an absolute path other than '/', without '.' and '..', at most "
			"4094 bytes");
	*ret_path = path;
	return 0;
}

static int check_revision(const char *revision, struct err *e)
{
	if (strlen(revision) >= sizeof(((struct mount_info *)NULL)->revision))
		return err_field(e, "revision", "is longer than 255 bytes");
	for (const char *p = revision; *p; p++)
		if ((unsigned char)*p <= ' ' || *p == 0x7f)
			return err_field(e, "revision", "contains a blank or a control character");
	return 0;
}

static bool label_key_ok(const char *key)
{
	size_t len =
		strspn(key, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._/-");

	return len >= 1 && len < sizeof(((struct mount_label *)NULL)->key) && !key[len];
}

static int check_label(Coppice__V1__Label *const *labels, size_t i, struct err *e)
{
	char field[32];

	(void)snprintf(field, sizeof(field), "labels[%zu].key", i);
	if (!label_key_ok(labels[i]->key))
		return err_field(e, field, "must be 1 to 63 bytes of [A-Za-z0-9._/-]");
	for (size_t j = 0; j < i; j++)
		if (strcmp(labels[j]->key, labels[i]->key) == 0)
			return err_field(e, field, "is given twice");
	(void)snprintf(field, sizeof(field), "labels[%zu].value", i);
	if (strlen(labels[i]->value) >= sizeof(((struct mount_label *)NULL)->value))
		return err_field(e, field, "is longer than 255 bytes");
	return 0;
}

static int decode_labels(Coppice__V1__Label *const *in, size_t count, struct arena *a,
	const struct mount_label **ret_labels, struct err *e)
{
	struct mount_label *labels;

	*ret_labels = NULL;
	if (count > MOUNT_LABELS_MAX)
		return err_field(e, "labels", "are more than %d", MOUNT_LABELS_MAX);
	if (!count)
		return 0;
	labels = arena_array(a, count, sizeof(*labels));
	if (!labels)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		int r = check_label(in, i, e);

		if (r < 0)
			return r;
		(void)snprintf(labels[i].key, sizeof(labels[i].key), "%s", in[i]->key);
		(void)snprintf(labels[i].value, sizeof(labels[i].value), "%s", in[i]->value);
	}
	*ret_labels = labels;
	return 0;
}

static int decode_wait(
	const Coppice__V1__CreateMountRequest *in, enum mount_wait *ret_wait, struct err *e)
{
	switch (in->wait_for) {
	case COPPICE__V1__WAIT_FOR__WAIT_FOR_UNSPECIFIED:
	case COPPICE__V1__WAIT_FOR__MOUNTED:
		*ret_wait = MOUNT_WAIT_MOUNTED;
		return 0;
	case COPPICE__V1__WAIT_FOR__INDEXED:
		*ret_wait = MOUNT_WAIT_INDEXED;
		return 0;
	case COPPICE__V1__WAIT_FOR__WARM:
		*ret_wait = MOUNT_WAIT_WARM;
		return 0;
	default:
		return err_field(e, "wait_for", "%d is not a known value", (int)in->wait_for);
	}
}

static int decode_quota(
	const Coppice__V1__Quota *in, uint64_t *ret_bytes, uint64_t *ret_inodes, struct err *e)
{
	if (in && !in->bytes && !in->inodes)
		return err_field(e, "quota",
			"of 0 bytes and 0 inodes: leave it out for the tenant's default");
	*ret_bytes = in ? in->bytes : 0;
	*ret_inodes = in ? in->inodes : 0;
	return 0;
}

static int check_scalars(const Coppice__V1__CreateMountRequest *in, struct err *e)
{
	int r = codec_tenant_name(in->tenant, e);

	if (r == 0)
		r = check_job_id(in->job_id, e);
	if (r == 0)
		r = check_origin(in->origin, e);
	if (r == 0)
		r = check_revision(in->revision, e);
	if (r == 0)
		r = codec_lease(in->lease_seconds, e);
	return r;
}

int codec_bytes(const ProtobufCBinaryData *in, const char *field, struct arena *a,
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

static int decode_tar(const Coppice__V1__FileArchive *in, struct arena *a,
	struct mount_change_source *source, struct err *e)
{
	const char **deleted;

	source->kind = MOUNT_CHANGE_TAR;
	source->data = in->tar.data ? in->tar.data : (const uint8_t *)"";
	source->len = in->tar.len;
	deleted = arena_alloc(a, (in->n_deleted + 1) * sizeof(*deleted));
	if (!deleted)
		return err_set(e, -ENOMEM, "", "no memory");
	for (size_t i = 0; i < in->n_deleted; i++) {
		int r = codec_bytes(&in->deleted[i], "change_list.tar.deleted", a, &deleted[i], e);

		if (r < 0)
			return r == -ENOMEM ? err_set(e, r, "", "no memory") : r;
	}
	source->deleted = deleted;
	source->deleted_count = in->n_deleted;
	return 0;
}

int codec_change_source(const Coppice__V1__ChangeList *in, struct arena *a,
	const struct mount_change_source **ret_source, struct err *e)
{
	struct mount_change_source *source;
	int r = 0;

	*ret_source = NULL;
	if (!in)
		return 0;
	source = arena_alloc(a, sizeof(*source));
	if (!source)
		return err_set(e, -ENOMEM, "", "no memory");
	*source = (struct mount_change_source){.path = in->path[0] ? in->path : NULL};
	switch (in->source_case) {
	case COPPICE__V1__CHANGE_LIST__SOURCE_LINK:
		source->kind = MOUNT_CHANGE_LINK;
		source->text = in->link;
		break;
	case COPPICE__V1__CHANGE_LIST__SOURCE_REF:
		source->kind = MOUNT_CHANGE_REF;
		source->text = in->ref;
		break;
	case COPPICE__V1__CHANGE_LIST__SOURCE_RANGE:
		source->kind = MOUNT_CHANGE_RANGE;
		source->text = in->range;
		break;
	case COPPICE__V1__CHANGE_LIST__SOURCE_PATCH:
		source->kind = MOUNT_CHANGE_PATCH;
		source->data = in->patch.data;
		source->len = in->patch.len;
		break;
	case COPPICE__V1__CHANGE_LIST__SOURCE_TAR:
		r = decode_tar(in->tar, a, source, e);
		break;
	default:
		r = err_field(e, "change_list", "names no source");
	}
	if (r == 0 && source->path && source->kind != MOUNT_CHANGE_LINK)
		r = err_field(e, "change_list.path", "goes with a link only");
	if (r == 0)
		*ret_source = source;
	return r;
}

int codec_create_request(const Coppice__V1__CreateMountRequest *in, struct arena *a,
	struct mount_request *ret_request, struct err *e)
{
	struct mount_request rq = {.job_id = in->job_id,
		.origin = in->origin,
		.revision = in->revision,
		.lease_seconds = in->lease_seconds,
		.read_only = in->read_only,
		.preload_depth = in->preload_depth,
		.uid = in->owner ? in->owner->uid : 0,
		.gid = in->owner ? in->owner->gid : 0};
	int r = check_scalars(in, e);

	if (r == 0)
		r = decode_wait(in, &rq.wait_for, e);
	if (r == 0)
		r = decode_path(in->path, a, &rq.path, e);
	if (r == 0)
		r = decode_mountpoint(in->mountpoint, a, &rq.mountpoint, e);
	if (r == 0)
		r = decode_quota(in->quota, &rq.quota_bytes, &rq.quota_inodes, e);
	if (r == 0)
		r = decode_labels(in->labels, in->n_labels, a, &rq.labels, e);
	if (r == 0)
		r = codec_change_source(in->change_list, a, &rq.change, e);
	if (r < 0)
		return r;
	rq.label_count = (unsigned)in->n_labels;
	*ret_request = rq;
	return 0;
}

static int decode_states(
	const Coppice__V1__MountState *states, size_t count, uint32_t *ret_bits, struct err *e)
{
	*ret_bits = 0;
	for (size_t i = 0; i < count; i++) {
		if ((int)states[i] < MOUNT_PROVISIONING || (int)states[i] > MOUNT_EXPIRED)
			return err_field(e, "states", "%d is not a known state", (int)states[i]);
		*ret_bits |= UINT32_C(1) << states[i];
	}
	return 0;
}

int codec_list_request(const Coppice__V1__ListMountsRequest *in, struct arena *a,
	struct mount_filter *ret_filter, struct err *e)
{
	struct mount_filter f = {.origin = in->origin[0] ? in->origin : NULL,
		.page_token = in->page_token,
		.page_size = in->page_size ? in->page_size : PAGE_DEFAULT};
	int r = codec_tenant_name(in->tenant, e);

	if (r == 0)
		r = check_origin(in->origin, e);
	if (r == 0 && in->page_size > PAGE_MAX)
		r = err_field(e, "page_size", "is more than %d", PAGE_MAX);
	if (r == 0 && strlen(in->page_token) >= 64)
		r = err_field(e, "page_token", "is not one that this service gave");
	if (r == 0)
		r = decode_states(in->states, in->n_states, &f.states, e);
	if (r == 0)
		r = decode_labels(in->labels, in->n_labels, a, &f.labels, e);
	if (r < 0)
		return r;
	f.label_count = (unsigned)in->n_labels;
	*ret_filter = f;
	return 0;
}

static const struct {
	const char *path;
	unsigned fields;
} update_paths[] = {
	{"quota", MOUNT_UPDATE_BYTES | MOUNT_UPDATE_INODES},
	{"quota.bytes", MOUNT_UPDATE_BYTES},
	{"quota.inodes", MOUNT_UPDATE_INODES},
	{"lease_seconds", MOUNT_UPDATE_LEASE},
	{"labels", MOUNT_UPDATE_LABELS},
};

static int decode_mask(const Google__Protobuf__FieldMask *mask, unsigned *ret_fields, struct err *e)
{
	unsigned fields = 0;

	if (!mask || !mask->n_paths)
		return err_field(e, "update_mask",
			"names nothing; use quota, quota.bytes, quota.inodes, lease_seconds or "
			"labels");
	for (size_t i = 0; i < mask->n_paths; i++) {
		unsigned found = 0;

		for (size_t k = 0; k < sizeof(update_paths) / sizeof(update_paths[0]); k++)
			if (strcmp(mask->paths[i], update_paths[k].path) == 0)
				found = update_paths[k].fields;
		if (!found)
			return err_field(
				e, "update_mask", "\"%s\" cannot be updated", mask->paths[i]);
		fields |= found;
	}
	*ret_fields = fields;
	return 0;
}

/* One field alone may be 0: that is the tenant's default. */
static int decode_new_quota(const Coppice__V1__Quota *in, struct mount_update *u, struct err *e)
{
	unsigned both = MOUNT_UPDATE_BYTES | MOUNT_UPDATE_INODES;

	if (!(u->fields & both))
		return 0;
	if (!in)
		return err_field(e, "quota", "is named by update_mask but not set");
	if ((u->fields & both) == both)
		return decode_quota(in, &u->quota_bytes, &u->quota_inodes, e);
	u->quota_bytes = in->bytes;
	u->quota_inodes = in->inodes;
	return 0;
}

int codec_update_request(const Coppice__V1__UpdateMountRequest *in, struct arena *a,
	struct mount_update *ret_update, struct err *e)
{
	struct mount_update u = {0};
	int r = decode_mask(in->update_mask, &u.fields, e);

	if (r == 0)
		r = decode_new_quota(in->quota, &u, e);
	if (r == 0 && (u.fields & MOUNT_UPDATE_LEASE)) {
		u.lease_seconds = in->lease_seconds;
		r = codec_lease(in->lease_seconds, e);
	}
	if (r == 0 && (u.fields & MOUNT_UPDATE_LABELS)) {
		u.label_count = (unsigned)in->n_labels;
		r = decode_labels(in->labels, in->n_labels, a, &u.labels, e);
	}
	if (r == 0)
		*ret_update = u;
	return r;
}
