/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a mount as a table of legal edges. */
#pragma once
#include <base/sm.h>

extern const struct sm_table mount_sm_table;
