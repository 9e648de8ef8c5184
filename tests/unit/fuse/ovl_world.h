/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A workspace on a temporary directory over a lower in memory, spoken to by path: what the tests of
 * changes need. Errors of the fixture fail the test; errors of the overlay are returned as they
 * are.
 */
#pragma once
#include <base/buf.h>
#include <base/clock.h>
#include <base/err.h>
#include <base/quota.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse/overlay.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fake_lower.h"
#include "overlay/ovl_change.h"
#include "overlay/ovl_switch.h"
#include "tmpdir.h"

#define WORLD_SERIAL   7ull
#define WORLD_TIME_S   1600000000
#define WORLD_UNUSED   __attribute__((unused))
#define WORLD_LIST_MAX 512

struct world {
	struct tmpdir tmp;
	struct fake_lower *fake;
	struct oid root;
	struct oid switched; /* where the last process was perhaps switching to */
	struct quota quota;
	struct overlay *o;
	struct ovl_ws *ws;
	struct ovl_req rq;
	bool adopt;         /* the next open takes over what a killed process left */
	bool alone;         /* nothing of that comes back by itself */
	uint64_t nodes_max; /* budget of the overlays that are opened; 0: the usual one */
};

WORLD_UNUSED static void world_init(struct world *w)
{
	*w = (struct world){.rq = {.unique = 1000}};
	tmpdir_init(&w->tmp);
	w->fake = fake_lower_new();
	quota_init(&w->quota, NULL);
	(void)umask(0);
}

WORLD_UNUSED static void world_open(struct world *w)
{
	struct ovl_config config = {
		.tenant = "t", .nodes_max = w->nodes_max, .clock = &clock_system};
	struct ovl_ws_config ws = {
		.name = "ws", .serial = WORLD_SERIAL, .lower_time_s = WORLD_TIME_S};
	struct err e = {0};
	char dir[300];

	if (!w->root.len)
		w->root = fake_lower_seal(w->fake);
	ws.dir = tmpdir_path(&w->tmp, "ws", dir, sizeof(dir));
	ws.root_tree = w->root;
	ws.switching_to = w->switched;
	ws.lower = fake_lower_open(w->fake);
	ws.quota = &w->quota;
	ws.adopt = w->adopt;
	assert_int_equal(ovl_new(&w->o, &config), 0);
	if (w->alone)
		assert_int_equal(ovl_gate_close(w->o, UINT64_MAX), 0);
	if (ovl_ws_add(w->o, &ws, &w->ws, &e) < 0)
		fail_msg("ovl_ws_add: %s", err_message(&e));
	/* the count is exact while nothing changes; calls of a session say so, ours do not */
	while (atomic_load(&w->ws->uncounted))
		(void)sched_yield();
}

WORLD_UNUSED static void world_close(struct world *w)
{
	if (w->alone)
		ovl_gate_open(w->o);
	ovl_ws_remove(w->o, w->ws);
	w->ws = NULL;
	w->o = ovl_free(w->o);
	quota_release(&w->quota, QUOTA_BYTES, quota_used(&w->quota, QUOTA_BYTES));
	quota_release(&w->quota, QUOTA_INODES, quota_used(&w->quota, QUOTA_INODES));
}

WORLD_UNUSED static void world_fini(struct world *w)
{
	if (w->ws)
		world_close(w);
	w->fake = fake_lower_free(w->fake);
	quota_fini(&w->quota);
	tmpdir_fini(&w->tmp);
}

/* ---- set up and torn down by cmocka ---- */

/* What most tests need of a lower: a file in a directory, a program, a link. */
WORLD_UNUSED static int world_set_up(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	world_init(w);
	fake_lower_add(w->fake, "d/file", S_IFREG | 0644, "lower", 5);
	fake_lower_add(w->fake, "tool", S_IFREG | 0755, "tool", 4);
	fake_lower_add(w->fake, "link", S_IFLNK | 0777, "tool", 4);
	world_open(w);
	*state = w;
	return 0;
}

