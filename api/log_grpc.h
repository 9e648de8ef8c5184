/* SPDX-License-Identifier: Apache-2.0 */
/* grpc's own messages become lines of our log, at warn or debug. Called once, before grpc_init. */
#pragma once

void log_redirect_grpc(void);
