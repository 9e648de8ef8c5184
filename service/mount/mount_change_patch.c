/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A patch as a change list. As in `git apply`: what is renamed or copied is taken from the state
 * before the patch, what is changed twice is changed one after the other; and of a series of mails
 * each is applied over what those before it left.
 */
#include "mount_change_files.h"

#include <base/cleanup.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <storage/patch.h>
#include <string.h>
#include <sys/stat.h>

#define MODE_LINK   0120000u
#define MODE_MODULE 0160000u
#define GONE        "is not there"

static int check_patch(const struct mount_change_source *s, struct err *e)
{
	struct patch_reader r = patch_begin(s->data, s->len);
	struct patch_file file;
	size_t count = 0;
	int err;

	if (!s->data || !s->len)
		return err_field(e, change_patch.field, "is empty");
	while ((err = patch_next(&r, &file)) == 1) {
		patch_file_fini(&file);
		count++;
	}
	if (err == -EBADMSG)
		return err_field(e, change_patch.field, "line %u: %s", r.line, r.why);
	if (err < 0)
		return err_set(e, err, "", "no memory");
	return count ? 0 : err_field(e, change_patch.field, "has no change of a file in it");
}

/* Git's mode as the index has it; 0: none that can be. */
static uint32_t mode_of(uint32_t git_mode)
{
	switch (git_mode & 0170000) {
	case 0100000:
		return S_IFREG | (git_mode & 0100 ? 0755u : 0644u);
	case MODE_LINK:
		return S_IFLNK | 0777;
	case MODE_MODULE:
		return S_IFDIR | 0755;
	default:
		return 0;
	}
}

static bool is_module(const struct layer_entry *e)
{
	return S_ISDIR(e->mode) && oid_is_none(&e->oid);
}

static bool is_tree(const struct layer_entry *e)
{
	return S_ISDIR(e->mode) && !oid_is_none(&e->oid);
}

struct one {
	struct change_files *files;
	const struct patch_file *file;
	struct change_path *old, *new; /* NULL: not there, or elsewhere */
};

static void misfit(const struct one *o, struct change_path *p, const char *reason)
{
	if (!p->bad)
		change_conflict(o->files->work, p->path, reason);
	p->bad = true;
}

/* ---- submodules ---- */

/* "Subproject commit <id>\n" */
static int take_gitlink(const struct one *o, struct change_path *p)
{
	static const char words[] = "Subproject commit ";
	_cleanup_free_ char *old = NULL;
	struct patch_result result = {0};
	size_t len = 0;
	int r = patch_old_text(o->file, &old, &len);

	if (r == 0)
		r = patch_apply(o->file, old, len, &result);
	if (r == 0 && (strncmp(result.data, words, sizeof(words) - 1) != 0 ||
			      result.len != sizeof(words) + 2u * o->files->oid_len))
		r = -EBADMSG;
	if (r == 0) {
		result.data[result.len - 1] = '\0';
		r = oid_parse(result.data + sizeof(words) - 1, &p->gitlink);
	}
	free(result.data);
	if (r == -ENOMEM)
		return r;
	if (r < 0)
		misfit(o, p, "is a submodule, and the patch does not tell its commit");
	else
		p->now = (struct layer_entry){.mode = S_IFDIR | 0755};
	return 0;
}

/* ---- contents ---- */

/* Ids of a binary patch are whole, and must be those of what it is applied to. */
static bool is_for(const struct patch_file *file, const struct oid *have)
{
	struct oid want;

	return !file->binary || oid_parse(file->old_id, &want) < 0 || oid_is_none(have) ||
	       oid_equal(&want, have);
}

static int change_content(const struct one *o, const struct layer_entry *from, uint32_t mode)
{
	struct storage_content old = {.data = NULL};
	struct patch_result result = {0};
	char why[160];
	int r = from->mode ? change_files_read(o->files, from, &old) : 0;

	if (r == 0)
		r = patch_apply(o->file, old.data ? old.data : "", old.len, &result);
	free(old.data);
	if (r == 0)
		r = change_files_write(o->files, o->new, mode, result.data, result.len);
	free(result.data);
	if (r != -ESTALE && r != -EBADMSG)
		return r < 0 ? change_files_failed(o->files, r, o->new->path) : 0;
	(void)snprintf(why, sizeof(why), "%s", result.why ? result.why : "is damaged");
	if (result.line)
		(void)snprintf(
			why, sizeof(why), "%s (line %u of the patch)", result.why, result.line);
	misfit(o, o->new, why);
	return 0;
}

/* What the new file is, over `from`, which may be nothing. */
static int make(const struct one *o, const struct layer_entry *from)
{
	uint32_t mode = o->file->new_mode ? mode_of(o->file->new_mode) : from->mode;

	if (!mode)
		mode = S_IFREG | 0644;
	if (S_ISDIR(mode))
		return is_module(from) && !o->file->body_len ? 0 : take_gitlink(o, o->new);
	o->new->gitlink = (struct oid){0};
	if (o->file->body_len) {
		if (is_for(o->file, &from->oid))
			return change_content(o, from, mode);
		misfit(o, o->new, "is not the content that the binary patch was made for");
		return 0;
	}
	if (from->mode) { /* only its name or mode changes */
		o->new->now = *from;
		o->new->now.mode = mode;
		return 0;
	}
	return change_files_write(o->files, o->new, mode, "", 0);
}

