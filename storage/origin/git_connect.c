/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See git_connect.h. Names are looked up by glibc's own threads (getaddrinfo_a), so that a name
 * service that hangs costs no more than the deadline; what it still works on is then left to it and
 * freed by its end.
 */
#include "origin/git_connect.h"

#include "base/buf.h"
#include "base/cancel.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "origin/git_channel.h"
#include "origin/git_fault.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define DAEMON_PORT   "9418"
#define COMMAND_MAX   8192
#define LOOK_UP_STEPS (50 * NS_PER_MS)

static int start(struct gitrun *run, const struct gitchan_server *server, const char *const *argv,
	struct err *e)
{
	const struct gitrun_spec spec = {
		.argv = argv, .env = server->env, .dir = server->dir, .keep_fd = -1};
	int r = gitrun_start(run, &spec);

	return r < 0 ? err_set(e, r == -ENOENT ? -EIO : r, NULL, "%s cannot be started: %s",
			       argv[0], strerror(-r))
		     : 0;
}

int gitconnect_http(struct gitrun *run, const struct gitchan_server *server, struct err *e)
{
	const char *url = server->url->full;
	const char *const argv[] = {"git",
		server->url->kind == GITURL_HTTP ? "remote-http" : "remote-https", url, url, NULL};

	return start(run, server, argv, e);
}

/* 'quoted' for the shell of the server, as Git does it. */
static int quote(struct buf *out, const char *text)
{
	(void)buf_putc(out, '\'');
	for (; *text; text++)
		(void)(*text == '\'' || *text == '!' ? buf_printf(out, "'\\%c'", *text)
						     : buf_putc(out, *text));
	return buf_putc(out, '\'');
}

int gitconnect_ssh(struct gitrun *run, const struct gitchan_server *server, struct err *e)
{
	const struct giturl *url = server->url;
	char target[512], timeout[48], hosts[4200];
	const char *argv[20];
	struct buf command;
	unsigned n = 0;
	int r;

	buf_init(&command, COMMAND_MAX);
	(void)buf_puts(&command, "git-upload-pack ");
	(void)quote(&command, url->path);
	(void)snprintf(target, sizeof(target), "%s%s%s", url->user ? url->user : "",
		url->user ? "@" : "", url->host);
	(void)snprintf(timeout, sizeof(timeout), "ConnectTimeout=%llu",
		(unsigned long long)(server->connect_ns / NS_PER_S + 1));
	argv[n++] = "ssh";
	argv[n++] = "-oBatchMode=yes";
	argv[n++] = "-oSendEnv=GIT_PROTOCOL";
	argv[n++] = "-oServerAliveInterval=15";
	argv[n++] = "-o";
	argv[n++] = timeout;
	if (server->ssh_key) {
		argv[n++] = "-oIdentitiesOnly=yes";
		argv[n++] = "-i";
		argv[n++] = server->ssh_key;
	}
	if (server->ssh_hosts) {
		(void)snprintf(
			hosts, sizeof(hosts), "-oUserKnownHostsFile=\"%s\"", server->ssh_hosts);
		argv[n++] = hosts;
	}
	if (url->port) {
		argv[n++] = "-p";
		argv[n++] = url->port;
	}
	argv[n++] = "--";
	argv[n++] = target;
	argv[n++] = buf_cstr(&command);
	argv[n] = NULL;
	r = buf_error(&command) ? err_set(e, -ENOMEM, NULL, "no memory")
				: start(run, server, argv, e);
	buf_fini(&command);
	return r;
}

/* A look-up that may outlive who asked for it. */
struct look_up {
	struct gaicb cb;
	struct addrinfo hints;
	char *host, *port;
};

static void look_up_free(struct look_up *l)
{
	if (l->cb.ar_result)
		freeaddrinfo(l->cb.ar_result);
	free(l->host);
	free(l->port);
	free(l);
}

static int look_up_wait(struct look_up *l, const struct gitrun_wait *wait)
{
	const struct gaicb *const list[] = {&l->cb};
	int r = 0;

	while (r == 0 && gai_error(&l->cb) == EAI_INPROGRESS) {
		struct timespec step = clock_timespec(LOOK_UP_STEPS);

		(void)gai_suspend(list, 1, &step);
		r = cancel_check(wait->cancel, wait->deadline_ns);
	}
	return r;
}

