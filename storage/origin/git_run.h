/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program at the other end of a socket: its standard input and output are one two-way
 * connection, its standard error is kept for the message. It has a process group of its own, which
 * is ended with it. Every wait has a deadline, may be cancelled, and ends when nothing has moved
 * for too long. A connection to a server can take the program's place.
 *
 * Threads: one at a time for each object; all calls may block.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct cancel;

#define GITRUN_ERROR_MAX 2048

/* How long a call may wait. */
struct gitrun_wait {
	const struct cancel *cancel;
	uint64_t deadline_ns;
	uint64_t silence_ns; /* the longest time without a byte; 0: until the deadline */
};

struct gitrun {
	pid_t pid;                    /* 0: no program, or it has been waited for */
	int fd;                       /* -1: closed */
	int err_fd;                   /* -1: none */
	char error[GITRUN_ERROR_MAX]; /* the end of what it said on standard error; a string */
	size_t error_len;
};

struct gitrun_spec {
	const char *const *argv; /* argv[0] is looked for in PATH */
	char *const *env;
	const char *dir; /* to run in */
	int keep_fd;     /* stays open in it as descriptor 3; -1: none */
};

/* Negative errno if it cannot be started. `p` is set to something that gitrun_end takes. */
int gitrun_start(struct gitrun *p, const struct gitrun_spec *spec);
/* A connection instead of a program; takes over `fd`. */
void gitrun_adopt(struct gitrun *p, int fd);
/* 0, -ETIMEDOUT, -ECANCELED, -EPIPE: it does not read any more. */
int gitrun_write(struct gitrun *p, const void *data, size_t len, const struct gitrun_wait *wait);
/* At least one byte, 0 at the end, or -ETIMEDOUT, -ECANCELED, -EPIPE. */
ssize_t gitrun_read(struct gitrun *p, void *buf, size_t cap, const struct gitrun_wait *wait);
/* Tell it that no more input comes. */
void gitrun_close_input(struct gitrun *p);
/* Wait until it has ended. The exit status (0 to 255; 128 + signal), or a negative errno: then it
 * was killed. */
int gitrun_finish(struct gitrun *p, const struct gitrun_wait *wait);
/* Close everything; a program that still runs is asked to end and, soon after, made to. */
void gitrun_end(struct gitrun *p);
