/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One content in two requests: the batch API says where it is, and there it is. For many that will
 * be read the first request is one (lfs_places.h). A server may name a place that only it can reach
 * (Mega names its own listening address); then the API's own /objects/<id> is tried.
 */
#include "origin/lfs_client.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "origin/http.h"
#include "origin/http_url.h"
#include "origin/lfs_places.h"
#include "storage/blob.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define ANSWER_MAX_BYTES (1u << 20)

struct lfs_client {
	char *name, *url; /* const after init; the url without a slash at its end */
	struct http_client *http;
	struct lfs_places places;
};

struct lfs_wait {
	const struct cancel *cancel;
	uint64_t deadline_ns;
};

/* Where `git lfs` looks for it: <repository>.git/info/lfs. */
static char *default_url(const struct origin_config *config)
{
	size_t len = strlen(config->url);
	bool mega = strcmp(config->type, "mega") == 0, has_git;
	char *url = NULL;

	while (len && config->url[len - 1] == '/')
		len--;
	has_git = len > 4 && strncmp(config->url + len - 4, ".git", 4) == 0;
	if (asprintf(&url, "%.*s%s/info/lfs", (int)len, config->url,
		    mega || has_git ? "" : ".git") < 0)
		return NULL;
	return url;
}

int lfs_client_new(
	struct lfs_client **ret_client, const struct origin_config *config, struct err *e)
{
	struct lfs_client *c = calloc(1, sizeof(*c));
	struct http_config http = {.net = &config->net, .metrics = NULL};
	int r;

	if (!c)
		return err_set(e, -ENOMEM, NULL, "no memory");
	lfs_places_init(&c->places);
	c->name = strdup(config->name);
	c->url = config->lfs_url ? strdup(config->lfs_url) : default_url(config);
	if (!c->name || !c->url) {
		(void)lfs_client_free(c);
		return err_set(e, -ENOMEM, NULL, "no memory");
	}
	http.name = c->name;
	http.url = c->url;
	r = http_client_new(&c->http, &http, e);
	if (r < 0) {
		(void)lfs_client_free(c);
		return err_wrap(e, r, "lfs");
	}
	*ret_client = c;
	return 0;
}

struct lfs_client *lfs_client_free(struct lfs_client *c)
{
	if (!c)
		return NULL;
	(void)http_client_free(c->http);
	lfs_places_fini(&c->places);
	free(c->name);
	free(c->url);
	free(c);
	return NULL;
}

/* A POST of the batch API, or to where that points. */
static int post(struct lfs_client *c, const char *url, const char *const *headers,
	const struct buf *body, const struct lfs_wait *wait, struct http_answer *ret_answer)
{
	const struct http_request request = {
		.method = HTTP_POST,
		.url = url,
		.headers = headers,
		.body = body->data,
		.body_len = body->len,
		.max_bytes = ANSWER_MAX_BYTES,
		.deadline_ns = wait->deadline_ns,
	};

	return http_perform(c->http, &request, wait->cancel, ret_answer);
}

static int ask(struct lfs_client *c, enum lfs_operation operation, const struct lfs_batch *objects,
	const struct lfs_wait *wait, struct http_answer *ret_answer)
{
	static const char *const headers[] = {"Accept: application/vnd.git-lfs+json",
		"Content-Type: application/vnd.git-lfs+json", NULL};
	struct buf url, body;
	int r;

	buf_init(&url, 65536);
	buf_init(&body, 65536);
	http_url_begin(&url, c->url, "/objects/batch");
	lfs_json_request(&body, operation, objects->objects, objects->count);
	r = buf_error(&url) ? buf_error(&url) : buf_error(&body);
	if (r == 0)
		r = post(c, buf_cstr(&url), headers, &body, wait, ret_answer);
	if (r == -ENOENT)
		r = -EIO; /* there is no such API: that says nothing about the object */
	buf_fini(&body);
	buf_fini(&url);
	return r;
}

/* A body on its way into a sink, which is begun before, with the size of the pointer. */
struct body {
	struct blob_sink *sink;
	bool came; /* some of it */
};

static int pour(void *arg, int64_t length, const void *data, size_t len)
{
	struct body *body = arg;

	(void)length;
	body->came = true;
	return body->sink->write(body->sink, data, len);
}

static int download(struct lfs_client *c, const char *url, char *const *headers,
	const struct lfs_wait *wait, struct body *body)
{
	const struct http_request request = {
		.url = url,
		.headers = (const char *const *)headers,
		.stream = true,
		.deadline_ns = wait->deadline_ns,
	};
	struct http_answer answer;
	struct http_call *call;
	int r = http_start(c->http, &request, &call);

	if (r < 0)
		return r;
	r = http_finish_to(call, wait->cancel, pour, body, &answer);
	http_answer_fini(&answer);
	return r;
}

static int download_from_api(struct lfs_client *c, const struct lfs_pointer *wanted,
	const struct lfs_wait *wait, struct body *body)
{
	struct buf url;
	int r;

	buf_init(&url, 65536);
	http_url_begin(&url, c->url, "/objects/");
	for (unsigned i = 0; i < LFS_SHA256_BYTES; i++)
		(void)buf_printf(&url, "%02x", wanted->sha256[i]);
	r = buf_error(&url);
	if (r == 0)
		r = download(c, buf_cstr(&url), NULL, wait, body);
	buf_fini(&url);
	return r;
}

static int download_from(struct lfs_client *c, const struct lfs_pointer *wanted,
	const struct lfs_action *action, const struct lfs_wait *wait, struct body *body)
{
	int r = download(c, action->href, action->headers, wait, body);

	/* nothing came from there: no connection was made */
	return r == -EHOSTUNREACH ? download_from_api(c, wanted, wait, body) : r;
}