WORLD_UNUSED static int world_tear_down(void **state)
{
	world_fini(*state);
	free(*state);
	return 0;
}

WORLD_UNUSED static struct ovl_req *world_rq(struct world *w)
{
	w->rq.unique += 2;
	return &w->rq;
}

/* ---- by path ---- */

/* An entry that was looked up, with the directories above it: as in the kernel, those are not
 * forgotten before it. */
struct world_at {
	struct ovl_entry e;
	uint64_t *up;
	size_t depth;
};

WORLD_UNUSED static void world_forget(struct world *w, struct world_at *at)
{
	if (at->e.id != ovl_ws_root_id(w->ws))
		ovl_forget(w->o, at->e.id, 1);
	while (at->depth > 0)
		ovl_forget(w->o, at->up[--at->depth], 1);
	free(at->up);
	at->up = NULL;
}

/* From a directory to an entry below it that has been counted. */
WORLD_UNUSED static void world_descend(
	struct world *w, struct world_at *at, const struct ovl_entry *e)
{
	if (at->e.id != ovl_ws_root_id(w->ws)) {
		at->up = realloc(at->up, (at->depth + 1) * sizeof(*at->up));
		assert_non_null(at->up);
		at->up[at->depth++] = at->e.id;
	}
	at->e = *e;
}

/* Looks every component up as the kernel would. */
WORLD_UNUSED static int world_walk(struct world *w, const char *path, struct world_at *ret_at)
{
	struct world_at at = {.e.id = ovl_ws_root_id(w->ws)};
	char copy[4096], *save = NULL;
	struct ovl_entry next;
	int r;

	r = ovl_getattr(w->o, world_rq(w), at.e.id, &at.e.attr);
	(void)snprintf(copy, sizeof(copy), "%s", path);
	for (char *c = strtok_r(copy, "/", &save); r == 0 && c; c = strtok_r(NULL, "/", &save)) {
		if (!S_ISDIR(at.e.attr.st_mode))
			r = -ENOTDIR;
		else
			r = ovl_lookup(w->o, world_rq(w), at.e.id, c, &next);
		if (r == 0)
			world_descend(w, &at, &next);
	}
	if (r < 0)
		world_forget(w, &at);
	else
		*ret_at = at;
	return r;
}

WORLD_UNUSED static int world_stat(struct world *w, const char *path, struct stat *ret_st)
{
	struct world_at at;
	int r = world_walk(w, path, &at);

	if (r < 0)
		return r;
	r = ovl_getattr(w->o, world_rq(w), at.e.id, ret_st);
	world_forget(w, &at);
	return r;
}

/* The id under a path, 0 if there is none. */
WORLD_UNUSED static uint64_t world_id(struct world *w, const char *path)
{
	struct world_at at;
	uint64_t id;

	if (world_walk(w, path, &at) < 0)
		return 0;
	id = at.e.id;
	world_forget(w, &at);
	return id;
}

/* Parent (counted) and last component. */
WORLD_UNUSED static int world_parent(
	struct world *w, const char *path, struct world_at *ret_parent, const char **ret_name)
{
	const char *slash = strrchr(path, '/');
	char dir[4096] = "";
	int r;

	if (slash)
		(void)snprintf(dir, sizeof(dir), "%.*s", (int)(slash - path), path);
	*ret_name = slash ? slash + 1 : path;
	r = world_walk(w, dir, ret_parent);
	if (r == 0 && !S_ISDIR(ret_parent->e.attr.st_mode)) {
		world_forget(w, ret_parent);
		r = -ENOTDIR;
	}
	return r;
}

enum world_make { WORLD_FILE, WORLD_DIR, WORLD_FIFO };

