/* SPDX-License-Identifier: Apache-2.0 */
/* An origin over a repository made by git, and a shell in it. Include after cmocka.h. */
#pragma once
#include "base/clock.h"
#include "base/err.h"
#include "git_fixture.h"
#include "storage/origin.h"
#include "storage/tree.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct git_world {
	struct git_fixture git;
	struct origin *o;
};

/* Runs a script in the repository, quietly and without the user's settings; fails the test if it
 * fails. */
__attribute__((format(printf, 2, 3))) static inline void git_shell(
	struct git_world *w, const char *format, ...)
{
	char script[4096], line[5000];
	va_list ap;

	va_start(ap, format);
	assert_true(vsnprintf(script, sizeof(script), format, ap) < (int)sizeof(script));
	va_end(ap);
	assert_true(snprintf(line, sizeof(line),
			    "exec >/dev/null 2>&1; set -e; cd '%s'; export HOME='%s' "
			    "GIT_CONFIG_NOSYSTEM=1"
			    " GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a GIT_COMMITTER_NAME=c "
			    "GIT_COMMITTER_EMAIL=c"
			    " GIT_AUTHOR_DATE='1000000000 +0000' GIT_COMMITTER_DATE='1000000000 "
			    "+0000'; %s",
			    w->git.repo, w->git.tmp.path, script) < (int)sizeof(line));
	if (system(line) != 0)
		fail_msg("failed: %s", script);
}

static inline int git_world_open(struct git_world *w, const char *url, struct err *e)
{
	const struct origin_config config = {.name = "demo", .type = "git", .url = url};

	w->o = origin_unref(w->o);
	return origin_open(&w->o, &config, e);
}

static inline void git_world_init(struct git_world *w, const struct git_file *files, unsigned count)
{
	char commit[GIT_FIXTURE_HEX];
	struct err e = {0};

	*w = (struct git_world){0};
	git_fixture_init(&w->git);
	if (count)
		git_fixture_commit(&w->git, "refs/heads/main", files, count, commit);
	if (git_world_open(w, w->git.repo, &e) < 0)
		fail_msg("%s", err_message(&e));
}

static inline void git_world_fini(struct git_world *w)
{
	origin_unref(w->o);
	git_fixture_fini(&w->git);
}

/* What git says that `what` names. */
static inline struct oid git_says(struct git_world *w, const char *what)
{
	const char *const argv[] = {"rev-parse", "--verify", what, NULL};
	char hex[GIT_FIXTURE_HEX];
	struct oid oid;

	git_fixture_run(&w->git, argv, hex, sizeof(hex));
	assert_int_equal(oid_parse(hex, &oid), 0);
	return oid;
}