/* The addresses of the server; on success the caller frees. */
static int look_up(const struct giturl *url, const struct gitrun_wait *wait,
	struct look_up **ret_look_up, struct err *e)
{
	struct look_up *l = calloc(1, sizeof(*l));
	struct gaicb *list[1];
	int r;

	if (!l)
		return err_set(e, -ENOMEM, NULL, "no memory");
	l->host = strdup(url->host);
	l->port = strdup(url->port ? url->port : DAEMON_PORT);
	l->hints = (struct addrinfo){.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
	l->cb = (struct gaicb){.ar_name = l->host, .ar_service = l->port, .ar_request = &l->hints};
	list[0] = &l->cb;
	if (!l->host || !l->port || getaddrinfo_a(GAI_NOWAIT, list, 1, NULL) != 0) {
		look_up_free(l);
		return err_set(e, -ENOMEM, NULL, "no memory to look up %s", url->host);
	}
	r = look_up_wait(l, wait);
	if (r < 0) {
		/* Still worked on, it cannot be freed: one record for each name service that
		 * hangs, which the resolver ends after its own time. */
		if (gai_cancel(&l->cb) == EAI_CANCELED || gai_error(&l->cb) != EAI_INPROGRESS)
			look_up_free(l);
		return err_set(e, r, NULL, "the name service does not answer for %s", url->host);
	}
	if (gai_error(&l->cb) != 0) {
		look_up_free(l);
		return gitfault_of("Could not resolve host", e);
	}
	*ret_look_up = l;
	return 0;
}

static int connect_to(const struct addrinfo *address, const struct gitrun_wait *wait, int *ret_fd)
{
	_cleanup_close_ int fd = socket(address->ai_family,
		SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, address->ai_protocol);
	struct pollfd poll_fd = {.fd = fd, .events = POLLOUT};
	socklen_t len = sizeof(int);
	int error = 0, r = 0;

	if (fd < 0)
		return -errno;
	if (connect(fd, address->ai_addr, address->ai_addrlen) < 0 && errno != EINPROGRESS)
		return -errno;
	while (r == 0 && poll(&poll_fd, 1, (int)(LOOK_UP_STEPS / NS_PER_MS)) <= 0)
		r = cancel_check(wait->cancel, wait->deadline_ns);
	if (r < 0)
		return r;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0 || error)
		return error ? -error : -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int say_hello(
	struct gitrun *run, const struct giturl *url, const struct gitrun_wait *wait, struct err *e)
{
	struct buf line;
	int r;

	buf_init(&line, COMMAND_MAX);
	/* the length counts itself and the NULs */
	(void)buf_printf(&line, "git-upload-pack %s", url->path);
	(void)buf_putc(&line, '\0');
	(void)buf_printf(
		&line, "host=%s%s%s", url->host, url->port ? ":" : "", url->port ? url->port : "");
	(void)buf_append(&line, "\0\0version=2\0", 12);
	r = buf_error(&line);
	if (r == 0) {
		char header[8];

		(void)snprintf(header, sizeof(header), "%04zx", line.len + 4);
		r = gitrun_write(run, header, 4, wait);
	}
	if (r == 0)
		r = gitrun_write(run, line.data, line.len, wait);
	buf_fini(&line);
	return r < 0 ? err_set(e, r == -EPIPE ? -EHOSTUNREACH : r, NULL,
			       "the server does not listen")
		     : 0;
}

int gitconnect_daemon(struct gitrun *run, const struct gitchan_server *server,
	const struct gitrun_wait *wait, struct err *e)
{
	struct look_up *found = NULL;
	int fd = -1, r = look_up(server->url, wait, &found, e);

	if (r < 0)
		return r;
	r = -EHOSTUNREACH;
	for (const struct addrinfo *a = found->cb.ar_result; a && fd < 0; a = a->ai_next)
		r = connect_to(a, wait, &fd);
	look_up_free(found);
	if (fd < 0)
		return err_set(e, r == -ETIMEDOUT || r == -ECANCELED ? r : -EHOSTUNREACH,
			"ORIGIN_UNREACHABLE", "the server cannot be reached: %s", strerror(-r));
	gitrun_adopt(run, fd);
	return say_hello(run, server->url, wait, e);
}
