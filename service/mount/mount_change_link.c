/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A change list of a Mega server, by its link. It belongs to a directory of the monorepo, and its
 * commits are of that directory alone. Where it belongs is told by the caller, or it is looked for
 * at the mount's directory and those above it. The directory may be above the mount's, or below.
 * Where the server gives no commits of it, or not what they have, there is the list of its files
 * (mount_change_told.c).
 */
#include "mount_change_internal.h"

#include <base/cleanup.h>
#include <base/path.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define LINK_MAX_LEN 64
#define REF_PREFIX   "refs/cl/"

static bool is_link(const char *text)
{
	static const char good[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

	return text && text[0] && strlen(text) <= LINK_MAX_LEN && !text[strspn(text, good)];
}

static int check_link(const struct mount_change_source *s, struct err *e)
{
	char clean[MOUNT_TEXT_MAX + 1];

	if (!is_link(s->text))
		return err_field(e, change_link.field,
			"must be a link such as ABCD1234: letters, digits, - and _");
	if (s->path && path_normalize(s->path, clean, sizeof(clean)) < 0)
		return err_field(e, "change_list.path", "is not a path of the repository");
	return 0;
}

static int not_found(struct change_work *w, const char *where)
{
	return err_set(w->e, -ENOENT, "CHANGE_LIST_NOT_FOUND",
		"origin %s has no change list %s at \"/%.200s\"%s", w->next->origin,
		w->next->change_text, where,
		w->call->source->path ? ""
				      : " or above; if it belongs to another directory, name that");
}

/* -ENOENT, -ENODATA without a message: not there, or not told. */
static int look(struct change_work *w, const char *path)
{
	struct origin_change change;
	int err = origin_find_change(
		w->call->origin, w->next->change_text, path, w->call->deadline_ns, &change);

	if (err == -EOPNOTSUPP)
		return err_set(w->e, err, "ORIGIN_UNSUPPORTED",
			"origin %s is not a Mega server, and has no change lists", w->next->origin);
	if (err == -ENOENT || err == -ENODATA)
		return err;
	if (!err && oid_is_none(&change.base))
		return change_pin_told(w, path, &change.commit);
	if (err)
		return err_set(w->e, err, err == -ETIMEDOUT ? "" : "ORIGIN_UNAVAILABLE",
			"origin %s does not tell what change list %s is: %s", w->next->origin,
			w->next->change_text, strerror(-err));
	w->next->change_from = change.base;
	w->next->change_to = change.commit;
	err = mount_record_set_text(&w->next->change_path, path);
	return err ? err_set(w->e, err, "", "no memory") : 0;
}

/* At the mount's directory or above, or where the caller says. */
static int pin_link(struct change_work *w)
{
	const char *asked = w->call->source->path;
	const char *start = asked ? asked : w->next->path ? w->next->path : "";
	_cleanup_free_ char *path = malloc(MOUNT_TEXT_MAX + 1);
	int err = path ? path_normalize(start, path, MOUNT_TEXT_MAX + 1) : -ENOMEM;

	if (err)
		return err_set(w->e, err, "", "no memory");
	for (;;) {
		char *slash = strrchr(path, '/');

		err = look(w, path);
		if (err == -ENODATA && asked) /* where it belongs is not proved, but said */
			return change_pin_told(w, path, NULL);
		if (err != -ENOENT && err != -ENODATA)
			return err;
		if (asked || !*path)
			return not_found(w, start);
		*(slash ? slash : path) = '\0';
	}
}

/* ---- refs that are change lists ---- */

struct owner {
	struct oid commit;
	char link[LINK_MAX_LEN + 1]; /* "": none has it */
};

static int note_owner(void *arg, const struct origin_ref *ref)
{
	struct owner *o = arg;
	const char *link = ref->name + strlen(REF_PREFIX);

	if (!o->link[0] && oid_equal(&ref->oid, &o->commit) &&
		strncmp(ref->name, REF_PREFIX, strlen(REF_PREFIX)) == 0 && is_link(link))
		(void)snprintf(o->link, sizeof(o->link), "%s", link);
	return 0;
}

/* The link that has the commit, at the mount's directory or above; "": none. */
static int find_owner(struct change_work *w, struct owner *o)
{
	_cleanup_free_ char *path = strdup(w->next->path ? w->next->path : "");

	if (!path)
		return err_set(w->e, -ENOMEM, "", "no memory");
	for (;;) {
		char *slash = strrchr(path, '/');
		int err = origin_refs(w->call->origin, path, w->call->deadline_ns, note_owner, o);

		if (err && err != -ENOENT && err != -EACCES) /* nothing of the kind is told */
			return err_set(w->e, err, err == -ETIMEDOUT ? "" : "ORIGIN_UNAVAILABLE",
				"origin %s does not tell the change lists of \"/%.200s\": %s",
				w->next->origin, path, strerror(-err));
		if (o->link[0] || !*path)
			return 0;
		*(slash ? slash : path) = '\0';
	}
}

int change_pin_as_link(struct change_work *w)
{
	const char *text = w->next->change_text;
	struct owner o = {.link = ""};
	int err = 0;

	if (strncmp(text, REF_PREFIX, strlen(REF_PREFIX)) == 0) {
		if (!is_link(text + strlen(REF_PREFIX)))
			return err_field(w->e, change_ref.field, "is no change list of the server");
		(void)snprintf(o.link, sizeof(o.link), "%s", text + strlen(REF_PREFIX));
	} else if (oid_parse(text, &o.commit) == 0) {
		err = find_owner(w, &o);
	}
	if (err || !o.link[0])
		return err;
	err = mount_record_set_text(&w->next->change_text, o.link);
	if (err)
		return err_set(w->e, err, "", "no memory");
	w->next->change_kind = MOUNT_CHANGE_LINK;
	return pin_link(w);
}

/* ---- laying ---- */

static int root_of(struct change_work *w, const struct oid *commit, struct oid *ret_root)
{
	struct origin_revision rev;
	char hex[OID_HEX_MAX];
	int err = storage_resolve(
		w->st, w->call->origin, oid_hex(commit, hex), w->call->deadline_ns, &rev, w->e);

	if (!err)
		*ret_root = rev.root;
	return err;
}

/* The tree at `path` below `root`; none if there is none. */
static int tree_at(
	struct change_work *w, const struct oid *root, const char *path, struct oid *ret_tree)
{
	struct layer_entry entry = {.mode = 0};
	int err = 0;

	if (!oid_is_none(root))
		err = storage_find_entry(
			w->st, w->call->origin, root, path, w->call->deadline_ns, &entry);
	w->no_delta = err == -EIO || err == -ESTALE;
	*ret_tree = S_ISDIR(entry.mode) ? entry.oid : (struct oid){0};
	return err ? err_wrap(w->e, err, "look for \"%s\"", path) : 0;
}

/* What is between `from` and `to` over `base`. */
static int lay_over(struct change_work *w, const struct oid *base, const struct oid ends[2],
	struct oid *ret_root)
{
	struct layer *l = NULL;
	int err = storage_diff(w->st, w->call->origin, &ends[0], &ends[1], w->next->root.len,
		w->call->deadline_ns, &l);

	if (err == -E2BIG)
		return change_too_large(w);
	w->no_delta = err == -EIO || err == -ESTALE;
	if (err)
		return err_wrap(w->e, err, "compare the commits of the change list");
	w->next->change_paths = layer_count(l);
	if (oid_equal(base, &ends[0]))
		*ret_root = ends[1];
	else
		err = change_merge(w, base, l, ret_root);
	layer_free(l);
	return err;
}

/* The mount's tree with `tree` at `inside`. */
static int put_below(struct change_work *w, const char *inside, const struct oid *tree)
{
	struct layer_change change = {.path = inside};
	struct layer *l = layer_new(w->next->root.len);
	int err;

	if (!l)
		return err_set(w->e, -ENOMEM, "", "no memory");
	if (!oid_is_none(tree))
		change.put = (struct layer_entry){.mode = S_IFDIR | 0755, .oid = *tree};
	err = layer_add(l, &change);
	err = err ? err_set(w->e, err, "", "the change list's path cannot be")
		  : change_merge(w, &w->base, l, &w->next->root);
	layer_free(l);
	return err;
}

/* Its trees are compared. */
static int lay_trees(struct change_work *w)
{
	const char *mount = w->next->path ? w->next->path : "";
	const char *at = w->next->change_path ? w->next->change_path : "";
	size_t mount_len = strlen(mount), at_len = strlen(at);
	const char *inside = change_inside(w, at);
	struct oid ends[2], base;
	int err = root_of(w, &w->next->change_from, &ends[0]);

	if (!err)
		err = root_of(w, &w->next->change_to, &ends[1]);
	if (err)
		return err;
	w->next->change_paths = 0;
	if (inside && *inside) { /* below the mount's directory */
		err = tree_at(w, &w->base, inside, &base);
		if (!err)
			err = lay_over(w, &base, ends, &base);
		return err ? err : put_below(w, inside, &base);
	}
	if (at_len &&
		(strncmp(mount, at, at_len) != 0 || (mount_len > at_len && mount[at_len] != '/'))) {
		w->next->root = w->base; /* elsewhere: nothing changes */
		return 0;
	}
	mount += at_len + (at_len && mount[at_len] == '/');
	for (unsigned i = 0; i < 2 && !err; i++)
		err = tree_at(w, &ends[i], mount, &ends[i]);
	return err ? err : lay_over(w, &w->base, ends, &w->next->root);
}

static int lay_link(struct change_work *w)
{
	struct oid commit = w->next->change_to;
	int err;

	if (mount_change_list_is_told(w->next))
		return change_lay_told(w);
	err = lay_trees(w);
	if (!err || !w->no_delta || !w->call->source)
		return err;
	if (w->e)
		*w->e = (struct err){0};
	err = change_pin_told(w, w->next->change_path ? w->next->change_path : "", &commit);
	return err ? err : change_lay_told(w);
}

const struct change_ops change_link = {
	.field = "change_list.link", .check = check_link, .pin = pin_link, .lay = lay_link};
