/* SPDX-License-Identifier: Apache-2.0 */
/* See git_format.h. Formats: git-scm.com, repository-version. */
#include "origin/git_format.h"

#include "base/cleanup.h"

#include <git2.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXTENSION "extensions."

/* The one extension that libgit2 1.5 takes. */
#define NO_OPERATION EXTENSION "noop"

/* *ret_config NULL: there is none; opening tells why. */
static int read_config(const char *path, git_config **ret_config)
{
	static const char *const places[] = {"/.git/config", "/config"};
	int r = 0;

	*ret_config = NULL;
	for (size_t i = 0; i < sizeof(places) / sizeof(*places) && r == 0 && !*ret_config; i++) {
		_cleanup_free_ char *file = NULL;

		if (asprintf(&file, "%s%s", path, places[i]) < 0) {
			git_error_set_oom();
			return -1;
		}
		if (access(file, F_OK) == 0)
			r = git_config_open_ondisk(ret_config, file);
	}
	return r;
}

static int refuse(const char *name)
{
	char text[256];

	(void)snprintf(text, sizeof(text), "unsupported extension name %s", name);
	(void)git_error_set_str(GIT_ERROR_REPOSITORY, text);
	return -1;
}

static int check_extensions(git_config *config)
{
	git_config_iterator *names = NULL;
	git_config_entry *entry;
	int r = git_config_iterator_new(&names, config);

	if (r < 0)
		return r;
	while ((r = git_config_next(&entry, names)) == 0)
		if (strncmp(entry->name, EXTENSION, strlen(EXTENSION)) == 0 &&
			strcmp(entry->name, NO_OPERATION) != 0)
			break;
	r = r == 0 ? refuse(entry->name) : r == GIT_ITEROVER ? 0 : r;
	git_config_iterator_free(names);
	return r;
}

int git_format_check(const char *path)
{
	git_config *config = NULL;
	int32_t version = 0;
	int r = read_config(path, &config);

	if (r == 0 && config &&
		git_config_get_int32(&version, config, "core.repositoryformatversion") == 0 &&
		version == 1)
		r = check_extensions(config);
	git_config_free(config);
	return r;
}
