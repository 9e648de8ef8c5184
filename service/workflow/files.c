/* SPDX-License-Identifier: Apache-2.0 */
/* See files.h. Each call is repeated while it lacks something of the lower. */
#include "workflow/files.h"

#include "workflow/lfs.h"

#include "mount/mount_host.h"
#include "mount/mounts_internal.h"

#include <base/cancel.h>
#include <base/cleanup.h>
#include <base/clock.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse/session.h>
#include <fuse/upper.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define DEPTH_MAX     512
#define RESTORE_TRIES 25
#define RESTORE_NS    (2 * NS_PER_MS) /* until the kernel has forgotten what it was told to */
#define NEEDS_MAX     64
#define OWN_REQUEST   (UINT64_C(1) << 62)

void wf_files_init(struct wf_files *f, struct wf *w)
{
	*f = (struct wf_files){.w = w,
		.overlay = w->use->mount->host->overlay,
		.session = w->use->mount->host->session,
		.next = clock_mono_ns(&clock_system)};
}

/* Numbers of requests: the kernel's are even, so these are nobody else's. */
static struct ovl_req request(struct wf_files *f)
{
	f->next += 2;
	return (struct ovl_req){
		.unique = OWN_REQUEST | f->next | 1, .uid = f->w->use->uid, .gid = f->w->use->gid};
}

/* Repeats `call`, which uses `rq`, until nothing is missing. */
#define OVL(f, rq, call)                                                                         \
	({                                                                                       \
		int ovl_r_, ovl_i_ = 0;                                                          \
		while ((ovl_r_ = (int)(call)) == -EAGAIN) {                                      \
			ovl_r_ = ++ovl_i_ > NEEDS_MAX ? -EIO : wf_need_wait((f)->w, &(rq).need); \
			if (ovl_r_ < 0)                                                          \
				break;                                                           \
		}                                                                                \
		ovl_r_;                                                                          \
	})

static void changed(struct wf_files *f, const struct wf_place *p)
{
	if (!f->silent)
		sess_name_changed(f->session, p->parent, p->name);
}

/* What is there, as one lookup; -ENOENT. */
static int look(struct wf_files *f, const struct wf_place *p, struct ovl_entry *ret_entry)
{
	struct ovl_req rq = request(f);

	return OVL(f, rq, ovl_lookup(f->overlay, &rq, p->parent, p->name, ret_entry));
}

static void forget(struct wf_files *f, uint64_t id)
{
	if (id)
		ovl_forget(f->overlay, id, 1);
}

static int unlink_at(struct wf_files *f, const struct wf_place *p)
{
	struct ovl_req rq = request(f);
	int r = OVL(f, rq, ovl_unlink(f->overlay, &rq, p->parent, p->name));

	if (r == 0)
		changed(f, p);
	return r;
}

static int rmdir_at(struct wf_files *f, const struct wf_place *p)
{
	struct ovl_req rq = request(f);
	int r = OVL(f, rq, ovl_rmdir(f->overlay, &rq, p->parent, p->name));

	if (r == 0)
		changed(f, p);
	return r;
}

static int restore_at(struct wf_files *f, const struct wf_place *p, uint64_t was)
{
	struct ovl_req rq = request(f);
	int r = OVL(f, rq, ovl_restore(f->overlay, &rq, p->parent, p->name, was));

	if (r == 0)
		changed(f, p);
	return r;
}

static int below(struct wf_files *f, const struct wf_place *p, struct ovl_below *ret_below)
{
	struct ovl_req rq = request(f);

	return OVL(f, rq, ovl_below(f->overlay, &rq, p->parent, p->name, ret_below));
}

static void name_temporary(struct wf_files *f, struct wf_place *p)
{
	if (f->planned)
		(void)snprintf(p->text, sizeof(p->text), ".coppice-move");
	else
		(void)snprintf(p->text, sizeof(p->text), ".coppice-reset-%" PRIu64, f->next);
	p->name = p->text;
}

/* ---- whole directories ---- */

#define NAMES_BATCH 512

struct names {
	char *name[NAMES_BATCH];
	unsigned count;
};

static int note_name(void *arg, const char *name, const struct ovl_entry *entry, uint64_t next)
{
	struct names *n = arg;

	(void)entry, (void)next;
	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return 0;
	if (n->count == NAMES_BATCH)
		return 1;
	n->name[n->count] = strdup(name);
	return n->name[n->count] ? (n->count++, 0) : 1;
}

