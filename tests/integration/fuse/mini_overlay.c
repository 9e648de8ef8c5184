/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nodes live in an array, id = index + 1, and are never reused. One read-write lock guards
 * everything. A "fetch" is a record on a list that one thread looks through every millisecond.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mini_overlay.h"

#include <base/clock.h>
#include <base/lock.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define NODES_MAX   65536u
#define FETCHES_MAX 4096u

struct node {
	uint64_t parent; /* 0: no name */
	char name[64];
	char *data;
	struct stat attr;
	bool local; /* was fetched */
	_Atomic uint64_t lookups;
};

struct fetch {
	uint64_t due_ns; /* NS_NEVER: only at the end */
	uint64_t id;
	int result;
	lower_done fn;
	void *arg;
};

struct overlay {
	struct rwlock lock; /* nodes */
	uint64_t count;
	struct node node[NODES_MAX];
	struct mini_seen seen;

	struct lock fetch_lock;
	struct cond wake;
	struct fetch fetch[FETCHES_MAX];
	unsigned fetches;
	bool stop;
	pthread_t thread;
};

static struct node *node_of(struct overlay *o, uint64_t id)
{
	return id >= 1 && id <= o->count ? &o->node[id - 1] : NULL;
}

static uint64_t add(struct overlay *o, uint64_t parent, const char *name, mode_t mode)
{
	struct node *n;
	size_t len = strlen(name);

	if (o->count == NODES_MAX || len >= sizeof(n->name))
		return 0;
	n = &o->node[o->count++];
	n->parent = parent;
	memcpy(n->name, name, len + 1);
	n->attr = (struct stat){.st_ino = o->count,
		.st_mode = mode,
		.st_nlink = S_ISDIR(mode) ? 2 : 1,
		.st_blksize = 4096,
		.st_mtim = {.tv_sec = 1}};
	return o->count;
}

static uint64_t find(struct overlay *o, uint64_t parent, const char *name)
{
	for (uint64_t id = 1; id <= o->count; id++)
		if (o->node[id - 1].parent == parent && strcmp(o->node[id - 1].name, name) == 0)
			return id;
	return 0;
}

static void fill_entry(struct overlay *o, uint64_t id, struct ovl_entry *ret_entry)
{
	struct node *n = &o->node[id - 1]; /* the caller found it */

	atomic_fetch_add(&n->lookups, 1);
	ret_entry->id = id;
	ret_entry->attr = n->attr;
}

/* ---- fetches ---- */

static bool next_due(struct overlay *o, struct fetch *ret_fetch)
{
	LOCK_GUARD(&o->fetch_lock);
	for (unsigned i = 0; i < o->fetches; i++) {
		if (o->fetch[i].due_ns > clock_mono_ns(&clock_system) && !o->stop)
			continue;
		*ret_fetch = o->fetch[i];
		if (o->stop && ret_fetch->due_ns == NS_NEVER)
			ret_fetch->result = -ECANCELED;
		o->fetch[i] = o->fetch[--o->fetches];
		return true;
	}
	return false;
}

static void *fetch_main(void *arg)
{
	struct overlay *o = arg;
	struct fetch f;
	bool stop = false;

	while (!stop) {
		lock_acquire(&o->fetch_lock);
		if (!o->stop)
			(void)cond_wait_until(
				&o->wake, &o->fetch_lock, clock_after(&clock_system, NS_PER_MS));
		stop = o->stop;
		lock_release(&o->fetch_lock);
		while (next_due(o, &f)) {
			rwlock_write(&o->lock);
			node_of(o, f.id)->local = f.result == 0;
			if (f.result == 0 && strncmp(node_of(o, f.id)->name, "count-", 6) == 0)
				node_of(o, f.id)->attr.st_nlink = 3;
			rwlock_release(&o->lock);
			f.fn(f.arg, f.result);
		}
	}
	return NULL;
}

static bool must_fetch(const struct node *n, const char *prefix)
{
	size_t len = strlen(prefix);
	const char *rest = n->name + len;

	if (n->local || strncmp(n->name, prefix, len) != 0)
		return false;
	return strncmp(rest, "late-", 5) == 0 || strncmp(rest, "never", 5) == 0 ||
	       strncmp(rest, "fail-", 5) == 0;
}

