/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See attr.h and gitattributes(5). A line is a pattern, which is one of .gitignore without its
 * negation and its rule for directories, and assignments. What is nearest to the path decides: the
 * last line of its own directory first, the first line of the root last; within a line the last
 * assignment.
 */
#include "workflow/attr.h"

#include "workflow/ignore.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FILE_MAX  (1u << 20)
#define RULES_MAX 20000u
#define DEPTH_MAX 8 /* of macros in macros */
#define BLANKS    " \t\r"

struct assignment {
	char *name;
	struct wf_attr attr;
};
struct rule {
	struct wf_ignore *pattern; /* NULL: a macro */
	char *macro;
	struct assignment *list;
	size_t count;
};
struct wf_attr_file {
	struct rule *rules;
	size_t count, cap;
};

static const char *const names[WF_ATTRS] = {
	[WF_ATTR_DIFF] = "diff",
	[WF_ATTR_MERGE] = "merge",
	[WF_ATTR_TEXT] = "text",
	[WF_ATTR_CRLF] = "crlf",
	[WF_ATTR_EOL] = "eol",
	[WF_ATTR_FILTER] = "filter",
};

/* ---- parsing ---- */

static void rule_fini(struct rule *r)
{
	for (size_t i = 0; i < r->count; i++)
		free(r->list[i].name);
	free(r->list);
	free(r->macro);
	(void)wf_ignore_free(r->pattern);
	*r = (struct rule){0};
}

struct wf_attr_file *wf_attr_free(struct wf_attr_file *f)
{
	for (size_t i = 0; f && i < f->count; i++)
		rule_fini(&f->rules[i]);
	if (f)
		free(f->rules);
	free(f);
	return NULL;
}

/* "name", "-name", "!name" or "name=value". */
static int add_assignment(struct rule *rule, const char *word, size_t len)
{
	struct assignment a = {.attr.state = WF_ATTR_SET};
	struct assignment *list;
	const char *equals;

	if (word[0] == '-' || word[0] == '!') {
		a.attr.state = word[0] == '-' ? WF_ATTR_UNSET : WF_ATTR_UNSPECIFIED;
		word++;
		len--;
	}
	equals = memchr(word, '=', len);
	if (equals && a.attr.state == WF_ATTR_SET) {
		size_t value = len - (size_t)(equals + 1 - word);

		a.attr.state = WF_ATTR_VALUE;
		if (value < sizeof(a.attr.value))
			memcpy(a.attr.value, equals + 1, value);
	}
	if (equals)
		len = (size_t)(equals - word);
	if (!len)
		return 0;
	list = reallocarray(rule->list, rule->count + 1, sizeof(*list));
	if (!list)
		return -ENOMEM;
	rule->list = list;
	a.name = strndup(word, len);
	if (!a.name)
		return -ENOMEM;
	list[rule->count++] = a;
	return 0;
}

/* The first word, which may be in quotes as C has them; *at moves behind it. malloc'ed. */
static char *take_pattern(const char **at, const char *end)
{
	size_t len = 0;
	char *out = malloc((size_t)(end - *at) + 1);
	const char *from = *at;

	if (!out)
		return NULL;
	if (from < end && *from == '"') {
		for (from++; from < end && *from != '"'; from++) {
			if (*from == '\\' && from + 1 < end)
				from++;
			out[len++] = *from;
		}
		from += from < end;
	} else {
		while (from < end && !strchr(BLANKS, *from))
			out[len++] = *from++;
	}
	out[len] = '\0';
	*at = from;
	return out;
}

static int set_pattern(struct rule *rule, const char *pattern, bool macros, bool *ret_useful)
{
	static const char macro[] = "[attr]";
	size_t len = strlen(pattern);

	*ret_useful = false;
	if (strncmp(pattern, macro, strlen(macro)) == 0) {
		rule->macro = strdup(pattern + strlen(macro));
		*ret_useful = macros;
		return rule->macro ? 0 : -ENOMEM;
	}
	/* not in this language; and a directory has no attributes */
	if (!len || pattern[0] == '!' || pattern[len - 1] == '/')
		return 0;
	rule->pattern = wf_ignore_parse(pattern, len);
	*ret_useful = rule->pattern && rule->pattern->count == 1;
	return rule->pattern ? 0 : -ENOMEM;
}

