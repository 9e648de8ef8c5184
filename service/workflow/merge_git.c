/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A merge by `git merge-tree --write-tree`, in a repository that is made for it and removed again:
 * three commits, the directories in which their trees differ, and the contents that both sides
 * changed or that may have been renamed, and .gitattributes. What comes out becomes the workspace's
 * own, and is charged.
 *
 * Git's answer: the tree, then a line per side of each conflicting path ("mode id side<TAB>path"),
 * then messages of which "CONFLICT (kind)" counts.
 */
#include "workflow/merge.h"

#include "workflow/push.h"
#include "workflow/run.h"
#include "workflow/walk.h"

#include <base/cleanup.h>
#include <base/io.h>
#include <base/path.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <storage/storage.h>
#include <string.h>
#include <sys/stat.h>

/* Beyond this Git is told not to look for renames: it would have to read all of it. */
#define RENAMES_MAX       2000u
#define RENAMES_BYTES_MAX (256u << 20)
#define CONFLICTS_MAX     100000u

/* A path that Git could not merge; sides as Git counts them, less one: base, ours, theirs. */
struct unmerged {
	char *path;
	struct wf_node side[3];
};

struct git_merge {
	struct wf *w;
	const struct wf_merge *m;
	struct wf_thin thin;
	char *rules; /* Git's working tree: merge_rules.c */
	int result;
	/* contents that may be renamed ones */
	size_t candidates;
	uint64_t candidate_bytes;
	bool no_renames;
	/* the answer */
	struct oid tree;
	struct unmerged *unmerged;
	size_t count, cap;
	bool odd; /* a conflict that choosing a side does not solve */
	char said[256];
};

/* ---- what Git reads ---- */

static int put_blob(struct git_merge *g, const struct wf_node *node)
{
	_cleanup_free_ char *data = NULL;
	size_t len;
	int r;

	if (!node->mode || node->mode == WF_MODE_GITLINK || wf_odb_has(g->w, &node->oid))
		return 0; /* of the workspace: an alternate */
	r = wf_blob_read(g->w, &node->oid, WF_OBJECT_MAX, &data, &len);
	return r < 0 ? r : wf_odb_put(g->thin.odb, WF_BLOB, data, len);
}

/* It came or went: somewhere else there may be the same content. */
static int put_candidate(struct git_merge *g, struct wf_node *node)
{
	int r;

	if (!node->mode || node->mode == WF_MODE_GITLINK || g->no_renames)
		return 0;
	r = wf_blob_size(g->w, node);
	if (r < 0)
		return r;
	g->candidate_bytes += node->size;
	g->no_renames = ++g->candidates > RENAMES_MAX || g->candidate_bytes > RENAMES_BYTES_MAX;
	return g->no_renames ? 0 : put_blob(g, node);
}

static int visit(void *arg, struct wf_item *item)
{
	struct git_merge *g = arg;
	struct wf_node *sides[] = {&item->work, &item->index, &item->head};
	bool all = !wf_same(sides[0], sides[1]) && !wf_same(sides[0], sides[2]) &&
		   !wf_same(sides[1], sides[2]);
	int r = g->result;

	for (unsigned i = 0; r == 0 && i < 3; i++) {
		const struct wf_node *other = sides[i ? 0 : 1];

		if (all)
			r = put_blob(g, sides[i]);
		else if (!other->mode || (i == 0 && !sides[2]->mode))
			r = put_candidate(g, sides[i]);
	}
	return r;
}

static int put_dir(struct git_merge *g, const struct oid *tree, const struct wf_dir *dir)
{
	return oid_is_none(tree) || wf_odb_has(g->w, tree) ? 0
							   : wf_thin_put_tree(&g->thin, tree, dir);
}

static bool enter(void *arg, const char *path, size_t len, struct wf_level *level)
{
	struct git_merge *g = arg;

	(void)len;
	if (g->result == 0)
		g->result = wf_merge_put_rules(g->w, g->rules, level, path);
	if (g->result == 0)
		g->result = put_dir(g, &level->lower_tree, &level->lower);
	if (g->result == 0)
		g->result = put_dir(g, &level->index_tree, &level->index);
	if (g->result == 0)
		g->result = put_dir(g, &level->head_tree, &level->head);
	return g->result == 0;
}

static int fill(struct git_merge *g)
{
	int r = wf_merge_walk(g->w, g->m, &(struct wf_merge_visitor){visit, enter, g}, NULL);

	return r < 0 ? r : g->result;
}

