/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A growing byte buffer with a cap that it never passes. After the first failure every further
 * append fails too, so a long series of appends needs one check at the end (buf_error).
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
	char *data; /* not NUL-terminated unless buf_cstr was called */
	size_t len, cap, max;
	int error; /* 0, -ENOMEM or -EMSGSIZE (cap reached) */
};

void buf_init(struct buf *b, size_t max);
void buf_fini(struct buf *b);
void buf_clear(struct buf *b); /* length 0, error 0, memory kept */
int buf_reserve(struct buf *b, size_t more);
int buf_append(struct buf *b, const void *data, size_t len);
int buf_puts(struct buf *b, const char *s);
int buf_putc(struct buf *b, char c);
int buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int buf_error(const struct buf *b);
/* NUL-terminated view; "" if there was an error. Valid until the next change. */
const char *buf_cstr(struct buf *b);
/* Give the memory (NUL-terminated, malloc'ed) to the caller; NULL on error. The buffer is empty
 * after. */
char *buf_take(struct buf *b);