/* ret_at (counted) may be NULL. */
WORLD_UNUSED static int world_make(struct world *w, enum world_make what, const char *path,
	mode_t mode, struct world_at *ret_at)
{
	struct world_at p;
	struct ovl_entry e;
	const char *name;
	int r = world_parent(w, path, &p, &name);

	if (r < 0)
		return r;
	if (what == WORLD_FILE)
		r = ovl_create(w->o, world_rq(w), p.e.id, name, mode, O_EXCL, &e);
	else if (what == WORLD_DIR)
		r = ovl_mkdir(w->o, world_rq(w), p.e.id, name, mode, &e);
	else
		r = ovl_mknod(w->o, world_rq(w), p.e.id, name, S_IFIFO | mode, 0, &e);
	if (r == 0)
		world_descend(w, &p, &e);
	if (r == 0 && ret_at)
		*ret_at = p;
	else
		world_forget(w, &p);
	return r;
}

WORLD_UNUSED static int world_symlink(struct world *w, const char *path, const char *target)
{
	struct world_at p;
	struct ovl_entry e;
	const char *name;
	int r = world_parent(w, path, &p, &name);

	if (r < 0)
		return r;
	r = ovl_symlink(w->o, world_rq(w), p.e.id, name, target, &e);
	if (r == 0)
		world_descend(w, &p, &e);
	world_forget(w, &p);
	return r;
}

WORLD_UNUSED static int world_remove(struct world *w, const char *path, bool is_dir)
{
	struct world_at p;
	const char *name;
	int r = world_parent(w, path, &p, &name);

	if (r < 0)
		return r;
	r = is_dir ? ovl_rmdir(w->o, world_rq(w), p.e.id, name)
		   : ovl_unlink(w->o, world_rq(w), p.e.id, name);
	world_forget(w, &p);
	return r;
}

WORLD_UNUSED static int world_rename(
	struct world *w, const char *from, const char *to, unsigned flags)
{
	struct world_at p, q;
	struct ovl_rename rename = {.flags = flags};
	int r = world_parent(w, from, &p, &rename.name);

	if (r < 0)
		return r;
	r = world_parent(w, to, &q, &rename.new_name);
	if (r == 0) {
		rename.parent = p.e.id;
		rename.new_parent = q.e.id;
		r = ovl_rename(w->o, world_rq(w), &rename);
		world_forget(w, &q);
	}
	world_forget(w, &p);
	return r;
}

WORLD_UNUSED static int world_link(struct world *w, const char *from, const char *to)
{
	struct world_at f, p;
	struct ovl_entry e;
	const char *name;
	int r = world_walk(w, from, &f);

	if (r < 0)
		return r;
	r = world_parent(w, to, &p, &name);
	if (r == 0) {
		r = ovl_link(w->o, world_rq(w), f.e.id, p.e.id, name, &e);
		if (r == 0)
			world_descend(w, &p, &e);
		world_forget(w, &p);
	}
	world_forget(w, &f);
	return r;
}

WORLD_UNUSED static ssize_t world_write(
	struct world *w, const char *path, const void *data, size_t len, uint64_t offset)
{
	struct world_at e;
	ssize_t r = world_walk(w, path, &e);

	if (r < 0)
		return r;
	r = ovl_write(w->o, world_rq(w), e.e.id, data, len, offset, false);
	world_forget(w, &e);
	return r;
}

WORLD_UNUSED static int world_setattr(
	struct world *w, const char *path, const struct stat *attr, unsigned set)
{
	struct world_at e;
	struct stat now;
	int r = world_walk(w, path, &e);

	if (r < 0)
		return r;
	r = ovl_setattr(w->o, world_rq(w), e.e.id, attr, set, &now);
	world_forget(w, &e);
	return r;
}

/* A file with content, made through the overlay. */
WORLD_UNUSED static void world_put(struct world *w, const char *path, const char *content)
{
	struct world_at e;

	assert_int_equal(world_make(w, WORLD_FILE, path, 0644, &e), 0);
	assert_int_equal(ovl_write(w->o, world_rq(w), e.e.id, content, strlen(content), 0, false),
		strlen(content));
	world_forget(w, &e);
}

/* ---- state ---- */

