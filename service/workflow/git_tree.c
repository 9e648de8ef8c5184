/* SPDX-License-Identifier: Apache-2.0 */
/* See git_tree.h. What is parsed may come from anywhere: lengths, modes and names are checked. */
#include "workflow/git_tree.h"

#include <base/buf.h>
#include <base/path.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define RAW_OID 20u

void wf_dir_fini(struct wf_dir *dir)
{
	free(dir->entries);
	free(dir->memory);
	*dir = (struct wf_dir){0};
}

static uint32_t canonical_mode(uint32_t mode)
{
	switch (mode & 0170000) {
	case 0040000:
		return WF_MODE_DIR;
	case 0100000:
		return mode & 0100 ? WF_MODE_EXEC : WF_MODE_FILE;
	case 0120000:
		return WF_MODE_LINK;
	case 0160000:
		return WF_MODE_GITLINK;
	default:
		return 0;
	}
}

/* Octal digits up to a blank. */
static const char *parse_mode(const char *at, const char *end, uint32_t *ret_mode)
{
	uint32_t mode = 0;
	const char *start = at;

	for (; at < end && *at >= '0' && *at <= '7'; at++)
		mode = mode << 3 | (uint32_t)(*at - '0');
	if (at == end || *at != ' ' || at == start || at - start > 7)
		return NULL;
	*ret_mode = canonical_mode(mode);
	return *ret_mode ? at + 1 : NULL;
}

static const char *parse_entry(const char *at, const char *end, struct wf_dirent *ret_entry)
{
	struct wf_dirent entry = {0};
	const char *nul;

	at = parse_mode(at, end, &entry.node.mode);
	nul = at ? memchr(at, '\0', (size_t)(end - at)) : NULL;
	if (!nul || (size_t)(end - nul) < 1 + RAW_OID)
		return NULL;
	entry.name = at;
	entry.len = (size_t)(nul - at);
	if (!path_name_ok(entry.name, entry.len))
		return NULL;
	entry.node.oid = oid_from_bytes((const uint8_t *)nul + 1, RAW_OID);
	*ret_entry = entry;
	return nul + 1 + RAW_OID;
}

static int by_name(const void *a, const void *b)
{
	const struct wf_dirent *x = a, *y = b;

	return wf_git_order(x->name, x->len, false, y->name, y->len, false);
}

void wf_dir_sort(struct wf_dir *dir)
{
	if (dir->count)
		qsort(dir->entries, dir->count, sizeof(*dir->entries), by_name);
}

const struct wf_dirent *wf_dir_find(const struct wf_dir *dir, const char *name, size_t len)
{
	size_t low = 0, high = dir->count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		const struct wf_dirent *d = &dir->entries[mid];
		int order = wf_git_order(d->name, d->len, false, name, len, false);

		if (order == 0)
			return d;
		if (order < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}

static bool has_twins(const struct wf_dir *dir)
{
	for (size_t i = 1; i < dir->count; i++)
		if (by_name(&dir->entries[i - 1], &dir->entries[i]) == 0)
			return true;
	return false;
}

int wf_dir_parse(void *data, size_t len, struct wf_dir *ret_dir)
{
	struct wf_dir dir = {.memory = data};
	const char *at = data, *end = (const char *)data + len;
	size_t cap = len / (RAW_OID + 8) + 1; /* an entry is not shorter */

	dir.entries = calloc(cap, sizeof(*dir.entries));
	if (!dir.entries) {
		wf_dir_fini(&dir);
		return -ENOMEM;
	}
	while (at && at < end && dir.count < cap)
		at = parse_entry(at, end, &dir.entries[dir.count++]);
	wf_dir_sort(&dir);
	if (!at || at != end || has_twins(&dir)) {
		wf_dir_fini(&dir);
		return -EBADMSG;
	}
	*ret_dir = dir;
	return 0;
}

int wf_git_order(const char *a, size_t a_len, bool a_dir, const char *b, size_t b_len, bool b_dir)
{
	size_t len = a_len < b_len ? a_len : b_len;
	int r = len ? memcmp(a, b, len) : 0; /* no name at all may be no pointer */
	unsigned char x, y;

	if (r)
		return r;
	x = a_len > len ? (unsigned char)a[len] : a_dir ? '/' : 0;
	y = b_len > len ? (unsigned char)b[len] : b_dir ? '/' : 0;
	return (int)x - (int)y;
}

int wf_tree_append(struct buf *out, const char *name, size_t len, const struct wf_node *node)
{
	(void)buf_printf(out, "%o ", node->mode); /* the buffer remembers a failure */
	(void)buf_append(out, name, len);
	(void)buf_putc(out, '\0');
	return buf_append(out, node->oid.bytes, node->oid.len);
}
