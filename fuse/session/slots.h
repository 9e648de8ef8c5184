/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table from epoll event to session. An event carries a key, (slot << 32 | generation); a
 * thread that got one takes a reference with it, which fails if the session was closed in the
 * meantime (the kernel may deliver an event after EPOLL_CTL_DEL).
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

/* libfuse makes a pthread key per session, and glibc has 1,024 of those per process. */
#define SLOTS_MAX 1000u

struct session;
struct slots;

struct slots *slots_new(void); /* NULL: no memory */
struct slots *slots_free(struct slots *t);
/* -EMFILE: the table is full. */
int slots_claim(struct slots *t, struct session *s, uint64_t *ret_key);
/* NULL: stale key. */
struct session *slots_ref(struct slots *t, uint64_t key);
void slots_unref(struct slots *t, uint64_t key);
/* No new references; wait until those held are gone. False: the deadline came first, and the slot
 * is lost for good. */
bool slots_retire(struct slots *t, uint64_t key, uint64_t deadline_ns);
