/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TERM and INT stop the daemon, HUP makes it read tokens and log level again, USR2 makes it hand
 * over to a successor. They are blocked in every thread and read from one descriptor by the main
 * thread, so nothing ever runs in a signal handler.
 */
#include "signals.h"

#include <base/clock.h>
#include <base/io.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/signalfd.h>

int signals_open(int *ret_fd)
{
	struct sigaction ignore = {.sa_handler = SIG_IGN};
	sigset_t set;
	int fd, err;

	(void)sigemptyset(&set); /* cannot fail, nor can the additions of valid numbers */
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGHUP);
	(void)sigaddset(&set, SIGUSR2);
	err = pthread_sigmask(SIG_BLOCK, &set, NULL);
	if (err)
		return -err;
	if (sigaction(SIGPIPE, &ignore, NULL) < 0)
		return -errno;
	fd = signalfd(-1, &set, SFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

int signals_wait_for(int fd, uint64_t wait_ns)
{
	struct timespec wait = clock_timespec(wait_ns);
	int n = ppoll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, &wait, NULL);

	if (n > 0)
		return signals_wait(fd);
	return n == 0 || errno == EINTR ? 0 : -errno;
}

int signals_wait(int fd)
{
	struct signalfd_siginfo info;
	int err = io_read_full(fd, &info, sizeof(info));

	if (err)
		return err;
	return info.ssi_signo == SIGHUP    ? SIGNAL_RELOAD
	       : info.ssi_signo == SIGUSR2 ? SIGNAL_UPGRADE
					   : SIGNAL_STOP;
}
