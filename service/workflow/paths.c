/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See paths.h. As in Git: a spec without wildcards is a path or a directory; in one with wildcards
 * '*' crosses directories unless it is a ":(glob)"; a spec that matches a directory's name means
 * all that is in it.
 */
#include "workflow/paths.h"

#include "workflow/glob.h"

#include <base/err.h>
#include <base/path.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct magic {
	bool exclude, glob, literal, icase;
};

static bool magic_word(const char *word, size_t len, struct magic *m)
{
	const struct {
		const char *word;
		bool *flag;
	} words[] = {{"exclude", &m->exclude}, {"glob", &m->glob}, {"literal", &m->literal},
		{"icase", &m->icase}, {"top", NULL}};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strlen(words[i].word) == len && memcmp(words[i].word, word, len) == 0) {
			if (words[i].flag)
				*words[i].flag = true;
			return true;
		}
	return len == 0;
}

/* ":(a,b)rest" and ":!rest"; moves *text behind it. */
static bool take_magic(const char **text, struct magic *m)
{
	const char *at = *text;

	if (*at != ':')
		return true;
	at++;
	if (*at == '(') {
		const char *end = strchr(at, ')');

		if (!end)
			return false;
		for (at++; at < end;) {
			size_t len = strcspn(at, ",)");

			if (!magic_word(at, len, m))
				return false;
			at += len + (at[len] == ',');
		}
		at = end + 1;
	} else {
		for (; *at == '!' || *at == '^' || *at == '/'; at++)
			m->exclude |= *at != '/';
		if (*at == ':')
			at++;
	}
	*text = at;
	return true;
}

static int spec_init(struct wf_spec *s, const char *text)
{
	struct magic magic = {0};
	char *path;
	int r;

	if (!take_magic(&text, &magic) || (magic.glob && magic.literal))
		return -EINVAL;
	path = malloc(strlen(text) + 2);
	if (!path)
		return -ENOMEM;
	/* "." is the whole workspace; "./" before anything is nothing */
	while (text[0] == '.' && (text[1] == '/' || !text[1]))
		text += text[1] ? 2 : 1;
	r = path_normalize(text, path, strlen(text) + 2);
	if (r < 0) {
		free(path);
		return r;
	}
	*s = (struct wf_spec){.text = path, .len = strlen(path), .exclude = magic.exclude};
	s->pattern = !magic.literal && glob_is_pattern(path);
	s->literal_len = s->pattern ? strcspn(path, "*?[\\") : s->len;
	s->glob_flags = (magic.glob ? GLOB_PATHNAME : 0u) | (magic.icase ? GLOB_ICASE : 0u);
	return 0;
}

int wf_matcher_init(struct wf_matcher *m, const struct wf_paths *paths, struct err *e)
{
	*m = (struct wf_matcher){0};
	if (!paths->count)
		return 0;
	if (paths->count > WF_PATHS_MAX)
		return err_field(e, "paths", "are more than %d", WF_PATHS_MAX);
	m->specs = calloc(paths->count, sizeof(*m->specs));
	if (!m->specs)
		return err_set(e, -ENOMEM, "", "no memory");
	for (size_t i = 0; i < paths->count; i++) {
		int r = spec_init(&m->specs[i], paths->spec[i]);

		if (r < 0) {
			char field[32];

			wf_matcher_fini(m);
			(void)snprintf(field, sizeof(field), "paths[%zu]", i);
			return r == -ENOMEM ? err_set(e, r, "", "no memory")
					    : err_field(e, field,
						      "\"%.128s\" is outside the workspace or has "
						      "magic that is not known",
						      paths->spec[i]);
		}
		m->count++;
		m->any_include |= !m->specs[i].exclude;
	}
	return 0;
}

void wf_matcher_fini(struct wf_matcher *m)
{
	for (size_t i = 0; i < m->count; i++)
		free(m->specs[i].text);
	free(m->specs);
	*m = (struct wf_matcher){0};
}

static bool same_bytes(const struct wf_spec *s, const char *path, size_t len)
{
	return s->glob_flags & GLOB_ICASE ? strncasecmp(s->text, path, len) == 0
					  : memcmp(s->text, path, len) == 0;
}

static bool spec_has(const struct wf_spec *s, const char *path, size_t len)
{
	if (len >= s->len && same_bytes(s, path, s->len) &&
		(s->len == 0 || len == s->len || path[s->len] == '/'))
		return true;
	return s->pattern && glob_match(s->text, path, s->glob_flags);
}

bool wf_matcher_has(struct wf_matcher *m, const char *path, size_t len)
{
	bool in = !m->any_include, out = false;

	for (size_t i = 0; i < m->count; i++)
		if (spec_has(&m->specs[i], path, len)) {
			m->specs[i].matched = true;
			*(m->specs[i].exclude ? &out : &in) = true;
		}
	return in && !out;
}

/* Could `dir` lead to, or lie in, what the literal beginning of the spec names? */
static bool spec_may_enter(const struct wf_spec *s, const char *dir, size_t len)
{
	size_t common = len < s->literal_len ? len : s->literal_len;

	if (!same_bytes(s, dir, common))
		return false;
	if (s->pattern || len <= s->literal_len || s->literal_len == 0)
		return true;
	return dir[s->literal_len] == '/';
}

bool wf_matcher_may_enter(const struct wf_matcher *m, const char *dir, size_t len)
{
	if (!m->any_include)
		return true;
	for (size_t i = 0; i < m->count; i++) {
		const struct wf_spec *s = &m->specs[i];

		if (s->exclude)
			continue;
		if (spec_may_enter(s, dir, len))
			return true;
	}
	return false;
}

const struct wf_spec *wf_matcher_unmatched(const struct wf_matcher *m)
{
	for (size_t i = 0; i < m->count; i++)
		if (!m->specs[i].matched && !m->specs[i].exclude)
			return &m->specs[i];
	return NULL;
}
