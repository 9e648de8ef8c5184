/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See ignore.h and gitignore(5). A directory that is ignored hides everything below it, whatever
 * deeper rules say; so the answer for a path begins with that for its directory, which is
 * remembered in the level.
 */
#include "workflow/ignore.h"

#include "workflow/glob.h"

#include <base/cleanup.h>
#include <base/io.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define FILE_MAX  (1u << 20)
#define RULES_MAX 20000u

struct wf_ignore *wf_ignore_free(struct wf_ignore *ig)
{
	for (size_t i = 0; ig && i < ig->count; i++)
		free(ig->rules[i].pattern);
	if (ig)
		free(ig->rules);
	free(ig);
	return NULL;
}

/* Without blanks at the end, unless they are escaped. */
static size_t trimmed(const char *line, size_t len)
{
	while (len && line[len - 1] == ' ' && !(len > 1 && line[len - 2] == '\\'))
		len--;
	return len;
}

/* False: no rule on this line. -ENOMEM through ret. */
static bool parse_line(const char *line, size_t len, struct wf_ignore_rule *ret_rule, int *ret_err)
{
	struct wf_ignore_rule rule = {0};

	if (len && line[len - 1] == '\r')
		len--;
	len = trimmed(line, len);
	if (!len || line[0] == '#')
		return false;
	if (line[0] == '!') {
		rule.negated = true;
		line++;
		len--;
	}
	if (len && line[len - 1] == '/') {
		rule.dir_only = true;
		len--;
	}
	if (!len || memchr(line, '\0', len))
		return false;
	rule.anchored = memchr(line, '/', len) != NULL;
	if (line[0] == '/') {
		line++;
		len--;
	}
	if (!len)
		return false;
	rule.pattern = strndup(line, len);
	rule.len = len;
	*ret_err = rule.pattern ? 0 : -ENOMEM;
	rule.literal = rule.pattern && !glob_is_pattern(rule.pattern);
	*ret_rule = rule;
	return rule.pattern != NULL;
}

struct wf_ignore *wf_ignore_parse(const char *text, size_t len)
{
	struct wf_ignore *ig = calloc(1, sizeof(*ig));
	size_t cap = 0;
	int err = 0;

	if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) { /* as Git: a mark of UTF-8 */
		text += 3;
		len -= 3;
	}
	while (ig && len && ig->count < RULES_MAX) {
		const char *end = memchr(text, '\n', len);
		size_t line = end ? (size_t)(end - text) : len;
		struct wf_ignore_rule rule;

		if (parse_line(text, line, &rule, &err)) {
			if (ig->count == cap) {
				struct wf_ignore_rule *rules = reallocarray(
					ig->rules, cap = cap ? 2 * cap : 16, sizeof(*rules));

				if (rules)
					ig->rules = rules;
				err = rules ? 0 : -ENOMEM;
			}
			if (err == 0)
				ig->rules[ig->count++] = rule;
			else
				free(rule.pattern);
		}
		if (err)
			return wf_ignore_free(ig);
		text += line + (end != NULL);
		len -= line + (end != NULL);
	}
	return ig;
}

static bool rule_matches(
	const struct wf_ignore_rule *rule, const char *path, size_t name_at, bool is_dir)
{
	const char *subject = rule->anchored ? path : path + name_at;

	if (rule->dir_only && !is_dir)
		return false;
	if (rule->literal)
		return strcmp(rule->pattern, subject) == 0;
	return glob_match(rule->pattern, subject, GLOB_PATHNAME);
}

const struct wf_ignore_rule *wf_ignore_find(
	const struct wf_ignore *ig, const char *path, size_t name_at, bool is_dir)
{
	for (size_t i = ig ? ig->count : 0; i-- > 0;)
		if (rule_matches(&ig->rules[i], path, name_at, is_dir))
			return &ig->rules[i];
	return NULL;
}

/* ---- in a walk ---- */

void wf_ignores_fini(struct wf_ignores *x)
{
	x->exclude = wf_ignore_free(x->exclude);
}

void wf_ignore_leave(struct wf_level *level)
{
	level->ignore = wf_ignore_free(level->ignore);
}

static int load_exclude(struct wf_ignores *x)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r;

	if (x->exclude_loaded || x->w->dirfd < 0)
		return 0;
	r = io_read_file(x->w->dirfd, "info/exclude", FILE_MAX, &text, &len);
	if (r < 0 && r != -ENOENT && r != -ENOTDIR)
		return r;
	x->exclude_loaded = true;
	x->exclude = r == 0 ? wf_ignore_parse(text, len) : NULL;
	return r == 0 && !x->exclude ? -ENOMEM : 0;
}

static int load_rules(struct wf_ignores *x, struct wf_level *level)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r;

	if (level->ignore_loaded)
		return 0;
	r = wf_level_read(x->w, level, ".gitignore", &text, &len);
	if (r < 0 && r != -ENOENT && r != -EFBIG)
		return wf_failed_at(x->w, r, "read a .gitignore of", x->w->use->mount_id);
	level->ignore_loaded = true;
	level->ignore = r == 0 ? wf_ignore_parse(text, len) : NULL;
	return r == 0 && !level->ignore ? -ENOMEM : 0;
}

/* By the rules of this directory and those above, the nearest first. */
static int decide(struct wf_ignores *x, struct wf_level *level, const char *path, size_t name_at,
	bool is_dir, bool *ret_ignored)
{
	const struct wf_ignore_rule *rule = NULL;

	for (struct wf_level *l = level; l && !rule; l = l->up) {
		int r = load_rules(x, l);

		if (r < 0)
			return r;
		rule = wf_ignore_find(l->ignore, path + l->path_len, name_at - l->path_len, is_dir);
	}
	if (!rule) {
		int r = load_exclude(x);

		if (r < 0)
			return r;
		rule = wf_ignore_find(x->exclude, path, name_at, is_dir);
	}
	*ret_ignored = rule && !rule->negated;
	return 0;
}

/* Are whole directories on the way ignored? Outermost first, without recursion. */
int wf_ignored_dir(struct wf_ignores *x, struct wf_level *level, const char *path)
{
	struct wf_level *top = level;

	for (; level->excluded < 0; top = level) {
		char dir[WF_PATH_MAX + 1];
		bool ignored;
		int r;

		while (top->excluded < 0 && top->up && top->up->excluded < 0)
			top = top->up;
		if (!top->up) {
			top->excluded = 0;
			continue;
		}
		if (top->up->excluded == 1) {
			top->excluded = 1;
			continue;
		}
		memcpy(dir, path, top->path_len - 1); /* without its '/' */
		dir[top->path_len - 1] = '\0';
		r = decide(x, top->up, dir, top->up->path_len, true, &ignored);
		if (r < 0)
			return r;
		top->excluded = ignored;
	}
	return level->excluded;
}

int wf_ignored(struct wf_ignores *x, struct wf_level *level, const char *path, size_t name_at,
	bool is_dir, bool *ret_ignored)
{
	int r = wf_ignored_dir(x, level, path);

	if (r != 0) {
		*ret_ignored = r == 1;
		return r < 0 ? r : 0;
	}
	return decide(x, level, path, name_at, is_dir, ret_ignored);
}
