/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Structured log lines. A line is put together in a buffer on the stack and leaves in one write(2),
 * so lines of several threads and processes do not mix. A field that does not fit is left out whole
 * and the line says truncated=true, so JSON stays JSON. The level, the format and the descriptor
 * are the process's (set before threads start; the level may change later); the context is the
 * thread's.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "log_internal.h"

#define LINE_MAX_BYTES  8192
#define LINE_TAIL       24 /* kept free for the truncation mark and the end of the line */
#define VALUE_MAX_BYTES 1024
#define CONTEXT_MAX     64

struct line {
	size_t len;
	enum log_format format;
	bool truncated;
	char text[LINE_MAX_BYTES];
};

struct context {
	char tenant[CONTEXT_MAX];
	char mount_id[CONTEXT_MAX];
	char request_id[CONTEXT_MAX];
};

/* Relaxed everywhere: each is a setting of its own and orders nothing else. */
static _Atomic int log_level_now = LOG_INFO;
static _Atomic int log_format_now = LOG_LOGFMT;
static _Atomic int log_fd = STDERR_FILENO;
static _Atomic uint64_t log_lost;
static _Thread_local struct context context;

static const char *const level_words[] = {"debug", "info", "warn", "error"};
static const char *const format_words[] = {"logfmt", "json"};

int log_preset(const char *name)
{
	if (strcmp(name, "dev") == 0)
		log_setup(LOG_DEBUG, LOG_LOGFMT, STDERR_FILENO);
	else if (strcmp(name, "stage") == 0)
		log_setup(LOG_INFO, LOG_LOGFMT, STDERR_FILENO);
	else if (strcmp(name, "prod") == 0)
		log_setup(LOG_INFO, LOG_JSON, STDERR_FILENO);
	else
		return -EINVAL;
	return 0;
}

void log_setup(enum log_level level, enum log_format format, int fd)
{
	atomic_store_explicit(&log_format_now, (int)format, memory_order_relaxed);
	atomic_store_explicit(&log_fd, fd, memory_order_relaxed);
	log_set_level(level);
}

void log_set_level(enum log_level level)
{
	atomic_store_explicit(&log_level_now, (int)level, memory_order_relaxed);
}

static bool parse_word(
	const char *word, const char *const *words, unsigned count, unsigned *ret_index)
{
	for (unsigned i = 0; i < count; i++) {
		if (strcmp(words[i], word) != 0)
			continue;
		*ret_index = i;
		return true;
	}
	return false;
}

bool log_level_parse(const char *word, enum log_level *ret_level)
{
	unsigned i;

	if (!parse_word(word, level_words, LOG_ERROR + 1, &i))
		return false;
	*ret_level = (enum log_level)i;
	return true;
}

bool log_format_parse(const char *word, enum log_format *ret_format)
{
	unsigned i;

	if (!parse_word(word, format_words, LOG_JSON + 1, &i))
		return false;
	*ret_format = (enum log_format)i;
	return true;
}

bool log_enabled(enum log_level level)
{
	return (int)level >= atomic_load_explicit(&log_level_now, memory_order_relaxed);
}

uint64_t log_lost_count(void)
{
	return atomic_load_explicit(&log_lost, memory_order_relaxed);
}

static void context_set(char *slot, const char *value)
{
	(void)snprintf(slot, CONTEXT_MAX, "%s", value ? value : ""); /* cut to 63 bytes */
}

void log_context(const char *tenant, const char *mount_id, const char *request_id)
{
	context_set(context.tenant, tenant);
	context_set(context.mount_id, mount_id);
	context_set(context.request_id, request_id);
}

void log_context_clear(void)
{
	log_context(NULL, NULL, NULL);
}

static bool put(struct line *l, const char *text, size_t len)
{
	if (len > sizeof(l->text) - LINE_TAIL - l->len)
		return false;
	memcpy(l->text + l->len, text, len);
	l->len += len;
	return true;
}

static bool put_str(struct line *l, const char *text)
{
	return put(l, text, strlen(text));
}

static bool put_quoted(struct line *l, const char *value)
{
	char piece[LOG_ESCAPE_MAX];
	size_t limit = strnlen(value, VALUE_MAX_BYTES), at = 0;

	if (!put(l, "\"", 1))
		return false;
	while (at < limit) {
		size_t used = 0, len;

		len = log_escape(value + at, limit - at, l->format, piece, &used);
		if (!put(l, piece, len))
			return false;
		at += used;
	}
	return put(l, "\"", 1);
}

