/* SPDX-License-Identifier: Apache-2.0 */
/* The batch API of Git LFS; see lfs_json.h. The door to jansson for it. */
#include "origin/lfs_json.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "origin/http_url.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#define ANSWER_MAX_BYTES (1u << 20)
#define VALUE_MAX_BYTES  8192

static void cleanup_json(json_t **json)
{
	json_decref(*json);
}

static void hex_of(const uint8_t *bytes, char hex[2 * LFS_SHA256_BYTES + 1])
{
	for (unsigned i = 0; i < LFS_SHA256_BYTES; i++)
		(void)snprintf(hex + 2 * i, 3, "%02x", bytes[i]);
}

/* The buffer remembers the first failure. */
static void put_object(struct buf *out, const struct lfs_pointer *object)
{
	char hex[2 * LFS_SHA256_BYTES + 1];

	hex_of(object->sha256, hex);
	(void)buf_printf(out, "{\"oid\":\"%s\",\"size\":%" PRIu64 "}", hex, object->size);
}

void lfs_json_request(struct buf *out, enum lfs_operation operation,
	const struct lfs_pointer *wanted, unsigned count)
{
	(void)buf_printf(out,
		"{\"operation\":\"%s\",\"transfers\":[\"basic\"],\"hash_algo\":\"sha256\","
		"\"objects\":[",
		operation == LFS_UPLOAD ? "upload" : "download");
	for (unsigned i = 0; i < count; i++) {
		if (i)
			(void)buf_puts(out, ",");
		put_object(out, &wanted[i]);
	}
	(void)buf_puts(out, "]}");
}

void lfs_json_verify(struct buf *out, const struct lfs_pointer *object)
{
	put_object(out, object);
}

/* Visible characters only: a line end would begin another header. */
static bool text_ok(const char *text, size_t len, const char *forbidden)
{
	if (len == 0 || len > VALUE_MAX_BYTES || strlen(text) != len)
		return false;
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)text[i] < ' ' || text[i] == 0x7f || strchr(forbidden, text[i]))
			return false;
	return true;
}