/* ---- one file ---- */

static bool same_type(uint32_t git_mode, const struct layer_entry *e)
{
	return !git_mode || (mode_of(git_mode) & S_IFMT) == (e->mode & S_IFMT);
}

/* What the patch starts from; false: it cannot. */
static bool fits(const struct one *o, const struct layer_entry *from)
{
	const struct patch_file *f = o->file;

	if (o->old) {
		if (!from->mode)
			misfit(o, o->old, GONE);
		else if (is_tree(from))
			misfit(o, o->old, "is a directory");
		else if (!same_type(f->old_mode, from))
			misfit(o, o->old, "is of another type");
	}
	/* another file of the patch may empty a directory: that is looked at in the end */
	if (o->new && o->new != o->old && o->new->now.mode && !is_tree(&o->new->now) &&
		(!o->new->goes || o->new->taken))
		misfit(o, o->new, "is there already");
	return !(o->old && o->old->bad) && !(o->new && o->new->bad);
}

static int remove_old(const struct one *o, const struct layer_entry *from)
{
	struct patch_result result = {0};
	struct storage_content old = {.data = NULL};
	int r = 0;

	/* what goes must be what the patch knew */
	if (o->file->body_len && !o->file->binary && !is_module(from)) {
		r = change_files_read(o->files, from, &old);
		if (r == 0)
			r = patch_apply(o->file, old.data, old.len, &result);
		if (r == -ESTALE || r == -EBADMSG || (r == 0 && result.len)) {
			misfit(o, o->old, "was changed");
			r = 0;
		}
		free(old.data);
		free(result.data);
	} else if (!is_for(o->file, &from->oid)) {
		misfit(o, o->old, "was changed");
	}
	if (r < 0)
		return change_files_failed(o->files, r, o->old->path);
	o->old->now = (struct layer_entry){0};
	o->old->gitlink = (struct oid){0};
	return 0;
}

static int apply(struct one *o)
{
	static const struct layer_entry nothing;
	bool moved = o->file->renamed || o->file->copied;
	struct layer_entry from = nothing;

	if (o->old)
		from = moved ? o->old->before : o->old->now;
	if (o->file->perhaps_new && o->old && !from.mode)
		o->old = NULL;
	if (!fits(o, &from))
		return 0;
	if (!o->new)
		return o->old ? remove_old(o, &from) : 0;
	/* unless another file of the patch has taken its name */
	if (o->file->renamed && o->old && o->old != o->new && !o->old->taken)
		o->old->now = nothing;
	o->new->taken = true;
	return make(o, &from);
}

static int find_sides(struct one *o)
{
	const struct patch_file *f = o->file;
	int r = 0;

	if (f->old_path)
		r = change_files_find(o->files, f->old_path, &o->old);
	if (r == 0 && f->new_path)
		r = change_files_find(o->files, f->new_path, &o->new);
	/* moved here from where the mount may not look */
	if (r == 0 && o->new && f->old_path && !o->old)
		misfit(o, o->new, "comes from outside the mount's directory");
	return r;
}

/* Names that the files of one commit take away: others of them may have them. */
static int mark_going(struct change_files *files, struct patch_reader ahead)
{
	struct patch_file file;
	bool first = true;
	int more;

	while ((more = patch_next(&ahead, &file)) == 1) {
		bool goes = file.old_path && (file.renamed || !file.new_path);
		bool next = file.new_commit && !first;
		struct change_path *p = NULL;
		int r = goes && !next ? change_files_find(files, file.old_path, &p) : 0;

		if (p)
			p->goes = true;
		patch_file_fini(&file);
		if (r < 0 || next)
			return r;
		first = false;
	}
	return more == -ENOMEM ? more : 0; /* damage is told by who applies it */
}

static int apply_file(struct change_files *files, const struct patch_file *file)
{
	struct one o = {.files = files, .file = file};
	int r = find_sides(&o);

	return r == 0 && (o.old || o.new) ? apply(&o) : r;
}

static int apply_all(struct change_files *files, const char *text, size_t len)
{
	struct patch_reader reader = patch_begin(text, len), before = reader;
	struct patch_file file;
	int r = mark_going(files, reader), more = 0;

	while (r == 0 && (more = patch_next(&reader, &file)) == 1) {
		if (file.new_commit) {
			change_files_commit(files);
			r = mark_going(files, before);
		}
		if (r == 0)
			r = apply_file(files, &file);
		patch_file_fini(&file);
		before = reader;
	}
	if (r == 0 && more == -EBADMSG)
		return err_field(
			files->work->e, change_patch.field, "line %u: %s", reader.line, reader.why);
	return r == 0 ? more : change_files_failed(files, r, "the patch");
}

static int lay_patch(struct change_work *w)
{
	struct storage_content text = {.data = NULL};
	struct change_files files;
	int r = change_files_init(&files, w);

	if (r == 0)
		r = change_files_source(&files, "source", w->call->source, &text);
	if (r == 0)
		r = apply_all(&files, text.data, text.len);
	if (r == 0)
		r = w->conflicts ? change_does_not_apply(w) : change_files_lay(&files);
	free(text.data);
	change_files_fini(&files);
	return r;
}

const struct change_ops change_patch = {
	.field = "change_list.patch", .check = check_patch, .lay = lay_patch};
