/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The overlay against a plain directory: the same random operations on both, results and errnos
 * compared at once, and after every step the whole tree (names, types, modes, owners, link counts,
 * sizes, bytes), the quota against a recount, and that every object kept its id. From time to time
 * the workspace is closed and opened again.
 *
 * OVL_MODEL_SEED and OVL_MODEL_STEPS repeat or lengthen a run; a failure prints the seed and the
 * step.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "ovl_model.h"

#include <linux/falloc.h>
#include <sys/xattr.h>
#include <time.h>

#define STEPS         250
#define WRITE_MAX     20000
#define REOPEN_ONE_IN 50
/* ---- operations: each does the same on both and returns what it was ---- */

static void expect(const char *what, const char *path, ssize_t ours, ssize_t theirs)
{
	if (ours != theirs)
		fail_msg("%s %s: overlay %zd, plain %zd", what, path, ours, theirs);
}

static const char *random_path(struct model *m, char path[64])
{
	unsigned depth = 1 + (unsigned)rnd(m, 3);
	size_t at = 0;

	for (unsigned i = 0; i < depth; i++) {
		if (i)
			path[at++] = '/';
		path[at++] = (char)('a' + rnd(m, 5));
	}
	path[at] = '\0';
	return path;
}

static void op_make(struct model *m)
{
	static const enum world_make kinds[] = {
		WORLD_FILE, WORLD_FILE, WORLD_DIR, WORLD_DIR, WORLD_FIFO};
	enum world_make kind = kinds[rnd(m, 5)];
	mode_t mode = rnd(m, 2) ? 0755 : 0644;
	char path[64];
	const char *name;
	int fd, theirs;

	random_path(m, path);
	theirs = plain_parent(m, path, &name, &fd);
	if (theirs == 0) {
		if (kind == WORLD_FILE) {
			int f = openat(fd, name, O_CREAT | O_EXCL | O_WRONLY, mode);

			theirs = f < 0 ? -errno : 0;
			if (f >= 0)
				(void)close(f);
		} else {
			theirs = kind == WORLD_DIR ? mkdirat(fd, name, mode)
						   : mkfifoat(fd, name, mode);
			theirs = theirs < 0 ? -errno : 0;
		}
		(void)close(fd);
	}
	expect(kind == WORLD_DIR ? "mkdir" : "create", path,
		world_make(&m->w, kind, path, mode, NULL), theirs);
}

static void op_symlink(struct model *m)
{
	char path[64], target[64];
	const char *name;
	int fd, theirs;

	random_path(m, path);
	random_path(m, target);
	theirs = plain_parent(m, path, &name, &fd);
	if (theirs == 0) {
		theirs = symlinkat(target, fd, name) < 0 ? -errno : 0;
		(void)close(fd);
	}
	expect("symlink", path, world_symlink(&m->w, path, target), theirs);
}

static void op_remove(struct model *m)
{
	bool is_dir = rnd(m, 2);
	char path[64];
	const char *name;
	int fd, theirs;

	random_path(m, path);
	theirs = plain_parent(m, path, &name, &fd);
	if (theirs == 0) {
		theirs = unlinkat(fd, name, is_dir ? AT_REMOVEDIR : 0) < 0 ? -errno : 0;
		(void)close(fd);
	}
	expect(is_dir ? "rmdir" : "unlink", path, world_remove(&m->w, path, is_dir), theirs);
}

static bool one_inside_other(const char *a, const char *b)
{
	size_t la = strlen(a), lb = strlen(b);

	return (la < lb && strncmp(a, b, la) == 0 && b[la] == '/') ||
	       (lb < la && strncmp(a, b, lb) == 0 && a[lb] == '/');
}

