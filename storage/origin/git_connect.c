/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See git_connect.h. A name is looked up by a thread of its own, so that a name service that hangs
 * costs no more than the deadline; the thread then ends when the resolver gives up, and frees what
 * is left. (Not getaddrinfo_a: the thread sanitizer does not know the threads of libc.)
 */
#include "origin/git_connect.h"

#include "base/buf.h"
#include "base/cancel.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/lock.h"
#include "origin/git_channel.h"
#include "origin/git_fault.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
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

/* A look-up that may outlive who asked for it: freed by the last of the two. */
struct look_up {
	char host[256], port[32]; /* const */
	struct lock lock;
	struct cond over;
	unsigned refs; /* guarded by lock, as all below */
	bool done;
	int code; /* of getaddrinfo, once done */
	struct addrinfo *found;
};

static void look_up_unref(struct look_up *l)
{
	unsigned left;

	lock_acquire(&l->lock);
	left = --l->refs;
	lock_release(&l->lock);
	if (left > 0)
		return;
	if (l->found)
		freeaddrinfo(l->found);
	cond_fini(&l->over);
	lock_fini(&l->lock);
	free(l);
}

static int ask(const struct look_up *l, int flags, struct addrinfo **ret_found)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = flags};

	return getaddrinfo(l->host, l->port, &hints, ret_found);
}

static void *look_up_main(void *arg)
{
	struct look_up *l = arg;
	struct addrinfo *found = NULL;
	int code = ask(l, AI_ADDRCONFIG, &found);

	lock_acquire(&l->lock);
	l->code = code;
	l->found = code == 0 ? found : NULL;
	l->done = true;
	cond_signal(&l->over);
	lock_release(&l->lock);
	look_up_unref(l);
	return NULL;
}

/* Its own thread, which the name service may keep longer than we wait. */
static int look_up_start(struct look_up *l)
{
	pthread_attr_t attr;
	pthread_t thread;
	int code = pthread_attr_init(&attr);

	if (code)
		return -code;
	(void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED); /* cannot fail */
	l->refs = 2;
	code = pthread_create(&thread, &attr, look_up_main, l);
	if (code)
		l->refs = 1;
	(void)pthread_attr_destroy(&attr); /* cannot fail */
	return -code;
}

static int look_up_wait(struct look_up *l, const struct gitrun_wait *wait)
{
	int r = 0;

	LOCK_GUARD(&l->lock);
	while (r == 0 && !l->done) {
		(void)cond_wait_until(
			&l->over, &l->lock, clock_after(&clock_system, LOOK_UP_STEPS));
		r = l->done ? 0 : cancel_check(wait->cancel, wait->deadline_ns);
	}
	return r;
}

static struct look_up *look_up_new(const struct giturl *url)
{
	struct look_up *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	(void)snprintf(l->host, sizeof(l->host), "%s", url->host);
	(void)snprintf(l->port, sizeof(l->port), "%s", url->port ? url->port : DAEMON_PORT);
	lock_init(&l->lock, LOCK_RANK_LEAF);
	cond_init(&l->over);
	l->refs = 1;
	return l;
}

/* The addresses of the server; on success the caller gives back his reference. */
static int look_up(const struct giturl *url, const struct gitrun_wait *wait,
	struct look_up **ret_look_up, struct err *e)
{
	struct look_up *l = look_up_new(url);
	int r;

	if (!l)
		return err_set(e, -ENOMEM, NULL, "no memory");
	/* an address needs no name service */
	if (ask(l, AI_NUMERICHOST, &l->found) == 0) {
		*ret_look_up = l;
		return 0;
	}
	l->found = NULL;
	r = look_up_start(l);
	if (r == 0)
		r = look_up_wait(l, wait);
	if (r < 0) {
		look_up_unref(l);
		return err_set(e, r, NULL, "the name service does not answer for %s", url->host);
	}
	if (l->code != 0) {
		look_up_unref(l);
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
	for (const struct addrinfo *a = found->found; a && fd < 0; a = a->ai_next)
		r = connect_to(a, wait, &fd);
	look_up_unref(found);
	if (fd < 0)
		return err_set(e, r == -ETIMEDOUT || r == -ECANCELED ? r : -EHOSTUNREACH,
			"ORIGIN_UNREACHABLE", "the server cannot be reached: %s", strerror(-r));
	gitrun_adopt(run, fd);
	return say_hello(run, server->url, wait, e);
}
