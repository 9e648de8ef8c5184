// SPDX-License-Identifier: Apache-2.0
/*
 * Requests as hostile bytes. The first byte chooses the message. What the pre-scan lets through is
 * unpacked as a call does it and decoded by its codec: none of this may crash, and every text that
 * comes out of it must be what a check can rely on (UTF-8, no NUL inside).
 */
#include <coppice/v1/mount.pb-c.h>
#include <google/protobuf/descriptor.pb-c.h>
#include <grpc/reflection/v1/reflection.pb-c.h>
#include <stdlib.h>
#include <string.h>

#include "arena.h"
#include "base/err.h"
#include "codec_mount.h"
#include "prescan.h"
#include "utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool condition)
{
	if (!condition)
		abort();
}

static void decode_create(const ProtobufCMessage *message, struct arena *a)
{
	const Coppice__V1__CreateMountRequest *in = (const void *)message;
	struct mount_request rq;
	struct err e = {0};

	must(utf8_ok(in->job_id, strlen(in->job_id)) && utf8_ok(in->path, strlen(in->path)));
	if (codec_create_request(in, a, &rq, &e) < 0)
		return;
	must(rq.label_count <= MOUNT_LABELS_MAX && rq.path[0] != '/' && !strstr(rq.path, "//"));
	must(!rq.mountpoint[0] || rq.mountpoint[0] == '/');
	for (unsigned i = 0; i < rq.label_count; i++)
		must(rq.labels[i].key[0] &&
			memchr(rq.labels[i].value, 0, sizeof(rq.labels[i].value)));
}

static void decode_list(const ProtobufCMessage *message, struct arena *a)
{
	struct mount_filter filter;
	struct err e = {0};

	if (codec_list_request((const void *)message, a, &filter, &e) == 0)
		must(filter.page_size >= 1 && filter.page_size <= 1000 &&
			strlen(filter.page_token) < 64);
}

static void decode_update(const ProtobufCMessage *message, struct arena *a)
{
	struct mount_update update;
	struct err e = {0};

	if (codec_update_request((const void *)message, a, &update, &e) == 0)
		must(update.fields != 0);
}

static void decode_get(const ProtobufCMessage *message, struct arena *a)
{
	const Coppice__V1__GetMountRequest *in = (const void *)message;
	struct mount_key key;
	struct err e = {0};

	(void)a;
	if (codec_mount_key(in->mount_id, in->job_id, &key, &e) == 0)
		must(!key.mount_id != !key.job_id);
}

static void decode_nothing(const ProtobufCMessage *message, struct arena *a)
{
	(void)a;
	/* what was taken apart can be put together */
	must(protobuf_c_message_get_packed_size(message) < (size_t)1 << 30);
}

static const struct {
	const ProtobufCMessageDescriptor *type;
	void (*decode)(const ProtobufCMessage *message, struct arena *a);
} targets[] = {
	{&coppice__v1__create_mount_request__descriptor, decode_create},
	{&coppice__v1__list_mounts_request__descriptor, decode_list},
	{&coppice__v1__update_mount_request__descriptor, decode_update},
	{&coppice__v1__get_mount_request__descriptor, decode_get},
	{&grpc__reflection__v1__server_reflection_request__descriptor, decode_nothing},
	/* every kind of field, and it nests itself */
	{&google__protobuf__file_descriptor_proto__descriptor, decode_nothing},
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena a;
	const ProtobufCMessage *message;
	unsigned target;

	if (!size)
		return 0;
	target = data[0] % (sizeof(targets) / sizeof(targets[0]));
	if (prescan(targets[target].type, data + 1, size - 1, &prescan_default, NULL) < 0)
		return 0;
	arena_init(&a, ARENA_MAX_BYTES);
	message = protobuf_c_message_unpack(targets[target].type, &a.allocator, size - 1, data + 1);
	if (message)
		targets[target].decode(message, &a);
	arena_fini(&a);
	return 0;
}
