/* SPDX-License-Identifier: Apache-2.0 */
/* A new mount that is to be handed out with its directories or contents local. */
#pragma once
#include <stdint.h>

struct cancel;
struct err;
struct mount_info;
struct mount_request;
struct mounts;

/* Calls that may wait so at once: they hold threads that make mounts. */
#define PREFETCH_WAITS_MAX 8

/* Blocks. An error leaves the mount as it is: the same request again goes on waiting. */
int prefetch_wait(struct mounts *m, const struct mount_info *info, const struct mount_request *rq,
	const struct cancel *cancel, uint64_t deadline_ns, struct err *e);