static void op_rename(struct model *m)
{
	static const unsigned all_flags[] = {0, 0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE};
	unsigned flags = all_flags[rnd(m, 5)];
	char from[64], to[64], what[160];
	const char *name, *new_name;
	int fd, fd2, theirs;

	random_path(m, from);
	random_path(m, to);
	if (one_inside_other(from, to))
		return; /* the kernel refuses these itself, with an errno of its own choice */
	theirs = plain_parent(m, from, &name, &fd);
	if (theirs == 0) {
		theirs = plain_parent(m, to, &new_name, &fd2);
		if (theirs == 0) {
			theirs = renameat2(fd, name, fd2, new_name, flags) < 0 ? -errno : 0;
			(void)close(fd2);
		}
		(void)close(fd);
	}
	(void)snprintf(what, sizeof(what), "%s -> %s (%u)", from, to, flags);
	expect("rename", what, world_rename(&m->w, from, to, flags), theirs);
}

static void op_link(struct model *m)
{
	char from[64], to[64], what[160];
	const char *name, *new_name;
	int fd, fd2, theirs;

	random_path(m, from);
	random_path(m, to);
	if (plain_type(m, from) == S_IFDIR)
		return;
	theirs = plain_parent(m, from, &name, &fd);
	if (theirs == 0) {
		struct stat st;

		theirs = fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
		if (theirs == 0)
			theirs = plain_parent(m, to, &new_name, &fd2);
		if (theirs == 0) {
			theirs = linkat(fd, name, fd2, new_name, 0) < 0 ? -errno : 0;
			(void)close(fd2);
		}
		(void)close(fd);
	}
	(void)snprintf(what, sizeof(what), "%s -> %s", from, to);
	expect("link", what, world_link(&m->w, from, to), theirs);
}

static size_t random_data(struct model *m, char *data)
{
	size_t len = 1 + rnd(m, rnd(m, 4) ? 300 : WRITE_MAX);

	memset(data, (int)('A' + rnd(m, 26)), len);
	return len;
}

static void op_write(struct model *m)
{
	char path[64], data[WRITE_MAX + 1];
	size_t len = random_data(m, data);
	uint64_t offset = rnd(m, 3) ? 0 : rnd(m, 40000);
	int fd;

	random_path(m, path);
	if (plain_type(m, path) != S_IFREG)
		return;
	fd = plain_open(m, path, O_WRONLY);
	assert_true(fd >= 0);
	expect("write", path, world_write(&m->w, path, data, len, offset),
		pwrite(fd, data, len, (off_t)offset));
	(void)close(fd);
}

static void op_setattr(struct model *m)
{
	static const mode_t modes[] = {0600, 0644, 0755, 04755, 02755, 0400};
	struct stat st = {0};
	unsigned set = 0, kind = (unsigned)rnd(m, 4);
	char path[64];
	int fd, theirs;
	mode_t type;

	random_path(m, path);
	type = plain_type(m, path);
	if (type != S_IFREG && type != S_IFDIR)
		return;
	fd = plain_open(m, path, type == S_IFREG && kind == 0 ? O_RDWR : O_RDONLY);
	assert_true(fd >= 0);
	if (kind == 0 && type == S_IFREG) {
		set = OVL_SET_SIZE;
		st.st_size = rnd(m, 3) ? (off_t)rnd(m, 30000) : 0;
		theirs = ftruncate(fd, st.st_size);
	} else if (kind == 1) {
		set = OVL_SET_UID | OVL_SET_GID | OVL_SET_KILL_SUID;
		st.st_uid = (uid_t)rnd(m, 3);
		st.st_gid = (gid_t)rnd(m, 3);
		theirs = fchown(fd, st.st_uid, st.st_gid);
		if (type == S_IFDIR)
			set &= ~(unsigned)OVL_SET_KILL_SUID;
	} else if (kind == 2) {
		struct timespec ts[2] = {{.tv_sec = 5, .tv_nsec = 7}, {.tv_nsec = UTIME_OMIT}};

		set = OVL_SET_ATIME;
		st.st_atim = ts[0];
		theirs = futimens(fd, ts);
	} else {
		set = OVL_SET_MODE;
		st.st_mode = modes[rnd(m, 6)];
		theirs = fchmod(fd, st.st_mode);
	}
	theirs = theirs < 0 ? -errno : 0;
	(void)close(fd);
	expect("setattr", path, world_setattr(&m->w, path, &st, set), theirs);
}

