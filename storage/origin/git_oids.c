/* SPDX-License-Identifier: Apache-2.0 */
/* See git_oids.h. */
#include "origin/git_oids.h"

#include "base/io.h"

#include <errno.h>
#include <stdlib.h>

void gitoids_init(struct gitoids *l)
{
	*l = (struct gitoids){.oids = NULL};
	hashmap_init(&l->seen);
	(void)io_random(l->key, sizeof(l->key)); /* without: a list with repetitions is slower */
}

void gitoids_fini(struct gitoids *l)
{
	hashmap_fini(&l->seen);
	free(l->oids);
}

int gitoids_add(struct gitoids *l, const struct oid *oid)
{
	int r = hashmap_insert(&l->seen, io_hash(oid->bytes, oid->len, l->key), l);

	if (r == -EEXIST)
		return 0;
	if (r == 0 && l->count == l->cap) {
		size_t cap = l->cap ? 2 * l->cap : 64;
		struct oid *grown = reallocarray(l->oids, cap, sizeof(*grown));

		r = grown ? 0 : -ENOMEM;
		if (grown) {
			l->oids = grown;
			l->cap = cap;
		}
	}
	if (r == 0)
		l->oids[l->count++] = *oid;
	return r;
}
