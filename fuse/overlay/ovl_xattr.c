/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Extended attributes. By the prefix of the name:
 *
 *	security.* system.*    there are none: answered at once, without looking at anything (the
 *kernel asks for security.capability often) trusted.overlay.*, trusted.coppice.*    the overlay's
 *own: neither seen nor settable trusted.*              for root only user.coppice.*         facts
 *about content, computed, read-only user.sha256            on an untouched lower file: its digest,
 *if the index knows it; otherwise an ordinary attribute user.*                 on regular files and
 *directories only, as everywhere
 *
 * Values of upper objects are the filesystem's own. A lower object has only the facts; setting
 *anything else copies it up.
 */
#include "overlay/ovl_change.h"

#include <base/cleanup.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/limits.h>
#include <string.h>
#include <sys/xattr.h>

#define FACT_OID        "user.coppice.oid"
#define FACT_SHA256     "user.sha256"
#define FACT_SHA256_RAW "user.coppice.sha256.raw"
#define SHA256_BYTES    32
#define TRUSTED         "trusted."
#define USER            "user."

static bool starts(const char *name, const char *prefix)
{
	return strncmp(name, prefix, strlen(prefix)) == 0;
}

static bool is_own(const char *name)
{
	return starts(name, OVL_XATTR_PREFIX) || starts(name, OVL_XATTR_OWN);
}

/* ---- access by name ---- */

static int check_name(const char *name)
{
	size_t len = strlen(name);

	return len == 0 || len > XATTR_NAME_MAX ? -ERANGE : 0;
}

static int check_read(const struct ovl_req *rq, const char *name)
{
	int r = check_name(name);

	if (r < 0)
		return r;
	if (starts(name, "security.") || starts(name, "system.posix_acl_") || is_own(name))
		return -ENODATA;
	if (starts(name, TRUSTED))
		return rq->uid == 0 ? 0 : -ENODATA;
	return starts(name, USER) ? 0 : -EOPNOTSUPP;
}

static int check_write(const struct ovl_req *rq, const char *name)
{
	int r = check_name(name);

	if (r < 0)
		return r;
	if (is_own(name) || starts(name, "user.coppice."))
		return -EPERM;
	if (starts(name, TRUSTED))
		return rq->uid == 0 ? 0 : -EPERM;
	return starts(name, USER) ? 0 : -EOPNOTSUPP;
}

static bool carries_user(mode_t type)
{
	return S_ISREG(type) || S_ISDIR(type);
}

/* ---- facts about untouched lower files ---- */

struct facts {
	bool is_lower_file;
	mode_t type;
	struct oid oid;
};

/* What the lower says of an object without an upper. */
static int lower_facts(struct ovl_obj *obj, struct ovl_req *rq, struct facts *ret_facts)
{
	struct facts f = {.type = obj->node ? obj->node->type : 0};
	struct tree_view view;
	struct tree_entry e;
	int r;

	if (f.type && !S_ISREG(f.type)) {
		*ret_facts = f;
		return 0;
	}
	if (!obj->dir_id)
		return -ESTALE;
	r = ovl_tree_view(obj->ws, rq, &obj->tree, &view);
	if (r < 0)
		return r;
	if (obj->idx < view.count) {
		tree_view_entry(&view, obj->idx, &e);
		f.type = e.mode & S_IFMT;
		f.is_lower_file = S_ISREG(e.mode) && e.oid;
		if (f.is_lower_file)
			f.oid = oid_from_bytes(e.oid, view.oid_len);
	} else {
		r = -ESTALE;
	}
	tree_view_end(&view);
	if (r == 0)
		*ret_facts = f;
	return r;
}

static void hex(const uint8_t *bytes, size_t len, char *out)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < len; i++) {
		out[2 * i] = digits[bytes[i] >> 4];
		out[2 * i + 1] = digits[bytes[i] & 15];
	}
}

static bool known_sha256(struct ovl_ws *ws, const struct facts *f, uint8_t sha256[SHA256_BYTES])
{
	return f->is_lower_file && ws->lower->ops->sha256 &&
	       ws->lower->ops->sha256(ws->lower, &f->oid, sha256) == 0;
}