/* A commit with this tree; "" for no parent. */
static int put_commit(
	struct git_merge *g, const struct oid *tree, const char *parent, char ret_hex[OID_HEX_MAX])
{
	char text[512], hex[OID_HEX_MAX];
	struct oid oid = *tree;
	int len, r = 0;

	if (oid_is_none(tree)) {
		r = digest_object(DIGEST_SHA1, OBJECT_TREE, "", 0, &oid);
		if (r == 0)
			r = wf_odb_put(g->thin.odb, WF_TREE, "", 0);
	}
	if (r < 0)
		return r;
	len = snprintf(text, sizeof(text),
		"tree %s\n%s%s%sauthor - <-> 0 +0000\ncommitter - <-> 0 +0000\n\n",
		oid_hex(&oid, hex), *parent ? "parent " : "", parent, *parent ? "\n" : "");
	r = digest_object(DIGEST_SHA1, OBJECT_COMMIT, text, (size_t)len, &oid);
	if (r == 0)
		r = wf_odb_put(g->thin.odb, WF_COMMIT, text, (size_t)len);
	(void)oid_hex(&oid, ret_hex);
	return r;
}

/* ---- what Git answers ---- */

/* In place, from Git's quotes. False: it is none. */
static bool unquote(char *path)
{
	static const char letters[] = "abtnvfr\"\\", values[] = "\a\b\t\n\v\f\r\"\\";
	const char *at = path + 1;
	char *to = path;

	if (*path != '"')
		return true;
	for (; *at && *at != '"'; at++) {
		const char *letter;

		if (*at != '\\') {
			*to++ = *at;
			continue;
		}
		at++;
		letter = *at ? strchr(letters, *at) : NULL;
		if (letter) {
			*to++ = values[letter - letters];
		} else if (strspn(at, "01234567") >= 3) {
			*to++ = (char)((at[0] - '0') << 6 | (at[1] - '0') << 3 | (at[2] - '0'));
			at += 2;
		} else {
			return false;
		}
	}
	*to = '\0';
	return *at == '"';
}

static struct unmerged *unmerged_at(struct git_merge *g, const char *path)
{
	if (g->count && strcmp(g->unmerged[g->count - 1].path, path) == 0)
		return &g->unmerged[g->count - 1];
	if (g->count == CONFLICTS_MAX)
		return NULL;
	if (g->count == g->cap) {
		size_t cap = g->cap ? 2 * g->cap : 16;
		struct unmerged *more = reallocarray(g->unmerged, cap, sizeof(*more));

		if (!more)
			return NULL;
		g->unmerged = more;
		g->cap = cap;
	}
	g->unmerged[g->count] = (struct unmerged){.path = strdup(path)};
	return g->unmerged[g->count].path ? &g->unmerged[g->count++] : NULL;
}

/* "100644 <id> 2<TAB>path"; 1: it is another line. */
static int take_side(struct git_merge *g, char *line)
{
	char *tab = strchr(line, '\t'), *end;
	unsigned long mode = strtoul(line, &end, 8);
	struct unmerged *u;
	struct oid oid;

	if (!tab || tab - line != 49 || end != line + 6 || tab[-1] < '1' || tab[-1] > '3')
		return 1;
	tab[-2] = '\0';
	if (oid_parse(line + 7, &oid) < 0 || !unquote(tab + 1))
		return 1;
	u = unmerged_at(g, tab + 1);
	if (!u)
		return -ENOMEM;
	u->side[tab[-1] - '1'] = (struct wf_node){.mode = (uint32_t)mode, .oid = oid};
	return 0;
}

