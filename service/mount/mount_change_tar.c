/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An archive of files as a change list, with paths that go: what is in it takes the place of what
 * the revision has, whatever that is. Of a path that is in it twice the last one counts, as with
 * `tar -x`. Directories in it say nothing, since Git has none that are empty.
 */
#include "mount_change_files.h"

#include <base/buf.h>
#include <base/cleanup.h>
#include <errno.h>
#include <stdlib.h>
#include <storage/patch.h>
#include <storage/tar.h>
#include <string.h>
#include <sys/stat.h>

#define DELETED_MAX (LAYER_PATHS_MAX / 2)

static int check_tar(const struct mount_change_source *s, struct err *e)
{
	struct tar_member *member = malloc(sizeof(*member));
	struct tar_reader r = tar_begin(s->data, s->len);
	size_t count = s->deleted_count;
	int err = member ? 0 : -ENOMEM;

	while (err >= 0 && s->data && (err = tar_next(&r, member)) == 1)
		count++;
	free(member);
	if (err == -EBADMSG)
		return err_field(e, change_tar.field, "at byte %zu: %s", r.at, r.why);
	if (err < 0)
		return err_set(e, err, "", "no memory");
	return count ? 0 : err_field(e, change_tar.field, "has no file in it");
}

/* A hard link has the content of the member that it names, or of the revision's file. */
static int link_to(struct change_files *files, struct change_path *p, const char *target)
{
	struct change_path *to;
	int r = change_files_find(files, target, &to);

	if (r < 0)
		return r;
	if (!to || !S_ISREG(to->now.mode))
		change_conflict(
			files->work, p->path, "is a hard link to what is not in the archive");
	else
		p->now = to->now;
	return 0;
}

static int take(struct change_files *files, const struct tar_member *m)
{
	struct change_path *p;
	int r;

	if (m->kind == TAR_DIRECTORY)
		return 0;
	r = change_files_find(files, m->path, &p);
	if (r < 0 || !p)
		return r;
	p->gitlink = (struct oid){0};
	if (m->kind == TAR_HARDLINK)
		return link_to(files, p, m->link);
	if (m->kind == TAR_SYMLINK)
		return change_files_write(files, p, S_IFLNK | 0777, m->link, strlen(m->link));
	return change_files_write(
		files, p, S_IFREG | (m->executable ? 0755u : 0644u), m->data, m->len);
}

/* First, so that what is in the archive comes over it. */
static int delete_all(struct change_files *files, const char *paths, size_t len)
{
	for (const char *at = paths; at < paths + len; at += strlen(at) + 1) {
		struct change_path *p;
		int r = change_files_find(files, at, &p);

		if (r < 0)
			return r;
		if (p && !p->base.mode)
			change_conflict(files->work, at, "is not there, and cannot be removed");
		else if (p) {
			p->now = (struct layer_entry){0};
			p->replaces = true;
		}
	}
	return 0;
}

static int apply_all(struct change_files *files, const void *data, size_t len)
{
	struct tar_member *member = malloc(sizeof(*member));
	struct tar_reader reader = tar_begin(data, len);
	int r = member ? 1 : -ENOMEM;

	while (r == 1) {
		r = tar_next(&reader, member);
		if (r == 1) {
			int taken = take(files, member);

			r = taken < 0 ? taken : 1;
		}
	}
	free(member);
	if (r == -EBADMSG && !(files->work->e && files->work->e->code))
		return err_field(
			files->work->e, change_tar.field, "at byte %zu: %s", reader.at, reader.why);
	return r;
}

/* "a\0b\0" */
static int join_deleted(const struct mount_change_source *s, struct buf *out)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < s->deleted_count; i++)
		r = buf_append(out, s->deleted[i], strlen(s->deleted[i]) + 1);
	return r;
}

static int keep_source(struct change_files *files, struct mount_change_source *ret_kept)
{
	const struct mount_change_source *s = files->work->call->source;
	char *data = NULL, *deleted = NULL;
	size_t data_len = 0, deleted_len = 0;
	struct buf joined;
	int r = 0;

	buf_init(&joined, DELETED_MAX);
	if (s)
		r = join_deleted(s, &joined);
	if (r == 0 && s)
		r = mount_kept_put(files->kept, "source", s->data ? s->data : "", s->len);
	if (r == 0 && s)
		r = mount_kept_put(
			files->kept, "deleted", joined.len ? joined.data : "", joined.len);
	buf_fini(&joined);
	if (r == 0)
		r = mount_kept_get(files->kept, "source", UINT32_MAX, &data, &data_len);
	if (r == 0)
		r = mount_kept_get(files->kept, "deleted", DELETED_MAX, &deleted, &deleted_len);
	if (r == 0)
		r = delete_all(files, deleted, deleted_len);
	free(deleted);
	if (r < 0) {
		free(data);
		return change_files_failed(files, r, "the archive");
	}
	*ret_kept = (struct mount_change_source){.data = data, .len = data_len};
	return 0;
}

static int lay_tar(struct change_work *w)
{
	struct mount_change_source kept = {.data = NULL};
	struct change_files files;
	int r = change_files_init(&files, w);

	if (r == 0)
		r = keep_source(&files, &kept);
	if (r == 0)
		r = apply_all(&files, kept.data, kept.len);
	if (r == 0)
		r = w->conflicts ? change_does_not_apply(w) : change_files_lay(&files);
	free((void *)kept.data);
	change_files_fini(&files);
	return r;
}

const struct change_ops change_tar = {
	.field = "change_list.tar", .check = check_tar, .lay = lay_tar};
