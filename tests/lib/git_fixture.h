/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A real Git repository for a test, made by the `git` program: bare, in a temporary directory, the
 * same ids at every run. Every function fails the test if git does.
 */
#pragma once
#include "tmpdir.h"

#include <stddef.h>
#include <stdint.h>

#define GIT_FIXTURE_HEX 65

struct git_fixture {
	struct tmpdir tmp;
	char repo[300]; /* path of the bare repository */
};

struct git_file {
	const char *path; /* may hold any byte but NUL; directories come by themselves */
	uint32_t mode;    /* 0100644, 0100755, 0120000 (data = target) or 0160000 (data = hex of a
			     commit) */
	const void *data;
	size_t len; /* 0: data is a string */
};

void git_fixture_init(struct git_fixture *g);
void git_fixture_fini(struct git_fixture *g);
/* A commit on `ref` (created if missing, else its child) whose tree is exactly `files`. */
void git_fixture_commit(struct git_fixture *g, const char *ref, const struct git_file *files,
	unsigned count, char ret_commit[GIT_FIXTURE_HEX]);
/* Run `git <argv...>` (ended by NULL) in the repository; the first line of its output goes to
 * `out`. */
void git_fixture_run(struct git_fixture *g, const char *const argv[], char *out, size_t cap);
