// SPDX-License-Identifier: Apache-2.0
/*
 * Reads packed directories in place. The bytes come from disk and are not trusted: every offset is
 * checked before it is followed. Pure functions over memory; any thread.
 */
#include "tree/tree_codec.h"

#include "base/crc32c.h"
#include "base/le.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#define FLAG_SIZES_KNOWN 0x01u
#define ENTRY_SIZE_KNOWN 0x80u
#define ENTRY_CLASS_MASK 0x7fu
#define CRC_OFFSET       24u

int tree_codec_open(const void *record, size_t len, struct tree_view *ret_view)
{
	const uint8_t *p = record;
	struct tree_view v = {.record = p, .len = len};

	if (len < TREE_HEADER_BYTES || len > TREE_RECORD_MAX)
		return -EBADMSG;
	if (le_get32(p) != TREE_MAGIC || le_get16(p + 4) != TREE_VERSION ||
		(p[7] & ~FLAG_SIZES_KNOWN))
		return -EBADMSG;
	v.oid_len = p[6];
	v.sizes_known = p[7] & FLAG_SIZES_KNOWN;
	v.count = le_get32(p + 8);
	v.subdirs = le_get32(p + 12);
	if ((v.oid_len != 20 && v.oid_len != 32) || v.subdirs > v.count || le_get32(p + 20) != len)
		return -EBADMSG;
	/* 64-bit: a count of 2^32 entries of 48 bytes does not overflow. */
	if (TREE_HEADER_BYTES + (uint64_t)v.count * tree_codec_entry_bytes(v.oid_len) !=
			le_get32(p + 16) ||
		le_get32(p + 16) > len)
		return -EBADMSG;
	*ret_view = v;
	return 0;
}

static const uint8_t *entry_at(const struct tree_view *view, uint32_t idx)
{
	return view->record + TREE_HEADER_BYTES +
	       (size_t)idx * tree_codec_entry_bytes(view->oid_len);
}

/* The entry's name; empty if it points outside the names. */
static const char *name_of(const struct tree_view *view, const uint8_t *entry, size_t *ret_len)
{
	uint32_t names = le_get32(view->record + 16), offset = le_get32(entry + 8);
	size_t len = entry[12], room;

	if (names > view->len)
		names = (uint32_t)view->len;
	room = view->len - names;
	if (offset > room || len > room - offset) {
		offset = 0;
		len = 0;
	}
	*ret_len = len;
	return (const char *)view->record + names + offset;
}

void tree_view_entry(const struct tree_view *view, uint32_t idx, struct tree_entry *ret_entry)
{
	static const uint32_t modes[TREE_CLASS_COUNT] = {
		[TREE_FILE] = S_IFREG | 0644,
		[TREE_EXECUTABLE] = S_IFREG | 0755,
		[TREE_SYMLINK] = S_IFLNK | 0777,
		[TREE_DIRECTORY] = S_IFDIR | 0755,
		[TREE_SUBMODULE] = S_IFDIR | 0755,
	};
	const uint8_t *p;
	unsigned class;
	size_t name_len;

	assert(idx < view->count);
	p = entry_at(view, idx);
	class = p[13] & ENTRY_CLASS_MASK;
	if (class >= TREE_CLASS_COUNT)
		class = TREE_FILE;
	*ret_entry = (struct tree_entry){
		.name = name_of(view, p, &name_len),
		.mode = modes[class],
		.size_known = p[13] & ENTRY_SIZE_KNOWN,
		.size = le_get64(p),
		.oid = class == TREE_SUBMODULE ? NULL : p + 16,
	};
	ret_entry->name_len = (uint16_t)name_len;
}

int tree_codec_compare(const char *a, size_t a_len, const char *b, size_t b_len)
{
	size_t common = a_len < b_len ? a_len : b_len;
	int order = common ? memcmp(a, b, common) : 0;

	if (order == 0 && a_len != b_len)
		order = a_len < b_len ? -1 : 1;
	return order;
}

bool tree_view_find(
	const struct tree_view *view, const char *name, size_t name_len, uint32_t *ret_idx)
{
	uint32_t low = 0, high = view->count;
	uint16_t prefix = tree_codec_prefix(name, name_len);

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		const uint8_t *p = entry_at(view, middle);
		uint16_t here = le_get16(p + 14);
		int order = prefix < here ? -1 : prefix > here;

		if (order == 0) {
			size_t len;
			const char *other = name_of(view, p, &len);

			order = tree_codec_compare(name, name_len, other, len);
		}
		if (order == 0) {
			*ret_idx = middle;
			return true;
		}
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return false;
}

int tree_codec_class(uint32_t mode, bool has_oid)
{
	/* Only the owner's x bit means something in Git; 0100664 of old repositories is a plain
	 * file. */
	if (S_ISREG(mode) && has_oid)
		return mode & S_IXUSR ? TREE_EXECUTABLE : TREE_FILE;
	if (S_ISLNK(mode) && has_oid)
		return TREE_SYMLINK;
	if (S_ISDIR(mode))
		return has_oid ? TREE_DIRECTORY : TREE_SUBMODULE;
	return -EBADMSG;
}

bool tree_codec_name_ok(const char *name, size_t len)
{
	if (len == 0 || len > 255 || memchr(name, '/', len) || memchr(name, '\0', len))
		return false;
	return !(name[0] == '.' && (len == 1 || (len == 2 && name[1] == '.')));
}

uint32_t tree_codec_crc(const void *record, size_t len)
{
	static const uint8_t zero[4];
	const uint8_t *p = record;
	uint32_t crc = crc32c(0, p, CRC_OFFSET);

	crc = crc32c(crc, zero, sizeof(zero));
	return crc32c(crc, p + CRC_OFFSET + 4, len - CRC_OFFSET - 4);
}

static int check_entry(const struct tree_view *v, uint32_t idx, const struct tree_entry *last)
{
	const uint8_t *p = entry_at(v, idx);
	struct tree_entry entry;

	tree_view_entry(v, idx, &entry);
	if (!tree_codec_name_ok(entry.name, entry.name_len) ||
		(p[13] & ENTRY_CLASS_MASK) >= TREE_CLASS_COUNT)
		return -EBADMSG;
	if (le_get16(p + 14) != tree_codec_prefix(entry.name, entry.name_len))
		return -EBADMSG;
	if (!entry.size_known && v->sizes_known)
		return -EBADMSG;
	if (last && tree_codec_compare(last->name, last->name_len, entry.name, entry.name_len) >= 0)
		return -EBADMSG;
	return 0;
}

int tree_codec_check(const void *record, size_t len)
{
	struct tree_entry last = {0};
	struct tree_view v;
	uint32_t subdirs = 0;
	int r = tree_codec_open(record, len, &v);

	if (r < 0)
		return r;
	if (le_get32(v.record + CRC_OFFSET) != tree_codec_crc(record, len))
		return -EBADMSG;
	for (uint32_t i = 0; i < v.count; i++) {
		r = check_entry(&v, i, i ? &last : NULL);
		if (r < 0)
			return r;
		tree_view_entry(&v, i, &last);
		subdirs += S_ISDIR(last.mode) ? 1 : 0;
	}
	return subdirs == v.subdirs ? 0 : -EBADMSG;
}

int tree_view_over(const void *record, size_t len, struct tree_view *ret_view)
{
	int r = tree_codec_check(record, len);

	return r < 0 ? r : tree_codec_open(record, len, ret_view);
}
