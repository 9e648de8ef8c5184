/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See heading.h. The search goes up from a hunk, and stops where the search of the hunk before it
 * began: what was found there is still the nearest, so no line is looked at twice.
 */
#include "workflow/heading.h"

#include <base/buf.h>
#include <base/cancel.h>
#include <errno.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>

#define NAME_MAX_BYTES 80u         /* as Git: the rest is cut */
#define LINE_MAX_BYTES (16u << 10) /* a longer one is no heading in any language */
#define CHECK_LINES    64u         /* a hostile line of the longest kind costs 10 ms */

struct wf_heading_rules {
	const struct wf_heading_language *language; /* NULL: not made yet */
	regex_t regex[WF_HEADING_RULES];
};
struct wf_headings {
	const struct cancel *cancel;
	uint64_t deadline_ns;
	struct wf_heading_rules rules[]; /* in the order of the languages */
};

struct wf_headings *wf_headings_new(const struct cancel *cancel, uint64_t deadline_ns)
{
	struct wf_headings *h =
		calloc(1, sizeof(*h) + wf_heading_language_count * sizeof(h->rules[0]));

	if (h) {
		h->cancel = cancel;
		h->deadline_ns = deadline_ns;
	}
	return h;
}

struct wf_headings *wf_headings_free(struct wf_headings *h)
{
	for (size_t i = 0; h && i < wf_heading_language_count; i++)
		for (unsigned k = 0; h->rules[i].language && h->rules[i].language->rules[k].match;
			k++)
			regfree(&h->rules[i].regex[k]);
	free(h);
	return NULL;
}

static int make_rules(struct wf_heading_rules *rules, const struct wf_heading_language *language)
{
	unsigned made = 0;

	for (; language->rules[made].match; made++)
		if (regcomp(&rules->regex[made], language->rules[made].match,
			    REG_EXTENDED | (language->any_case ? REG_ICASE : 0)) != 0)
			break;
	if (!language->rules[made].match) {
		rules->language = language;
		return 0;
	}
	while (made-- > 0)
		regfree(&rules->regex[made]);
	return -ENOMEM; /* the expressions are ours, and right */
}

int wf_heading_search_init(struct wf_heading_search *s, struct wf_headings *h, const char *driver,
	const char *data, size_t len)
{
	*s = (struct wf_heading_search){
		.headings = h, .data = data, .end = data ? data + len : NULL, .at = data};
	for (size_t i = 0; driver && i < wf_heading_language_count; i++) {
		const struct wf_heading_language *language = &wf_heading_languages[i];
		struct wf_heading_rules *rules = &h->rules[i];

		if (strcmp(language->name, driver) != 0)
			continue;
		s->rules = rules;
		return rules->language ? 0 : make_rules(rules, language);
	}
	return 0;
}

/* ---- one line ---- */

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '$';
}

/* What of the line the rule says to be its name; *len is set. NULL: it does not match. */
static const char *match(const regex_t *regex, unsigned flags, const char *line, size_t *len)
{
	size_t at = 0;
	regmatch_t found[2], *part = found;

	while (flags & WF_HEADING_INDENT && at < *len && (line[at] == ' ' || line[at] == '\t'))
		at++;
	found[0] = (regmatch_t){.rm_so = 0, .rm_eo = (regoff_t)(*len - at)};
	if (regexec(regex, line + at, flags & WF_HEADING_PART ? 2 : 1, found, REG_STARTEND) != 0)
		return NULL;
	if (!(flags & WF_HEADING_PART)) {
		*len -= at + (size_t)found[0].rm_so;
		return line + at + found[0].rm_so;
	}
	if (found[1].rm_so >= 0)
		part = &found[1];
	*len = (size_t)(part->rm_eo - part->rm_so);
	return line + at + part->rm_so;
}

static const char *name_by_rules(
	const struct wf_heading_rules *rules, const char *line, size_t len, size_t *ret_len)
{
	const struct wf_heading_rule *rule = rules->language->rules;

	if (len && line[len - 1] == '\n')
		len -= len > 1 && line[len - 2] == '\r' ? 2 : 1;
	for (unsigned i = 0; len <= LINE_MAX_BYTES && rule[i].match; i++) {
		size_t name_len = len;
		const char *name = match(&rules->regex[i], rule[i].flags, line, &name_len);

		if (!name)
			continue;
		*ret_len = name_len;
		return rule[i].flags & WF_HEADING_NOT ? NULL : name;
	}
	return NULL;
}

/* ---- the search ---- */

static bool take(struct wf_heading_search *s, const char *line, size_t len)
{
	const char *name = line;

	if (s->rules)
		name = name_by_rules(s->rules, line, len, &len);
	else if (!len || !is_letter(*line))
		return false;
	if (!name)
		return false;
	if (len > NAME_MAX_BYTES)
		len = NAME_MAX_BYTES;
	while (len && is_space(name[len - 1]))
		len--;
	s->name = name;
	s->name_len = len;
	return true;
}

static const char *line_end(const struct wf_heading_search *s, const char *at)
{
	const char *end = memchr(at, '\n', (size_t)(s->end - at));

	return end ? end + 1 : s->end;
}

/* Up from the line at `from`, to that at `to`. */
static int search(struct wf_heading_search *s, const char *from, const char *to)
{
	for (unsigned n = 0; from > to; n++) {
		const char *before = memrchr(to, '\n', (size_t)(from - 1 - to));
		const char *line = before ? before + 1 : to;
		int r = n % CHECK_LINES
				? 0
				: cancel_check(s->headings->cancel, s->headings->deadline_ns);

		if (r < 0)
			return r;
		if (take(s, line, (size_t)(from - line)))
			return 0;
		from = line;
	}
	return 0;
}

int wf_heading_append(struct wf_heading_search *s, size_t line, struct buf *out)
{
	const char *before = s->at;
	int r;

	for (; s->line < line && s->at < s->end; s->line++)
		s->at = line_end(s, s->at);
	r = search(s, s->at, before);
	if (r == 0 && s->name_len) {
		(void)buf_putc(out, ' '); /* the buffer remembers a failure */
		(void)buf_append(out, s->name, s->name_len);
	}
	return r < 0 ? r : buf_error(out);
}
