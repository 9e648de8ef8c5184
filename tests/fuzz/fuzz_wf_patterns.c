/* SPDX-License-Identifier: Apache-2.0 */
/* Patterns that somebody else wrote: a .gitignore, pathspecs, and what `git push` prints. Up to the
 * first NUL it is the rules, behind it a path. */
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
	if (glob_match(text, path, GLOB_PATHNAME) && !glob_is_pattern(text) &&
		strcmp(text, path) != 0)
		abort();
	(void)glob_match(text, path, GLOB_ICASE);
	check_spec(text, path);
	(void)wf_push_parse_progress(text, &progress);
	free(text);
	return 0;
}
