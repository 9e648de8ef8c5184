/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Telling the kernel to forget what it cached, and asking it what it has. Such a call takes the
 * kernel's lock of the directory, and waits while a request in that directory is parked: so it
 * happens only here, on threads that serve nothing else.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct notify;
struct ovl_notice;
struct session;

int notify_new(struct notify **ret_notify);
/* Every session must have been closed. Joins. */
struct notify *notify_free(struct notify *n);
/* Nothing is queued or running; false: not by the deadline. */
bool notify_wait_empty(struct notify *n, uint64_t deadline_ns);
/* The entry `name` of the directory `parent`, and the directory's cached listing and attributes.
 * Waits until it is done, at most until the deadline (-ETIMEDOUT: it will still be done). -ENOMEM,
 * -EAGAIN: too many waiting. Not from a worker. */
int notify_entry(struct notify *n, struct session *s, uint64_t parent, const char *name,
	uint64_t deadline_ns);
/* All that a switch wants to be forgotten, in its order. Takes the array and its names, also on
 * failure. Otherwise as above. */
int notify_all(struct notify *n, struct session *s, struct ovl_notice *notices, size_t count,
	uint64_t deadline_ns);
/* Forget what the kernel does not have any more of these ids: the FORGETs of them were lost. Takes
 * the array. Does not wait; without memory, or with too many waiting, nothing is done. */
void notify_ask(struct notify *n, struct session *s, uint64_t *ids, size_t count);
