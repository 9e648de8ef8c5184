/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The packed directory. All numbers are little-endian; nothing is aligned (LMDB aligns values to
 * 2 bytes only).
 *
 *	offset  0  u32  magic "CTRE"
 *	        4  u16  version
 *	        6  u8   oid_len: 20 or 32
 *	        7  u8   flags: bit 0 = every size is known
 *	        8  u32  count of entries
 *	       12  u32  count of directories, submodules included
 *	       16  u32  offset of the names = 32 + count * (16 + oid_len)
 *	       20  u32  length of the record
 *	       24  u32  CRC-32C of the record, with this field as 0
 *	       28  u32  0
 *	       32  entries, sorted by name (bytes, then length):
 *	            0  u64  size
 *	            8  u32  offset of the name in the names
 *	           12  u8   name length
 *	           13  u8   class (enum tree_class) | bit 7: size known
 *	           14  u16  first two bytes of the name, big-endian: they end most probes
 *	           16       oid (zeros for a submodule)
 *	        ...  names, back to back, without terminators
 *
 * tree_codec_open checks the header against the length in O(1). What an entry says is checked when
 * it is read: a lying one reads as an empty name, never out of bounds. tree_codec_check reads all
 * of it, checksum included.
 */
#pragma once
#include "storage/tree.h"

#define TREE_MAGIC        0x45525443u
#define TREE_VERSION      1u
#define TREE_HEADER_BYTES 32u
#define TREE_RECORD_MAX   (256u << 20)

enum tree_class {
	TREE_FILE,
	TREE_EXECUTABLE,
	TREE_SYMLINK,
	TREE_DIRECTORY,
	TREE_SUBMODULE,
	TREE_CLASS_COUNT,
};

/* O(1). -EBADMSG if the record cannot be what it says. `ret_view->txn` is NULL. */
int tree_codec_open(const void *record, size_t len, struct tree_view *ret_view);
/* O(n). -EBADMSG unless the record is one that tree_builder_finish could have made. */
int tree_codec_check(const void *record, size_t len);
/* The class of a mode from an origin; -EBADMSG for anything that is not a file, link or directory.
 */
int tree_codec_class(uint32_t mode, bool has_oid);
bool tree_codec_name_ok(const char *name, size_t len);
uint32_t tree_codec_crc(const void *record, size_t len);
int tree_codec_compare(const char *a, size_t a_len, const char *b, size_t b_len);

static inline size_t tree_codec_entry_bytes(uint8_t oid_len)
{
	return 16u + oid_len;
}

static inline uint16_t tree_codec_prefix(const char *name, size_t len)
{
	const uint8_t *n = (const uint8_t *)name;

	return (uint16_t)((len > 0 ? n[0] : 0) << 8 | (len > 1 ? n[1] : 0));
}