static ssize_t give(const void *data, size_t len, void *value, size_t cap)
{
	if (cap == 0)
		return (ssize_t)len;
	if (cap < len)
		return -ERANGE;
	memcpy(value, data, len);
	return (ssize_t)len;
}

static ssize_t get_fact(
	struct ovl_ws *ws, const struct facts *f, const char *name, void *value, size_t cap)
{
	uint8_t sha256[SHA256_BYTES];
	char text[2 * SHA256_BYTES];

	if (!f->is_lower_file)
		return -ENODATA;
	if (strcmp(name, FACT_OID) == 0) {
		char oid[OID_HEX_MAX];

		(void)oid_hex(&f->oid, oid);
		return give(oid, strlen(oid), value, cap);
	}
	if (strcmp(name, FACT_SHA256) != 0 && strcmp(name, FACT_SHA256_RAW) != 0)
		return -ENODATA;
	if (!known_sha256(ws, f, sha256))
		return -ENODATA;
	if (strcmp(name, FACT_SHA256_RAW) == 0)
		return give(sha256, sizeof(sha256), value, cap);
	hex(sha256, sizeof(sha256), text);
	return give(text, sizeof(text), value, cap);
}

static ssize_t list_facts(struct ovl_ws *ws, const struct facts *f, char *list, size_t cap)
{
	static const char known[] = FACT_OID "\0" FACT_SHA256 "\0" FACT_SHA256_RAW;
	uint8_t sha256[SHA256_BYTES];

	if (!f->is_lower_file)
		return 0;
	if (!known_sha256(ws, f, sha256))
		return give(FACT_OID, sizeof(FACT_OID), list, cap);
	return give(known, sizeof(known), list, cap);
}

/* ---- attributes of upper objects ---- */

static ssize_t get_upper(struct ovl_node *n, const char *name, void *value, size_t cap)
{
	_cleanup_grip_ struct ovl_grip g = {0};
	int r = ovl_grip_get(n, &g);

	return r < 0 ? r : ovl_xattr_at_get(g.dirfd, g.name, name, value, cap);
}

/* Keep the names that this caller may see, in place. */
static size_t filter(const struct ovl_req *rq, char *list, size_t len)
{
	size_t kept = 0;

	for (size_t at = 0; at < len;) {
		size_t size = strnlen(list + at, len - at) + 1;

		if (size > len - at)
			break;
		if (check_read(rq, list + at) == 0) {
			memmove(list + kept, list + at, size);
			kept += size;
		}
		at += size;
	}
	return kept;
}

static ssize_t list_upper(struct ovl_node *n, const struct ovl_req *rq, char *list, size_t cap)
{
	_cleanup_grip_ struct ovl_grip g = {0};
	_cleanup_free_ char *all = NULL;
	ssize_t len = ovl_grip_get(n, &g);

	if (len == 0)
		len = ovl_xattr_at_list(g.dirfd, g.name, NULL, 0);
	if (len <= 0)
		return len;
	all = malloc(XATTR_LIST_MAX); /* the kernel's own limit */
	if (!all)
		return -ENOMEM;
	len = ovl_xattr_at_list(g.dirfd, g.name, all, XATTR_LIST_MAX);
	if (len < 0)
		return len;
	return give(all, filter(rq, all, (size_t)len), list, cap);
}

/* ---- requests ---- */

static bool is_upper(const struct ovl_obj *obj)
{
	return obj->node && ovl_has(obj->node, OVL_UPPER);
}

/* Has a removed directory: nothing on disk, so no attributes. */
static bool is_dead(const struct ovl_obj *obj)
{
	return obj->node && ovl_has(obj->node, OVL_DEAD);
}

static ssize_t get(
	struct ovl_obj *obj, struct ovl_req *rq, const char *name, void *value, size_t cap)
{
	struct facts f;
	int r;

	if (is_dead(obj))
		return -ENODATA;
	if (is_upper(obj)) {
		if (starts(name, USER) && !carries_user(obj->node->type))
			return -ENODATA;
		return get_upper(obj->node, name, value, cap);
	}
	r = lower_facts(obj, rq, &f);
	return r < 0 ? r : get_fact(obj->ws, &f, name, value, cap);
}