static int find(struct lfs_client *c, const struct lfs_pointer *wanted, const struct lfs_wait *wait,
	struct lfs_action *ret_action)
{
	const struct lfs_batch one = {wanted, 1};
	struct http_answer answer = {0};
	int r = ask(c, LFS_DOWNLOAD, &one, wait, &answer);

	if (r == 0)
		r = lfs_json_answer(answer.body.data, answer.body.len, wanted, ret_action);
	http_answer_fini(&answer);
	return r;
}

int lfs_client_read(struct lfs_client *c, const struct lfs_pointer *wanted, struct blob_sink *sink,
	const struct cancel *cancel, uint64_t deadline_ns)
{
	const struct lfs_wait wait = {cancel, deadline_ns};
	struct lfs_action action = {0};
	struct body body = {.sink = sink};
	bool told = lfs_places_take(&c->places, wanted, clock_mono_ns(&clock_system), &action);
	int r = told ? 0 : find(c, wanted, &wait, &action);

	if (r < 0)
		return r;
	r = sink->begin(sink, wanted->size);
	if (r == 0)
		r = download_from(c, wanted, &action, &wait, &body);
	lfs_action_fini(&action);
	/* the place was told a while ago: perhaps it is another now */
	if (!told || body.came || (r != -EACCES && r != -ENOENT && r != -EIO))
		return r;
	r = find(c, wanted, &wait, &action);
	if (r == 0)
		r = download_from(c, wanted, &action, &wait, &body);
	lfs_action_fini(&action);
	return r;
}

static void remember(void *arg, const struct lfs_pointer *object, struct lfs_action *action)
{
	struct lfs_client *c = arg;

	lfs_places_put(&c->places, object, action, clock_mono_ns(&clock_system));
}

static int prepare(
	struct lfs_client *c, const struct lfs_batch *wanted, const struct lfs_wait *wait)
{
	struct http_answer answer = {0};
	int r = ask(c, LFS_DOWNLOAD, wanted, wait, &answer);

	if (r == 0)
		r = lfs_json_answers(answer.body.data, answer.body.len, wanted, remember, c);
	http_answer_fini(&answer);
	return r;
}

int lfs_client_prepare(struct lfs_client *c, const struct lfs_batch *wanted,
	const struct cancel *cancel, uint64_t deadline_ns)
{
	const struct lfs_wait wait = {cancel, deadline_ns};
	struct lfs_pointer some[LFS_BATCH_MAX];
	struct lfs_batch batch = {some, 0};
	int r = 0;

	for (unsigned i = 0; r == 0 && i < wanted->count; i++) {
		if (!lfs_places_has(&c->places, &wanted->objects[i], clock_mono_ns(&clock_system)))
			some[batch.count++] = wanted->objects[i];
		if (batch.count < LFS_BATCH_MAX && i + 1 < wanted->count)
			continue;
		if (batch.count > 1) /* a single one is asked for when it is read */
			r = prepare(c, &batch, &wait);
		batch.count = 0;
	}
	return r;
}

/* ---- the other way ---- */

static int send_file(struct lfs_client *c, const struct lfs_action *action, int fd, uint64_t size,
	const struct lfs_wait *wait)
{
	const struct http_request request = {
		.method = HTTP_PUT,
		.url = action->href,
		.headers = (const char *const *)action->headers,
		.body_fd = fd,
		.body_bytes = size,
		.max_bytes = ANSWER_MAX_BYTES,
		.deadline_ns = wait->deadline_ns,
	};
	struct http_answer answer = {0};
	int r = http_perform(c->http, &request, wait->cancel, &answer);

	http_answer_fini(&answer);
	return r == -ENOENT ? -EIO : r;
}

/* The server looks whether it has all of it. */
static int tell(struct lfs_client *c, const struct lfs_action *action,
	const struct lfs_pointer *object, const struct lfs_wait *wait)
{
	const char *headers[LFS_HEADERS_MAX + 2] = {"Content-Type: application/vnd.git-lfs+json"};
	struct http_answer answer = {0};
	struct buf body;
	int r;

	for (unsigned i = 0; i < LFS_HEADERS_MAX && action->headers[i]; i++)
		headers[i + 1] = action->headers[i];
	buf_init(&body, 4096);
	lfs_json_verify(&body, object);
	r = buf_error(&body);
	if (r == 0)
		r = post(c, action->href, headers, &body, wait, &answer);
	buf_fini(&body);
	http_answer_fini(&answer);
	return r == -ENOENT ? -EIO : r;
}

int lfs_client_write(struct lfs_client *c, const struct lfs_pointer *object, int fd,
	const struct cancel *cancel, uint64_t deadline_ns)
{
	const struct lfs_wait wait = {cancel, deadline_ns};
	struct lfs_action upload = {0}, verify = {0};
	struct http_answer answer = {0};
	const struct lfs_batch one = {object, 1};
	int r = ask(c, LFS_UPLOAD, &one, &wait, &answer);

	if (r == 0)
		r = lfs_json_upload_answer(
			answer.body.data, answer.body.len, object, &upload, &verify);
	http_answer_fini(&answer);
	if (r == 0 && upload.href)
		r = send_file(c, &upload, fd, object->size, &wait);
	if (r == 0 && upload.href && verify.href)
		r = tell(c, &verify, object, &wait);
	lfs_action_fini(&upload);
	lfs_action_fini(&verify);
	return r;
}
