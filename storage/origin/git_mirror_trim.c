/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A mirror in mode partial holds what can be fetched again, so it has a budget: beyond it the
 * oldest packs go, down to half of it. They may hold trees, so no commit counts as complete any
 * more; trees and blobs that are asked for later are fetched one by one, a commit by its next
 * resolution. Never while a request is under way that told the server what we have: its answer
 * builds on that.
 *
 * Threads: the mirror's tidier.
 */
#include "base/cleanup.h"
#include "base/metrics.h"
#include "base/path.h"
#include "origin/git_mirror.h"
#include "origin/git_mirror_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PACKS_LISTED 4096u
#define YOUNG_S      5

struct pack_file {
	char name[64]; /* pack-<40 hex>, without what follows */
	uint64_t bytes;
	struct timespec time;
};

static const char *const endings[] = {".idx", ".rev", ".bitmap", ".pack"};

static bool list_pack(int dir_fd, const char *name, struct pack_file *ret_pack)
{
	const char *dot = strrchr(name, '.');
	struct stat st;

	if (!dot || strcmp(dot, ".pack") != 0 || strncmp(name, "pack-", 5) != 0 ||
		(size_t)(dot - name) >= sizeof(ret_pack->name) ||
		fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return false;
	*ret_pack = (struct pack_file){.bytes = (uint64_t)st.st_size, .time = st.st_mtim};
	memcpy(ret_pack->name, name, (size_t)(dot - name));
	return true;
}

/* At most PACKS_LISTED; there are a few dozen. */
static size_t list_packs(DIR *dir, struct pack_file *packs)
{
	struct dirent *entry;
	size_t count = 0;

	while (count < PACKS_LISTED && (entry = readdir(dir)))
		count += list_pack(dirfd(dir), entry->d_name, &packs[count]);
	return count;
}

static DIR *open_packs(const struct gitmirror *m)
{
	_cleanup_free_ char *path = path_join(m->path, "objects/pack");

	return path ? opendir(path) : NULL;
}

uint64_t gitmirror_measure(struct gitmirror *m)
{
	DIR *dir = open_packs(m);
	struct pack_file pack;
	struct dirent *entry;
	uint64_t bytes = 0;

	while (dir && (entry = readdir(dir)))
		if (list_pack(dirfd(dir), entry->d_name, &pack))
			bytes += pack.bytes;
	if (dir)
		(void)closedir(dir);
	if (m->budget.size)
		gauge_set(m->budget.size, (int64_t)bytes);
	return bytes;
}

static int older_first(const void *va, const void *vb)
{
	const struct timespec *a = &((const struct pack_file *)va)->time;
	const struct timespec *b = &((const struct pack_file *)vb)->time;

	if (a->tv_sec != b->tv_sec)
		return a->tv_sec < b->tv_sec ? -1 : 1;
	return (a->tv_nsec > b->tv_nsec) - (a->tv_nsec < b->tv_nsec);
}

/* The index goes first: without it nobody begins to read the rest. */
static void remove_pack(int dir_fd, const struct pack_file *pack)
{
	char name[sizeof(pack->name) + 8];

	for (unsigned i = 0; i < sizeof(endings) / sizeof(endings[0]); i++) {
		(void)snprintf(name, sizeof(name), "%s%s", pack->name, endings[i]);
		(void)unlinkat(dir_fd, name, 0); /* it has none of these; or it stays, and counts */
	}
}

/* How many of the oldest have to go. What has just come was not read yet, and stays. */
static size_t plan(struct pack_file *packs, size_t count, uint64_t keep_bytes)
{
	time_t young_s = time(NULL) - YOUNG_S;
	uint64_t bytes = 0;
	size_t gone = 0;

	qsort(packs, count, sizeof(*packs), older_first);
	for (size_t i = 0; i < count; i++)
		bytes += packs[i].bytes;
	while (gone < count && bytes > keep_bytes && packs[gone].time.tv_sec < young_s)
		bytes -= packs[gone++].bytes;
	return gone;
}

/* False: not now, someone builds on what is here; or it stays listed, and is not removed. */
static bool forget_commits(struct gitmirror *m)
{
	LOCK_GUARD(&m->lock);
	m->trim_waits = m->haves_told > 0;
	if (m->trim_waits)
		return false;
	m->commit_count = 0;
	return unlink(m->commits_path) == 0 || errno == ENOENT;
}

static void remove_packs(struct gitmirror *m, DIR *dir, struct pack_file *packs)
{
	/* those that come from now on are not in the list */
	size_t gone = plan(packs, list_packs(dir, packs), m->budget.bytes / 2);
	uint64_t removed = 0;

	if (gone == 0 || !forget_commits(m))
		return;
	for (size_t i = 0; i < gone; i++) {
		remove_pack(dirfd(dir), &packs[i]);
		removed += packs[i].bytes;
	}
	if (m->budget.trimmed)
		counter_add(m->budget.trimmed, removed);
	m->budget.dropped(m->budget.arg);
}

void gitmirror_trim(struct gitmirror *m)
{
	struct pack_file *packs = calloc(PACKS_LISTED, sizeof(*packs));
	DIR *dir = open_packs(m);

	if (packs && dir)
		remove_packs(m, dir, packs);
	if (dir)
		(void)closedir(dir);
	free(packs);
	(void)gitmirror_measure(m);
}