static bool is_plain(const char *kind)
{
	static const char *const plain[] = {"content)", "add/add)", "modify/delete)"};

	for (unsigned i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
		if (strncmp(kind, plain[i], strlen(plain[i])) == 0)
			return true;
	return false;
}

static int hear(void *arg, bool from_error, char *line)
{
	static const char conflict[] = "CONFLICT (";
	struct git_merge *g = arg;
	int r;

	if (from_error) {
		(void)snprintf(g->said, sizeof(g->said), "%s", line);
		return 0;
	}
	if (oid_is_none(&g->tree))
		return oid_parse(line, &g->tree) < 0 ? -EBADMSG : 0;
	r = take_side(g, line);
	if (r == 1 && strncmp(line, conflict, strlen(conflict)) == 0)
		g->odd |= !is_plain(line + strlen(conflict));
	return r < 0 ? r : 0;
}

/* 0: merged; 1: with conflicts. */
static int run(struct git_merge *g, const char *ours, const char *theirs)
{
	const char *path = getenv("PATH");
	_cleanup_free_ char *env_path = NULL, *env_dir = NULL, *env_home = NULL, *env_work = NULL;
	const char *const argv[] = {"git", "-c", "core.quotePath=false", "-c",
		g->no_renames ? "merge.renames=false" : "merge.renames=true", "-c",
		"merge.directoryRenames=conflict", "merge-tree", "--write-tree", "--messages", ours,
		theirs, NULL};
	char *env[] = {"LC_ALL=C", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", NULL,
		NULL, NULL, NULL, NULL};
	int r;

	if (asprintf(&env_path, "PATH=%s", path ? path : "/usr/bin:/bin") < 0 ||
		asprintf(&env_dir, "GIT_DIR=%s", g->thin.dir) < 0 ||
		asprintf(&env_work, "GIT_WORK_TREE=%s", g->rules) < 0 ||
		asprintf(&env_home, "HOME=%s", g->thin.dir) < 0)
		return -ENOMEM;
	env[3] = env_path;
	env[4] = env_dir;
	env[5] = env_home;
	env[6] = env_work;
	r = wf_run(&(struct wf_run){.argv = argv,
		.env = env,
		.dir = g->rules,
		.cancel = g->w->use->cancel,
		.deadline_ns = g->w->use->deadline_ns,
		.line = hear,
		.arg = g});
	if (r == 0 || r == 1)
		return oid_is_none(&g->tree) ? -EIO : r;
	return r < 0 ? r
		     : err_set(g->w->e, -EIO, "", "git cannot merge%s: %.200s", g->m->of, g->said);
}

/* ---- what came out ---- */

struct sides {
	struct oid tree[3];
};

static int import_tree(struct git_merge *g, const struct oid *tree, const struct sides *s);

/* The same entry on one of the sides: nothing to take over. */
static bool of_sides(
	const struct wf_dir dirs[3], const struct wf_dirent *d, struct sides *ret_below)
{
	bool same = false;

	for (unsigned i = 0; i < 3; i++) {
		const struct wf_dirent *side = wf_dir_find(&dirs[i], d->name, d->len);

		ret_below->tree[i] = (struct oid){0};
		if (side && wf_is_dir(&side->node))
			ret_below->tree[i] = side->node.oid;
		same |= side && wf_same(&side->node, &d->node);
	}
	return same;
}

static int import_blob(struct git_merge *g, const struct oid *blob)
{
	_cleanup_free_ void *data = NULL;
	struct oid written;
	uint64_t size;
	size_t len;
	int r;

	if (wf_odb_has(g->w, blob) ||
		tree_blob_size(storage_tree_index(g->w->storage), blob, &size) == 0)
		return 0;
	r = wf_odb_get(g->thin.odb, blob, WF_BLOB, &data, &len);
	if (r < 0)
		return r == -ENOENT ? 0 : r; /* the base's, under another name */
	return wf_odb_write(g->w, WF_BLOB, data, len, &written);
}

static int import_entries(struct git_merge *g, const struct wf_dir *dir, const struct sides *s)
{
	struct wf_dir dirs[3] = {0};
	struct sides below;
	int r = 0;

	for (unsigned i = 0; r == 0 && i < 3; i++)
		r = wf_load_dir(g->w, &s->tree[i], &dirs[i]);
	for (size_t i = 0; r == 0 && i < dir->count; i++) {
		const struct wf_dirent *d = &dir->entries[i];

		if (of_sides(dirs, d, &below) || d->node.mode == WF_MODE_GITLINK)
			continue;
		r = wf_is_dir(&d->node) ? import_tree(g, &d->node.oid, &below)
					: import_blob(g, &d->node.oid);
	}
	for (unsigned i = 0; i < 3; i++)
		wf_dir_fini(&dirs[i]);
	return r;
}

static int import_tree(struct git_merge *g, const struct oid *tree, const struct sides *s)
{
	_cleanup_free_ void *data = NULL;
	struct wf_dir dir;
	struct oid written;
	void *copy;
	size_t len;
	int r = wf_check(g->w);

	if (r < 0 || wf_odb_has(g->w, tree))
		return r;
	r = wf_odb_get(g->thin.odb, tree, WF_TREE, &data, &len);
	if (r < 0)
		return r == -ENOENT ? 0 : r; /* likewise */
	copy = malloc(len + 1);
	if (!copy)
		return -ENOMEM;
	memcpy(copy, data, len);
	r = wf_dir_parse(copy, len, &dir);
	if (r < 0)
		return r;
	r = import_entries(g, &dir, s);
	wf_dir_fini(&dir);
	return r < 0 ? r : wf_odb_write(g->w, WF_TREE, data, len, &written);
}

static int import(struct git_merge *g, struct oid *ret_tree)
{
	const struct sides s = {{g->m->base, g->m->ours, g->m->theirs}};
	struct oid empty;
	int r = digest_object(DIGEST_SHA1, OBJECT_TREE, "", 0, &empty);

	if (r < 0)
		return r;
	if (oid_equal(&g->tree, &empty)) {
		*ret_tree = (struct oid){0};
		return 0;
	}
	for (unsigned i = 0; i < 3; i++)
		if (oid_equal(&g->tree, &s.tree[i])) {
			*ret_tree = g->tree;
			return 0;
		}
	r = import_tree(g, &g->tree, &s);
	if (r == 0)
		*ret_tree = g->tree;
	return r;
}

/* ---- conflicts ---- */

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct unmerged *)a)->path, ((const struct unmerged *)b)->path);
}

