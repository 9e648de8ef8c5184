/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors by name, of which the keeper knows nothing more. */
#include "keeper.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int find(const struct held_other *h, const char *name)
{
	for (unsigned i = 0; i < h->count; i++)
		if (strcmp(h->kept[i].name, name) == 0)
			return (int)i;
	return -1;
}

void held_drop(struct held_other *h, const char *name)
{
	int i = find(h, name);

	if (i < 0)
		return;
	(void)close(h->kept[i].fd); /* a copy */
	h->kept[i] = h->kept[--h->count];
}

int held_put(struct held_other *h, const char *name, int fd)
{
	struct held_fd *kept;

	held_drop(h, name);
	if (h->count == HELD_OTHER_MAX || strlen(name) >= sizeof(kept->name)) {
		(void)close(fd); /* a copy */
		return -EMFILE;
	}
	kept = &h->kept[h->count++];
	(void)snprintf(kept->name, sizeof(kept->name), "%s", name); /* fits */
	kept->fd = fd;
	return 0;
}

int held_get(const struct held_other *h, const char *name, int *ret_fd)
{
	int i = find(h, name);

	if (i < 0)
		return -ENOENT;
	*ret_fd = h->kept[i].fd;
	return 0;
}
