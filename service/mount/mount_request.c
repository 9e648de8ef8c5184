/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See mount_request.h. The hash covers the request as it was made, not what became of it: a quota
 * changed later, or a branch that has moved on, does not turn a repeated request into another one.
 * Pure but for memory; any thread.
 */
#include "mount_request.h"

#include "lease_heap.h"
#include "mount_change_list.h"

#include <base/buf.h>
#include <base/err.h>
#include <base/path.h>
#include <errno.h>
#include <service/config.h>
#include <service/tenants.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define JOB_ID_MAX 128

static int copy_chars(char *to, size_t cap, const char *from, const char *field, struct err *e)
{
	size_t len = strlen(from);

	if (len >= cap)
		return err_field(e, field, "is longer than %zu bytes", cap - 1);
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)from[i] < 0x20 || from[i] == 0x7f)
			return err_field(e, field, "contains a control character");
	memcpy(to, from, len + 1);
	return 0;
}

int mount_labels_check(const struct mount_label *labels, unsigned count, struct err *e)
{
	if (count > MOUNT_LABELS_MAX)
		return err_field(
			e, "labels", "%u labels are more than %d", count, MOUNT_LABELS_MAX);
	for (unsigned i = 0; i < count; i++) {
		if (!labels[i].key[0] ||
			strspn(labels[i].key, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
					      "0123456789._/-") != strlen(labels[i].key))
			return err_field(
				e, "labels", "a key must be 1 to 63 of A-Z a-z 0-9 . _ / -");
		for (unsigned j = 0; j < i; j++)
			if (strcmp(labels[i].key, labels[j].key) == 0)
				return err_field(
					e, "labels", "the key %s is given twice", labels[i].key);
	}
	return 0;
}

static int compare_labels(const void *a, const void *b)
{
	return strcmp(((const struct mount_label *)a)->key, ((const struct mount_label *)b)->key);
}

int mount_labels_set(struct mount_record *r, const struct mount_label *labels, unsigned count)
{
	struct mount_label *copy = NULL;

	if (count) {
		copy = calloc(count, sizeof(*copy));
		if (!copy)
			return -ENOMEM;
		memcpy(copy, labels, count * sizeof(*copy));
		qsort(copy, count, sizeof(*copy), compare_labels);
	}
	free(r->labels);
	r->labels = copy;
	r->label_count = count;
	return 0;
}

static int choose_origin(const struct cfg *cfg, const struct tenant *tn, const char *asked,
	struct mount_record *r, struct err *e)
{
	const char *name = asked && asked[0] ? asked : tenant_only_origin(tn);

	if (!name)
		return err_field(e, "origin", "must name an origin: %s",
			cfg->origin_count ? "there are several" : "none is configured");
	return copy_chars(r->origin, sizeof(r->origin), name, "origin", e);
}

static int set_paths(const struct mount_request *rq, struct mount_record *r, struct err *e)
{
	char clean[MOUNT_TEXT_MAX + 1];
	int err = path_normalize(rq->path ? rq->path : "", clean, sizeof(clean));

	if (err)
		return err_field(e, "path",
			err == -ENAMETOOLONG ? "is too long" : "must not contain \".\" or \"..\"");
	if (rq->mountpoint && strlen(rq->mountpoint) > MOUNT_TEXT_MAX)
		return err_field(e, "mountpoint", "is too long");
	if (mount_record_set_text(&r->path, clean) ||
		mount_record_set_text(&r->mountpoint, rq->mountpoint) ||
		mount_change_list_choose(r, rq->change))
		return err_set(e, -ENOMEM, "", "no memory");
	return 0;
}

/* Order and lengths are unambiguous: every string ends with a NUL, which none contains. */
static int hash_request(const struct mount_request *rq, struct mount_record *r)
{
	struct digest *d;
	struct buf text;
	uint8_t len;
	int err;

	buf_init(&text, MOUNT_RECORD_MAX);
	(void)buf_printf(&text, "%s%c%s%c%s%c%s%c", r->origin, 0, r->path ? r->path : "", 0,
		r->revision, 0, r->mountpoint ? r->mountpoint : "", 0);
	(void)buf_printf(&text, "%llu %llu %u %d %u %u%c", (unsigned long long)rq->quota_bytes,
		(unsigned long long)rq->quota_inodes, rq->lease_seconds, rq->read_only, rq->uid,
		rq->gid, 0);
	if (r->change_kind == MOUNT_CHANGE_RANGE) /* as it was when there were no others */
		(void)buf_printf(&text, "change_list%c%s%c", 0, r->change_text, 0);
	else if (r->change_kind)
		(void)buf_printf(&text, "change_list %d%c%s%c%s%c", r->change_kind, 0,
			r->change_text, 0, r->change_path ? r->change_path : "", 0);
	for (unsigned i = 0; i < r->label_count; i++)
		(void)buf_printf(&text, "%s%c%s%c", r->labels[i].key, 0, r->labels[i].value, 0);
	err = buf_error(&text);
	if (!err)
		err = digest_new(&d, DIGEST_SHA256);
	if (!err) {
		err = digest_update(d, text.data, text.len);
		if (!err)
			err = digest_final(d, r->request_hash, &len);
		digest_free(d);
	}
	buf_fini(&text);
	return err;
}

