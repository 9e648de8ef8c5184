/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading ahead of a crawl. Who reads the files of a directory in order (grep, tar, a compiler over
 * its sources) would wait once a file for an origin that is far away. This watches the contents
 * that are missing when they are read; when they come in order, what follows is fetched in the
 * background, in growing windows: the rest of the directory, what is below it, and the directories
 * that come next in the one above. Who has read half of a window gets the next one.
 *
 * One object a workspace. Threads: any; nothing here blocks, the work is done on threads of the
 * storage.
 */
#pragma once
#include "storage/storage.h"

struct readahead;

/* NULL: no memory. Takes a reference on the origin. */
struct readahead *readahead_new(struct storage *st, struct origin *o, unsigned tenant);
/* What is under way is cancelled and goes on by itself to its end. Returns NULL. */
struct readahead *readahead_free(struct readahead *ra);
/* A content is read from its beginning: cheap. What was fetched ahead and is not read makes the
 * windows smaller again. */
void readahead_read(struct readahead *ra, const struct oid *blob);
/* Where an entry is: which one of which directory. */
struct readahead_place {
	struct oid dir;
	uint32_t idx;
};
#define READAHEAD_DEPTH 12
/* The content of entry places[0], or what is in the directory that it is, is wanted by a reader and
 * is not local; places[i + 1] is where the directory of places[i] stands, as far up as the caller
 * knows. 1 ≤ count ≤ READAHEAD_DEPTH. */
void readahead_missed(struct readahead *ra, const struct readahead_place *places, unsigned count);
