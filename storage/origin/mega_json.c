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

int mega_json_parent(const char *text, size_t len, const struct oid *commit, struct oid *ret_parent)
{
	__attribute__((cleanup(cleanup_json))) json_t *json = NULL;
	const json_t *item, *parents, *parent;
	struct oid sha;
	int r = parse(text, len, &json);

	if (r < 0)
		return r;
	item = json_array_get(json_object_get(json_object_get(json, "data"), "items"), 0);
	if (oid_of(item, "sha", &sha) < 0 || !oid_equal(&sha, commit))
		return -EIO;
	parents = json_object_get(item, "parents");
	if (!json_is_array(parents))
		return -EIO;
	*ret_parent = (struct oid){0};
	parent = json_array_get(parents, 0);
	if (!parent)
		return 0;
	return json_is_string(parent) ? oid_parse(json_string_value(parent), ret_parent) : -EIO;
}