static int need(struct ovl_req *rq, uint64_t id)
{
	rq->need = (struct ovl_need){.kind = LOWER_NEED_BLOB};
	memcpy(rq->need.oid.bytes, &id, sizeof(id));
	return -EAGAIN;
}

/* The overlay travels in the place of the workspace. */
static int need_of(struct overlay *o, struct ovl_req *rq, uint64_t id)
{
	(void)need(rq, id);
	rq->need.ws = (struct ovl_ws *)(void *)o;
	return -EAGAIN;
}

int ovl_fetch(struct ovl_need *want, uint64_t deadline_ns, lower_done fn, void *arg)
{
	struct overlay *o = (struct overlay *)(void *)want->ws;
	struct fetch f = {.fn = fn, .arg = arg, .due_ns = NS_NEVER};
	const char *name;

	(void)deadline_ns; /* a fetch that ignores it: the session's own deadline must do */
	memcpy(&f.id, want->oid.bytes, sizeof(f.id));
	rwlock_read(&o->lock);
	name = node_of(o, f.id)->name;
	if (strncmp(name, "lk-", 3) == 0)
		name += 3;
	else if (strncmp(name, "count-", 6) == 0)
		name += 6;
	if (strncmp(name, "late-", 5) == 0)
		f.due_ns = clock_after(&clock_system, strtoul(name + 5, NULL, 10) * NS_PER_MS);
	else if (strncmp(name, "fail-", 5) == 0)
		f.result = -(int)strtol(name + 5, NULL, 10);
	rwlock_release(&o->lock);
	if (f.result < 0) {
		fn(arg, f.result); /* before we return: allowed */
		return 0;
	}
	LOCK_GUARD(&o->fetch_lock);
	if (o->fetches == FETCHES_MAX)
		return -ENOMEM;
	o->fetch[o->fetches++] = f;
	return 0;
}

bool ovl_was_done(struct overlay *o, uint64_t id, uint64_t unique)
{
	(void)o;
	(void)id;
	(void)unique;
	return false; /* it changes no names */
}

void ovl_need_drop(struct ovl_need *want)
{
	*want = (struct ovl_need){0};
}

/* It has no digests, so nothing to flush for. */
int ovl_set_flush(struct overlay *o, ovl_flush flush, void *arg, uint64_t deadline_ns)
{
	(void)o, (void)flush, (void)arg, (void)deadline_ns;
	return 0;
}

/* ---- the overlay ---- */

struct overlay *mini_overlay_new(void)
{
	struct overlay *o = calloc(1, sizeof(*o));

	assert_non_null(o);
	rwlock_init(&o->lock, LOCK_RANK_OVL);
	lock_init(&o->fetch_lock, LOCK_RANK_STORAGE);
	cond_init(&o->wake);
	assert_int_equal(add(o, 0, "", S_IFDIR | 0755), OVL_ROOT_ID);
	assert_int_equal(add(o, OVL_ROOT_ID, "ws", S_IFDIR | 0777), 2);
	assert_int_equal(pthread_create(&o->thread, NULL, fetch_main, o), 0);
	return o;
}

struct overlay *mini_overlay_free(struct overlay *o)
{
	if (!o)
		return NULL;
	lock_acquire(&o->fetch_lock);
	o->stop = true;
	cond_signal(&o->wake);
	lock_release(&o->fetch_lock);
	assert_int_equal(pthread_join(o->thread, NULL), 0);
	for (uint64_t i = 0; i < o->count; i++)
		free(o->node[i].data);
	cond_fini(&o->wake);
	lock_fini(&o->fetch_lock);
	rwlock_fini(&o->lock);
	free(o);
	return NULL;
}

void mini_overlay_add(struct overlay *o, const char *name, const char *content)
{
	RWLOCK_WRITE_GUARD(&o->lock);
	struct node *n = node_of(o, add(o, 2, name, S_IFREG | 0666));

	assert_non_null(n);
	n->data = strdup(content);
	assert_non_null(n->data);
	n->attr.st_size = (off_t)strlen(content);
}

void mini_overlay_add_dir(struct overlay *o, const char *name)
{
	RWLOCK_WRITE_GUARD(&o->lock);
	struct node *n = node_of(o, add(o, 2, name, S_IFDIR | 0755));

	assert_non_null(n);
	n->attr.st_nlink = 1;
}

