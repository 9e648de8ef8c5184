/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of a mount's record: see mount_codec.h. The order of the fields below is the format; a
 * change is a new version. */
#include "mount_codec.h"

#include <base/buf.h>
#include <base/crc32c.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { FLAG_READ_ONLY = 1, FLAG_MOUNTPOINT_MADE = 2, FLAG_FILES_KEPT = 4, FLAGS_ALL = 7 };

void mount_record_fini(struct mount_record *r)
{
	free(r->path);
	free(r->mountpoint);
	free(r->reason);
	free(r->change_text);
	free(r->change_path);
	free(r->labels);
	*r = (struct mount_record){0};
}

int mount_record_set_text(char **slot, const char *text)
{
	char *copy = NULL;

	if (text && text[0]) {
		copy = strndup(text, MOUNT_TEXT_MAX);
		if (!copy)
			return -ENOMEM;
	}
	free(*slot);
	*slot = copy;
	return 0;
}

static int copy_labels(const struct mount_record *from, struct mount_record *to)
{
	if (!from->label_count)
		return 0;
	to->labels = calloc(from->label_count, sizeof(*to->labels));
	if (!to->labels)
		return -ENOMEM;
	memcpy(to->labels, from->labels, from->label_count * sizeof(*to->labels));
	to->label_count = from->label_count;
	return 0;
}

int mount_record_copy(const struct mount_record *from, struct mount_record *ret_copy)
{
	struct mount_record copy = *from;

	copy.path = copy.mountpoint = copy.reason = NULL;
	copy.change_text = copy.change_path = NULL;
	copy.labels = NULL;
	copy.label_count = 0;
	if (mount_record_set_text(&copy.path, from->path) ||
		mount_record_set_text(&copy.mountpoint, from->mountpoint) ||
		mount_record_set_text(&copy.reason, from->reason) ||
		mount_record_set_text(&copy.change_text, from->change_text) ||
		mount_record_set_text(&copy.change_path, from->change_path) ||
		copy_labels(from, &copy)) {
		mount_record_fini(&copy);
		return -ENOMEM;
	}
	*ret_copy = copy;
	return 0;
}

/* ---- encode ---- */

static void put_int(struct buf *out, uint64_t value, unsigned bytes)
{
	uint8_t b[8];

	for (unsigned i = 0; i < bytes; i++)
		b[i] = (uint8_t)(value >> 8 * i);
	(void)buf_append(out, b, bytes); /* the buffer remembers the first failure */
}

static void put_bytes(struct buf *out, const void *data, size_t len)
{
	put_int(out, len, 2);
	(void)buf_append(out, data, len);
}

static void put_text(struct buf *out, const char *text)
{
	put_bytes(out, text ? text : "", text ? strlen(text) : 0);
}

static void put_numbers(struct buf *out, const struct mount_record *r)
{
	unsigned flags = (r->read_only ? FLAG_READ_ONLY : 0u) |
			 (r->mountpoint_made ? FLAG_MOUNTPOINT_MADE : 0u) |
			 (r->files_kept ? FLAG_FILES_KEPT : 0u);

	put_int(out, r->state, 1);
	put_int(out, flags, 1);
	put_int(out, r->serial, 4);
	put_int(out, r->lease_seconds, 4);
	put_int(out, r->uid, 4);
	put_int(out, r->gid, 4);
	put_int(out, (uint64_t)r->commit_time_s, 8);
	put_int(out, r->order, 8);
	put_int(out, r->quota_bytes, 8);
	put_int(out, r->quota_inodes, 8);
	put_int(out, r->lease_expires_wall_ns, 8);
	put_int(out, r->created_wall_ns, 8);
	put_int(out, r->ended_wall_ns, 8);
	put_int(out, r->generation, 8);
	put_int(out, r->used_bytes, 8);
	put_int(out, r->used_inodes, 8);
	put_int(out, r->trees_fetched, 8);
	put_int(out, r->blobs_fetched, 8);
	put_int(out, r->bytes_fetched, 8);
	put_int(out, r->fetch_errors, 8);
}

static bool is_plain_range(const struct mount_record *r)
{
	return r->change_kind == MOUNT_CHANGE_RANGE && !r->change_exact && !r->change_path;
}

unsigned mount_record_format(const struct mount_record *r)
{
	if (!oid_is_none(&r->switching_from))
		return MOUNT_RECORD_FORMAT;
	if (r->change_kind == MOUNT_CHANGE_NONE)
		return MOUNT_RECORD_FIRST;
	return is_plain_range(r) ? MOUNT_RECORD_RANGES : MOUNT_RECORD_STILL;
}

