/* SPDX-License-Identifier: Apache-2.0 */
/* See eol.h. The rules are those of git's convert.c. */
#include "workflow/eol.h"

#include "workflow/attr.h"

#include <string.h>

enum wf_eol wf_eol_of(const struct wf_attr *attrs)
{
	const struct wf_attr *text = &attrs[WF_ATTR_TEXT], *eol = &attrs[WF_ATTR_EOL];

	if (text->state == WF_ATTR_UNSPECIFIED)
		text = &attrs[WF_ATTR_CRLF]; /* its old name */
	if (text->state == WF_ATTR_UNSET)
		return WF_EOL_KEEP;
	if (text->state == WF_ATTR_VALUE && strcmp(text->value, "auto") == 0)
		return WF_EOL_AUTO;
	if (text->state == WF_ATTR_SET ||
		(text->state == WF_ATTR_VALUE && strcmp(text->value, "input") == 0))
		return WF_EOL_TEXT;
	return eol->state == WF_ATTR_VALUE &&
			       (strcmp(eol->value, "lf") == 0 || strcmp(eol->value, "crlf") == 0)
		       ? WF_EOL_TEXT
		       : WF_EOL_KEEP;
}

/* Which kinds of bytes there are. */
struct stats {
	size_t crlf, lone_cr, nul, printable, other;
};

static void count(const char *data, size_t len, struct stats *s)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)data[i];

		if (c == '\r' && i + 1 < len && data[i + 1] == '\n') {
			s->crlf++;
			i++;
		} else if (c == '\r') {
			s->lone_cr++;
		} else if (c != '\n') {
			s->nul += c == 0;
			if (c == 127 || (c < 32 && (c == 0 || !strchr("\b\t\033\014", c))))
				s->other++;
			else
				s->printable++;
		}
	}
	if (len && data[len - 1] == '\032') /* the end of a file of DOS */
		s->other--;
}

bool wf_eol_matters(enum wf_eol how, const char *data, size_t len)
{
	struct stats s = {0};

	if (how == WF_EOL_KEEP || !len || !memchr(data, '\r', len))
		return false;
	count(data, len, &s);
	return s.crlf &&
	       (how == WF_EOL_TEXT || !(s.lone_cr || s.nul || s.printable >> 7 < s.other));
}

size_t wf_eol_clean(enum wf_eol how, char *data, size_t len)
{
	size_t to = 0;

	for (size_t i = 0; i < len; i++)
		if (data[i] != '\r' ||
			(how == WF_EOL_TEXT && !(i + 1 < len && data[i + 1] == '\n')))
			data[to++] = data[i];
	return to;
}
