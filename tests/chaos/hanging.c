/* SPDX-License-Identifier: Apache-2.0 */
/*
 * LD_PRELOADed into coppiced: once the file that COPPICE_HANGING names is there, no lock is given
 * back any more, so the process locks itself up whole. The first that sees the file removes it: its
 * successor is sound.
 *
 * Threads: any.
 */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static atomic_bool hangs;

static int real_unlock(pthread_mutex_t *mutex)
{
	static int (*unlock)(pthread_mutex_t * mutex);

	if (!unlock) {
		void *found = dlsym(RTLD_NEXT, "pthread_mutex_unlock");

		memcpy(&unlock, &found, sizeof(found));
	}
	return unlock(mutex);
}

/* What it is told by is removed with a call, so it is asked for with one. */
static void look(void)
{
	const char *path = getenv("COPPICE_HANGING");

	if (path && strcmp(program_invocation_short_name, "coppiced") == 0 && unlink(path) == 0)
		atomic_store(&hangs, true);
}

int pthread_mutex_unlock(pthread_mutex_t *mutex)
{
	int error = errno;

	if (!atomic_load(&hangs))
		look();
	while (atomic_load(&hangs))
		(void)pause(); /* for ever, with the lock */
	errno = error;
	return real_unlock(mutex);
}
