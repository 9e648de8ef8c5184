/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One line per event: a name and key=value fields, as logfmt or JSON, to stderr (or a given fd). A
 *line is one write(2). The thread's context (tenant, mount, request) is added to every line of that
 *thread.
 *
 *	log_warn("lease_expired", LOG_S("mount_id", id), LOG_U("idle_s", idle));
 *
 * Level and format are set once before threads start; the level may change later (atomic). Strings
 *are quoted, control bytes escaped and values cut at 1 KiB. Any thread; does not allocate; never
 *fails (a failed write is counted, not reported).
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
enum log_format { LOG_LOGFMT, LOG_JSON };

struct log_field {
	const char *key;
	enum { LOG_FIELD_STR, LOG_FIELD_INT, LOG_FIELD_UINT, LOG_FIELD_BOOL, LOG_FIELD_ERRNO } type;
	union {
		const char *s; /* NULL prints as "" */
		int64_t i;
		uint64_t u;
		bool b;
	};
};

#define LOG_S(k, v) ((struct log_field){.key = (k), .type = LOG_FIELD_STR, .s = (v)})
#define LOG_I(k, v) ((struct log_field){.key = (k), .type = LOG_FIELD_INT, .i = (int64_t)(v)})
#define LOG_U(k, v) ((struct log_field){.key = (k), .type = LOG_FIELD_UINT, .u = (uint64_t)(v)})
#define LOG_B(k, v) ((struct log_field){.key = (k), .type = LOG_FIELD_BOOL, .b = (v)})
/* A negative errno, printed as its name and text: error="ENOENT: No such file or directory". */
#define LOG_E(v) ((struct log_field){.key = "error", .type = LOG_FIELD_ERRNO, .i = (int64_t)(v)})

/* Presets: "dev" = debug, logfmt; "stage" = info, logfmt; "prod" = info, JSON. -EINVAL for another
 * name. */
int log_preset(const char *name);
void log_setup(enum log_level level, enum log_format format, int fd);
void log_set_level(enum log_level level);
/* Words of the config: "debug" "info" "warn" "error"; "logfmt" "json". False if unknown. */
bool log_level_parse(const char *word, enum log_level *ret_level);
bool log_format_parse(const char *word, enum log_format *ret_format);
bool log_enabled(enum log_level level);
uint64_t log_lost_count(void);

/* The calling thread's context; strings are copied (63 bytes each). NULL clears one. */
void log_context(const char *tenant, const char *mount_id, const char *request_id);
void log_context_clear(void);

void log_write(enum log_level level, const char *event, const struct log_field *fields,
	unsigned field_count);

#define log_at(level, event, ...)                                                                 \
	do {                                                                                      \
		if (log_enabled(level)) {                                                         \
			const struct log_field log_f_[] = {(struct log_field){0}, ##__VA_ARGS__}; \
			log_write(level, event, log_f_ + 1,                                       \
				(unsigned)(sizeof(log_f_) / sizeof(log_f_[0]) - 1));              \
		}                                                                                 \
	} while (0)
#define log_debug(event, ...) log_at(LOG_DEBUG, event, ##__VA_ARGS__)
#define log_info(event, ...)  log_at(LOG_INFO, event, ##__VA_ARGS__)
#define log_warn(event, ...)  log_at(LOG_WARN, event, ##__VA_ARGS__)
#define log_error(event, ...) log_at(LOG_ERROR, event, ##__VA_ARGS__)
