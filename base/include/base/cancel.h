/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A cancellation token: set once, seen by all. Holders poll it, wait on it, or register a callback.
 * Shared by reference.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct cancel;

/* Called once, on the cancelling thread (or at once, on the registering thread, if already
 * cancelled), with no lock held. It must not block and must not free the token. */
typedef void (*cancel_fn)(void *arg);

struct cancel *cancel_new(void); /* NULL: no memory */
struct cancel *cancel_ref(struct cancel *c);
struct cancel *cancel_unref(struct cancel *c);
void cancel_fire(struct cancel *c);
bool cancel_fired(const struct cancel *c); /* NULL: false */
/* -ECANCELED if fired, -ETIMEDOUT if `deadline_ns` has come, else 0. */
int cancel_check(const struct cancel *c, uint64_t deadline_ns);
/* Sleep until fired (-ECANCELED) or the deadline (-ETIMEDOUT). NULL: a plain sleep. */
int cancel_sleep_until(struct cancel *c, uint64_t deadline_ns);
/* Register; returns a handle for removal, 0 if it ran at once, negative errno on no memory. */
int cancel_on(struct cancel *c, cancel_fn fn, void *arg);
/* Remove; true if it had not run and never will. Waits for a callback that is just running. */
bool cancel_off(struct cancel *c, int handle);
