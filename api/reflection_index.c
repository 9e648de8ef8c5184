/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cuts a FileDescriptorSet into its files without decoding and encoding them (what protobuf-c does
 * not know must survive), and collects the full names of messages, enums, services and methods.
 * Counting first, then filling, so that arrays are allocated once. Pure.
 */
#include "reflection_index.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SYMBOLS_MAX 8192
#define NEST_MAX    16

/* The next entry `repeated FileDescriptorProto file = 1` of a set: tag 0x0a, length, bytes. */
static bool next_file(const uint8_t **at, const uint8_t *end, struct reflection_file *ret_file)
{
	size_t len = 0;
	unsigned shift = 0;

	if (*at == end || *(*at)++ != 0x0a)
		return false;
	for (; *at < end && shift < 35; shift += 7) {
		uint8_t byte = *(*at)++;

		len |= (size_t)(byte & 0x7f) << shift;
		if (byte & 0x80)
			continue;
		if (len > (size_t)(end - *at))
			return false;
		*ret_file = (struct reflection_file){.raw = *at, .raw_len = len};
		*at += len;
		return true;
	}
	return false;
}

static int cut_files(struct reflection *r, const uint8_t *set, size_t len)
{
	const uint8_t *at = set, *end = set + len;
	struct reflection_file file;

	while (at < end) {
		if (!next_file(&at, end, &file))
			return -EBADMSG;
		r->file_count++;
	}
	r->files = arena_array(&r->arena, r->file_count, sizeof(r->files[0]));
	if (!r->files)
		return -ENOMEM;
	at = set;
	for (uint32_t i = 0; i < r->file_count; i++) {
		if (!next_file(&at, end, &r->files[i]))
			return -EBADMSG;
		r->files[i].parsed = google__protobuf__file_descriptor_proto__unpack(
			&r->arena.allocator, r->files[i].raw_len, r->files[i].raw);
		if (!r->files[i].parsed)
			return -EBADMSG;
	}
	return 0;
}

/* "prefix.name", entered under the file; returned as prefix for what is inside. NULL: no memory or
 * too many. */
static const char *add(struct reflection *r, uint32_t file, const char *prefix, const char *name)
{
	size_t cap = strlen(prefix) + strlen(name) + 2;
	char *full = arena_alloc(&r->arena, cap);

	if (!full || r->symbol_count == r->symbol_cap)
		return NULL;
	(void)snprintf(full, cap, "%s%s%s", prefix, prefix[0] ? "." : "", name);
	r->symbols[r->symbol_count++] = (struct reflection_symbol){.name = full, .file = file};
	return full;
}

static bool add_message(struct reflection *r, uint32_t file, const char *prefix,
	const Google__Protobuf__DescriptorProto *m, unsigned depth)
{
	const char *full = add(r, file, prefix, m->name);
	bool ok = full && depth < NEST_MAX;

	for (size_t i = 0; ok && i < m->n_nested_type; i++)
		ok = add_message(r, file, full, m->nested_type[i], depth + 1);
	for (size_t i = 0; ok && i < m->n_enum_type; i++)
		ok = add(r, file, full, m->enum_type[i]->name);
	return ok;
}

static bool add_file(struct reflection *r, uint32_t index)
{
	const Google__Protobuf__FileDescriptorProto *f = r->files[index].parsed;
	const char *package = f->package ? f->package : "";
	bool ok = true;

	for (size_t i = 0; ok && i < f->n_message_type; i++)
		ok = add_message(r, index, package, f->message_type[i], 0);
	for (size_t i = 0; ok && i < f->n_enum_type; i++)
		ok = add(r, index, package, f->enum_type[i]->name);
	for (size_t i = 0; ok && i < f->n_service; i++) {
		const char *service = add(r, index, package, f->service[i]->name);

		ok = service;
		for (size_t k = 0; ok && k < f->service[i]->n_method; k++)
			ok = add(r, index, service, f->service[i]->method[k]->name);
	}
	return ok;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct reflection_symbol *)a)->name,
		((const struct reflection_symbol *)b)->name);
}

int reflection_index_build(struct reflection *r, const uint8_t *set, size_t len)
{
	int result = cut_files(r, set, len);

	if (result < 0)
		return result;
	r->symbol_cap = SYMBOLS_MAX;
	r->symbols = arena_array(&r->arena, r->symbol_cap, sizeof(r->symbols[0]));
	if (!r->symbols)
		return -ENOMEM;
	for (uint32_t i = 0; i < r->file_count; i++)
		if (!add_file(r, i))
			return -ENOMEM;
	qsort(r->symbols, r->symbol_count, sizeof(r->symbols[0]), by_name);
	return 0;
}

const struct reflection_file *reflection_file_find(const struct reflection *r, const char *name)
{
	for (uint32_t i = 0; i < r->file_count; i++)
		if (strcmp(r->files[i].parsed->name, name) == 0)
			return &r->files[i];
	return NULL;
}

const struct reflection_file *reflection_symbol_find(const struct reflection *r, const char *name)
{
	const struct reflection_symbol key = {.name = name};
	const struct reflection_symbol *found =
		bsearch(&key, r->symbols, r->symbol_count, sizeof(r->symbols[0]), by_name);

	return found ? &r->files[found->file] : NULL;
}
