/* SPDX-License-Identifier: Apache-2.0 */
/* Decoders of a Mega server's JSON; see mega_json.h. The door to jansson for them. */
#include "origin/mega_json.h"

#include "base/cleanup.h"
#include "base/path.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <time.h>

#define ENTRIES_MAX 1000000u
#define PARENTS_MAX 64

static void cleanup_json(json_t **json)
{
	json_decref(*json);
}

/* jansson bounds the depth by itself. */
static int parse(const char *text, size_t len, json_t **ret_json)
{
	json_error_t error;
	json_t *json;

	if (len == 0 || len > MEGA_JSON_MAX_BYTES)
		return -EIO;
	json = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
	if (!json)
		return json_error_code(&error) == json_error_out_of_memory ? -ENOMEM : -EIO;
	*ret_json = json;
	return 0;
}

/* The text of a member, or NULL. */
static const char *text_of(const json_t *object, const char *key, size_t *ret_len)
{
	const json_t *value = json_object_get(object, key);

	if (!json_is_string(value))
		return NULL;
	*ret_len = json_string_length(value);
	return json_string_value(value);
}

static int oid_of(const json_t *object, const char *key, struct oid *ret_oid)
{
	size_t len;
	const char *text = text_of(object, key, &len);

	return text && strlen(text) == len && oid_parse(text, ret_oid) == 0 ? 0 : -EIO;
}

static int take_type(const json_t *item, bool *ret_directory)
{
	size_t len;
	const char *text = text_of(item, "content_type", &len);

	if (!text || (strcmp(text, "directory") != 0 && strcmp(text, "file") != 0))
		return -EIO;
	*ret_directory = text[0] == 'd';
	return 0;
}

/* All names of the list, each with a NUL. */
static int names_bytes(const json_t *list, size_t *ret_bytes)
{
	size_t bytes = 0;

	for (size_t i = 0; i < json_array_size(list); i++) {
		size_t len;
		const char *name = text_of(json_array_get(list, i), "name", &len);

		if (!name || !path_name_ok(name, len))
			return -EIO;
		bytes += len + 1;
	}
	*ret_bytes = bytes;
	return 0;
}

static int fill(const json_t *list, struct mega_listing *l)
{
	char *name = l->names;

	for (size_t i = 0; i < l->count; i++) {
		const json_t *item = json_array_get(list, i);
		struct mega_entry *entry = &l->entries[i];
		const char *text = text_of(item, "name", &entry->name_len);
		int r = take_type(item, &entry->directory);

		if (r == 0)
			r = oid_of(item, "oid", &entry->oid);
		if (r < 0)
			return r;
		entry->name = name;
		memcpy(name, text, entry->name_len + 1);
		name += entry->name_len + 1;
	}
	return 0;
}

int mega_json_listing(const char *text, size_t len, struct mega_listing *ret_listing)
{
	CLEANUP(cleanup_json) json_t *json = NULL;
	struct mega_listing l = {0};
	const json_t *list;
	size_t bytes;
	int r = parse(text, len, &json);

	if (r < 0)
		return r;
	list = json_object_get(json, "data");
	if (!json_is_true(json_object_get(json, "req_result")) || !json_is_array(list) ||
		json_array_size(list) > ENTRIES_MAX)
		return -EIO;
	r = names_bytes(list, &bytes);
	if (r < 0)
		return r;
	l.count = json_array_size(list);
	l.entries = calloc(l.count ? l.count : 1, sizeof(*l.entries));
	l.names = malloc(bytes ? bytes : 1);
	r = l.entries && l.names ? fill(list, &l) : -ENOMEM;
	if (r < 0) {
		mega_listing_fini(&l);
		return r;
	}
	*ret_listing = l;
	return 0;
}

void mega_listing_fini(struct mega_listing *l)
{
	free(l->entries);
	free(l->names);
	*l = (struct mega_listing){0};
}

/* Seconds since the epoch as digits, or a date of RFC 3339 (its offset aside). */
static int64_t parse_date(const char *text)
{
	struct tm tm = {0};
	char *end;
	long long seconds;

	errno = 0;
	seconds = strtoll(text, &end, 10);
	if (!errno && end != text && !*end)
		return seconds >= 0 ? seconds : 0;
	end = strptime(text, "%Y-%m-%d", &tm);
	if (!end || (*end != 'T' && *end != ' ') || !strptime(end + 1, "%H:%M:%S", &tm))
		return 0;
	seconds = timegm(&tm);
	return seconds > 0 ? seconds : 0;
}