static int remove_dir(struct wf_files *f, const struct wf_place *p, unsigned depth);

static int remove_any(struct wf_files *f, const struct wf_place *p, unsigned depth)
{
	int r = unlink_at(f, p);

	return r == -EISDIR ? remove_dir(f, p, depth) : r;
}

/* One batch of the names in a directory; *ret_more: there were any. */
static int remove_some(struct wf_files *f, uint64_t dir, unsigned depth, bool *ret_more)
{
	struct names *n = calloc(1, sizeof(*n));
	struct ovl_req rq = request(f);
	int r;

	if (!n)
		return -ENOMEM;
	r = OVL(f, rq, ovl_readdir(f->overlay, &rq, dir, 0, false, note_name, n));
	*ret_more = n->count > 0;
	for (unsigned i = 0; i < n->count; i++) {
		const struct wf_place p = {.parent = dir, .name = n->name[i]};

		if (r >= 0)
			r = remove_any(f, &p, depth + 1);
		if (r == -ENOENT)
			r = 0; /* somebody else was faster */
		free(n->name[i]);
	}
	free(n);
	return r < 0 ? r : wf_check(f->w);
}

static int remove_dir(struct wf_files *f, const struct wf_place *p, unsigned depth)
{
	struct ovl_entry entry;
	bool more = true;
	int r;

	if (depth >= DEPTH_MAX)
		return -ENAMETOOLONG;
	r = rmdir_at(f, p);
	if (r != -ENOTEMPTY)
		return r;
	r = look(f, p, &entry);
	if (r < 0)
		return r;
	while (r == 0 && more)
		r = remove_some(f, entry.id, depth, &more);
	forget(f, entry.id);
	return r == 0 ? rmdir_at(f, p) : r;
}

/* ---- on the way to a path ---- */

void wf_files_leave(struct wf_files *f, struct wf_place *place)
{
	if (place->counted)
		forget(f, place->parent);
	place->counted = false;
	while (place->above_count)
		forget(f, place->above[--place->above_count]);
	free(place->above);
	place->above = NULL;
	place->above_cap = 0;
}

/* Takes the lookup of `id`, also on failure. */
static int go_down(struct wf_files *f, struct wf_place *p, uint64_t id)
{
	if (p->counted && p->above_count == p->above_cap) {
		size_t cap = p->above_cap ? 2 * p->above_cap : 8;
		uint64_t *above = reallocarray(p->above, cap, sizeof(*above));

		if (!above) {
			forget(f, id);
			return -ENOMEM;
		}
		p->above = above;
		p->above_cap = cap;
	}
	if (p->counted)
		p->above[p->above_count++] = p->parent;
	p->parent = id;
	p->counted = true;
	return 0;
}

static int move_into_place(
	struct wf_files *f, const struct wf_place *tmp, const struct wf_place *place)
{
	const struct ovl_rename move = {.parent = tmp->parent,
		.new_parent = place->parent,
		.name = tmp->name,
		.new_name = place->name};
	struct ovl_req rq = request(f);
	int r = OVL(f, rq, ovl_rename(f->overlay, &rq, &move));

	if (r == -EISDIR || r == -ENOTEMPTY) { /* a directory is in the way */
		r = remove_dir(f, place, 0);
		rq = request(f);
		if (r == 0)
			r = OVL(f, rq, ovl_rename(f->overlay, &rq, &move));
	}
	if (r == 0)
		changed(f, place);
	return r;
}

static int mkdir_at(struct wf_files *f, const struct wf_place *p, uint64_t *ret_id)
{
	struct ovl_req rq = request(f);
	struct ovl_entry entry;
	int r = OVL(f, rq, ovl_mkdir(f->overlay, &rq, p->parent, p->name, S_IFDIR | 0755, &entry));

	if (r == 0)
		*ret_id = entry.id;
	return r;
}

/* A directory through which `tree` shows, under a name that nobody knows. */
static int make_over(struct wf_files *f, const struct wf_place *tmp, const struct oid *tree)
{
	struct ovl_req rq;
	uint64_t id;
	int r = mkdir_at(f, tmp, &id);

	if (r < 0)
		return r;
	rq = request(f);
	r = OVL(f, rq, ovl_set_lower(f->overlay, &rq, id, tree));
	forget(f, id);
	if (r < 0)
		(void)rmdir_at(f, tmp); /* the first failure is told */
	return r;
}