struct world_names {
	char *name[WORLD_LIST_MAX];
	size_t count;
};

WORLD_UNUSED static int world_fill(
	void *arg, const char *name, const struct ovl_entry *entry, uint64_t next_offset)
{
	struct world_names *l = arg;

	(void)entry;
	(void)next_offset;
	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return 0;
	assert_true(l->count < WORLD_LIST_MAX);
	l->name[l->count++] = strdup(name);
	return 0;
}

WORLD_UNUSED static int world_by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

WORLD_UNUSED static void world_dump_at(struct world *w, const char *path, struct buf *out);

WORLD_UNUSED static void world_dump_dir(
	struct world *w, const char *path, uint64_t id, struct buf *out)
{
	struct world_names l = {.count = 0};

	assert_int_equal(ovl_readdir(w->o, world_rq(w), id, 0, false, world_fill, &l), 0);
	qsort(l.name, l.count, sizeof(l.name[0]), world_by_name);
	for (size_t i = 0; i < l.count; i++) {
		char sub[4096];

		assert_true(snprintf(sub, sizeof(sub), "%s%s%s", path, *path ? "/" : "",
				    l.name[i]) < (int)sizeof(sub));
		world_dump_at(w, sub, out);
		free(l.name[i]);
	}
}

/* One line per object: path, type and mode, owner, links, size, content. Times and ids are not in
 * it. */
WORLD_UNUSED static void world_dump_at(struct world *w, const char *path, struct buf *out)
{
	static char data[1 << 20];
	struct world_at at;
	struct ovl_entry e;

	assert_int_equal(world_walk(w, path, &at), 0);
	e = at.e;
	assert_int_equal(e.attr.st_ino, e.id);
	buf_printf(out, "%s %o %u:%u n%lu", path, e.attr.st_mode, e.attr.st_uid, e.attr.st_gid,
		(unsigned long)e.attr.st_nlink);
	if (S_ISREG(e.attr.st_mode)) {
		ssize_t n = ovl_read(w->o, world_rq(w), e.id, data, sizeof(data), 0);

		assert_int_equal(n, e.attr.st_size);
		buf_printf(out, " %zd ", n);
		buf_append(out, data, (size_t)n);
	} else if (S_ISLNK(e.attr.st_mode)) {
		assert_int_equal(ovl_readlink(w->o, world_rq(w), e.id, data, 4097), 0);
		buf_printf(out, " -> %s", data);
	}
	buf_putc(out, '\n');
	if (S_ISDIR(e.attr.st_mode))
		world_dump_dir(w, path, e.id, out);
	world_forget(w, &at);
}

/* malloc'ed */
WORLD_UNUSED static char *world_dump(struct world *w)
{
	struct buf out;
	char *text;

	buf_init(&out, 64 << 20);
	world_dump_at(w, "", &out);
	text = buf_take(&out);
	assert_non_null(text);
	return text;
}

WORLD_UNUSED static unsigned world_count_in(struct world *w, const char *below)
{
	char path[400];
	unsigned count = 0;
	struct dirent *e;
	DIR *d;

	(void)snprintf(path, sizeof(path), "%s/ws/%s", w->tmp.path, below);
	d = opendir(path);
	assert_non_null(d);
	while ((e = readdir(d)))
		count += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
	(void)closedir(d);
	return count;
}

/* What the quota says is what is there. */
WORLD_UNUSED static void world_check_usage(struct world *w)
{
	uint64_t bytes, inodes;

	assert_int_equal(ovl_charge_scan(w->ws, &bytes, &inodes), 0);
	assert_int_equal(quota_used(&w->quota, QUOTA_BYTES), bytes);
	assert_int_equal(quota_used(&w->quota, QUOTA_INODES), inodes);
}

/* In the upper on disk, relative to it. */
WORLD_UNUSED static int world_upper_stat(struct world *w, const char *path, struct stat *ret_st)
{
	return fstatat(w->ws->upper_fd, path, ret_st, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}