static int parse_line(
	const char *at, const char *end, bool macros, struct rule *ret_rule, bool *ret_useful)
{
	struct rule rule = {0};
	char *pattern;
	int r;

	*ret_useful = false;
	while (at < end && strchr(BLANKS, *at))
		at++;
	if (at == end || *at == '#' || memchr(at, '\0', (size_t)(end - at)))
		return 0;
	pattern = take_pattern(&at, end);
	r = pattern ? set_pattern(&rule, pattern, macros, ret_useful) : -ENOMEM;
	free(pattern);
	while (r == 0 && *ret_useful && at < end) {
		const char *word;

		while (at < end && strchr(BLANKS, *at))
			at++;
		for (word = at; at < end && !strchr(BLANKS, *at);)
			at++;
		if (at > word)
			r = add_assignment(&rule, word, (size_t)(at - word));
	}
	if (r < 0 || !*ret_useful)
		rule_fini(&rule);
	*ret_rule = rule;
	return r;
}

static int add_rule(struct wf_attr_file *f, const struct rule *rule)
{
	if (f->count == f->cap) {
		size_t cap = f->cap ? 2 * f->cap : 16;
		struct rule *rules = reallocarray(f->rules, cap, sizeof(*rules));

		if (!rules)
			return -ENOMEM;
		f->rules = rules;
		f->cap = cap;
	}
	f->rules[f->count++] = *rule;
	return 0;
}

struct wf_attr_file *wf_attr_parse(const char *text, size_t len, bool macros)
{
	struct wf_attr_file *f = calloc(1, sizeof(*f));
	const char *stop = text + len;

	if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
		text += 3; /* as Git: a mark of UTF-8 */
	while (f && text < stop && f->count < RULES_MAX) {
		const char *end = memchr(text, '\n', (size_t)(stop - text));
		struct rule rule;
		bool useful;
		int r = parse_line(text, end ? end : stop, macros, &rule, &useful);

		if (r == 0 && useful)
			r = add_rule(f, &rule);
		if (r < 0) {
			rule_fini(&rule);
			return wf_attr_free(f);
		}
		text = end ? end + 1 : stop;
	}
	return f;
}

/* ---- applying ---- */

static void assign(const struct wf_attr_file *root, const struct assignment *list, size_t count,
	struct wf_attr attrs[WF_ATTRS], unsigned depth);

/* A macro that is set: what it stands for. */
static void expand(const struct wf_attr_file *root, const char *name,
	struct wf_attr attrs[WF_ATTRS], unsigned depth)
{
	static const struct assignment binary[] = {{(char *)"diff", {.state = WF_ATTR_UNSET}},
		{(char *)"merge", {.state = WF_ATTR_UNSET}},
		{(char *)"text", {.state = WF_ATTR_UNSET}}};

	for (size_t i = root ? root->count : 0; i-- > 0;)
		if (root->rules[i].macro && strcmp(root->rules[i].macro, name) == 0) {
			assign(root, root->rules[i].list, root->rules[i].count, attrs, depth + 1);
			return;
		}
	if (strcmp(name, "binary") == 0)
		assign(root, binary, sizeof(binary) / sizeof(binary[0]), attrs, depth + 1);
}

static void assign(const struct wf_attr_file *root, const struct assignment *list, size_t count,
	struct wf_attr attrs[WF_ATTRS], unsigned depth)
{
	for (size_t i = count; i-- > 0 && depth < DEPTH_MAX;) {
		for (unsigned k = 0; k < WF_ATTRS; k++)
			if (attrs[k].state == WF_ATTR_UNKNOWN &&
				strcmp(names[k], list[i].name) == 0)
				attrs[k] = list[i].attr;
		if (list[i].attr.state == WF_ATTR_SET)
			expand(root, list[i].name, attrs, depth);
	}
}

