/* SPDX-License-Identifier: Apache-2.0 */
/* What an origin is told of the other nodes of the farm; see storage/origin_peers.h. */
#pragma once
#include "storage_internal.h"

/* The origin of a lane is told of the others. Without Redis, or memory: nothing, then each node
 * downloads for itself. */
void peers_start(struct lane *lane);
/* Waits for what is being given; nothing may be asked of the origin any more. */
void peers_stop(struct lane *lane);
