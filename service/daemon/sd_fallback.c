/* SPDX-License-Identifier: Apache-2.0 */
/* Built instead of sd.c and sd_store.c where libsystemd is missing. */
#include "sd.h"

#include <stddef.h>

void sd_tell_ready(void)
{
}

void sd_tell_stopping(void)
{
}

void sd_tell_patience(uint64_t wait_ns)
{
	(void)wait_ns;
}

uint64_t sd_watchdog_ns(void)
{
	return 0;
}

void sd_tell_alive(void)
{
}

struct fd_store *sd_store_new(void)
{
	return NULL;
}

struct fd_store *sd_store_free(struct fd_store *store)
{
	(void)store;
	return NULL;
}
