/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The repository that `git push` runs in (and, but for its skeleton, that of a merge: merge_git.c).
 * Git walks from HEAD down to the base and does not look behind it, because the base is in the file
 * `shallow`; in the base's trees it finds that everything else is there already, because the
 * directories on the way to a change are here, and name the rest by id. So its cost is that of the
 * changes, and nothing of the base's contents is needed; what is there of the files that changed is
 * put in for deltas.
 */
#include "mount/mounts_internal.h"
#include "workflow/commits.h"
#include "workflow/push.h"
#include "workflow/walk.h"

#include <base/buf.h>
#include <base/cleanup.h>
#include <base/io.h>
#include <base/log.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <storage/storage.h>
#include <string.h>
#include <sys/stat.h>

#define TREE_MAX    (256u << 20)
#define COMMITS_MAX 100000u
/* What may be sent as a difference: below, it costs more than it saves; above, git does not try
 * (core.bigFileThreshold is lower here), and all together must not fill the disk. */
#define DELTA_MIN     (32u << 10)
#define DELTA_MAX     (16u << 20)
#define DELTA_ALL_MAX (256u << 20)

int wf_thin_write(struct wf_thin *t, const char *name, const char *text)
{
	_cleanup_free_ char *path = NULL;

	if (asprintf(&path, "%s/%s", t->dir, name) < 0)
		return -ENOMEM;
	return io_write_file(AT_FDCWD, path, text, strlen(text), 0600, false);
}

