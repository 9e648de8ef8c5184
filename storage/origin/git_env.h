/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the `git` and `ssh` programs are told by their environment: only what is written here. No
 * configuration of the system or of a user, no prompts, no hooks, one protocol; certificates and
 * proxy as configured; and credentials by a helper that reads their files when the server asks, so
 * that no secret is ever in an argument, a variable or a log.
 */
#pragma once
#include "storage/origin.h"

struct giturl;

/* NULL-terminated, for posix_spawn. `dir`: the repository. -ENOMEM. */
int gitenv_new(
	char ***ret_env, const struct giturl *url, const struct origin_net *net, const char *dir);
char **gitenv_free(char **env);
