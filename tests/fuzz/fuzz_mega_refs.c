// SPDX-License-Identifier: Apache-2.0
/* What a server advertises, its history, a pack and a report, as hostile bytes. */
#include <stdlib.h>
#include <string.h>

#include "origin/mega_internal.h"
#include "origin/mega_json.h"
#include "origin/mega_refs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int look(void *arg, const struct origin_ref *ref)
{
	size_t *sum = arg;

	*sum += strlen(ref->name) + ref->oid.len;
	return strlen(ref->name) < sizeof(ref->name) ? 0 : -1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct oid commit = {.len = 20};
	struct oid parent;
	struct mega_root root;
	char why[64];
	size_t sum = 0;
	struct buf b;

	if (mega_refs_each((const char *)data, size, look, &sum) == -1)
		abort();
	(void)mega_json_parent((const char *)data, size, &commit, &parent);
	buf_init(&b, size + 1);
	if (buf_append(&b, data, size) == 0)
		(void)mega_upload_parse(&b, &commit, &root);
	(void)mega_push_report(&b, why, sizeof(why));
	buf_fini(&b);
	return 0;
}