/* A directory for the name. 1: it shows what that of the base did. */
static int make_dir(struct wf_files *f, struct wf_place *p)
{
	struct wf_place tmp = {.parent = p->parent};
	struct ovl_below lower;
	uint64_t id;
	int r = below(f, p, &lower);

	if (r == 0 && S_ISDIR(lower.mode) && lower.oid.len && !f->planned) {
		name_temporary(f, &tmp);
		r = make_over(f, &tmp, &lower.oid);
		if (r == 0)
			r = move_into_place(f, &tmp, p);
		return r == 0 ? 1 : r;
	}
	if (r == 0 || r == -ENOENT)
		r = mkdir_at(f, p, &id);
	if (r < 0)
		return r;
	changed(f, p);
	return go_down(f, p, id);
}

static int enter_one(struct wf_files *f, struct wf_place *p, bool make)
{
	struct ovl_entry entry;
	int r = look(f, p, &entry);

	if (r == 0 && S_ISDIR(entry.attr.st_mode))
		return go_down(f, p, entry.id);
	if (r == 0) {
		forget(f, entry.id);
		r = make ? unlink_at(f, p) : -ENOENT;
		if (r < 0)
			return r;
	} else if (r != -ENOENT || !make) {
		return r;
	}
	return make_dir(f, p);
}

int wf_files_enter(struct wf_files *f, const char *path, bool make, struct wf_place *ret_place,
	size_t *ret_restored)
{
	const char *at = path, *slash;
	struct wf_place *p = ret_place;
	int r = 0;

	*p = (struct wf_place){.parent = ovl_ws_root_id(f->w->ws)};
	p->name = p->text;
	while (r == 0) {
		size_t len;

		slash = strchr(at, '/');
		len = slash ? (size_t)(slash - at) : strlen(at);
		if (len >= sizeof(p->text))
			r = -ENAMETOOLONG;
		if (r < 0)
			break;
		memcpy(p->text, at, len);
		p->text[len] = '\0';
		if (!slash)
			return 0;
		r = enter_one(f, p, make);
		at = slash + 1;
	}
	if (r == 1) {
		*ret_restored = (size_t)(slash - path);
		return 0;
	}
	wf_files_leave(f, p);
	return r;
}

/* ---- files ---- */

int wf_files_look(struct wf_files *f, struct wf_place *place)
{
	struct ovl_entry entry;
	int r = look(f, place, &entry);

	if (r == 0)
		forget(f, entry.id);
	return r == -ENOENT ? 0 : r;
}

static bool is_dir_of_base(struct wf_files *f, const struct wf_place *p)
{
	struct ovl_below b;
	int r = below(f, p, &b);

	return r == 0 ? S_ISDIR(b.mode) : r != -ENOENT;
}

int wf_files_prune(struct wf_files *f, const char *path, bool keep_base)
{
	_cleanup_free_ char *dir = strdup(path);
	char *slash;
	int r = 0;

	if (!dir)
		return -ENOMEM;
	while (r == 0 && (slash = strrchr(dir, '/'))) {
		struct wf_place up;
		size_t restored = 0;

		*slash = '\0';
		r = wf_files_enter(f, dir, false, &up, &restored);
		if (r < 0)
			break;
		r = keep_base && is_dir_of_base(f, &up) ? -ENOTEMPTY : rmdir_at(f, &up);
		wf_files_leave(f, &up);
	}
	return r == -ENOTEMPTY || r == -ENOENT || r == -ENOTDIR ? 0 : r;
}

int wf_files_remove(struct wf_files *f, struct wf_place *place, const char *path)
{
	int r = unlink_at(f, place);

	if (r == -EISDIR || r == -ENOENT)
		return 0; /* it is no file any more */
	return r == 0 ? wf_files_prune(f, path, false) : r;
}

int wf_files_restore(struct wf_files *f, struct wf_place *place)
{
	struct ovl_entry entry;
	struct ovl_below lower;
	int r = look(f, place, &entry);

	if (r < 0)
		return r == -ENOENT ? -EBUSY : r; /* removed, or moved away with its id */
	forget(f, entry.id);
	r = below(f, place, &lower);
	if (r < 0)
		return r == -ENOENT ? -EBUSY : r;
	if (S_ISDIR(entry.attr.st_mode) || entry.attr.st_nlink != 1 || entry.id != lower.id)
		return -EBUSY;
	r = unlink_at(f, place);
	if (r == 0)
		r = restore_at(f, place, lower.id);
	for (unsigned i = 0; r == -EBUSY && i < RESTORE_TRIES; i++) {
		(void)cancel_sleep_until(f->w->use->cancel, clock_after(&clock_system, RESTORE_NS));
		r = restore_at(f, place, lower.id);
	}
	return r;
}

