/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper's parts. One thread, one poll loop, libc only: what it holds must survive everything
 * else, so there is as little of it as possible.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* ---- held.c: the connections that are kept open ---- */

#define HELD_MAX 1024u

struct held {
	struct held_mount {
		char *tenant, *mountpoint;
		int fd;
		bool taken; /* by the child that lives: mounted for it, or adopted */
	} mount[HELD_MAX];
	unsigned count;
};

/* Open, mount and keep. The descriptor stays ours. -EBUSY: the child has it already; -EMFILE: too
 * many. What is there of a predecessor goes. */
int held_mount(struct held *h, const char *tenant, const char *mountpoint, int *ret_fd);
/* Lazy; forgets the descriptor. Also of a mountpoint that is not held. */
int held_unmount(struct held *h, const char *tenant, const char *mountpoint);
/* A predecessor's, for the child that lives. -ENOENT. */
int held_take(struct held *h, const char *tenant, const char *mountpoint, int *ret_fd);
/* The child has died: nobody has taken anything. */
void held_untake_all(struct held *h);
void held_unmount_untaken(struct held *h);
/* Programs in them get errors; the descriptors are useless after. */
void held_abort_all(const struct held *h);
void held_unmount_all(struct held *h);

/* ---- held_other.c: descriptors that are only kept ---- */

#define HELD_OTHER_MAX 64u

struct held_other {
	struct held_fd {
		char name[64];
		int fd;
	} kept[HELD_OTHER_MAX];
	unsigned count;
};

/* Takes `fd`, also on failure; it replaces what has the name. -EMFILE: too many. */
int held_put(struct held_other *h, const char *name, int fd);
/* Stays ours. -ENOENT. */
int held_get(const struct held_other *h, const char *name, int *ret_fd);
void held_drop(struct held_other *h, const char *name);

/* ---- child.c: the program that is kept running ---- */

struct child {
	pid_t pid;  /* 0: none */
	int socket; /* our end; -1: none, or closed by the other side */
	bool said_hello, settled;
	uint64_t stop_ms;    /* it has said that it may take so long to stop; 0: nothing new */
	bool lives;          /* it has just said so */
	unsigned watchdog_s; /* how often it has to; 0: it need not */
	uint64_t started_ms;
};

/* What to run: by name, or the very file that ran well before. */
struct program {
	char **argv;
	const char *oom_score; /* what the child gets back of what we changed for ourselves; NULL:
				  nothing */
	int good_fd;           /* the file of the last child that settled; -1: none yet */
};

int child_start(struct child *c, const struct program *p, bool good);
/* It runs well: keep its file, whatever its name will mean later. */
void child_praise(const struct child *c, struct program *p);
/* After it ended. */
void child_clear(struct child *c);

/* ---- serve.c: questions of the child ---- */

/* The socket is readable: answer one question. Sets said_hello, settled, stop_ms, lives; closes the
 * socket at its end. */
void serve(struct held *h, struct held_other *other, struct child *c);

/* Milliseconds of CLOCK_MONOTONIC. */
uint64_t keeper_now_ms(void);
/* One line on stderr: keeper <what> key=value... */
void keeper_log(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
