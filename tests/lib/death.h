/* SPDX-License-Identifier: Apache-2.0 */
/* Run something that may abort, in a child process, and see how it ended. */
#pragma once
#include <stdbool.h>

struct death {
	bool aborted;      /* by SIGABRT */
	int exit_code;     /* if it returned: 0; -1 if a signal ended it */
	char output[1024]; /* what it wrote to stderr, cut */
};

/* Call from a test with one thread. Fails the cmocka test if the child cannot be made. */
struct death death_of(void (*fn)(void));
