/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to config_*.c: the schema as a table, and the report of mistakes. One table
 * (config_schema.c) drives loading, setting by dotted key, printing and freeing, so a key is
 * described once.
 */
#pragma once
#include <base/err.h>
#include <service/config.h>
#include <stddef.h>

struct buf;
struct cfg_field;

/* How a scalar is read and shown. */
struct cfg_type {
	const char *expects; /* "a size such as 256MiB": for messages */
	size_t size;         /* of the value in memory */
	bool owned;          /* the value is a malloc'ed char * */
	/* False: not one. An owned string goes through text_set, which frees what was there. */
	bool (*parse)(const char *text, void *value);
	/* Appends the text; false, appending nothing, if there is nothing to show. */
	bool (*render)(const void *value, struct buf *out);
};

enum cfg_shape { CFG_SCALAR, CFG_MAP, CFG_LIST };

struct cfg_field {
	const char *key; /* NULL ends a table */
	enum cfg_shape shape;
	const struct cfg_type *type;    /* of a scalar, or of the elements of a list of scalars */
	const struct cfg_field *fields; /* of a map, or of the elements of a list of maps */
	size_t offset; /* of the value in the object that holds it; a map is part of that object */
	size_t count_offset; /* of a list: where its length (unsigned) is */
	size_t element_size;
	void (*init)(void *element); /* defaults of a list's element; may be NULL */
	bool required;
	bool one_key; /* a list of maps with exactly one key each */
};

/* Of struct cfg. */
extern const struct cfg_field cfg_schema[];

/* Where a value came from, so that a mistake found later still names its line. */
struct cfg_place {
	char field[96];
	char origin[64]; /* "COPPICE_CACHE_DISK", "--set"; "" = the file */
	unsigned line;
};

struct cfg_report {
	const char *source; /* file name for messages */
	struct cfg_place *places;
	unsigned place_count, place_cap;
	unsigned mistakes;
	bool out_of_memory;
	char first_field[64];
	char text[ERR_MESSAGE_MAX]; /* one mistake per line, as many as fit */
};

void cfg_report_fini(struct cfg_report *r);
void cfg_report_place(struct cfg_report *r, const char *field, unsigned line, const char *origin);
/* `field` as dotted path; its line is the one of the field or of the nearest field around it. */
void cfg_mistake(struct cfg_report *r, const char *field, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* 0, -ENOMEM or -EINVAL with everything that was reported. */
int cfg_report_result(const struct cfg_report *r, struct err *e);

/* Read the file into cfg. Mistakes go to the report; the result is for what is not a mistake in it
 * (-ENOENT, -EACCES, -EFBIG). */
int cfg_load_file(struct cfg *cfg, const char *path, struct cfg_report *r, struct err *e);
/* The same from memory. */
void cfg_load_text(struct cfg *cfg, const char *text, size_t len, struct cfg_report *r);
/* Set one scalar, or list of scalars (comma separated), by dotted key. */
void cfg_set(struct cfg *cfg, const char *key, const char *value, const char *origin,
	struct cfg_report *r);
void cfg_set_from_environment(struct cfg *cfg, struct cfg_report *r);
/* Frees what the fields of `object` own and zeroes it. */
void cfg_clear_fields(void *object, const struct cfg_field *fields);
/* Room for one more element, which is zeroed and initialised; NULL: no memory. */
void *cfg_list_add(void *object, const struct cfg_field *field);

/* What the schema cannot say: identifiers, duplicates, references, and what this version cannot do.
 */
void cfg_check(struct cfg *cfg, struct cfg_report *r);
/* Split from cfg_check. */
void cfg_check_redis(const struct cfg *cfg, struct cfg_report *r);
void cfg_check_origins(const struct cfg *cfg, struct cfg_report *r);
void cfg_check_tenants(struct cfg *cfg, struct cfg_report *r);
/* 64 hex digits in a file → 32 bytes. -EINVAL: something else is in it. */
int cfg_read_token_hash(const char *path, uint8_t ret_sha256[32]);
