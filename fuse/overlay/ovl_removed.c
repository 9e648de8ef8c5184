/* SPDX-License-Identifier: Apache-2.0 */
/* See ovl_removed.h. The bytes are pure; any thread. */
#include "overlay/ovl_removed.h"

#include "overlay/ovl_change.h"

#include <endian.h>
#include <string.h>

#define SMALL 6 /* u32 */
#define LARGE 5 /* u64 */
_Static_assert(OVL_REMOVED_BYTES == SMALL * sizeof(uint32_t) + LARGE * sizeof(uint64_t),
	"the bytes of a removed directory");

#define NSEC_MAX 999999999u

void ovl_removed_encode(const struct stat *attr, uint8_t ret_bytes[OVL_REMOVED_BYTES])
{
	uint32_t small[SMALL] = {attr->st_mode, attr->st_uid, attr->st_gid,
		(uint32_t)attr->st_atim.tv_nsec, (uint32_t)attr->st_mtim.tv_nsec,
		(uint32_t)attr->st_ctim.tv_nsec};
	uint64_t large[LARGE] = {(uint64_t)attr->st_atim.tv_sec, (uint64_t)attr->st_mtim.tv_sec,
		(uint64_t)attr->st_ctim.tv_sec, (uint64_t)attr->st_size, (uint64_t)attr->st_blocks};

	for (int i = 0; i < SMALL; i++)
		small[i] = htole32(small[i]);
	for (int i = 0; i < LARGE; i++)
		large[i] = htole64(large[i]);
	memcpy(ret_bytes, small, sizeof(small));
	memcpy(ret_bytes + sizeof(small), large, sizeof(large));
}

bool ovl_removed_decode(const void *bytes, size_t len, struct stat *ret_attr)
{
	uint32_t small[SMALL];
	uint64_t large[LARGE];

	if (len != OVL_REMOVED_BYTES)
		return false;
	memcpy(small, bytes, sizeof(small));
	memcpy(large, (const uint8_t *)bytes + sizeof(small), sizeof(large));
	for (int i = 0; i < SMALL; i++)
		small[i] = le32toh(small[i]);
	for (int i = 0; i < LARGE; i++)
		large[i] = le64toh(large[i]);
	if (!S_ISDIR(small[0]) || small[3] > NSEC_MAX || small[4] > NSEC_MAX || small[5] > NSEC_MAX)
		return false;
	*ret_attr = (struct stat){
		.st_mode = small[0],
		.st_uid = small[1],
		.st_gid = small[2],
		.st_atim = {.tv_sec = (time_t)large[0], .tv_nsec = (long)small[3]},
		.st_mtim = {.tv_sec = (time_t)large[1], .tv_nsec = (long)small[4]},
		.st_ctim = {.tv_sec = (time_t)large[2], .tv_nsec = (long)small[5]},
		.st_size = (off_t)large[3],
		.st_blksize = 4096,
		.st_blocks = (blkcnt_t)large[4],
	};
	return true;
}

int ovl_removed_announce_locked(struct ovl_node *dir)
{
	struct stat attr = dir->attr;

	lock_assert_held(&dir->lock);
	ovl_ctime_moves(&attr); /* as it will when the name is gone */
	return ovl_journal_removed(dir, &attr);
}