static void op_xattr(struct model *m)
{
	static const char *const names[] = {"user.a", "user.b", "user.longer"};
	const char *name = names[rnd(m, 3)];
	int flags = (int)rnd(m, 3), fd, theirs, ours;
	char path[64], value[64], back[64], list[256], list2[256];
	struct world_at e;
	size_t len = rnd(m, sizeof(value));
	mode_t type;

	random_path(m, path);
	type = plain_type(m, path);
	if (type != S_IFREG && type != S_IFDIR)
		return;
	fd = plain_open(m, path, O_RDONLY);
	memset(value, 'v', sizeof(value));
	assert_int_equal(world_walk(&m->w, path, &e), 0);
	if (rnd(m, 3)) {
		theirs = fsetxattr(fd, name, value, len, flags) < 0 ? -errno : 0;
		ours = ovl_setxattr(m->w.o, world_rq(&m->w), e.e.id, name, value, len, flags);
	} else {
		theirs = fremovexattr(fd, name) < 0 ? -errno : 0;
		ours = ovl_removexattr(m->w.o, world_rq(&m->w), e.e.id, name);
	}
	expect("xattr", path, ours, theirs);
	for (size_t i = 0; i < 3; i++) {
		ssize_t n = fgetxattr(fd, names[i], back, sizeof(back));

		expect("getxattr", path,
			ovl_getxattr(
				m->w.o, world_rq(&m->w), e.e.id, names[i], value, sizeof(value)),
			n < 0 ? -errno : n);
	}
	/* the same names; only an untouched lower file has facts besides */
	ssize_t n = flistxattr(fd, list, sizeof(list));
	ssize_t n2 = ovl_listxattr(m->w.o, world_rq(&m->w), e.e.id, list2, sizeof(list2));

	if (n2 < (ssize_t)sizeof("user.coppice") || strncmp(list2, "user.coppice", 12) != 0)
		expect("listxattr", path, n2, n);
	world_forget(&m->w, &e);
	(void)close(fd);
}

/* ---- files that are open ---- */

static void op_open(struct model *m)
{
	struct held *h = &m->held[rnd(m, HELD)];
	char path[64];

	random_path(m, path);
	if (h->used || plain_type(m, path) != S_IFREG)
		return;
	h->fd = plain_open(m, path, O_RDWR);
	assert_true(h->fd >= 0);
	assert_int_equal(world_walk(&m->w, path, &h->at), 0);
	h->used = true;
}

static void op_tmpfile(struct model *m)
{
	struct held *h = &m->held[rnd(m, HELD)];

	if (h->used)
		return;
	h->fd = openat(m->plain, ".", O_TMPFILE | O_RDWR, 0640);
	assert_true(h->fd >= 0);
	h->at = (struct world_at){0};
	assert_int_equal(
		ovl_tmpfile(m->w.o, world_rq(&m->w), ovl_ws_root_id(m->w.ws), 0640, &h->at.e), 0);
	h->used = true;
}

static void op_link_tmpfile(struct model *m)
{
	struct held *h = &m->held[rnd(m, HELD)];
	char path[64], proc[32];
	struct world_at p;
	struct ovl_entry e;
	const char *name;
	struct stat st;
	int fd, theirs, ours;

	if (!h->used || fstat(h->fd, &st) < 0 || st.st_nlink > 0)
		return;
	random_path(m, path);
	theirs = plain_parent(m, path, &name, &fd);
	if (theirs < 0)
		return;
	(void)snprintf(proc, sizeof(proc), "/proc/self/fd/%d", h->fd);
	theirs = linkat(AT_FDCWD, proc, fd, name, AT_SYMLINK_FOLLOW) < 0 ? -errno : 0;
	(void)close(fd);
	if (theirs == -ENOENT)
		return; /* unlinked, not O_TMPFILE: the kernel refuses before it asks us */
	assert_int_equal(world_parent(&m->w, path, &p, &name), 0);
	ours = ovl_link(m->w.o, world_rq(&m->w), h->at.e.id, p.e.id, name, &e);
	if (ours == 0) {
		assert_int_equal(e.id, h->at.e.id);
		world_descend(&m->w, &p, &e);
	}
	world_forget(&m->w, &p);
	expect("link of tmpfile", path, ours, theirs);
}

