/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walks the entries of a tree object. Modes become those of the tree index by Git's own rule
 * (canon_mode): of a regular file only the owner's execute bit counts. Anything else than Git's
 * four kinds is refused rather than guessed.
 */
#include "origin/raw_tree.h"

#include "base/path.h"

#include <errno.h>
#include <sys/stat.h>

#define MODE_DIGITS_MAX 7
#define MODE_SUBMODULE  0160000u

struct raw_tree raw_tree_begin(const void *data, size_t len, uint8_t oid_len)
{
	const uint8_t *p = data;

	return (struct raw_tree){.next = p, .end = len ? p + len : p, .oid_len = oid_len};
}

/* Octal digits and a space. */
static int take_mode(struct raw_tree *t, uint32_t *ret_mode)
{
	const uint8_t *p = t->next;
	uint32_t mode = 0;

	while (p < t->end && *p >= '0' && *p <= '7' && p - t->next < MODE_DIGITS_MAX)
		mode = mode << 3 | (uint32_t)(*p++ - '0');
	if (p == t->next || p == t->end || *p != ' ')
		return -EIO;
	t->next = p + 1;
	*ret_mode = mode;
	return 0;
}

static int index_mode(uint32_t mode, uint32_t *ret_mode)
{
	if (S_ISREG(mode))
		*ret_mode = S_IFREG | (mode & S_IXUSR ? 0755 : 0644);
	else if (S_ISLNK(mode))
		*ret_mode = S_IFLNK | 0777;
	else if (S_ISDIR(mode) || (mode & S_IFMT) == MODE_SUBMODULE)
		*ret_mode = S_IFDIR | 0755;
	else
		return -EBADMSG;
	return 0;
}

int raw_tree_next(struct raw_tree *t, struct raw_tree_entry *ret_entry)
{
	struct raw_tree_entry entry = {0};
	const uint8_t *nul;
	uint32_t mode;
	int r;

	if (t->next == t->end)
		return 0;
	r = take_mode(t, &mode);
	if (r < 0)
		return r;
	nul = memchr(t->next, '\0', (size_t)(t->end - t->next));
	if (!nul || t->end - nul - 1 < t->oid_len)
		return -EIO;
	entry.name = (const char *)t->next;
	entry.name_len = (size_t)(nul - t->next);
	if ((mode & S_IFMT) != MODE_SUBMODULE)
		entry.oid = oid_from_bytes(nul + 1, t->oid_len);
	t->next = nul + 1 + t->oid_len;
	/* Git never writes an entry ".git"; who forges one wants a repository inside the tree to be
	 * believed. */
	if (!path_name_ok(entry.name, entry.name_len) || strcmp(entry.name, ".git") == 0)
		return -EBADMSG;
	r = index_mode(mode, &entry.mode);
	if (r < 0)
		return r;
	*ret_entry = entry;
	return 1;
}
