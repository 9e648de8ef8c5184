/* SPDX-License-Identifier: Apache-2.0 */
/* See git_pkt.h. */
#include "origin/git_pkt.h"

#include "base/buf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define HEADER   4u
#define SHA1_HEX 40u

static int hex_value(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if ((c | 32) >= 'a' && (c | 32) <= 'f')
		return (c | 32) - 'a' + 10;
	return -1;
}

ssize_t gitpkt_take(const void *data, size_t len, struct gitpkt *ret_pkt)
{
	const uint8_t *p = data;
	unsigned size = 0;

	if (len < HEADER)
		return 0;
	for (unsigned i = 0; i < HEADER; i++) {
		int value = hex_value(p[i]);

		if (value < 0)
			return -EIO;
		size = size << 4 | (unsigned)value;
	}
	if (size < HEADER) {
		if (size == 3)
			return -EIO;
		*ret_pkt = (struct gitpkt){.type = (enum gitpkt_type)size};
		return HEADER;
	}
	if (size > GITPKT_MAX)
		return -EIO;
	if (len < size)
		return 0;
	*ret_pkt = (struct gitpkt){.type = GITPKT_DATA, .data = p + HEADER, .len = size - HEADER};
	return (ssize_t)size;
}

void gitpkt_put(struct buf *out, const char *fmt, ...)
{
	char line[1024];
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	if (n < 0 || (size_t)n >= sizeof(line)) {
		out->error = -EMSGSIZE;
		return;
	}
	(void)buf_printf(out, "%04x%s", (unsigned)n + HEADER, line); /* buf_error says it all */
}

void gitpkt_put_flush(struct buf *out)
{
	(void)buf_puts(out, "0000");
}

void gitpkt_put_delim(struct buf *out)
{
	(void)buf_puts(out, "0001");
}

/* A line without its end of line, as a string; false if it does not fit or has a NUL. */
static bool line_text(const struct gitpkt *pkt, char *text, size_t cap)
{
	size_t len = pkt->len;

	if (pkt->type != GITPKT_DATA)
		return false;
	if (len > 0 && pkt->data[len - 1] == '\n')
		len--;
	if (len >= cap || memchr(pkt->data, '\0', len))
		return false;
	memcpy(text, pkt->data, len);
	text[len] = '\0';
	return true;
}

/* Whether `word` is one of the blank-separated words of `text`. */
static bool has_word(const char *text, const char *word)
{
	size_t len = strlen(word);

	for (const char *at = text; (at = strstr(at, word)); at += len)
		if ((at == text || at[-1] == ' ') && (at[len] == '\0' || at[len] == ' '))
			return true;
	return false;
}

void gitpkt_offer_line(struct gitpkt_offer *offer, const struct gitpkt *pkt)
{
	char text[1024];

	if (!line_text(pkt, text, sizeof(text)))
		return;
	if (strcmp(text, "version 2") == 0)
		offer->version2 = true;
	else if (strncmp(text, "fetch=", 6) == 0)
		offer->filter = has_word(text + 6, "filter");
	else if (strcmp(text, "object-info") == 0 || strncmp(text, "object-info=", 12) == 0)
		offer->object_info = true;
	else if (strcmp(text, "object-format=sha1") == 0)
		offer->sha1 = true;
	else if (strncmp(text, "object-format=", 14) == 0)
		offer->other_hash = true;
}

static int take_oid(const char *text, struct oid *ret_oid)
{
	char hex[SHA1_HEX + 1];

	if (strnlen(text, SHA1_HEX) < SHA1_HEX)
		return -EIO;
	memcpy(hex, text, SHA1_HEX);
	hex[SHA1_HEX] = '\0';
	return oid_parse(hex, ret_oid) < 0 ? -EIO : 0;
}

/* A word of a line into `out`; one that does not fit leaves it empty. */
static void take_word(const char *text, size_t len, char *out, size_t cap)
{
	if (len >= cap)
		len = 0;
	memcpy(out, text, len);
	out[len] = '\0';
}

int gitpkt_ref_line(const struct gitpkt *pkt, struct gitpkt_ref *ret_ref)
{
	struct gitpkt_ref ref = {.unborn = false};
	char text[4096], *rest;
	size_t len;

	if (!line_text(pkt, text, sizeof(text)))
		return -EIO;
	if (strncmp(text, "unborn ", 7) == 0) {
		ref.unborn = true;
		rest = text + 7;
	} else {
		if (take_oid(text, &ref.oid) < 0 || text[SHA1_HEX] != ' ')
			return -EIO;
		rest = text + SHA1_HEX + 1;
	}
	len = strcspn(rest, " ");
	if (len == 0)
		return -EIO;
	take_word(rest, len, ref.name, sizeof(ref.name));
	for (rest += len; *rest == ' '; rest += len) {
		rest++;
		len = strcspn(rest, " ");
		if (strncmp(rest, "symref-target:", 14) == 0)
			take_word(rest + 14, len - 14, ref.target, sizeof(ref.target));
		else if (strncmp(rest, "peeled:", 7) == 0 && take_oid(rest + 7, &ref.peeled) < 0)
			return -EIO;
	}
	*ret_ref = ref;
	return 0;
}

int gitpkt_size_line(const struct gitpkt *pkt, struct oid *ret_oid, uint64_t *ret_size)
{
	uint64_t size = 0;
	struct oid oid;
	char text[128];
	const char *p;

	if (!line_text(pkt, text, sizeof(text)) || take_oid(text, &oid) < 0 ||
		text[SHA1_HEX] != ' ')
		return -EIO;
	p = text + SHA1_HEX + 1;
	if (!*p || strlen(p) > 18)
		return -EIO;
	for (; *p; p++) {
		if (*p < '0' || *p > '9')
			return -EIO;
		size = size * 10 + (uint64_t)(*p - '0');
	}
	*ret_oid = oid;
	*ret_size = size;
	return 0;
}

void gitpkt_clean_text(char *text)
{
	size_t len = strlen(text), skip = 0;

	for (size_t i = 0; i < len; i++)
		if ((unsigned char)text[i] < ' ' || text[i] == 127)
			text[i] = ' ';
	while (len > 0 && text[len - 1] == ' ')
		text[--len] = '\0';
	while (text[skip] == ' ')
		skip++;
	memmove(text, text + skip, len - skip + 1);
}

bool gitpkt_error_line(const struct gitpkt *pkt, char *message, size_t cap)
{
	size_t len;

	if (pkt->type != GITPKT_DATA || pkt->len < 4 || memcmp(pkt->data, "ERR ", 4) != 0)
		return false;
	len = pkt->len - 4 < cap - 1 ? pkt->len - 4 : cap - 1;
	memcpy(message, pkt->data + 4, len);
	message[len] = '\0';
	gitpkt_clean_text(message);
	return true;
}