static void held_compare(struct model *m, struct held *h)
{
	static char ours[1 << 20], theirs[1 << 20];
	struct stat st, st2;
	ssize_t n;

	assert_int_equal(ovl_getattr(m->w.o, world_rq(&m->w), h->at.e.id, &st), 0);
	assert_int_equal(fstat(h->fd, &st2), 0);
	assert_int_equal(st.st_size, st2.st_size);
	assert_int_equal(st.st_mode, st2.st_mode);
	assert_int_equal(st.st_nlink, st2.st_nlink);
	assert_int_equal(st.st_uid, st2.st_uid);
	n = pread(h->fd, theirs, sizeof(theirs), 0);
	assert_int_equal(ovl_read(m->w.o, world_rq(&m->w), h->at.e.id, ours, sizeof(ours), 0), n);
	assert_memory_equal(ours, theirs, n);
}

static void held_space(struct model *m, struct held *h)
{
	static const int modes[] = {0, FALLOC_FL_KEEP_SIZE,
		FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_ZERO_RANGE};
	int mode = modes[rnd(m, 4)];
	uint64_t offset = rnd(m, 30000), len = 1 + rnd(m, 30000);
	int theirs = fallocate(h->fd, mode, (off_t)offset, (off_t)len) < 0 ? -errno : 0;

	expect("fallocate", "",
		ovl_fallocate(m->w.o, world_rq(&m->w), h->at.e.id, mode, offset, len), theirs);
}

static void op_held(struct model *m)
{
	struct held *h = &m->held[rnd(m, HELD)];
	char data[WRITE_MAX + 1];
	size_t len;
	uint64_t offset;

	if (!h->used)
		return;
	switch (rnd(m, 5)) {
	case 0:
		held_space(m, h);
		break;
	case 1:
	case 2:
		len = random_data(m, data);
		offset = rnd(m, 20000);
		expect("write held", "",
			ovl_write(m->w.o, world_rq(&m->w), h->at.e.id, data, len, offset, false),
			pwrite(h->fd, data, len, (off_t)offset));
		break;
	case 3:
		(void)close(h->fd);
		world_forget(&m->w, &h->at);
		h->used = false;
		return;
	default:
		break;
	}
	held_compare(m, h);
}

static void op_copy(struct model *m)
{
	struct held *a = &m->held[rnd(m, HELD)], *b = &m->held[rnd(m, HELD)];
	off_t in = (off_t)rnd(m, 5000), out = (off_t)rnd(m, 5000);
	struct ovl_copy copy = {
		.in_offset = (uint64_t)in, .out_offset = (uint64_t)out, .len = 1 + rnd(m, 9000)};
	ssize_t ours;

	if (!a->used || !b->used || a->at.e.id == b->at.e.id)
		return;
	copy.in_id = a->at.e.id;
	copy.out_id = b->at.e.id;
	ours = ovl_copy_range(m->w.o, world_rq(&m->w), &copy);
	if (ours == -EOPNOTSUPP)
		return; /* the source is in the lower */
	expect("copy_range", "", ours, copy_file_range(a->fd, &in, b->fd, &out, copy.len, 0));
	held_compare(m, b);
}

static void reopen(struct model *m)
{
	for (size_t i = 0; i < HELD; i++) {
		if (!m->held[i].used)
			continue;
		(void)close(m->held[i].fd);
		world_forget(&m->w, &m->held[i].at);
		m->held[i].used = false;
	}
	world_close(&m->w);
	world_open(&m->w);
}

/* ---- the run ---- */

struct step {
	const char *name;
	void (*fn)(struct model *m);
	unsigned weight;
};
static const struct step steps[] = {
	{"make", op_make, 8},
	{"symlink", op_symlink, 2},
	{"remove", op_remove, 8},
	{"rename", op_rename, 10},
	{"link", op_link, 4},
	{"write", op_write, 6},
	{"setattr", op_setattr, 6},
	{"xattr", op_xattr, 4},
	{"open", op_open, 5},
	{"tmpfile", op_tmpfile, 1},
	{"link tmpfile", op_link_tmpfile, 2},
	{"held", op_held, 8},
	{"copy", op_copy, 2},
};