static void put_change_list(struct buf *out, unsigned version, const struct mount_record *r)
{
	put_text(out, r->change_text);
	put_bytes(out, r->change_from.bytes, r->change_from.len);
	put_bytes(out, r->change_to.bytes, r->change_to.len);
	put_int(out, r->change_paths, 8);
	if (version == MOUNT_RECORD_RANGES)
		return;
	put_int(out, r->change_kind, 1);
	put_int(out, r->change_exact, 1);
	put_text(out, r->change_path);
}

int mount_record_encode(const struct mount_record *r, struct buf *out)
{
	unsigned version = mount_record_format(r);
	size_t start = out->len;

	put_int(out, version, 1);
	put_numbers(out, r);
	(void)buf_append(out, r->request_hash, sizeof(r->request_hash));
	put_bytes(out, r->commit.bytes, r->commit.len);
	put_bytes(out, r->root.bytes, r->root.len);
	put_text(out, r->mount_id);
	put_text(out, r->tenant);
	put_text(out, r->job_id);
	put_text(out, r->origin);
	put_text(out, r->revision);
	put_text(out, r->path);
	put_text(out, r->mountpoint);
	put_text(out, r->reason);
	put_int(out, r->label_count, 2);
	for (unsigned i = 0; i < r->label_count; i++) {
		put_text(out, r->labels[i].key);
		put_text(out, r->labels[i].value);
	}
	if (version > MOUNT_RECORD_FIRST)
		put_change_list(out, version, r);
	if (version > MOUNT_RECORD_STILL)
		put_bytes(out, r->switching_from.bytes, r->switching_from.len);
	if (buf_error(out))
		return buf_error(out);
	put_int(out, crc32c(0, out->data + start, out->len - start), 4);
	if (!buf_error(out) && out->len - start > MOUNT_RECORD_MAX)
		return -EMSGSIZE;
	return buf_error(out);
}

/* ---- decode ---- */

struct reader {
	const uint8_t *at, *end;
	int error; /* the first; everything read after it is 0 */
};

static const uint8_t *take(struct reader *in, size_t len)
{
	const uint8_t *p = in->at;

	if (in->error || (size_t)(in->end - in->at) < len) {
		in->error = in->error ? in->error : -EBADMSG;
		return NULL;
	}
	in->at += len;
	return p;
}

static uint64_t get_int(struct reader *in, unsigned bytes)
{
	const uint8_t *p = take(in, bytes);
	uint64_t value = 0;

	for (unsigned i = 0; p && i < bytes; i++)
		value |= (uint64_t)p[i] << 8 * i;
	return value;
}

/* A string into a fixed array; longer, or with a NUL in it, is damage. */
static void get_chars(struct reader *in, char *ret_text, size_t cap)
{
	size_t len = (size_t)get_int(in, 2);
	const uint8_t *p = take(in, len);

	if (!p)
		return;
	if (len >= cap || memchr(p, '\0', len)) {
		in->error = -EBADMSG;
		return;
	}
	memcpy(ret_text, p, len);
	ret_text[len] = '\0';
}

static void get_text(struct reader *in, char **ret_text)
{
	size_t len = (size_t)get_int(in, 2);
	const uint8_t *p = take(in, len);

	if (!p || !len)
		return;
	if (len > MOUNT_TEXT_MAX || memchr(p, '\0', len)) {
		in->error = -EBADMSG;
		return;
	}
	*ret_text = strndup((const char *)p, len);
	if (!*ret_text)
		in->error = -ENOMEM;
}

static void get_oid(struct reader *in, struct oid *ret_oid)
{
	size_t len = (size_t)get_int(in, 2);
	const uint8_t *p = take(in, len);

	if (!p)
		return;
	if (len != 0 && len != 20 && len != 32)
		in->error = -EBADMSG;
	else
		*ret_oid = oid_from_bytes(p, (uint8_t)len);
}

static void get_labels(struct reader *in, struct mount_record *r)
{
	unsigned count = (unsigned)get_int(in, 2);

	if (in->error || !count)
		return;
	if (count > MOUNT_LABELS_MAX) {
		in->error = -EBADMSG;
		return;
	}
	r->labels = calloc(count, sizeof(*r->labels));
	if (!r->labels) {
		in->error = -ENOMEM;
		return;
	}
	r->label_count = count;
	for (unsigned i = 0; i < count; i++) {
		get_chars(in, r->labels[i].key, sizeof(r->labels[i].key));
		get_chars(in, r->labels[i].value, sizeof(r->labels[i].value));
	}
}