static bool put_key(struct line *l, const char *key)
{
	if (l->format == LOG_LOGFMT)
		return (l->len == 0 || put(l, " ", 1)) && put_str(l, key) && put(l, "=", 1);
	return put(l, l->len == 0 ? "{" : ",", 1) && put_quoted(l, key) && put(l, ":", 1);
}

static bool put_number(struct line *l, const struct log_field *f)
{
	char digits[24];

	if (f->type == LOG_FIELD_INT)
		(void)snprintf(digits, sizeof(digits), "%lld", (long long)f->i);
	else
		(void)snprintf(digits, sizeof(digits), "%llu", (unsigned long long)f->u);
	return put_str(l, digits);
}

static bool put_errno(struct line *l, int64_t code)
{
	int number = code < 0 && code > -4096 ? (int)-code : (int)(code & 0xfff);
	const char *name = strerrorname_np(number), *text = strerrordesc_np(number);
	char whole[128];

	if (name && text)
		(void)snprintf(whole, sizeof(whole), "%s: %s", number ? name : "OK", text);
	else
		(void)snprintf(whole, sizeof(whole), "errno %lld", (long long)code);
	return put_quoted(l, whole);
}

static bool put_value(struct line *l, const struct log_field *f)
{
	switch (f->type) {
	case LOG_FIELD_STR:
		return put_quoted(l, f->s ? f->s : "");
	case LOG_FIELD_INT:
	case LOG_FIELD_UINT:
		return put_number(l, f);
	case LOG_FIELD_BOOL:
		return put_str(l, f->b ? "true" : "false");
	case LOG_FIELD_ERRNO:
		return put_errno(l, f->i);
	}
	return false;
}

/* Whole or not at all. */
static void put_field(struct line *l, const struct log_field *f)
{
	size_t before = l->len;

	if (put_key(l, f->key) && put_value(l, f))
		return;
	l->len = before;
	l->truncated = true;
}

/* A word that is ours, without quotes where the format can do without. */
static void put_word(struct line *l, const char *key, const char *word)
{
	if (l->format == LOG_JSON)
		put_field(l, &LOG_S(key, word));
	else if (put_key(l, key))
		(void)put_str(l, word); /* at the head of the line: always fits */
}

static bool has_key(const struct log_field *fields, unsigned count, const char *key)
{
	for (unsigned i = 0; i < count; i++)
		if (strcmp(fields[i].key, key) == 0)
			return true;
	return false;
}

/* What the event says itself goes before the context: a key stands once in a line. */
static void put_context(struct line *l, const struct log_field *fields, unsigned count)
{
	const struct log_field whole[] = {LOG_S("tenant", context.tenant),
		LOG_S("mount_id", context.mount_id), LOG_S("request_id", context.request_id)};

	for (size_t i = 0; i < sizeof(whole) / sizeof(whole[0]); i++)
		if (whole[i].s[0] && !has_key(fields, count, whole[i].key))
			put_field(l, &whole[i]);
}

/* The room for this was kept free by put(). */
static void finish(struct line *l)
{
	static const char *const ends[2][2] = {
		{"\n", " truncated=true\n"}, {"}\n", ",\"truncated\":true}\n"}};
	const char *end = ends[l->format == LOG_JSON][l->truncated];
	size_t len = strlen(end);

	memcpy(l->text + l->len, end, len);
	l->len += len;
}

static void emit(const struct line *l)
{
	int fd = atomic_load_explicit(&log_fd, memory_order_relaxed);
	ssize_t n;

	do
		n = write(fd, l->text, l->len);
	while (n < 0 && errno == EINTR);
	if (n != (ssize_t)l->len)
		atomic_fetch_add_explicit(&log_lost, 1, memory_order_relaxed);
}

void log_write(enum log_level level, const char *event, const struct log_field *fields,
	unsigned field_count)
{
	int saved_errno =
		errno; /* a log line between a call and the look at its errno must not change it */
	struct line l;
	char stamp[32];

	l.len = 0;
	l.truncated = false;
	l.format = (enum log_format)atomic_load_explicit(&log_format_now, memory_order_relaxed);
	put_word(&l, "ts", clock_rfc3339(clock_wall_ns(&clock_system), stamp, sizeof(stamp)));
	put_word(&l, "level", level_words[level]);
	put_word(&l, "event", event);
	put_context(&l, fields, field_count);
	for (unsigned i = 0; i < field_count; i++)
		put_field(&l, &fields[i]);
	finish(&l);
	emit(&l);
	errno = saved_errno;
}
