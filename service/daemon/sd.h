/* SPDX-License-Identifier: Apache-2.0 */
/* What the service manager is told. Both calls do nothing if there is none. */
#pragma once

void sd_tell_ready(void);
void sd_tell_stopping(void);