static int make_skeleton(struct wf_thin *t)
{
	static const char *const dirs[] = {"objects", "objects/info", "objects/pack", "refs"};
	_cleanup_free_ char *alternates = NULL;
	_cleanup_close_ int fd = open(t->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char hex[OID_HEX_MAX], shallow[OID_HEX_MAX + 1];
	int r = 0;

	if (fd < 0)
		return -errno;
	for (unsigned i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++)
		if (mkdirat(fd, dirs[i], 0700) < 0)
			return -errno;
	if (asprintf(&alternates, "%s/%s/git/objects\n", t->w->call->mounts->workspaces_dir,
		    t->w->use->mount_id) < 0)
		return -ENOMEM;
	(void)snprintf(shallow, sizeof(shallow), "%s\n", oid_hex(&t->w->use->commit, hex));
	r = wf_thin_write(t, "objects/info/alternates", alternates);
	if (r == 0)
		r = wf_thin_write(t, "HEAD", "ref: refs/heads/none\n");
	if (r == 0)
		r = wf_thin_write(
			t, "config", "[core]\n\trepositoryformatversion = 0\n\tbare = true\n");
	if (r == 0)
		r = wf_thin_write(t, "shallow", shallow);
	return r == 0 ? wf_odb_open(fd, &t->odb) : r;
}

/* Directories of pushes of a process that is dead. Ours have our number in their name. */
static void remove_left(const struct wf *w, const char *ours)
{
	DIR *d = fdopendir(dup(w->dirfd));
	const struct dirent *entry;

	if (!d)
		return; /* the next push may have more luck */
	while ((entry = readdir(d)))
		if (strncmp(entry->d_name, "push-", 5) == 0 &&
			strncmp(entry->d_name, ours, strlen(ours)) != 0 &&
			io_remove_tree(w->dirfd, entry->d_name) < 0)
			log_warn("push_directory_left", LOG_S("mount_id", w->use->mount_id),
				LOG_S("dir", entry->d_name));
	(void)closedir(d);
}

int wf_thin_init(struct wf_thin *t, struct wf *w)
{
	char *dir, ours[32];
	int r;

	*t = (struct wf_thin){.w = w};
	(void)snprintf(ours, sizeof(ours), "push-%d-", (int)getpid());
	remove_left(w, ours);
	if (asprintf(&dir, "%s/%s/git/%sXXXXXX", w->call->mounts->workspaces_dir, w->use->mount_id,
		    ours) < 0)
		return -ENOMEM;
	if (!mkdtemp(dir)) {
		r = -errno;
		free(dir);
		return r;
	}
	t->dir = dir;
	r = make_skeleton(t);
	if (r < 0)
		wf_thin_fini(t);
	return r;
}

void wf_thin_fini(struct wf_thin *t)
{
	t->odb = wf_odb_free(t->odb);
	if (t->dir && io_remove_tree(AT_FDCWD, t->dir) < 0)
		log_warn("push_directory_left", LOG_S("dir", t->dir));
	free(t->dir);
	t->dir = NULL;
}

/* ---- what the base has ---- */

static int in_git_order(const void *a, const void *b)
{
	const struct wf_dirent *x = a, *y = b;

	return wf_git_order(
		x->name, x->len, wf_is_dir(&x->node), y->name, y->len, wf_is_dir(&y->node));
}

static int read_raw(struct wf *w, const struct oid *oid, enum object_kind kind, void **ret_data,
	size_t *ret_len)
{
	const struct origin_raw_request rq = {*oid, kind, w->use->cancel, w->use->deadline_ns};

	if (!w->origin)
		return -EHOSTUNREACH;
	return origin_read_raw(w->origin, &rq, ret_data, ret_len);
}

/* If it was written by a Git that wrote modes in another way, it is asked for. */
int wf_thin_put_tree(struct wf_thin *t, const struct oid *oid, const struct wf_dir *dir)
{
	_cleanup_free_ struct wf_dirent *sorted = calloc(dir->count + 1, sizeof(*sorted));
	void *data = NULL;
	struct buf tree;
	size_t len;
	int r = sorted ? 0 : -ENOMEM;

	if (r < 0)
		return r;
	buf_init(&tree, TREE_MAX);
	memcpy(sorted, dir->entries, dir->count * sizeof(*sorted));
	qsort(sorted, dir->count, sizeof(*sorted), in_git_order);
	for (size_t i = 0; r == 0 && i < dir->count; i++)
		r = wf_tree_append(&tree, sorted[i].name, sorted[i].len, &sorted[i].node);
	if (r == 0 && digest_verify(oid, OBJECT_TREE, tree.data, tree.len) == 0) {
		r = wf_odb_put(t->odb, WF_TREE, tree.data, tree.len);
	} else if (r == 0) {
		r = read_raw(t->w, oid, OBJECT_TREE, &data, &len);
		if (r == 0)
			r = wf_odb_put(t->odb, WF_TREE, data, len);
		free(data);
	}
	buf_fini(&tree);
	return r;
}

struct collect {
	struct wf_thin *t;
	int result;
};

/* The content that a changed file had, if it is on this machine, so that `git` can send the
 * difference only. Without it the file is sent whole. */
static int put_base_blob(struct wf_thin *t, const struct wf_node *node)
{
	_cleanup_free_ char *data = NULL;
	size_t at = 0, size = (size_t)node->size;

	if (!node->size_known || node->size < DELTA_MIN || node->size > DELTA_MAX ||
		t->base_bytes + node->size > DELTA_ALL_MAX)
		return 0;
	data = malloc(size);
	if (!data)
		return -ENOMEM;
	while (at < size) {
		ssize_t n = storage_blob_read(t->w->storage, &node->oid, data + at, size - at, at);

		if (n <= 0)
			return 0; /* not here, or not whole: it is not fetched for this */
		at += (size_t)n;
	}
	t->base_bytes += size;
	return wf_odb_put(t->odb, WF_BLOB, data, size);
}

static int visit(void *arg, struct wf_item *item)
{
	const struct collect *c = arg;

	if (c->result == 0 && (item->head.mode & S_IFMT) == S_IFREG &&
		(item->index.mode & S_IFMT) == S_IFREG &&
		!oid_equal(&item->head.oid, &item->index.oid))
		return put_base_blob(c->t, &item->head);
	return c->result;
}

/* Both sides have the directory, and differ in it. */
static bool enter(void *arg, const char *path, size_t len, struct wf_level *level)
{
	struct collect *c = arg;

	(void)path, (void)len;
	if (c->result == 0 && level->head_tree.len)
		c->result = wf_thin_put_tree(c->t, &level->head_tree, &level->head);
	return c->result == 0 && level->head_tree.len && level->tracked;
}

static int put_base_trees(struct wf_thin *t, const struct oid *base, const struct oid *root)
{
	struct collect c = {t, 0};
	struct wf_walk *walk = calloc(1, sizeof(*walk));
	int r;

	if (!walk)
		return -ENOMEM;
	*walk = (struct wf_walk){.w = t->w,
		.head = *base,
		.index = *root,
		.visit = visit,
		.enter = enter,
		.arg = &c};
	r = wf_walk(walk, NULL);
	free(walk);
	return r < 0 ? r : c.result;
}

static int put_base_commit(struct wf_thin *t, struct oid *ret_root)
{
	struct wf_parsed_commit c;
	void *data;
	size_t len;
	int r = read_raw(t->w, &t->w->use->commit, OBJECT_COMMIT, &data, &len);

	if (r == -EOPNOTSUPP)
		return err_set(t->w->e, r, "NOT_IN_THIS_VERSION",
			"origin %s cannot give the commit that the workspace began with",
			t->w->use->origin);
	if (r < 0)
		return r == -ENOENT ? -EIO : r;
	r = wf_odb_put(t->odb, WF_COMMIT, data, len);
	if (r == 0)
		r = wf_commit_parse(data, len, &c);
	else
		free(data);
	if (r < 0)
		return r;
	*ret_root = c.tree;
	wf_parsed_commit_fini(&c);
	return 0;
}

int wf_thin_fill(struct wf_thin *t, const struct oid *head)
{
	struct oid at = *head, base;
	int r;

	wf_odb_batch(t->odb);
	r = put_base_commit(t, &base);

	for (unsigned i = 0; r == 0 && !oid_equal(&at, &t->w->use->commit); i++) {
		struct wf_parsed_commit c;

		r = i == COMMITS_MAX ? -EFBIG : wf_commit_read(t->w, &at, &c);
		if (r < 0)
			return r == -ENOENT ? -EIO : r;
		r = put_base_trees(t, &base, &c.tree);
		at = c.parent;
		wf_parsed_commit_fini(&c);
	}
	return r == 0 ? wf_odb_seal(t->odb, false) : r;
}