void wf_attr_apply(const struct wf_attr_file *f, const struct wf_attr_file *root, const char *path,
	size_t name_at, struct wf_attr attrs[WF_ATTRS])
{
	for (size_t i = f ? f->count : 0; i-- > 0;)
		if (f->rules[i].pattern &&
			wf_ignore_find(f->rules[i].pattern, path, name_at, false))
			assign(root, f->rules[i].list, f->rules[i].count, attrs, 0);
}

/* ---- in a walk ---- */

static const char rules_name[] = ".gitattributes";

static int read_staged(struct wf *w, const struct wf_dirent *d, char **ret_text, size_t *ret_len)
{
	if (!d || (d->node.mode != WF_MODE_FILE && d->node.mode != WF_MODE_EXEC))
		return -ENOENT;
	return wf_blob_read(w, &d->node.oid, FILE_MAX, ret_text, ret_len);
}

/* As Git: what is staged if there is no such file. */
static int read_rules(struct wf *w, struct wf_level *level, char **ret_text, size_t *ret_len)
{
	int r = wf_level_read(w, level, rules_name, ret_text, ret_len);

	return r == -ENOENT
		       ? read_staged(w, wf_dir_find(&level->index, rules_name, strlen(rules_name)),
				 ret_text, ret_len)
		       : r;
}

/* What is not tracked stays when something else is checked out. */
static int read_head_rules(struct wf *w, struct wf_level *level, char **ret_text, size_t *ret_len)
{
	const struct wf_dirent *d = wf_dir_find(&level->head, rules_name, strlen(rules_name));

	if (!d && !wf_dir_find(&level->index, rules_name, strlen(rules_name)))
		return wf_level_read(w, level, rules_name, ret_text, ret_len);
	return read_staged(w, d, ret_text, ret_len);
}

static int load(struct wf *w, struct wf_level *level, bool of_head)
{
	struct wf_level_attrs *attrs = of_head ? &level->head_attrs : &level->attrs;
	char *text;
	size_t len;
	int r;

	if (attrs->loaded)
		return 0;
	r = of_head ? read_head_rules(w, level, &text, &len) : read_rules(w, level, &text, &len);
	if (r == -ENOENT || r == -EFBIG) {
		attrs->loaded = true;
		return 0;
	}
	if (r < 0)
		return wf_failed_at(w, r, "read a .gitattributes of", w->use->mount_id);
	attrs->file = wf_attr_parse(text, len, !level->up);
	free(text);
	attrs->loaded = attrs->file != NULL;
	return attrs->loaded ? 0 : -ENOMEM;
}

static const struct wf_attr_file *file_of(const struct wf_level *level, bool of_head)
{
	return of_head ? level->head_attrs.file : level->attrs.file;
}

static int find_attrs(struct wf *w, struct wf_level *level, bool of_head, const char *path,
	size_t name_at, struct wf_attr ret_attrs[WF_ATTRS])
{
	struct wf_level *root = level;

	memset(ret_attrs, 0, WF_ATTRS * sizeof(*ret_attrs));
	for (struct wf_level *l = level; l; l = l->up) {
		int r = load(w, l, of_head);

		if (r < 0)
			return r;
		root = l;
	}
	for (struct wf_level *l = level; l; l = l->up)
		wf_attr_apply(file_of(l, of_head), file_of(root, of_head), path + l->path_len,
			name_at - l->path_len, ret_attrs);
	for (unsigned k = 0; k < WF_ATTRS; k++)
		if (ret_attrs[k].state == WF_ATTR_UNKNOWN)
			ret_attrs[k].state = WF_ATTR_UNSPECIFIED;
	return 0;
}

int wf_attrs_of(struct wf *w, struct wf_level *level, const char *path, size_t name_at,
	struct wf_attr ret_attrs[WF_ATTRS])
{
	return find_attrs(w, level, false, path, name_at, ret_attrs);
}

int wf_attrs_of_head(struct wf *w, struct wf_level *level, const char *path, size_t name_at,
	struct wf_attr ret_attrs[WF_ATTRS])
{
	return find_attrs(w, level, true, path, name_at, ret_attrs);
}
