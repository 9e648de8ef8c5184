/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What went wrong, from the words of the `git` and `ssh` programs (in the C locale) and of servers:
 * an errno and a reason for programs, advice for people. Pure.
 */
#pragma once
#include <stdbool.h>

struct err;

/* -EACCES ORIGIN_AUTH_FAILED, -ENOENT ORIGIN_NOT_FOUND, -ETIMEDOUT, -EHOSTUNREACH
 * ORIGIN_UNREACHABLE or ORIGIN_TLS_FAILED, -ENXIO OBJECT_NOT_FOUND (the server has no such object),
 * -ENOSPC; -EIO for words that are not known. `words` is shown, cleaned. */
int gitfault_of(const char *words, struct err *e);
/* Whether to try the same again may help: the connection failed or broke. */
bool gitfault_passing(int r);
