/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of content: text form, streaming hash, verification. The only door to OpenSSL of the
 * storage floor.
 *
 * Every digest object fetches its own EVP_MD and keeps it: nothing is initialised lazily in this
 * file, nothing is shared, so a digest belongs to one thread at a time and different digests to any
 * threads. OpenSSL reports failures without an errno; the only causes that remain here are no
 * memory and a provider that lacks the algorithm, so they become -ENOMEM and -EIO.
 */
#include "storage/digest.h"

#include "base/cleanup.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

struct digest {
	EVP_MD *md;
	EVP_MD_CTX *ctx;
	struct digest *plain; /* of a blob with a name of 32 bytes: of its bytes alone */
	uint8_t len;
	bool done;
};

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int oid_parse(const char *hex, struct oid *ret_oid)
{
	size_t digits = strnlen(hex, OID_HEX_MAX);
	struct oid o = {0};

	if (digits != 40 && digits != 64)
		return -EINVAL;
	for (size_t i = 0; i < digits; i += 2) {
		int high = hex_value(hex[i]), low = hex_value(hex[i + 1]);

		if (high < 0 || low < 0)
			return -EINVAL;
		o.bytes[i / 2] = (uint8_t)(high << 4 | low);
	}
	o.len = (uint8_t)(digits / 2);
	*ret_oid = o;
	return 0;
}

const char *oid_hex(const struct oid *o, char *buf)
{
	static const char digits[] = "0123456789abcdef";
	size_t len = o->len <= OID_MAX_BYTES ? o->len : OID_MAX_BYTES;

	for (size_t i = 0; i < len; i++) {
		buf[2 * i] = digits[o->bytes[i] >> 4];
		buf[2 * i + 1] = digits[o->bytes[i] & 15];
	}
	buf[2 * len] = '\0';
	return buf;
}

/* "coppice: content by its SHA-256": any constant would do, as long as it stays. */
static const uint8_t content_mask[] = {0x63, 0x6f, 0x70, 0x70, 0x69, 0x63, 0x65, 0x3a, 0x20, 0x63,
	0x6f, 0x6e, 0x74, 0x65, 0x6e, 0x74, 0x20, 0x62, 0x79, 0x20, 0x69, 0x74, 0x73, 0x20, 0x53,
	0x48, 0x41, 0x2d, 0x32, 0x35, 0x36, 0x2e};

struct oid oid_of_sha256(const uint8_t sha256[32])
{
	struct oid o = {.len = 32};

	for (unsigned i = 0; i < sizeof(content_mask); i++)
		o.bytes[i] = sha256[i] ^ content_mask[i];
	return o;
}

void oid_to_sha256(const struct oid *oid, uint8_t ret_sha256[32])
{
	for (unsigned i = 0; i < sizeof(content_mask); i++)
		ret_sha256[i] = oid->bytes[i] ^ content_mask[i];
}

static void digest_cleanup(struct digest **d)
{
	*d = digest_free(*d);
}

int digest_new(struct digest **ret_digest, enum digest_kind kind)
{
	__attribute__((cleanup(digest_cleanup))) struct digest *d = calloc(1, sizeof(*d));

	if (!d)
		return -ENOMEM;
	d->len = kind == DIGEST_SHA256 ? 32 : 20;
	d->ctx = EVP_MD_CTX_new();
	if (!d->ctx)
		return -ENOMEM;
	d->md = EVP_MD_fetch(NULL, kind == DIGEST_SHA256 ? "SHA256" : "SHA1", NULL);
	if (!d->md || EVP_DigestInit_ex2(d->ctx, d->md, NULL) != 1)
		return -EIO;
	*ret_digest = TAKE_PTR(d);
	return 0;
}

static const char *object_word(enum object_kind object)
{
	switch (object) {
	case OBJECT_TREE:
		return "tree";
	case OBJECT_COMMIT:
		return "commit";
	case OBJECT_BLOB:
		break;
	}
	return "blob";
}

int digest_new_object(
	struct digest **ret_digest, enum digest_kind kind, enum object_kind object, uint64_t size)
{
	__attribute__((cleanup(digest_cleanup))) struct digest *d = NULL;
	char header[32];
	int r;

	r = digest_new(&d, kind);
	if (r < 0)
		return r;
	r = snprintf(header, sizeof(header), "%s %" PRIu64, object_word(object), size);
	r = digest_update(d, header, (size_t)r + 1); /* the NUL belongs to the header */
	if (r == 0 && kind == DIGEST_SHA256 && object == OBJECT_BLOB)
		r = digest_new(&d->plain, DIGEST_SHA256);
	if (r < 0)
		return r;
	*ret_digest = TAKE_PTR(d);
	return 0;
}

struct digest *digest_free(struct digest *d)
{
	if (d) {
		(void)digest_free(d->plain);
		EVP_MD_CTX_free(d->ctx);
		EVP_MD_free(d->md);
		free(d);
	}
	return NULL;
}

int digest_update(struct digest *d, const void *data, size_t len)
{
	if (d->done)
		return -EINVAL;
	if (len == 0)
		return 0;
	if (d->plain && EVP_DigestUpdate(d->plain->ctx, data, len) != 1)
		return -EIO;
	return EVP_DigestUpdate(d->ctx, data, len) == 1 ? 0 : -EIO;
}

int digest_final(struct digest *d, uint8_t *ret_bytes, uint8_t *ret_len)
{
	uint8_t bytes[EVP_MAX_MD_SIZE];

	if (d->done)
		return -EINVAL;
	if (EVP_DigestFinal_ex(d->ctx, bytes, NULL) != 1)
		return -EIO;
	d->done = true;
	memcpy(ret_bytes, bytes, d->len);
	*ret_len = d->len;
	return 0;
}

int digest_kind_of(const struct oid *oid, enum digest_kind *ret_kind)
{
	if (oid->len != 20 && oid->len != 32)
		return -EINVAL;
	*ret_kind = oid->len == 32 ? DIGEST_SHA256 : DIGEST_SHA1;
	return 0;
}

int digest_matches(struct digest *d, const struct oid *oid)
{
	struct oid is = {0};
	int r;

	r = digest_final(d, is.bytes, &is.len);
	if (r < 0)
		return r;
	if (oid_equal(&is, oid))
		return 0;
	if (!d->plain)
		return -EBADMSG;
	r = digest_final(d->plain, is.bytes, &is.len);
	if (r < 0)
		return r;
	is = oid_of_sha256(is.bytes);
	return oid_equal(&is, oid) ? 0 : -EBADMSG;
}

int digest_verify(const struct oid *oid, enum object_kind object, const void *data, size_t len)
{
	__attribute__((cleanup(digest_cleanup))) struct digest *d = NULL;
	enum digest_kind kind;
	int r;

	r = digest_kind_of(oid, &kind);
	if (r == 0)
		r = digest_new_object(&d, kind, object, len);
	if (r == 0)
		r = digest_update(d, data, len);
	return r == 0 ? digest_matches(d, oid) : r;
}

int digest_object(enum digest_kind kind, enum object_kind object, const void *data, size_t len,
	struct oid *ret_oid)
{
	__attribute__((cleanup(digest_cleanup))) struct digest *d = NULL;
	struct oid is = {0};
	int r;

	r = digest_new_object(&d, kind, object, len);
	if (r < 0)
		return r;
	r = digest_update(d, data, len);
	if (r < 0)
		return r;
	r = digest_final(d, is.bytes, &is.len);
	if (r < 0)
		return r;
	*ret_oid = is;
	return 0;
}
