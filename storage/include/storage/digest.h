/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of content. An oid is a Git object id: SHA-1 (20 bytes) or SHA-256 (32 bytes) over "<type>
 * <size>\0<bytes>". The streaming hash verifies content that arrives from outside the process.
 * digest.c is the only door to OpenSSL here.
 *
 * Content that has no Git id (Git LFS) is named by the SHA-256 of its bytes, changed by a constant:
 * so the name cannot be confused with a Git id of 32 bytes, and a blob of 32 bytes' name is what it
 * should be if either of the two is its name.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define OID_MIN_BYTES 20
#define OID_MAX_BYTES 32
#define OID_HEX_MAX   (2 * OID_MAX_BYTES + 1)

struct oid {
	uint8_t len; /* 20 or 32; 0 = none */
	uint8_t bytes[OID_MAX_BYTES];
};

enum digest_kind { DIGEST_SHA1, DIGEST_SHA256 };
enum object_kind { OBJECT_BLOB, OBJECT_TREE, OBJECT_COMMIT };

static inline bool oid_equal(const struct oid *a, const struct oid *b)
{
	return a->len == b->len && memcmp(a->bytes, b->bytes, a->len) == 0;
}

static inline bool oid_is_none(const struct oid *o)
{
	return o->len == 0;
}

static inline struct oid oid_from_bytes(const uint8_t *bytes, uint8_t len)
{
	struct oid o = {.len = len};

	memcpy(o.bytes, bytes, len);
	return o;
}

/* Leading bytes as a table key: content hashes are uniform already. */
static inline uint64_t oid_hash(const struct oid *o)
{
	uint64_t h;

	memcpy(&h, o->bytes, sizeof(h));
	return h;
}

/* 40 or 64 lower- or upper-case hex digits; -EINVAL otherwise. */
int oid_parse(const char *hex, struct oid *ret_oid);
/* Lower-case hex; `buf` of OID_HEX_MAX. Returns buf. */
const char *oid_hex(const struct oid *o, char *buf);

/* The name of content by the SHA-256 of its bytes, and back. */
struct oid oid_of_sha256(const uint8_t sha256[32]);
void oid_to_sha256(const struct oid *oid, uint8_t ret_sha256[32]);

/* Streaming hash of one Git object of known size, or of plain bytes (kind of plain = no header). */
struct digest;
int digest_new(struct digest **ret_digest, enum digest_kind kind);
int digest_new_object(
	struct digest **ret_digest, enum digest_kind kind, enum object_kind object, uint64_t size);
struct digest *digest_free(struct digest *d);
int digest_update(struct digest *d, const void *data, size_t len);
/* Writes 20 or 32 bytes and their count; the digest cannot be updated after. */
int digest_final(struct digest *d, uint8_t *ret_bytes, uint8_t *ret_len);
/* Which hash an oid's length stands for; -EINVAL if neither. */
int digest_kind_of(const struct oid *oid, enum digest_kind *ret_kind);
/* Finishes the digest: 0 if it is `oid`, -EBADMSG if not. */
int digest_matches(struct digest *d, const struct oid *oid);
/* 0 if `data` is the object named `oid`, -EBADMSG if not. */
int digest_verify(const struct oid *oid, enum object_kind object, const void *data, size_t len);
int digest_object(enum digest_kind kind, enum object_kind object, const void *data, size_t len,
	struct oid *ret_oid);
