/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mount messages ↔ domain structs. Decoding checks every limit that the comments of mount.proto
 * state, and names the field that breaks one; what it returns points into the message and the arena
 * and lives as long as both. Pure.
 */
#pragma once
#include <coppice/v1/mount.pb-c.h>
#include <stdbool.h>

#include "service/mounts.h"

struct arena;
struct err;

/* `tenant` and the defaults of origin and owner are the caller's business: tenant is left NULL,
 * origin may be "". */
int codec_create_request(const Coppice__V1__CreateMountRequest *in, struct arena *a,
	struct mount_request *ret_request, struct err *e);
/* A path or the like: bytes without a NUL, at most 4095. -ENOMEM is not told. */
int codec_bytes(const ProtobufCBinaryData *in, const char *field, struct arena *a,
	const char **ret_text, struct err *e);
/* NULL for none. */
int codec_change_source(const Coppice__V1__ChangeList *in, struct arena *a,
	const struct mount_change_source **ret_source, struct err *e);
/* What three requests share: exactly one of mount_id and job_id. `tenant` of the key is left NULL.
 */
int codec_mount_key(
	const char *mount_id, const char *job_id, struct mount_key *ret_key, struct err *e);
/* page_size is completed and checked; `tenant` is left NULL. */
int codec_list_request(const Coppice__V1__ListMountsRequest *in, struct arena *a,
	struct mount_filter *ret_filter, struct err *e);
/* Which fields, and their values, by update_mask. A quota field that is named and 0 stays 0: the
 * tenant's default. */
int codec_update_request(const Coppice__V1__UpdateMountRequest *in, struct arena *a,
	struct mount_update *ret_update, struct err *e);
int codec_lease(uint32_t lease_seconds, struct err *e);
/* "" is fine; otherwise an identifier of at most 63 bytes. */
int codec_tenant_name(const char *name, struct err *e);

/* Copies in the arena. NULL: no memory. */
Coppice__V1__Holder **codec_holders(
	const struct mount_holder *holders, unsigned count, struct arena *a);
Coppice__V1__Mount *codec_mount(const struct mount_info *info, struct arena *a);
Coppice__V1__MountEvent *codec_mount_event(const struct mount_event *event, struct arena *a);
Google__Protobuf__Timestamp *codec_timestamp(uint64_t wall_ns, struct arena *a);
/* A string for the wire: a copy, repaired to UTF-8. NULL: no memory. */
char *codec_text(const char *s, struct arena *a);
