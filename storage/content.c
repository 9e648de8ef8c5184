/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One pass over some content, for all its names at once. Any thread; no state.
 */
#include "storage/content.h"

#include "base/cleanup.h"

#include <errno.h>
#include <stdlib.h>

#define PIECE_BYTES (256u << 10)

enum { NAME_OID, NAME_SHA256, NAME_SHA1, NAME_COUNT };

struct pass {
	struct digest *digest[NAME_COUNT];
};

static void pass_fini(struct pass *p)
{
	for (unsigned i = 0; i < NAME_COUNT; i++)
		p->digest[i] = digest_free(p->digest[i]);
}

static int pass_init(struct pass *p, enum digest_kind oid_kind, uint64_t size)
{
	int r = digest_new_object(&p->digest[NAME_OID], oid_kind, OBJECT_BLOB, size);

	if (r == 0)
		r = digest_new(&p->digest[NAME_SHA256], DIGEST_SHA256);
	if (r == 0)
		r = digest_new(&p->digest[NAME_SHA1], DIGEST_SHA1);
	return r;
}

static int pass_update(struct pass *p, const void *data, size_t len)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < NAME_COUNT; i++)
		r = digest_update(p->digest[i], data, len);
	return r;
}

static int pass_finish(struct pass *p, struct content_digests *ret_digests)
{
	struct content_digests d = {0};
	uint8_t len;
	int r = digest_final(p->digest[NAME_OID], d.oid.bytes, &d.oid.len);

	if (r == 0)
		r = digest_final(p->digest[NAME_SHA256], d.sha256, &len);
	if (r == 0)
		r = digest_final(p->digest[NAME_SHA1], d.sha1, &len);
	if (r == 0)
		*ret_digests = d;
	return r;
}

/* Beyond `size` it reads one byte more, to see the end. */
static int feed(struct pass *p, uint64_t size, content_read read, void *arg)
{
	_cleanup_free_ char *buf = malloc(PIECE_BYTES);
	uint64_t done = 0;

	if (!buf)
		return -ENOMEM;
	for (;;) {
		uint64_t left = size - done;
		size_t want = left < PIECE_BYTES ? (size_t)left : PIECE_BYTES;
		ssize_t n = read(arg, buf, want ? want : 1, done);
		int r;

		if (n < 0)
			return (int)n;
		if (want == 0 || n == 0)
			return want == 0 && n == 0 ? 0 : -EBADMSG;
		r = pass_update(p, buf, (size_t)n);
		if (r < 0)
			return r;
		done += (size_t)n;
	}
}

int content_digest(enum digest_kind oid_kind, uint64_t size, content_read read, void *arg,
	struct content_digests *ret_digests)
{
	__attribute__((cleanup(pass_fini))) struct pass p = {0};
	int r = pass_init(&p, oid_kind, size);

	if (r == 0)
		r = feed(&p, size, read, arg);
	return r == 0 ? pass_finish(&p, ret_digests) : r;
}
