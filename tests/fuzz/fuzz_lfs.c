// SPDX-License-Identifier: Apache-2.0
/*
 * Git LFS: pointers, which come from a repository, and answers of the batch API. A pointer that is
 * accepted must be the one that would be written for what it says; of an answer nothing may get
 * into a request but a URL and whole header lines.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "origin/http_url.h"
#include "origin/lfs_json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool ok)
{
	if (!ok)
		abort();
}

static void check_pointer(const char *text, size_t size)
{
	struct lfs_pointer p;
	struct buf again;

	if (!lfs_pointer_parse(text, size, &p))
		return;
	buf_init(&again, 4096);
	(void)buf_puts(&again, "version https://git-lfs.github.com/spec/v1\noid sha256:");
	for (unsigned i = 0; i < LFS_SHA256_BYTES; i++)
		(void)buf_printf(&again, "%02x", p.sha256[i]);
	(void)buf_printf(&again, "\nsize %" PRIu64 "\n", p.size);
	expect(again.len == size && memcmp(again.data, text, size) == 0);
	buf_fini(&again);
}

static void check_answer(const char *text, size_t size)
{
	struct lfs_pointer wanted = {.size = 7};
	struct lfs_action a;
	struct http_url url;

	memset(wanted.sha256, 0xaa, sizeof(wanted.sha256));
	if (lfs_json_answer(text, size, &wanted, &a) < 0)
		return;
	expect(http_url_split(a.href, &url) == 0);
	for (unsigned i = 0; a.headers[i]; i++)
		expect(strchr(a.headers[i], ':') && !strpbrk(a.headers[i], "\r\n"));
	lfs_action_fini(&a);
}

static void check_place(void *arg, const struct lfs_pointer *object, struct lfs_action *a)
{
	struct http_url url;

	expect(object == arg);
	expect(http_url_split(a->href, &url) == 0);
}

static void check_answers(const char *text, size_t size)
{
	struct lfs_pointer wanted = {.size = 7};
	const struct lfs_batch batch = {&wanted, 1};

	memset(wanted.sha256, 0xaa, sizeof(wanted.sha256));
	(void)lfs_json_answers(text, size, &batch, check_place, &wanted);
}

static void check_upload(const char *text, size_t size)
{
	struct lfs_pointer object = {.size = 7};
	struct lfs_action upload, verify;
	struct http_url url;

	memset(object.sha256, 0xaa, sizeof(object.sha256));
	if (lfs_json_upload_answer(text, size, &object, &upload, &verify) < 0)
		return;
	expect(!upload.href || http_url_split(upload.href, &url) == 0);
	expect(!verify.href || http_url_split(verify.href, &url) == 0);
	lfs_action_fini(&upload);
	lfs_action_fini(&verify);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size ? size : 1); /* exact, so that one byte too far is seen */

	if (!text)
		return 0;
	if (size)
		memcpy(text, data, size);
	check_pointer(text, size);
	check_answer(text, size);
	check_answers(text, size);
	check_upload(text, size);
	free(text);
	return 0;
}