uint64_t mini_overlay_lookups(struct overlay *o)
{
	uint64_t sum = 0;

	RWLOCK_READ_GUARD(&o->lock);
	for (uint64_t i = 1; i < o->count; i++)
		sum += atomic_load(&o->node[i].lookups);
	return sum;
}

const struct mini_seen *mini_overlay_seen(struct overlay *o)
{
	return &o->seen;
}

/* -EAGAIN if the caller wants the links of a directory counted. */
static int count_links(struct overlay *o, struct ovl_req *rq, uint64_t id)
{
	if (!rq->count_links || !must_fetch(node_of(o, id), "count-"))
		return 0;
	(void)need_of(o, rq, id);
	rq->need.optional = true;
	return -EAGAIN;
}

int ovl_lookup(struct overlay *o, struct ovl_req *rq, uint64_t parent, const char *name,
	struct ovl_entry *ret_entry)
{
	RWLOCK_READ_GUARD(&o->lock);
	uint64_t id = find(o, parent, name);

	atomic_store(&o->seen.unique, rq->unique);
	if (!id)
		return -ENOENT;
	if (must_fetch(node_of(o, id), "lk-"))
		return need_of(o, rq, id);
	if (count_links(o, rq, id))
		return -EAGAIN;
	fill_entry(o, id, ret_entry);
	return 0;
}

void ovl_forget(struct overlay *o, uint64_t id, uint64_t count)
{
	RWLOCK_READ_GUARD(&o->lock);
	struct node *n = node_of(o, id);

	if (n)
		atomic_fetch_sub(&n->lookups, count);
}

bool ovl_quota_returns(struct overlay *o, uint64_t id)
{
	(void)o;
	(void)id;
	return false; /* has no quota */
}

int ovl_getattr(struct overlay *o, struct ovl_req *rq, uint64_t id, struct stat *ret_attr)
{
	RWLOCK_READ_GUARD(&o->lock);
	const struct node *n = node_of(o, id);

	if (!n)
		return -ESTALE;
	*ret_attr = n->attr;
	return count_links(o, rq, id);
}

static int resize(struct node *n, size_t size)
{
	char *data = realloc(n->data, size + 1);

	if (!data)
		return -ENOMEM;
	if (size > (size_t)n->attr.st_size)
		memset(data + n->attr.st_size, 0, size - (size_t)n->attr.st_size);
	n->data = data;
	n->attr.st_size = (off_t)size;
	return 0;
}

int ovl_setattr(struct overlay *o, struct ovl_req *rq, uint64_t id, const struct stat *attr,
	unsigned set, struct stat *ret_attr)
{
	RWLOCK_WRITE_GUARD(&o->lock);
	struct node *n = node_of(o, id);
	int r = 0;

	(void)rq;
	if (!n)
		return -ESTALE;
	atomic_store(&o->seen.set, set);
	if (set & OVL_SET_MODE)
		n->attr.st_mode = (n->attr.st_mode & S_IFMT) | (attr->st_mode & ~(mode_t)S_IFMT);
	if (set & OVL_SET_MTIME)
		n->attr.st_mtim = attr->st_mtim;
	if (set & OVL_SET_SIZE)
		r = resize(n, (size_t)attr->st_size);
	*ret_attr = n->attr;
	return r;
}

ssize_t ovl_read(
	struct overlay *o, struct ovl_req *rq, uint64_t id, void *buf, size_t len, uint64_t offset)
{
	RWLOCK_READ_GUARD(&o->lock);
	const struct node *n = node_of(o, id);

	if (!n)
		return -ESTALE;
	if (must_fetch(n, ""))
		return need_of(o, rq, id);
	if (offset >= (uint64_t)n->attr.st_size)
		return 0;
	if (len > (uint64_t)n->attr.st_size - offset)
		len = (size_t)((uint64_t)n->attr.st_size - offset);
	memcpy(buf, n->data + offset, len);
	return (ssize_t)len;
}

ssize_t ovl_write(struct overlay *o, struct ovl_req *rq, uint64_t id, const void *data, size_t len,
	uint64_t offset, bool kill_suid)
{
	RWLOCK_WRITE_GUARD(&o->lock);
	struct node *n = node_of(o, id);

	if (!n)
		return -ESTALE;
	if (must_fetch(n, "")) /* as a copy-up would */
		return need_of(o, rq, id);
	atomic_store(&o->seen.kill_suid, kill_suid);
	if (offset + len > (uint64_t)n->attr.st_size && resize(n, offset + len) < 0)
		return -ENOSPC;
	memcpy(n->data + offset, data, len);
	return (ssize_t)len;
}

