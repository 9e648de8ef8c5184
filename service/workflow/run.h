/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A `git` program as a child: its output in lines, an end in any case. It has a process group of
 * its own, a bare environment, and no descriptor of ours but its two pipes.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cancel;

/* A line without its end ('\n' or '\r'), from standard output or standard error. Non-zero ends the
 * program. */
typedef int (*wf_run_line)(void *arg, bool from_error, char *line);

struct wf_run {
	const char *const *argv; /* argv[0] is looked for in the PATH of `env` */
	char *const *env;
	const char *dir;
	const struct cancel *cancel;
	uint64_t deadline_ns;
	wf_run_line line;
	void *arg;
};
/* Exit status (0 to 255; 128 + signal), or a negative errno: then it was killed. Blocks. */
int wf_run(const struct wf_run *run);
