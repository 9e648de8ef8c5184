/* SPDX-License-Identifier: Apache-2.0 */
/* The walks over all calls: once a second for what nobody else ends, and once when the server
 * stops. */
#pragma once
#include <stdint.h>

struct api_server;

/* Calls whose request never comes, streams past their deadline, statuses that a peer does not
 * fetch. */
void sweep_calls(struct api_server *s, uint64_t now_ns);
/* End every stream and conversation with UNAVAILABLE, reason DRAINING. New ones are refused
 * already. */
void sweep_end_streams(struct api_server *s);
