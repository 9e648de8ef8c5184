/* SPDX-License-Identifier: Apache-2.0 */
/* Patterns that somebody else wrote: a .gitignore, pathspecs, and what `git push` prints. Up to the
 * first NUL it is the rules, behind it a path. */
#include "workflow/attr.h"
#include "workflow/glob.h"
#include "workflow/ignore.h"
#include "workflow/paths.h"
#include "workflow/push.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_spec(const char *text, const char *path)
{
	const struct wf_paths paths = {&text, 1};
	struct wf_matcher m;

	if (wf_matcher_init(&m, &paths, NULL))
		return;
	(void)wf_matcher_has(&m, path, strlen(path));
	(void)wf_matcher_may_enter(&m, path, strlen(path));
	wf_matcher_fini(&m);
}

static void check_attributes(const char *text, size_t len, const char *path, size_t name_at)
{
	struct wf_attr_file *f = wf_attr_parse(text, len, true);
	struct wf_attr attrs[WF_ATTRS] = {0};

	wf_attr_apply(f, f, path, name_at, attrs);
	for (unsigned i = 0; i < WF_ATTRS; i++)
		if (attrs[i].value[WF_ATTR_VALUE_MAX - 1])
			abort();
	(void)wf_attr_free(f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 2);
	const char *path, *slash;
	struct wf_push_progress progress;
	struct wf_ignore *ig;
	size_t len;

	if (!text)
		return 0;
	if (size)
		memcpy(text, data, size);
	text[size] = text[size + 1] = '\0';
	len = strlen(text);
	path = text + len + 1;
	slash = strrchr(path, '/');
	ig = wf_ignore_parse(text, len);
	if (ig)
		(void)wf_ignore_find(ig, path, slash ? (size_t)(slash + 1 - path) : 0, size & 1);
	wf_ignore_free(ig);
	check_attributes(text, len, path, slash ? (size_t)(slash + 1 - path) : 0);
	if (glob_match(text, path, GLOB_PATHNAME) && !glob_is_pattern(text) &&
		strcmp(text, path) != 0)
		abort();
	(void)glob_match(text, path, GLOB_ICASE);
	check_spec(text, path);
	(void)wf_push_parse_progress(text, &progress);
	free(text);
	return 0;
}
