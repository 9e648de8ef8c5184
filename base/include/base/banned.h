/* SPDX-License-Identifier: Apache-2.0 */
/* Functions that no file may call; force-included into every file of ours. System headers first, so
 * that only uses fail. */
#pragma once
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include <alloca.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#undef alloca /* a macro of <alloca.h>: poisoning one that is defined is a warning */
#pragma GCC poison strcpy strcat sprintf vsprintf strtok atoi atol atoll gets localtime gmtime \
	asctime alloca
/* libgit2 has fields of this name, so it cannot be poisoned: calling it warns, and warnings are
 * errors. */
char *ctime(const time_t *) __attribute__((deprecated("banned: use clock_rfc3339")));
