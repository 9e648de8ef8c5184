/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Growing byte buffer. The cap counts content only: one byte more is allocated for the NUL of
 * buf_cstr. Memory doubles, so appends are amortised constant. A sticky error makes a series of
 * appends need one check. Not thread-safe.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"

#define BUF_FIRST 64

void buf_init(struct buf *b, size_t max)
{
	/* one byte is kept for the NUL, so that max + 1 is never an overflow */
	*b = (struct buf){.max = max < SIZE_MAX ? max : SIZE_MAX - 1};
}

void buf_fini(struct buf *b)
{
	if (!b)
		return;
	free(b->data);
	*b = (struct buf){.max = b->max};
}

void buf_clear(struct buf *b)
{
	b->len = 0;
	b->error = 0;
}

/* Make the memory hold `content` bytes and a NUL. */
static int grow(struct buf *b, size_t content)
{
	size_t cap = b->cap ? b->cap : BUF_FIRST;
	char *data;

	while (cap <= content)
		cap = cap > SIZE_MAX / 2 ? content + 1 : cap * 2;
	if (cap > b->max + 1)
		cap = b->max + 1; /* still more than content: the caller checked it against max */
	data = realloc(b->data, cap);
	if (!data)
		return b->error = -ENOMEM;
	b->data = data;
	b->cap = cap;
	return 0;
}

int buf_reserve(struct buf *b, size_t more)
{
	if (b->error)
		return b->error;
	if (more > b->max - b->len)
		return b->error = -EMSGSIZE;
	if (b->len + more < b->cap)
		return 0;
	return grow(b, b->len + more);
}

int buf_append(struct buf *b, const void *data, size_t len)
{
	int r = buf_reserve(b, len);

	if (r < 0)
		return r;
	if (len)
		memcpy(b->data + b->len, data, len);
	b->len += len;
	return 0;
}

int buf_puts(struct buf *b, const char *s)
{
	return buf_append(b, s, strlen(s));
}

int buf_putc(struct buf *b, char c)
{
	return buf_append(b, &c, 1);
}

int buf_printf(struct buf *b, const char *fmt, ...)
{
	char small[256];
	va_list ap;
	int n, r;

	va_start(ap, fmt);
	n = vsnprintf(small, sizeof(small), fmt, ap);
	va_end(ap);
	if (n < 0)
		return b->error = b->error ? b->error : -EMSGSIZE;
	if ((size_t)n < sizeof(small))
		return buf_append(b, small, (size_t)n);

	r = buf_reserve(b, (size_t)n);
	if (r < 0)
		return r;
	va_start(ap, fmt);
	(void)vsnprintf(b->data + b->len, (size_t)n + 1, fmt, ap); /* measured above */
	va_end(ap);
	b->len += (size_t)n;
	return 0;
}

int buf_error(const struct buf *b)
{
	return b->error;
}

const char *buf_cstr(struct buf *b)
{
	if (b->error || buf_reserve(b, 0) < 0)
		return "";
	b->data[b->len] = '\0';
	return b->data;
}

char *buf_take(struct buf *b)
{
	char *data = NULL;

	(void)buf_cstr(b); /* adds the NUL; a failure shows in b->error */
	if (!b->error)
		data = TAKE_PTR(b->data);
	buf_fini(b);
	return data;
}
