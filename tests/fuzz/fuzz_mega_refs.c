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

static int count_parents(void *arg, const struct oid *one, const struct oid *parents, size_t count)
{
	size_t *sum = arg;

	*sum += one->len + (count ? parents[count - 1].len : 0);
	return count > 64 ? -1 : 0;
}

static int look_at_file(void *arg, const struct origin_change_file *file)
{
	size_t *sum = arg;

	*sum += strlen(file->path) + (file->old_path ? strlen(file->old_path) : 0);
	return (file->action == ORIGIN_FILE_RENAMED) == (file->old_path != NULL) ? 0 : -1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct oid commit = {.len = 20};
	struct mega_root root;
	char why[64];
	size_t sum = 0;
	struct buf b;

	if (mega_refs_each((const char *)data, size, look, &sum) == -1)
		abort();
	if (mega_json_history((const char *)data, size, count_parents, &sum) == -1)
		abort();
	if (mega_json_files((const char *)data, size, look_at_file, &sum) == -1)
		abort();
	buf_init(&b, size + 1);
	if (buf_append(&b, data, size) == 0)
		(void)mega_upload_parse(&b, &commit, &root);
	(void)mega_push_report(&b, why, sizeof(why));
	buf_fini(&b);
	return 0;
}