static int choose(void *arg, struct wf_item *item)
{
	const struct git_merge *g = arg;
	const struct unmerged key = {.path = (char *)(uintptr_t)item->path}, *found;

	found = bsearch(&key, g->unmerged, g->count, sizeof(key), by_path);
	if (found)
		item->result = found->side[g->m->choice == WF_CONFLICT_KEEP_MINE ? 2 : 1];
	return 0;
}

/* One side of each path that is left, over the tree that Git made with its marks in the files. */
static int take_one_side(struct git_merge *g, const struct oid *merged, struct oid *ret_tree)
{
	struct wf_walk *walk = calloc(1, sizeof(*walk));
	int r;

	if (!walk)
		return -ENOMEM;
	qsort(g->unmerged, g->count, sizeof(*g->unmerged), by_path);
	*walk = (struct wf_walk){.w = g->w,
		.with_lower = true,
		.with_aside = true,
		.index = *merged,
		.lower = g->m->base,
		.head = g->m->ours,
		.aside = g->m->theirs,
		.visit = choose,
		.build = true,
		.arg = g};
	r = wf_walk(walk, ret_tree);
	free(walk);
	return r;
}

static void refuse(const struct git_merge *g)
{
	char text[160];

	for (size_t i = 0; i < g->count; i++) {
		const struct wf_node *s = g->unmerged[i].side;

		(void)snprintf(text, sizeof(text), "%s%s",
			wf_merge_reason(s[0].mode, s[1].mode, s[2].mode), g->m->of);
		wf_conflict(g->m->conflicts, g->unmerged[i].path, text);
	}
	if (!g->count)
		wf_conflict(g->m->conflicts, "", "was moved in more than one way");
}

static int merge(struct git_merge *g, struct oid *ret_tree)
{
	char base[OID_HEX_MAX], ours[OID_HEX_MAX], theirs[OID_HEX_MAX];
	bool one_side =
		g->m->choice == WF_CONFLICT_KEEP_MINE || g->m->choice == WF_CONFLICT_TAKE_THEIRS;
	struct oid merged;
	int r;

	g->rules = path_join(g->thin.dir, "rules");
	r = g->rules ? io_mkdirs(g->rules, 0700) : -ENOMEM;
	if (r == 0)
		r = fill(g);
	if (r == 0)
		r = put_commit(g, &g->m->base, "", base);
	if (r == 0)
		r = put_commit(g, &g->m->ours, base, ours);
	if (r == 0)
		r = put_commit(g, &g->m->theirs, base, theirs);
	if (r == 0)
		r = run(g, ours, theirs);
	if (r == 0)
		return import(g, ret_tree);
	if (r == 1 && (!one_side || g->odd || !g->count)) {
		refuse(g);
		*ret_tree = g->m->ours;
		return 0;
	}
	if (r == 1)
		r = import(g, &merged);
	return r < 0 ? r : take_one_side(g, &merged, ret_tree);
}

int wf_merge_git(struct wf *w, const struct wf_merge *m, struct oid *ret_tree)
{
	struct git_merge *g = calloc(1, sizeof(*g));
	int r;

	if (!g)
		return -ENOMEM;
	g->w = w;
	g->m = m;
	r = wf_thin_init(&g->thin, w);
	if (r == 0)
		r = merge(g, ret_tree);
	wf_thin_fini(&g->thin);
	free(g->rules);
	for (size_t i = 0; i < g->count; i++)
		free(g->unmerged[i].path);
	free(g->unmerged);
	free(g);
	return r;
}
