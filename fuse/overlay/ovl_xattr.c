/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Extended attributes. By the name:
 *
 *	security.* system.*        there are none: answered at once, without looking at anything
 *	                           (the kernel asks for security.capability often)
 *	trusted.overlay.*          the overlay's own, as trusted.coppice.*: neither seen nor set
 *	trusted.*                  for root only
 *	user.coppice.oid           Git's id of the file's bytes as a blob, hex
 *	user.sha256, user.sha1     of the file's bytes, hex
 *	user.coppice.sha256.raw    the same as 32 bytes
 *	user.*                     on regular files and directories only, as everywhere
 *
 * The digests are facts: every regular file has them, nobody can set or remove them (-EPERM), or a
 * build tool could be made to believe a wrong one; and they are not listed, so that tools that copy
 * attributes do not try to write them. Where they come from: ovl_digest.c.
 *
 * Other values are kept by the filesystem below, on upper objects. A lower object has none; setting
 * one copies it up.
 */
#include "overlay/ovl_change.h"

#include <base/cleanup.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/limits.h>
#include <string.h>
#include <sys/xattr.h>

#define FACTS   "user.coppice."
#define TRUSTED "trusted."
#define USER    "user."

static bool starts(const char *name, const char *prefix)
{
	return strncmp(name, prefix, strlen(prefix)) == 0;
}

static bool is_own(const char *name)
{
	return starts(name, OVL_XATTR_PREFIX) || starts(name, OVL_XATTR_OWN);
}

/* ---- facts by name ---- */

enum fact { FACT_NONE, FACT_OID, FACT_SHA256, FACT_SHA256_RAW, FACT_SHA1, FACT_COUNT };

static enum fact fact_of(const char *name)
{
	static const char *const names[FACT_COUNT] = {
		[FACT_OID] = FACTS "oid",
		[FACT_SHA256] = "user.sha256",
		[FACT_SHA256_RAW] = FACTS "sha256.raw",
		[FACT_SHA1] = "user.sha1",
	};

	for (unsigned i = FACT_NONE + 1; i < FACT_COUNT; i++)
		if (strcmp(name, names[i]) == 0)
			return (enum fact)i;
	return FACT_NONE;
}

/* Known or not yet invented. */
static bool is_fact(const char *name)
{
	return starts(name, FACTS) || fact_of(name) != FACT_NONE;
}

/* ---- access by name ---- */

static int check_name(const char *name)
{
	size_t len = strlen(name);

	if (strcmp(name, USER) == 0 || strcmp(name, TRUSTED) == 0)
		return -EINVAL; /* nothing but the prefix */
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
	if (is_own(name) || is_fact(name))
		return -EPERM;
	if (starts(name, TRUSTED))
		return rq->uid == 0 ? 0 : -EPERM;
	return starts(name, USER) ? 0 : -EOPNOTSUPP;
}

static bool carries_user(mode_t type)
{
	return S_ISREG(type) || S_ISDIR(type);
}

/* ---- untouched lower files ---- */

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

/* ---- facts ---- */