int mega_json_commit(const char *text, size_t len, struct mega_commit *ret_commit)
{
	CLEANUP(cleanup_json) json_t *json = NULL;
	struct mega_commit commit = {0};
	const char *date;
	size_t date_len;
	int r = parse(text, len, &json);

	if (r == 0)
		r = oid_of(json, "oid", &commit.oid);
	if (r < 0)
		return r;
	date = text_of(json, "date", &date_len);
	if (date)
		commit.time_s = parse_date(date);
	*ret_commit = commit;
	return 0;
}

/* All parents of one commit of a history; how many, or -EIO. */
static int take_parents(const json_t *item, struct oid ret_parents[PARENTS_MAX])
{
	const json_t *parents = json_object_get(item, "parents");
	size_t count = json_array_size(parents);

	if (!json_is_array(parents) || count > PARENTS_MAX)
		return -EIO;
	for (size_t i = 0; i < count; i++) {
		const json_t *parent = json_array_get(parents, i);
		const char *text = json_string_value(parent);

		if (!text || strlen(text) != json_string_length(parent) ||
			oid_parse(text, &ret_parents[i]) < 0)
			return -EIO;
	}
	return (int)count;
}

int mega_json_history(const char *text, size_t len, mega_history_fn fn, void *arg)
{
	CLEANUP(cleanup_json) json_t *json = NULL;
	struct oid commit, parents[PARENTS_MAX];
	const json_t *items;
	int r = parse(text, len, &json);

	if (r < 0)
		return r;
	items = json_object_get(json_object_get(json, "data"), "items");
	if (!json_is_true(json_object_get(json, "req_result")) || !json_is_array(items))
		return -EIO;
	for (size_t i = 0; r >= 0 && i < json_array_size(items); i++) {
		const json_t *item = json_array_get(items, i);

		r = oid_of(item, "sha", &commit);
		if (r == 0)
			r = take_parents(item, parents);
		if (r >= 0)
			r = fn(arg, &commit, parents, (size_t)r);
	}
	return r < 0 ? r : 0;
}

/* A text without NUL in it, or NULL. */
static const char *plain_text_of(const json_t *object, const char *key)
{
	size_t len;
	const char *text = text_of(object, key, &len);

	return text && strlen(text) == len ? text : NULL;
}

static int take_file(const json_t *item, struct origin_change_file *file)
{
	static const char *const actions[ORIGIN_FILE_ACTIONS] = {
		[ORIGIN_FILE_NEW] = "new",
		[ORIGIN_FILE_MODIFIED] = "modified",
		[ORIGIN_FILE_DELETED] = "deleted",
		[ORIGIN_FILE_RENAMED] = "renamed",
	};
	const char *action = plain_text_of(item, "action");
	unsigned i = 0;

	while (action && i < ORIGIN_FILE_ACTIONS && strcmp(action, actions[i]) != 0)
		i++;
	if (!action || i == ORIGIN_FILE_ACTIONS)
		return -EIO;
	*file = (struct origin_change_file){
		.action = (enum origin_file_action)i, .path = plain_text_of(item, "path")};
	if (file->action == ORIGIN_FILE_RENAMED)
		file->old_path = plain_text_of(item, "old_path");
	if (!file->path || !path_relative_ok(file->path) || !file->path[0])
		return -EIO;
	if (file->action == ORIGIN_FILE_RENAMED &&
		(!file->old_path || !path_relative_ok(file->old_path) || !file->old_path[0]))
		return -EIO;
	return oid_of(item, "sha", &file->oid);
}

int mega_json_files(const char *text, size_t len, origin_change_file_fn fn, void *arg)
{
	CLEANUP(cleanup_json) json_t *json = NULL;
	struct origin_change_file file;
	const json_t *list;
	int r = parse(text, len, &json);

	if (r < 0)
		return r;
	list = json_object_get(json, "data");
	if (!json_is_true(json_object_get(json, "req_result")) || !json_is_array(list))
		return -EIO;
	for (size_t i = 0; r == 0 && i < json_array_size(list); i++) {
		r = take_file(json_array_get(list, i), &file);
		if (r == 0)
			r = fn(arg, &file);
	}
	return r;
}
