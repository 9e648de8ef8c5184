// SPDX-License-Identifier: Apache-2.0
/*
 * Packed directories in Redis: a signature of 32 bytes (zeros without a secret), then the record.
 * The signature is HMAC-SHA-256 over a fixed word, the tree's id and the record; it says that a
 * node of the farm wrote it, which is what makes the sizes in it believable (docs/adr/0010).
 * Threads: any.
 */
#include "base/clock.h"
#include "blob/blob_redis_codec.h"
#include "blob/blob_redis_internal.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>

#define SIGNATURE_BYTES 32u
#define TREE_WAIT_NS    NS_PER_S /* the client's own deadlines are shorter */

static int sign(const struct blob_redis *r, const struct oid *tree, const void *record, size_t len,
	uint8_t ret_signature[SIGNATURE_BYTES])
{
	static const char word[] = "coppice tree 1";
	uint8_t *text = malloc(sizeof(word) + 1 + tree->len + len);
	unsigned size = 0;
	size_t at = 0;

	if (!text)
		return -ENOMEM;
	memcpy(text, word, sizeof(word));
	at = sizeof(word);
	text[at++] = tree->len;
	memcpy(text + at, tree->bytes, tree->len);
	memcpy(text + at + tree->len, record, len);
	if (!HMAC(EVP_sha256(), r->secret, L3_SECRET_BYTES, text, at + tree->len + len,
		    ret_signature, &size))
		size = 0;
	free(text);
	return size == SIGNATURE_BYTES ? 0 : -EIO;
}

int blob_redis_load_tree(struct blob_redis *r, const struct oid *tree, void **ret_record,
	size_t *ret_len, bool *ret_proven)
{
	uint8_t signature[SIGNATURE_BYTES], *plain;
	void *value;
	size_t len;
	int err = l3_get(
		r, tree, L3_ITEM_TREE, clock_after(&clock_system, TREE_WAIT_NS), &value, &len);

	if (err < 0)
		return err;
	plain = value;
	if (len < SIGNATURE_BYTES) {
		free(plain);
		return -EAGAIN;
	}
	len -= SIGNATURE_BYTES;
	*ret_proven = r->has_secret &&
		      sign(r, tree, plain + SIGNATURE_BYTES, len, signature) == 0 &&
		      CRYPTO_memcmp(signature, plain, SIGNATURE_BYTES) == 0;
	memmove(plain, plain + SIGNATURE_BYTES, len);
	*ret_record = plain;
	*ret_len = len;
	return 0;
}

void blob_redis_count_tree(struct blob_redis *r, bool hit)
{
	counter_add(hit ? r->m.tree_hits : r->m.tree_misses, 1);
}

void blob_redis_offer_tree(
	struct blob_redis *r, const struct oid *tree, const void *record, size_t len)
{
	struct l3_item *item;

	if (len > L3_PLAIN_MAX - SIGNATURE_BYTES)
		return;
	item = l3_item_new(L3_ITEM_TREE, tree, NULL, SIGNATURE_BYTES + len);
	if (!item)
		return;
	memset(item->data, 0, SIGNATURE_BYTES);
	memcpy(item->data + SIGNATURE_BYTES, record, len);
	if (r->has_secret && sign(r, tree, record, len, item->data) < 0)
		free(item);
	else
		l3_behind(r, item);
}