static bool is_upper(const struct ovl_obj *obj)
{
	return obj->node && ovl_has(obj->node, OVL_UPPER);
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

/* Where the bytes of a fact are, and how many. */
static const uint8_t *fact_bytes(enum fact fact, const struct content_digests *d, size_t *ret_len)
{
	switch (fact) {
	case FACT_OID:
		*ret_len = d->oid.len;
		return d->oid.bytes;
	case FACT_SHA1:
		*ret_len = sizeof(d->sha1);
		return d->sha1;
	default:
		*ret_len = sizeof(d->sha256);
		return d->sha256;
	}
}

static ssize_t give_fact(enum fact fact, const struct content_digests *d, void *value, size_t cap)
{
	static const char digits[] = "0123456789abcdef";
	char text[2 * OID_MAX_BYTES];
	const uint8_t *bytes;
	size_t len;

	bytes = fact_bytes(fact, d, &len);
	if (fact == FACT_SHA256_RAW)
		return give(bytes, len, value, cap);
	for (size_t i = 0; i < len; i++) {
		text[2 * i] = digits[bytes[i] >> 4];
		text[2 * i + 1] = digits[bytes[i] & 15];
	}
	return give(text, 2 * len, value, cap);
}

/* What can be said without the content: how long the answer is, and whether it fits. Otherwise 0.
 */
static ssize_t size_fact(enum fact fact, const struct ovl_ws *ws, size_t cap)
{
	const struct content_digests shape = {.oid.len = ws->root_tree.len == 32 ? 32 : 20};
	char text[2 * OID_MAX_BYTES];
	ssize_t n = give_fact(fact, &shape, text, cap < sizeof(text) ? cap : sizeof(text));

	return n < 0 || cap == 0 ? n : 0;
}

static ssize_t get_fact(
	struct ovl_obj *obj, struct ovl_req *rq, enum fact fact, void *value, size_t cap)
{
	struct content_digests d = {0};
	struct facts lower = {0};
	bool upper = is_upper(obj);
	ssize_t r;

	if (upper && !S_ISREG(obj->node->type))
		return -ENODATA;
	r = upper ? 0 : lower_facts(obj, rq, &lower);
	if (r < 0 || (!upper && !lower.is_lower_file))
		return r < 0 ? r : -ENODATA;
	r = size_fact(fact, obj->ws, cap);
	if (r != 0)
		return r;
	if (!upper)
		r = ovl_digest_settle(obj, rq);
	if (upper)
		r = ovl_digest_upper(obj->node, rq, &d);
	else if (r == 0 && fact == FACT_OID)
		d.oid = lower.oid;
	else if (r == 0)
		r = ovl_digest_lower(obj->ws, rq, &lower.oid, &d);
	return r < 0 ? r : give_fact(fact, &d, value, cap);
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
		if (check_read(rq, list + at) == 0 && !is_fact(list + at)) {
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

/* Has a removed directory: nothing on disk, so no attributes. */
static bool is_dead(const struct ovl_obj *obj)
{
	return obj->node && ovl_has(obj->node, OVL_DEAD);
}

static ssize_t get(
	struct ovl_obj *obj, struct ovl_req *rq, const char *name, void *value, size_t cap)
{
	enum fact fact = fact_of(name);

	if (is_dead(obj))
		return -ENODATA;
	if (fact != FACT_NONE)
		return get_fact(obj, rq, fact, value, cap);
	if (!is_upper(obj) || is_fact(name) ||
		(starts(name, USER) && !carries_user(obj->node->type)))
		return -ENODATA;
	return get_upper(obj->node, name, value, cap);
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
	r = ovl_obj_get(o, rq, id, &obj);
	if (r < 0)
		return r;
	r = get(&obj, rq, name, value, cap);
	ovl_obj_put(&obj);
	return r;
}

ssize_t ovl_listxattr(struct overlay *o, struct ovl_req *rq, uint64_t id, char *list, size_t cap)
{
	struct ovl_obj obj = {0};
	ssize_t r;

	if (id == OVL_ROOT_ID)
		return 0;
	r = ovl_obj_get(o, rq, id, &obj);
	if (r < 0)
		return r;
	if (is_upper(&obj) && !is_dead(&obj))
		r = list_upper(obj.node, rq, list, cap);
	ovl_obj_put(&obj);
	return r;
}

/* May this object get or lose the attribute, before it is copied up for it? */
static int check_change(struct ovl_obj *obj, struct ovl_req *rq, const char *name, bool must_exist)
{
	struct facts f = {.type = obj->node ? obj->node->type : 0};
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
	return must_exist && !is_upper(obj) ? -ENODATA : 0;
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
	int r = check_write(rq, name);

	if (r < 0)
		return r;
	if (id == OVL_ROOT_ID)
		return -EPERM;
	r = ovl_obj_get(o, rq, id, &obj);
	if (r < 0)
		return r;
	r = check_change(&obj, rq, name, flags & XATTR_REPLACE);
	if (r == 0)
		r = ovl_obj_writable(&obj, rq, true);
	if (r == 0)
		r = set_upper(obj.node, name, value, len, flags);
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
		return r == -EOPNOTSUPP && check_read(rq, name) == -ENODATA ? -ENODATA : r;
	if (id == OVL_ROOT_ID)
		return -EPERM;
	r = ovl_obj_get(o, rq, id, &obj);
	if (r < 0)
		return r;
	r = check_change(&obj, rq, name, false);
	if (r == 0)
		r = is_upper(&obj) ? remove_upper(obj.node, name) : -ENODATA;
	ovl_obj_put(&obj);
	return r;
}