static int fill(const struct cfg *cfg, const struct tenant *tn, const struct mount_request *rq,
	struct mount_record *r, struct err *e)
{
	int err = choose_origin(cfg, tn, rq->origin, r, e);

	if (!err)
		err = copy_chars(r->revision, sizeof(r->revision), rq->revision ? rq->revision : "",
			"revision", e);
	if (!err)
		err = set_paths(rq, r, e);
	if (!err)
		err = mount_change_list_check(rq->change, e);
	if (!err)
		err = tenant_may_mount(tn, r->origin, r->path ? r->path : "", e);
	if (!err)
		err = mount_labels_check(rq->labels, rq->label_count, e);
	if (err)
		return err;
	r->lease_seconds = rq->lease_seconds;
	r->read_only = rq->read_only;
	r->uid = rq->uid;
	r->gid = rq->gid;
	tenant_default_quota(tn, &r->quota_bytes, &r->quota_inodes);
	if (rq->quota_bytes)
		r->quota_bytes = rq->quota_bytes;
	if (rq->quota_inodes)
		r->quota_inodes = rq->quota_inodes;
	err = mount_labels_set(r, rq->labels, rq->label_count);
	if (!err)
		err = hash_request(rq, r);
	return err ? err_set(e, err, "", "cannot take the request: %s", strerror(-err)) : 0;
}

int mount_request_check(const struct cfg *cfg, const struct tenant *tn,
	const struct mount_request *rq, struct mount_record *ret_record, struct err *e)
{
	struct mount_record r = {.state = MOUNT_PROVISIONING, .generation = 1};
	int err;

	if (!rq->job_id || !path_ident_ok(rq->job_id, JOB_ID_MAX))
		return err_field(e, "job_id",
			"must be 1 to %d of A-Z a-z 0-9 . _ - and not start with . or -",
			JOB_ID_MAX);
	if (rq->lease_seconds &&
		(rq->lease_seconds < LEASE_MIN_S || rq->lease_seconds > LEASE_MAX_S))
		return err_field(e, "lease_seconds", "must be 0 (no lease) or %u to %u",
			LEASE_MIN_S, LEASE_MAX_S);
	(void)snprintf(r.job_id, sizeof(r.job_id), "%s", rq->job_id);
	(void)snprintf(r.tenant, sizeof(r.tenant), "%s", tenant_name(tn));
	err = fill(cfg, tn, rq, &r, e);
	if (err) {
		mount_record_fini(&r);
		return err;
	}
	*ret_record = r;
	return 0;
}

static bool same_text(const char *a, const char *b)
{
	return strcmp(a ? a : "", b ? b : "") == 0;
}

int mount_request_compare(
	const struct mount_record *have, const struct mount_record *want, struct err *e)
{
	const char *differs = "quota, lease or labels";

	if (memcmp(have->request_hash, want->request_hash, sizeof(have->request_hash)) == 0)
		return 0;
	if (strcmp(have->origin, want->origin) != 0)
		differs = "origin";
	else if (!same_text(have->path, want->path))
		differs = "path";
	else if (strcmp(have->revision, want->revision) != 0)
		differs = "revision";
	else if (have->change_kind != want->change_kind ||
		 !same_text(have->change_text, want->change_text))
		differs = "change_list";
	else if (!same_text(have->mountpoint, want->mountpoint))
		differs = "mountpoint";
	else if (have->read_only != want->read_only)
		differs = "read_only";
	else if (have->uid != want->uid || have->gid != want->gid)
		differs = "owner";
	(void)err_set(e, -EEXIST, "JOB_ID_IN_USE",
		"job_id %s is in use by mount %s with another request (%s); use another job_id, or "
		"delete that mount first",
		have->job_id, have->mount_id, differs);
	err_meta(e, "mount_id", have->mount_id);
	err_meta(e, "differs", differs);
	return -EEXIST;
}