static void get_numbers(struct reader *in, struct mount_record *r)
{
	unsigned state = (unsigned)get_int(in, 1);
	unsigned flags = (unsigned)get_int(in, 1);

	if (state < MOUNT_PROVISIONING || state > MOUNT_EXPIRED || flags & ~(unsigned)FLAGS_ALL)
		in->error = in->error ? in->error : -EBADMSG;
	r->state = (enum mount_state)state;
	r->read_only = flags & FLAG_READ_ONLY;
	r->mountpoint_made = flags & FLAG_MOUNTPOINT_MADE;
	r->files_kept = flags & FLAG_FILES_KEPT;
	r->serial = (uint32_t)get_int(in, 4);
	r->lease_seconds = (uint32_t)get_int(in, 4);
	r->uid = (uid_t)get_int(in, 4);
	r->gid = (gid_t)get_int(in, 4);
	r->commit_time_s = (int64_t)get_int(in, 8);
	r->order = get_int(in, 8);
	r->quota_bytes = get_int(in, 8);
	r->quota_inodes = get_int(in, 8);
	r->lease_expires_wall_ns = get_int(in, 8);
	r->created_wall_ns = get_int(in, 8);
	r->ended_wall_ns = get_int(in, 8);
	r->generation = get_int(in, 8);
	r->used_bytes = get_int(in, 8);
	r->used_inodes = get_int(in, 8);
	r->trees_fetched = get_int(in, 8);
	r->blobs_fetched = get_int(in, 8);
	r->bytes_fetched = get_int(in, 8);
	r->fetch_errors = get_int(in, 8);
}

static void get_change_list(struct reader *in, unsigned version, struct mount_record *r)
{
	uint64_t kind, exact;

	get_text(in, &r->change_text);
	get_oid(in, &r->change_from);
	get_oid(in, &r->change_to);
	r->change_paths = get_int(in, 8);
	if (version == MOUNT_RECORD_RANGES) {
		r->change_kind = r->change_text ? MOUNT_CHANGE_RANGE : MOUNT_CHANGE_NONE;
		return;
	}
	kind = get_int(in, 1);
	exact = get_int(in, 1);
	get_text(in, &r->change_path);
	if (kind >= MOUNT_CHANGE_KINDS || exact > 1 || (kind == 0) != (r->change_text == NULL))
		in->error = in->error ? in->error : -EBADMSG;
	else
		r->change_kind = (enum mount_change_kind)kind;
	r->change_exact = exact == 1;
}

static void get_fields(struct reader *in, unsigned version, struct mount_record *r)
{
	const uint8_t *hash;

	get_numbers(in, r);
	hash = take(in, sizeof(r->request_hash));
	if (hash)
		memcpy(r->request_hash, hash, sizeof(r->request_hash));
	get_oid(in, &r->commit);
	get_oid(in, &r->root);
	get_chars(in, r->mount_id, sizeof(r->mount_id));
	get_chars(in, r->tenant, sizeof(r->tenant));
	get_chars(in, r->job_id, sizeof(r->job_id));
	get_chars(in, r->origin, sizeof(r->origin));
	get_chars(in, r->revision, sizeof(r->revision));
	get_text(in, &r->path);
	get_text(in, &r->mountpoint);
	get_text(in, &r->reason);
	get_labels(in, r);
	if (version > MOUNT_RECORD_FIRST)
		get_change_list(in, version, r);
	if (version > MOUNT_RECORD_STILL)
		get_oid(in, &r->switching_from);
	if (!in->error && in->at != in->end)
		in->error = -EBADMSG;
}

int mount_record_decode(const void *data, size_t len, struct mount_record *ret_record)
{
	struct mount_record r = {0};
	struct reader in = {.at = data};
	uint32_t crc = 0;
	unsigned version;

	if (len < 5 || len > MOUNT_RECORD_MAX)
		return -EBADMSG;
	in.end = in.at + len - 4;
	for (unsigned i = 0; i < 4; i++)
		crc |= (uint32_t)in.end[i] << 8 * i;
	if (crc != crc32c(0, data, len - 4))
		return -EBADMSG;
	version = (unsigned)get_int(&in, 1);
	if (version < MOUNT_RECORD_FIRST || version > MOUNT_RECORD_FORMAT)
		return -EPROTO;
	get_fields(&in, version, &r);
	if (in.error) {
		mount_record_fini(&r);
		return in.error;
	}
	*ret_record = r;
	return 0;
}