int ovl_readdir(struct overlay *o, struct ovl_req *rq, uint64_t id, uint64_t offset, bool plus,
	ovl_fill fill, void *arg)
{
	RWLOCK_READ_GUARD(&o->lock);

	(void)rq;
	for (uint64_t i = offset; i < o->count; i++) {
		struct ovl_entry entry;

		if (o->node[i].parent != id)
			continue;
		entry = (struct ovl_entry){.id = i + 1, .attr = o->node[i].attr};
		if (fill(arg, o->node[i].name, &entry, i + 1))
			return 0;
		if (plus)
			atomic_fetch_add(&o->node[i].lookups, 1);
	}
	return 0;
}

static int make(struct overlay *o, uint64_t parent, const char *name, mode_t mode,
	struct ovl_entry *ret_entry)
{
	RWLOCK_WRITE_GUARD(&o->lock);
	uint64_t id;

	if (find(o, parent, name))
		return -EEXIST;
	id = add(o, parent, name, mode);
	if (!id)
		return -ENOSPC;
	fill_entry(o, id, ret_entry);
	return 0;
}

int ovl_create(struct overlay *o, struct ovl_req *rq, uint64_t parent, const char *name,
	mode_t mode, int flags, struct ovl_entry *ret_entry)
{
	(void)rq;
	(void)flags;
	return make(o, parent, name, mode, ret_entry);
}

int ovl_mknod(struct overlay *o, struct ovl_req *rq, uint64_t parent, const char *name, mode_t mode,
	dev_t rdev, struct ovl_entry *ret_entry)
{
	(void)rq;
	(void)rdev;
	return make(o, parent, name, mode, ret_entry);
}

int ovl_mkdir(struct overlay *o, struct ovl_req *rq, uint64_t parent, const char *name, mode_t mode,
	struct ovl_entry *ret_entry)
{
	(void)rq;
	return make(o, parent, name, S_IFDIR | mode, ret_entry);
}

int ovl_tmpfile(struct overlay *o, struct ovl_req *rq, uint64_t parent, mode_t mode,
	struct ovl_entry *ret_entry)
{
	RWLOCK_WRITE_GUARD(&o->lock);
	uint64_t id = add(o, 0, "", mode);

	(void)rq;
	(void)parent;
	if (!id)
		return -ENOSPC;
	atomic_fetch_add(&o->seen.tmpfiles, 1);
	fill_entry(o, id, ret_entry);
	return 0;
}

/* One name per node is enough here: the file moves to the new one. */
int ovl_link(struct overlay *o, struct ovl_req *rq, uint64_t id, uint64_t new_parent,
	const char *new_name, struct ovl_entry *ret_entry)
{
	RWLOCK_WRITE_GUARD(&o->lock);
	struct node *n = node_of(o, id);

	(void)rq;
	if (!n || strlen(new_name) >= sizeof(n->name))
		return -EINVAL;
	n->parent = new_parent;
	memcpy(n->name, new_name, strlen(new_name) + 1);
	fill_entry(o, id, ret_entry);
	return 0;
}

static int drop_name(struct overlay *o, uint64_t parent, const char *name)
{
	RWLOCK_WRITE_GUARD(&o->lock);
	uint64_t id = find(o, parent, name);

	if (!id)
		return -ENOENT;
	node_of(o, id)->parent = 0;
	node_of(o, id)->attr.st_nlink = 0;
	return 0;
}

int ovl_unlink(struct overlay *o, struct ovl_req *rq, uint64_t parent, const char *name)
{
	(void)rq;
	return drop_name(o, parent, name);
}

int ovl_rmdir(struct overlay *o, struct ovl_req *rq, uint64_t parent, const char *name)
{
	(void)rq;
	return drop_name(o, parent, name);
}

