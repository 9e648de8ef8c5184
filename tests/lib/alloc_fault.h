/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Allocation failure on demand. The linker sends every call of malloc, calloc, realloc,
 *reallocarray, aligned_alloc, posix_memalign, strdup, strndup, asprintf and vasprintf in the test
 *program (not in shared libraries) through here.
 *
 *	for (unsigned n = 0;; n++) {
 *		alloc_fault_arm(n);               // the n-th allocation from now fails, once
 *		int r = thing_new(&thing);
 *		if (!alloc_fault_disarm())        // it was never reached: every allocation has had
 *its turn break; assert_int_equal(r, -ENOMEM);
 *	}
 *
 * The countdown belongs to the calling thread: threads that the tested code starts are not
 *disturbed.
 */
#pragma once
#include <stdbool.h>

/* The n-th allocation of this thread from now (0: the next) fails, once. */
void alloc_fault_arm(unsigned n);
/* Back to normal. True if an allocation was made to fail since alloc_fault_arm. */
bool alloc_fault_disarm(void);
