/* SPDX-License-Identifier: Apache-2.0 */
/* The two ways to the same checksum, apart so that a test can compare them. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

uint32_t crc32c_table(uint32_t crc, const void *data, size_t len);
bool crc32c_has_hardware(void);
/* Only if crc32c_has_hardware. */
uint32_t crc32c_hardware(uint32_t crc, const void *data, size_t len);