/* Those that say how the request itself is sent are ours. */
static bool header_is_ours(const char *name)
{
	static const char *const ours[] = {"Host", "Content-Length", "Transfer-Encoding",
		"Connection", "Proxy-Authorization", "Range", "Accept-Encoding"};

	for (unsigned i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
		if (strcasecmp(name, ours[i]) == 0)
			return true;
	return false;
}

static int take_headers(json_t *headers, struct lfs_action *a)
{
	const char *name;
	json_t *value;
	unsigned n = 0;

	if (!headers || json_is_null(headers))
		return 0;
	if (!json_is_object(headers) || json_object_size(headers) > LFS_HEADERS_MAX)
		return -EIO;
	json_object_foreach(headers, name, value)
	{
		if (!json_is_string(value) || !text_ok(name, strlen(name), " :") ||
			!text_ok(json_string_value(value), json_string_length(value), ""))
			return -EIO;
		if (header_is_ours(name))
			continue;
		if (asprintf(&a->headers[n], "%s: %s", name, json_string_value(value)) < 0)
			return a->headers[n] = NULL, -ENOMEM;
		n++;
	}
	return 0;
}

static int take_action(json_t *download, struct lfs_action *a)
{
	const json_t *href = json_object_get(download, "href");
	struct http_url url;

	if (!json_is_string(href) || strlen(json_string_value(href)) != json_string_length(href) ||
		http_url_split(json_string_value(href), &url) < 0)
		return -EIO;
	a->href = strdup(json_string_value(href));
	return a->href ? take_headers(json_object_get(download, "header"), a) : -ENOMEM;
}

/* What an object's error means; 0: it has none. */
static int object_error(const json_t *object)
{
	const json_t *error = json_object_get(object, "error");
	json_int_t code;

	if (!error || json_is_null(error))
		return 0;
	code = json_integer_value(json_object_get(error, "code"));
	return code == 404 || code == 410 ? -ENOENT : code == 401 || code == 403 ? -EACCES : -EIO;
}

static bool is_wanted(const json_t *object, const struct lfs_pointer *wanted)
{
	const char *oid = json_string_value(json_object_get(object, "oid"));
	char hex[2 * LFS_SHA256_BYTES + 1];

	hex_of(wanted->sha256, hex);
	return oid && strcmp(oid, hex) == 0;
}

/* The answer's one object. Owned by *json. */
static int find_object(const char *text, size_t len, const struct lfs_pointer *wanted,
	json_t **ret_json, json_t **ret_object)
{
	json_error_t error;

	if (len == 0 || len > ANSWER_MAX_BYTES)
		return -EIO;
	*ret_json = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
	*ret_object = json_array_get(json_object_get(*ret_json, "objects"), 0);
	return is_wanted(*ret_object, wanted) ? object_error(*ret_object) : -EIO;
}

int lfs_json_answer(const char *text, size_t len, const struct lfs_pointer *wanted,
	struct lfs_action *ret_action)
{
	CLEANUP(cleanup_json) json_t *json = NULL;
	struct lfs_action a = {0};
	json_t *object;
	int r = find_object(text, len, wanted, &json, &object);

	if (r == 0)
		r = take_action(
			json_object_get(json_object_get(object, "actions"), "download"), &a);
	if (r < 0) {
		lfs_action_fini(&a);
		return r;
	}
	*ret_action = a;
	return 0;
}

static const struct lfs_pointer *wanted_one(const json_t *object, const struct lfs_batch *wanted)
{
	for (unsigned i = 0; i < wanted->count; i++)
		if (is_wanted(object, &wanted->objects[i]))
			return &wanted->objects[i];
	return NULL;
}

int lfs_json_answers(
	const char *text, size_t len, const struct lfs_batch *wanted, lfs_place_fn fn, void *arg)
{
	CLEANUP(cleanup_json) json_t *json = NULL;
	json_error_t error;
	json_t *objects, *object;
	size_t i;
	int r = 0;

	if (len == 0 || len > ANSWER_MAX_BYTES)
		return -EIO;
	json = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
	objects = json_object_get(json, "objects");
	if (!json_is_array(objects) || json_array_size(objects) > LFS_BATCH_MAX)
		return -EIO;
	json_array_foreach(objects, i, object)
	{
		const struct lfs_pointer *one = wanted_one(object, wanted);
		struct lfs_action a = {0};

		if (!one || object_error(object) < 0)
			continue;
		r = take_action(
			json_object_get(json_object_get(object, "actions"), "download"), &a);
		if (r == 0)
			fn(arg, one, &a);
		lfs_action_fini(&a);
		if (r == -ENOMEM)
			return r;
	}
	return 0;
}

int lfs_json_upload_answer(const char *text, size_t len, const struct lfs_pointer *object,
	struct lfs_action *ret_upload, struct lfs_action *ret_verify)
{
	CLEANUP(cleanup_json) json_t *json = NULL;
	struct lfs_action upload = {0}, verify = {0};
	json_t *found, *action;
	int r = find_object(text, len, object, &json, &found);

	action = r == 0 ? json_object_get(json_object_get(found, "actions"), "upload") : NULL;
	if (action && !json_is_null(action))
		r = take_action(action, &upload);
	action = r == 0 ? json_object_get(json_object_get(found, "actions"), "verify") : NULL;
	if (action && !json_is_null(action))
		r = take_action(action, &verify);
	if (r < 0) {
		lfs_action_fini(&upload);
		lfs_action_fini(&verify);
		return r;
	}
	*ret_upload = upload;
	*ret_verify = verify;
	return 0;
}

void lfs_action_fini(struct lfs_action *a)
{
	for (unsigned i = 0; i < LFS_HEADERS_MAX; i++)
		free(a->headers[i]);
	free(a->href);
	*a = (struct lfs_action){0};
}
