/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A change list of a Mega server of which it gives no commits, or not what they have: the server
 * tells which files it changes, and their contents are blobs like all others. The list is kept with
 * the workspace, because the server's own moves with every push: the record has its SHA-256 where
 * it has a commit otherwise.
 *
 *	<action> <id> <path>\0[<old path>\0]    below the change list's directory; in any order
 *
 * The list has no modes: what is there keeps its own, what is new is 0644, and a change of nothing
 * but the mode is not in it. Nor does it say what a modified file was changed from. What it does
 * say must fit: what goes or moves must be there, what is new must not.
 */
#include "mount_change_files.h"

#include <base/cleanup.h>
#include <base/log.h>
#include <errno.h>
#include <stdlib.h>
#include <storage/origin.h>
#include <string.h>
#include <sys/stat.h>

static const char letters[ORIGIN_FILE_ACTIONS] = {
	[ORIGIN_FILE_NEW] = 'A',
	[ORIGIN_FILE_MODIFIED] = 'M',
	[ORIGIN_FILE_DELETED] = 'D',
	[ORIGIN_FILE_RENAMED] = 'R',
};

/* ---- asking ---- */

/* An origin_change_file_fn. */
static int note_file(void *arg, const struct origin_change_file *file)
{
	struct buf *out = arg;
	char hex[OID_HEX_MAX];

	(void)buf_printf(
		out, "%c %s %s", letters[file->action], oid_hex(&file->oid, hex), file->path);
	(void)buf_putc(out, '\0');
	if (file->old_path) {
		(void)buf_puts(out, file->old_path);
		(void)buf_putc(out, '\0'); /* the buffer remembers a failure */
	}
	return buf_error(out);
}

static int not_told(struct change_work *w, int err)
{
	if (err == -ENOENT)
		return err_set(w->e, err, "CHANGE_LIST_NOT_FOUND",
			"origin %s has no change list %s", w->next->origin, w->next->change_text);
	if (err == -EFBIG)
		return change_too_large(w);
	return err_set(w->e, err, err == -ETIMEDOUT || err == -ENOMEM ? "" : "ORIGIN_UNAVAILABLE",
		"origin %s gives neither the trees nor the files of change list %s: %s",
		w->next->origin, w->next->change_text, strerror(-err));
}

/* The list that came is of that commit if the change list had it before and has it still. */
static int check_unmoved(struct change_work *w, const char *path, const struct oid *commit)
{
	struct origin_change now;
	int err = origin_find_change(
		w->call->origin, w->next->change_text, path, w->call->deadline_ns, &now);

	if (err)
		return not_told(w, err);
	if (!oid_equal(&now.commit, commit))
		return err_set(w->e, -EHOSTUNREACH, "ORIGIN_UNAVAILABLE",
			"change list %s was pushed to while it was read; ask again",
			w->next->change_text);
	return 0;
}

static int name_list(const struct buf *list, struct oid *ret_id)
{
	struct oid id = {0};
	struct digest *d;
	int r = digest_new(&d, DIGEST_SHA256);

	if (r < 0)
		return r;
	r = list->len ? digest_update(d, list->data, list->len) : 0;
	if (r == 0)
		r = digest_final(d, id.bytes, &id.len);
	digest_free(d);
	if (r == 0)
		*ret_id = id;
	return r;
}

int change_pin_told(struct change_work *w, const char *path, const struct oid *commit)
{
	struct mount_record *next = w->next;
	int err;

	if (next->commit.len != 20)
		return err_set(w->e, -EOPNOTSUPP, "ORIGIN_UNSUPPORTED",
			"origin %s does not give the trees of change list %s", next->origin,
			next->change_text);
	err = origin_change_files(
		w->call->origin, next->change_text, w->call->deadline_ns, note_file, &w->list);
	if (err)
		return not_told(w, err);
	if (commit)
		err = check_unmoved(w, path, commit);
	if (err)
		return err;
	err = name_list(&w->list, &next->change_from);
	if (!err)
		err = mount_record_set_text(&next->change_path, path);
	if (err)
		return err_set(w->e, err, "", "no memory");
	next->change_to = commit ? *commit : (struct oid){0};
	log_info("change_list_by_files", LOG_S("mount_id", next->mount_id),
		LOG_S("origin", next->origin), LOG_S("link", next->change_text),
		LOG_S("path", next->change_path ? next->change_path : ""));
	return 0;
}

/* ---- laying ---- */

struct told {
	struct change_files *files;
	const char *at; /* the change list's directory */
	struct buf path;
};

/* One line of the list. */
struct line {
	char action;
	struct oid oid;
	const char *path, *old_path;
};