int ovl_rename(struct overlay *o, struct ovl_req *rq, const struct ovl_rename *rename)
{
	struct ovl_entry entry;
	uint64_t id;

	(void)rq;
	if (rename->flags)
		return -EINVAL;
	(void)drop_name(o, rename->new_parent, rename->new_name); /* it may be absent */
	rwlock_read(&o->lock);
	id = find(o, rename->parent, rename->name);
	rwlock_release(&o->lock);
	if (!id)
		return -ENOENT;
	(void)ovl_link(o, rq, id, rename->new_parent, rename->new_name,
		&entry); /* checked by the kernel */
	ovl_forget(o, id, 1);
	return 0;
}

int ovl_symlink(struct overlay *o, struct ovl_req *rq, uint64_t parent, const char *name,
	const char *target, struct ovl_entry *ret_entry)
{
	int r = make(o, parent, name, S_IFLNK | 0777, ret_entry);

	(void)rq;
	if (r < 0)
		return r;
	RWLOCK_WRITE_GUARD(&o->lock);
	node_of(o, ret_entry->id)->data = strdup(target);
	return node_of(o, ret_entry->id)->data ? 0 : -ENOMEM;
}

int ovl_readlink(struct overlay *o, struct ovl_req *rq, uint64_t id, char *buf, size_t cap)
{
	RWLOCK_READ_GUARD(&o->lock);
	const struct node *n = node_of(o, id);

	(void)rq;
	if (!n || !n->data)
		return -EINVAL;
	(void)snprintf(buf, cap, "%s", n->data); /* a cut target fails the test */
	return 0;
}

int ovl_statfs(struct overlay *o, struct ovl_req *rq, uint64_t id, struct statvfs *ret_stat)
{
	(void)o;
	(void)rq;
	*ret_stat = (struct statvfs){
		.f_bsize = 4096, .f_frsize = 4096, .f_blocks = 1000 + id, .f_namemax = 63};
	return 0;
}

int ovl_fsync(struct overlay *o, struct ovl_req *rq, uint64_t id, bool data_only)
{
	(void)o;
	(void)rq;
	(void)id;
	(void)data_only;
	return 0;
}

int ovl_fallocate(
	struct overlay *o, struct ovl_req *rq, uint64_t id, int mode, uint64_t offset, uint64_t len)
{
	RWLOCK_WRITE_GUARD(&o->lock);

	(void)rq;
	if (mode || !node_of(o, id))
		return -EOPNOTSUPP;
	return offset + len > (uint64_t)node_of(o, id)->attr.st_size
		       ? resize(node_of(o, id), offset + len)
		       : 0;
}

int64_t ovl_lseek(struct overlay *o, struct ovl_req *rq, uint64_t id, uint64_t offset, int whence)
{
	RWLOCK_READ_GUARD(&o->lock);

	(void)rq;
	return whence == SEEK_DATA ? (int64_t)offset : (int64_t)node_of(o, id)->attr.st_size;
}

ssize_t ovl_copy_range(struct overlay *o, struct ovl_req *rq, const struct ovl_copy *copy)
{
	(void)o;
	(void)rq;
	(void)copy;
	return -EOPNOTSUPP;
}

ssize_t ovl_getxattr(struct overlay *o, struct ovl_req *rq, uint64_t id, const char *name,
	void *value, size_t cap)
{
	(void)o;
	(void)rq;
	(void)id;
	if (strcmp(name, "user.mini") != 0)
		return -ENODATA;
	if (cap > 0 && cap < 4)
		return -ERANGE;
	if (cap > 0)
		memcpy(value, "tiny", 4);
	return 4;
}

ssize_t ovl_listxattr(struct overlay *o, struct ovl_req *rq, uint64_t id, char *list, size_t cap)
{
	(void)o;
	(void)rq;
	(void)id;
	if (cap >= sizeof("user.mini"))
		memcpy(list, "user.mini", sizeof("user.mini"));
	return sizeof("user.mini");
}

int ovl_setxattr(struct overlay *o, struct ovl_req *rq, uint64_t id, const char *name,
	const void *value, size_t len, int flags)
{
	(void)o;
	(void)rq;
	(void)id;
	(void)name;
	(void)value;
	(void)len;
	(void)flags;
	return -ENOSYS; /* must not reach the kernel as it is */
}

int ovl_removexattr(struct overlay *o, struct ovl_req *rq, uint64_t id, const char *name)
{
	(void)o;
	(void)rq;
	(void)id;
	(void)name;
	return -ENODATA;
}