static void one_step(struct model *m)
{
	unsigned total = 0, pick;

	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
		total += steps[i].weight;
	pick = (unsigned)rnd(m, total);
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		if (pick < steps[i].weight) {
			steps[i].fn(m);
			compare(m, steps[i].name);
			return;
		}
		pick -= steps[i].weight;
	}
}

struct start {
	const char *path;
	uint32_t mode;
	const char *data;
};
static const struct start start[] = {
	{"a/a", S_IFREG | 0644, "one"},
	{"a/b", S_IFREG | 0755, "#!/bin/sh\n"},
	{"a/c/a", S_IFREG | 0644, ""},
	{"a/c/b", S_IFREG | 0644, "deep"},
	{"a/c/c", S_IFLNK | 0777, "../a"},
	{"b", S_IFREG | 0644, "top"},
	{"c", S_IFLNK | 0777, "b"},
	{"d/d/a", S_IFREG | 0644, "x"},
	{"d/d/b", S_IFREG | 0644, "y"},
	{"d/e", S_IFREG | 0644, "a file in d"},
	{"e/a", S_IFDIR | 0755, ""},
};

static void start_both(struct model *m)
{
	char dir[300], path[400], *slash;

	assert_int_equal(mkdir(tmpdir_path(&m->w.tmp, "plain", dir, sizeof(dir)), 0755), 0);
	for (size_t i = 0; i < sizeof(start) / sizeof(start[0]); i++) {
		const struct start *s = &start[i];

		fake_lower_add(m->w.fake, s->path, s->mode, s->data, strlen(s->data));
		(void)snprintf(path, sizeof(path), "%s/%s", dir, s->path);
		for (slash = path + strlen(dir) + 1; (slash = strchr(slash, '/')); slash++) {
			*slash = '\0';
			(void)mkdir(path, 0755);
			*slash = '/';
		}
		if (S_ISLNK(s->mode)) {
			assert_int_equal(symlink(s->data, path), 0);
		} else if (S_ISDIR(s->mode)) {
			assert_int_equal(mkdir(path, 0755), 0);
		} else {
			int fd = open(path, O_CREAT | O_WRONLY, s->mode & 0777);

			assert_int_equal(write(fd, s->data, strlen(s->data)), strlen(s->data));
			(void)close(fd);
		}
	}
	m->plain = open(dir, O_PATH | O_DIRECTORY);
	assert_true(m->plain >= 0);
	world_open(&m->w);
}

static uint64_t number_from_env(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 0) : otherwise;
}

static void the_overlay_does_what_a_directory_does(void **state)
{
	uint64_t seed = number_from_env("OVL_MODEL_SEED", (uint64_t)time(NULL));
	uint64_t count = number_from_env("OVL_MODEL_STEPS", STEPS);
	struct model *m = calloc(1, sizeof(*m));

	(void)state;
	assert_non_null(m);
	print_message("OVL_MODEL_SEED=%" PRIu64 "\n", seed);
	m->rng = seed * 0x9e3779b97f4a7c15ull + 1;
	world_init(&m->w);
	m->w.nodes_max = seed % 2 ? 3 : 0;
	start_both(m);
	compare(m, "start");
	for (m->step = 0; m->step < count; m->step++) {
		if (getenv("OVL_MODEL_TRACE"))
			print_message("step %u\n", m->step);
		if (rnd(m, REOPEN_ONE_IN) == 0) {
			reopen(m);
			compare(m, "reopen");
		}
		one_step(m);
	}
	reopen(m);
	compare(m, "the end");
	assert_int_equal(world_count_in(&m->w, "work/tmp"), 0);
	assert_int_equal(world_count_in(&m->w, "work/orphan"), 0);
	(void)close(m->plain);
	world_fini(&m->w);
	free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_overlay_does_what_a_directory_does),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