/* What comes from the disk was checked when it came from the server, and is looked at again. */
static int take_line(const char **at, const char *end, struct line *l)
{
	char hex[41];

	if (end - *at < 44 || (*at)[1] != ' ' || (*at)[42] != ' ')
		return -EBADMSG;
	memcpy(hex, *at + 2, 40);
	hex[40] = '\0';
	*l = (struct line){.action = **at, .path = *at + 43};
	*at = l->path + strlen(l->path) + 1;
	if (l->action == 'R') {
		if (*at >= end)
			return -EBADMSG;
		l->old_path = *at;
		*at += strlen(*at) + 1;
	}
	return oid_parse(hex, &l->oid) < 0 ? -EBADMSG : 0;
}

/* NULL in *ret: it is not below the mount's directory. */
static int find(struct told *t, const char *path, struct change_path **ret)
{
	buf_clear(&t->path);
	if (*t->at)
		(void)buf_printf(&t->path, "%s/", t->at);
	(void)buf_puts(&t->path, path);
	if (buf_error(&t->path))
		return change_files_failed(t->files, buf_error(&t->path), path);
	return change_files_find(t->files, buf_cstr(&t->path), ret);
}

static bool is_file(const struct layer_entry *e)
{
	return S_ISREG(e->mode) || S_ISLNK(e->mode);
}

static void misfit(struct told *t, struct change_path *p, const char *reason)
{
	if (!p->bad)
		change_conflict(t->files->work, p->path, reason);
	p->bad = true;
}

/* First what goes: other files of the list may have the names. */
static int take_away(struct told *t, const struct line *l)
{
	const char *path = l->action == 'D' ? l->path : l->old_path;
	struct change_path *p;
	int r;

	if (!path)
		return 0;
	r = find(t, path, &p);
	if (r < 0 || !p)
		return r;
	if (l->action == 'D' && is_file(&p->base) && !oid_equal(&p->base.oid, &l->oid))
		misfit(t, p, "was changed");
	else if (p->base.mode && !is_file(&p->base))
		misfit(t, p, "is a directory");
	p->goes = true;
	p->now = (struct layer_entry){0};
	return 0;
}

/* Where the mode of a file comes from; false: the file does not fit. */
static bool find_mode(
	struct told *t, const struct line *l, struct change_path *p, uint32_t *ret_mode)
{
	struct change_path *old = NULL;

	*ret_mode = S_IFREG | 0644;
	if (l->action == 'M') {
		*ret_mode = p->base.mode;
		if (!is_file(&p->base))
			misfit(t, p, p->base.mode ? "is a directory" : "is not there");
	} else if (is_file(&p->base) && !p->goes) {
		if (oid_equal(&p->base.oid, &l->oid)) /* as the list wants it */
			*ret_mode = p->base.mode;
		else
			misfit(t, p, "is there already");
	}
	if (l->action == 'R' && !p->bad && find(t, l->old_path, &old) == 0 && old) {
		if (is_file(&old->base))
			*ret_mode = old->base.mode;
		else if (!p->base.mode)
			misfit(t, old, "is not there");
	}
	return !p->bad;
}

static int put(struct told *t, const struct line *l)
{
	struct change_path *p;
	uint32_t mode;
	int r;

	if (l->action == 'D')
		return 0;
	r = find(t, l->path, &p);
	if (r < 0 || !p)
		return r;
	if (p->taken)
		misfit(t, p, "is in the list twice");
	p->taken = true;
	if (find_mode(t, l, p, &mode))
		p->now = (struct layer_entry){.mode = mode, .oid = l->oid};
	return 0;
}

static int each(struct told *t, const struct storage_content *list,
	int (*fn)(struct told *t, const struct line *l))
{
	const char *at = list->data, *end = at + list->len;
	struct line l;
	int r = 0;

	while (r == 0 && at < end) {
		r = take_line(&at, end, &l);
		r = r < 0 ? change_files_failed(t->files, r, "the list of files") : fn(t, &l);
	}
	return r;
}

int change_lay_told(struct change_work *w)
{
	const struct mount_change_source told = {
		.data = w->list.len ? w->list.data : "", .len = w->list.len};
	struct storage_content list = {.data = NULL};
	struct change_files files;
	struct told t = {.files = &files, .at = w->next->change_path ? w->next->change_path : ""};
	int r = change_files_init(&files, w);

	buf_init(&t.path, 2 * MOUNT_TEXT_MAX + 2);
	if (r == 0)
		r = change_files_source(&files, "source", w->call->source ? &told : NULL, &list);
	if (r == 0)
		r = each(&t, &list, take_away);
	if (r == 0)
		r = each(&t, &list, put);
	if (r == 0)
		r = w->conflicts ? change_does_not_apply(w) : change_files_lay(&files);
	free(list.data);
	buf_fini(&t.path);
	change_files_fini(&files);
	return r;
}
