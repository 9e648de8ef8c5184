/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every thread that answers requests owns. The buffers are one mapping, resident from the
 * start, locked and not inherited by fork: when the daemon is killed while the kernel copies to or
 * from a page of it that is not resident, the request ends with EIO and no successor can repair
 * that. Locking may be refused (RLIMIT_MEMLOCK); then only that is lost.
 *
 * A request is read to where the payload of a WRITE begins a page, as in the page cache where it
 * goes: on AMD's Zen the kernel's copy (rep movsb) between places that differ by less than a cache
 * line or two within their pages is 10 times slower.
 *
 * The thread-local pointer is the one piece of hidden state of this floor: libfuse calls our
 * operations with nothing but a request, and has no field for the thread.
 */
#include "session/session_internal.h"

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

static _Thread_local struct sess_thread *current;

int sess_thread_init(struct sess_thread *t, struct sess_farm *farm, bool reads)
{
	size_t len = (reads ? 2 : 1) * (size_t)SESS_BUFFER_BYTES;
	char *p = mmap(NULL, len, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (p == MAP_FAILED)
		return -errno;
	(void)mlock(p, len);                  /* see above: best effort */
	(void)madvise(p, len, MADV_DONTFORK); /* as above */
	*t = (struct sess_thread){.farm = farm, .out = p};
	if (reads)
		t->in = p + SESS_BUFFER_BYTES + (SESS_BUFFER_BYTES - SESS_REQUEST_BYTES);
	return 0;
}

void sess_thread_fini(struct sess_thread *t)
{
	if (t->out)
		(void)munmap(
			t->out, (t->in ? 2 : 1) * (size_t)SESS_BUFFER_BYTES); /* our own mapping */
	*t = (struct sess_thread){0};
}

int sess_thread_start(pthread_t *ret_thread, const char *name, void *(*fn)(void *arg), void *arg)
{
	sigset_t all, old;
	pthread_t thread;
	int r;

	(void)sigfillset(&all); /* cannot fail */
	r = pthread_sigmask(SIG_SETMASK, &all, &old);
	if (r)
		return -r;
	r = pthread_create(&thread, NULL, fn, arg);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL); /* it worked a moment ago */
	if (r)
		return -r;
	(void)pthread_setname_np(thread, name); /* for ps and gdb only */
	*ret_thread = thread;
	return 0;
}

void sess_thread_enter(struct sess_thread *t)
{
	current = t;
	t->tid = gettid();
}

struct sess_thread *sess_thread_self(void)
{
	return current;
}