int wf_files_rmdir(struct wf_files *f, struct wf_place *place)
{
	int r = rmdir_at(f, place);

	return r == -ENOENT || r == -ENOTDIR ? 0 : r;
}

int wf_files_uncover(struct wf_files *f, struct wf_place *place)
{
	struct ovl_entry entry = {0};
	struct ovl_below lower;
	int r = look(f, place, &entry), b;

	if (r < 0 && r != -ENOENT)
		return r;
	forget(f, r == 0 ? entry.id : 0);
	b = below(f, place, &lower);
	if ((b < 0 && b != -ENOENT) || (r == 0 && S_ISDIR(entry.attr.st_mode)))
		return b < 0 ? b : 0; /* a directory by now: the job's */
	if (r == 0)
		r = unlink_at(f, place);
	else
		r = 0; /* removed already */
	return r == 0 && b == 0 ? restore_at(f, place, lower.id) : r;
}

int wf_files_mkdir(struct wf_files *f, struct wf_place *place)
{
	uint64_t id;
	int r = mkdir_at(f, place, &id);

	if (r == -EEXIST)
		return 0;
	if (r < 0)
		return r;
	forget(f, id);
	changed(f, place);
	return 0;
}

struct writing {
	struct wf_files *f;
	uint64_t id;
};

static int write_piece(void *arg, const void *data, size_t len, uint64_t offset)
{
	const struct writing *x = arg;

	while (len) {
		struct ovl_req rq = request(x->f);
		ssize_t n = OVL(x->f, rq,
			ovl_write(x->f->overlay, &rq, x->id, data,
				len < (1u << 20) ? len : (1u << 20), offset, false));

		if (n <= 0)
			return n < 0 ? (int)n : -EIO;
		data = (const char *)data + n;
		len -= (size_t)n;
		offset += (uint64_t)n;
	}
	return 0;
}

static int make_file(struct wf_files *f, const struct wf_place *tmp, const struct wf_node *node,
	uint64_t *ret_id)
{
	mode_t mode = S_IFREG | (node->mode == WF_MODE_EXEC ? 0755 : 0644);
	struct ovl_req rq = request(f);
	struct ovl_entry entry;
	struct writing writing = {f, 0};
	int r = OVL(
		f, rq, ovl_create(f->overlay, &rq, tmp->parent, tmp->name, mode, O_EXCL, &entry));

	if (r < 0)
		return r;
	*ret_id = writing.id = entry.id;
	return wf_lfs_each(f->w, &node->oid, write_piece, &writing);
}

static int make_link(struct wf_files *f, const struct wf_place *tmp, const struct wf_node *node,
	uint64_t *ret_id)
{
	_cleanup_free_ char *target = NULL;
	struct ovl_req rq = request(f);
	struct ovl_entry entry;
	size_t len;
	int r = wf_blob_read(f->w, &node->oid, 4096, &target, &len);

	if (r == 0 && (len == 0 || strlen(target) != len))
		r = -EINVAL; /* no filesystem can have it */
	if (r == 0)
		r = OVL(f, rq,
			ovl_symlink(f->overlay, &rq, tmp->parent, tmp->name, target, &entry));
	if (r == 0)
		*ret_id = entry.id;
	return r;
}

int wf_files_write(struct wf_files *f, struct wf_place *place, const struct wf_node *node)
{
	struct wf_place tmp = {.parent = place->parent};
	uint64_t id = 0;
	int r;

	name_temporary(f, &tmp);
	if (f->planned) { /* a process that was killed may have left one */
		r = unlink_at(f, &tmp);
		if (r < 0 && r != -ENOENT)
			return r;
	}
	if (node->mode == WF_MODE_LINK)
		r = make_link(f, &tmp, node, &id);
	else
		r = make_file(f, &tmp, node, &id);
	if (r == 0)
		r = move_into_place(f, &tmp, place);
	if (r < 0 && id)
		(void)unlink_at(f, &tmp); /* the first failure is told */
	forget(f, id);
	return r;
}
