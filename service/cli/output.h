/* SPDX-License-Identifier: Apache-2.0 */
/* What the CLI prints: any message as JSON (the door to jansson), and tables with aligned columns.
 */
#pragma once
#include <protobuf-c/protobuf-c.h>
#include <stdint.h>
#include <stdio.h>

/* One line of JSON. Field names are those of the proto; enums are their names, timestamps RFC 3339,
 * 64-bit numbers are numbers. Absent messages are left out, everything else is there. 0 or -ENOMEM.
 */
int output_json(FILE *out, const ProtobufCMessage *message);
/* The same of an object of texts. */
int output_json_texts(
	FILE *out, const char *const *keys, const char *const *values, unsigned count);

/* Collects rows, then prints them aligned. Cells are copied. */
struct table;
struct table *table_new(const char *const *header, unsigned columns);
int table_row(struct table *t, const char *const *cells);
void table_print(struct table *t, FILE *out);
struct table *table_free(struct table *t);

/* "1.5 GiB"; "-" for 0 if zero_dash. `buf` of at least 24 bytes. */
const char *output_bytes(uint64_t bytes, char *buf, unsigned cap);
/* Control bytes as \xNN, so that a name cannot drive the terminal. */
void output_safe(FILE *out, const char *text);
