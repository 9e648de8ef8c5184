/* SPDX-License-Identifier: Apache-2.0 */
/* A growing list of ids, each once, in the order in which they came. Pure. */
#pragma once
#include "base/hashmap.h"
#include "storage/digest.h"

#include <stddef.h>
#include <stdint.h>

struct gitoids {
	struct oid *oids;
	size_t count, cap;
	struct hashmap seen;
	uint64_t key[2];
};

void gitoids_init(struct gitoids *l);
void gitoids_fini(struct gitoids *l);
/* -ENOMEM. One that is there already changes nothing. */
int gitoids_add(struct gitoids *l, const struct oid *oid);
