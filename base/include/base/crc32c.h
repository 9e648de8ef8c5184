/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CRC-32C (Castagnoli), as in iSCSI, ext4 and SCTP: detects torn and rotten records in journals and
 * segments. Uses the processor's instruction where there is one. Pure; any thread.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

/* Checksum of `len` bytes after what `crc` already covers; 0 to start. crc32c(crc32c(0, a), b) is
 * that of a and b in a row. */
uint32_t crc32c(uint32_t crc, const void *data, size_t len);
