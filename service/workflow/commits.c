/* SPDX-License-Identifier: Apache-2.0 */
/* See commits.h. Commit objects are the workspace's own, but they are parsed as if they were not.
 */
#include "workflow/commits.h"

#include <base/cleanup.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LINE_MAX_COMMITS 100000u

void wf_parsed_commit_fini(struct wf_parsed_commit *c)
{
	free(c->memory);
	*c = (struct wf_parsed_commit){0};
}

/* The line at *at, ended; moves behind it. NULL: there is none. */
static char *take_line(char **at)
{
	char *line = *at, *end = strchr(line, '\n');

	if (!end)
		return NULL;
	*end = '\0';
	*at = end + 1;
	return line;
}

static bool take_header(struct wf_parsed_commit *c, const char *line)
{
	if (strncmp(line, "tree ", 5) == 0)
		return oid_parse(line + 5, &c->tree) == 0;
	if (strncmp(line, "parent ", 7) == 0)
		return c->parent.len || oid_parse(line + 7, &c->parent) == 0;
	if (strncmp(line, "author ", 7) == 0)
		c->author = line + 7;
	else if (strncmp(line, "committer ", 10) == 0)
		c->committer = line + 10;
	return true;
}

int wf_commit_parse(char *data, size_t len, struct wf_parsed_commit *ret_commit)
{
	struct wf_parsed_commit c = {.memory = data};
	char *at = data, *line = NULL;
	bool good = strlen(data) == len;

	while (good && (line = take_line(&at)) && *line)
		good = take_header(&c, line);
	if (!good || !line || !c.tree.len || !c.author || !c.committer) {
		wf_parsed_commit_fini(&c);
		return -EBADMSG;
	}
	c.message = at;
	*ret_commit = c;
	return 0;
}

int wf_commit_read(struct wf *w, const struct oid *commit, struct wf_parsed_commit *ret_commit)
{
	void *data;
	size_t len;
	int r = wf_odb_read(w, commit, WF_COMMIT, &data, &len);

	return r < 0 ? r : wf_commit_parse(data, len, ret_commit);
}

int wf_signature_parse(const char *line, struct wf_signature *ret_signature, char **ret_memory)
{
	_cleanup_free_ char *copy = strdup(line);
	struct wf_signature s = {0};
	char *open, *close, *end;
	long zone;

	if (!copy)
		return -ENOMEM;
	open = strstr(copy, " <");
	close = open ? strrchr(copy, '>') : NULL;
	if (!close || close < open || close[1] != ' ')
		return -EBADMSG;
	*open = *close = '\0';
	s.name = copy;
	s.email = open + 2;
	errno = 0;
	s.time_s = strtoll(close + 2, &end, 10);
	if (errno || end == close + 2 || *end != ' ')
		return -EBADMSG;
	zone = strtol(end + 1, NULL, 10);
	if (zone < -9999 || zone > 9999)
		return -EBADMSG;
	s.offset_minutes = (int)(zone / 100 * 60 + zone % 100);
	s.has_time = true;
	*ret_signature = s;
	*ret_memory = TAKE_PTR(copy);
	return 0;
}

static int not_found(const struct wf *w, const char *name)
{
	return err_set(w->e, -ENOENT, "REVISION_NOT_FOUND",
		"no commit between HEAD and the base of this workspace is called \"%.128s\"", name);
}

int wf_commit_parent(struct wf *w, const struct oid *commit, struct oid *ret_parent)
{
	struct wf_parsed_commit c;
	int r;

	if (oid_equal(commit, &w->use->commit))
		return -ENOENT;
	r = wf_commit_read(w, commit, &c);
	if (r < 0)
		return r == -ENOENT ? -EIO : r;
	*ret_parent = c.parent;
	wf_parsed_commit_fini(&c);
	return ret_parent->len ? 0 : -EIO;
}

/* Along the line from HEAD: the commit whose id begins so. */
static int find_by_id(struct wf *w, const char *name, size_t len, struct oid *ret_commit)
{
	struct oid at = w->state.head, found = {0};
	int r = 0;

	for (unsigned i = 0; r == 0 && i < LINE_MAX_COMMITS; i++) {
		char hex[OID_HEX_MAX];

		if (strncmp(oid_hex(&at, hex), name, len) == 0) {
			if (found.len)
				return err_set(w->e, -EINVAL, "REVISION_AMBIGUOUS",
					"more than one commit begins with %.*s", (int)len, name);
			found = at;
		}
		r = wf_commit_parent(w, &at, &at);
	}
	if (r < 0 && r != -ENOENT)
		return r;
	if (!found.len && len == 40 && oid_parse(name, &found) == 0 && !wf_odb_has(w, &found))
		found = (struct oid){0};
	*ret_commit = found;
	return found.len ? 0 : -ENOENT;
}

static int find_start(struct wf *w, const char *name, size_t len, struct oid *ret_commit)
{
	if (len == 0 || (len == 4 && memcmp(name, "HEAD", 4) == 0)) {
		*ret_commit = w->state.head;
		return 0;
	}
	if (len == 4 && memcmp(name, "BASE", 4) == 0) {
		*ret_commit = w->use->commit;
		return 0;
	}
	if (len < 4 || len > 40 || strspn(name, "0123456789abcdef") < len)
		return -ENOENT;
	return find_by_id(w, name, len, ret_commit);
}

int wf_commit_tree(struct wf *w, const struct oid *commit, struct oid *ret_tree)
{
	struct wf_parsed_commit c;
	int r;

	if (oid_equal(commit, &w->use->commit)) {
		*ret_tree = w->use->has_change_list ? w->list.base : w->use->root;
		return 0;
	}
	r = wf_commit_read(w, commit, &c);
	if (r < 0)
		return r;
	r = wf_subtree(w, &c.tree, ret_tree);
	wf_parsed_commit_fini(&c);
	return r;
}

int wf_commit_find(struct wf *w, const char *name, struct oid *ret_commit, struct oid *ret_tree)
{
	size_t len = strcspn(name, "~");
	unsigned long up = 0;
	struct oid at;
	char *end = NULL;
	int r = find_start(w, name, len, &at);

	if (r == 0 && name[len] == '~') {
		up = name[len + 1] ? strtoul(name + len + 1, &end, 10) : 1;
		if ((end && *end) || up > LINE_MAX_COMMITS)
			return not_found(w, name);
	}
	for (; r == 0 && up; up--)
		r = wf_commit_parent(w, &at, &at);
	if (r == 0)
		r = wf_commit_tree(w, &at, ret_tree);
	if (r == 0)
		*ret_commit = at;
	return r == -ENOENT ? not_found(w, name) : r;
}