ssize_t ovl_getxattr(struct overlay *o, struct ovl_req *rq, uint64_t id, const char *name,
	void *value, size_t cap)
{
	struct ovl_obj obj = {0};
	ssize_t r = check_read(rq, name);

	if (r < 0)
		return r;
	if (id == OVL_ROOT_ID)
		return -ENODATA;
	r = ovl_obj_get(o, id, &obj);
	if (r < 0)
		return r;
	r = get(&obj, rq, name, value, cap);
	ovl_obj_put(&obj);
	return r;
}

ssize_t ovl_listxattr(struct overlay *o, struct ovl_req *rq, uint64_t id, char *list, size_t cap)
{
	struct ovl_obj obj = {0};
	struct facts f;
	ssize_t r;

	if (id == OVL_ROOT_ID)
		return 0;
	r = ovl_obj_get(o, id, &obj);
	if (r < 0)
		return r;
	if (is_dead(&obj)) {
		r = 0;
	} else if (is_upper(&obj)) {
		r = list_upper(obj.node, rq, list, cap);
	} else {
		r = lower_facts(&obj, rq, &f);
		if (r == 0)
			r = list_facts(obj.ws, &f, list, cap);
	}
	ovl_obj_put(&obj);
	return r;
}

/* May this object get or lose the attribute, before it is copied up for it? */
static int check_change(struct ovl_obj *obj, struct ovl_req *rq, const char *name, bool must_exist)
{
	struct facts f = {.type = obj->node ? obj->node->type : 0};
	char digit;
	int r = 0;

	if (obj->ws->read_only)
		return -EROFS;
	if (is_dead(obj))
		return -ENOENT;
	if (!is_upper(obj))
		r = lower_facts(obj, rq, &f);
	if (r < 0)
		return r;
	if (starts(name, USER) && !carries_user(f.type))
		return -EPERM;
	if (!must_exist || is_upper(obj))
		return 0;
	/* the lower has facts only; a fact may be replaced by an ordinary attribute of the same
	 * name */
	return get_fact(obj->ws, &f, name, &digit, 0) < 0 ? -ENODATA : 0;
}

static int set_upper(struct ovl_node *n, const char *name, const void *value, size_t len, int flags)
{
	_cleanup_grip_ struct ovl_grip g = {0};
	int r = ovl_grip_get(n, &g);

	if (r == 0)
		r = ovl_xattr_at_set(g.dirfd, g.name, name, value, len, flags);
	if (r == 0)
		ovl_attr_drop(n); /* ctime */
	return r;
}

int ovl_setxattr(struct overlay *o, struct ovl_req *rq, uint64_t id, const char *name,
	const void *value, size_t len, int flags)
{
	struct ovl_obj obj = {0};
	bool was_lower;
	int r = check_write(rq, name);

	if (r < 0)
		return r;
	if (id == OVL_ROOT_ID)
		return -EPERM;
	r = ovl_obj_get(o, id, &obj);
	if (r < 0)
		return r;
	was_lower = !is_upper(&obj);
	r = check_change(&obj, rq, name, flags & XATTR_REPLACE);
	if (r == 0)
		r = ovl_obj_writable(&obj, rq, true);
	/* a fact that was there to be replaced is not on disk */
	if (r == 0)
		r = set_upper(
			obj.node, name, value, len, was_lower ? flags & ~XATTR_REPLACE : flags);
	ovl_obj_put(&obj);
	return r;
}

static int remove_upper(struct ovl_node *n, const char *name)
{
	_cleanup_grip_ struct ovl_grip g = {0};
	int r = ovl_grip_get(n, &g);

	if (r == 0)
		r = ovl_xattr_at_remove(g.dirfd, g.name, name);
	if (r == 0)
		ovl_attr_drop(n); /* ctime */
	return r;
}

int ovl_removexattr(struct overlay *o, struct ovl_req *rq, uint64_t id, const char *name)
{
	struct ovl_obj obj = {0};
	int r = check_write(rq, name);

	if (r < 0)
		return r == -EOPNOTSUPP ? -ENODATA : r;
	if (id == OVL_ROOT_ID)
		return -EPERM;
	r = ovl_obj_get(o, id, &obj);
	if (r < 0)
		return r;
	r = check_change(&obj, rq, name, false);
	if (r == 0)
		r = is_upper(&obj) ? remove_upper(obj.node, name) : -ENODATA;
	ovl_obj_put(&obj);
	return r;
}
