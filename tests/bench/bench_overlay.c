/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the overlay itself costs per request, without the kernel: lookups, attributes and listings
 * of untouched lower files over a real index (LMDB), through lower_tree. Prints nanoseconds per
 * operation.
 *
 *	bench_overlay [DIRECTORIES [FILES-IN-EACH [LOOKUPS]]]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/io.h"
#include "base/quota.h"
#include "fuse/overlay.h"
#include "storage/origin.h"
#include "storage/storage.h"

struct bench {
	char dir[128];
	unsigned directories, files, lookups;
	struct origin *origin;
	struct storage *st;
	struct overlay *o;
	struct ovl_ws *ws;
	struct quota quota;
	struct oid root;
	uint64_t *dir_id;
	uint64_t entries;
};

static void check(int r, const char *what)
{
	if (r >= 0)
		return;
	(void)fprintf(stderr, "bench_overlay: %s: %s\n", what, strerror(-r));
	exit(1);
}

/* Of this thread: other load on the machine is not the overlay's. */
static uint64_t cpu_ns(void)
{
	struct timespec ts;

	check(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts), "clock_gettime");
	return clock_from_timespec(&ts);
}

static uint32_t next(uint64_t *state)
{
	*state = *state * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(*state >> 33);
}

static void add(
	struct tree_builder *b, const char *prefix, unsigned n, uint32_t mode, struct oid oid)
{
	char name[32];
	struct tree_builder_entry e = {.name = name, .mode = mode, .oid = oid, .size_known = true};

	e.name_len = (size_t)snprintf(name, sizeof(name), "%s-%u", prefix, n);
	e.size = S_ISDIR(mode) ? 0 : n;
	check(tree_builder_add(b, &e), "tree_builder_add");
}

static struct oid number(unsigned n, uint8_t kind)
{
	struct oid oid = {.len = 20};
	uint64_t key[2] = {n, kind};

	for (unsigned i = 0; i < 2; i++) {
		uint64_t part = io_hash(&i, sizeof(i), key);

		memcpy(oid.bytes + 8ul * i, &part, sizeof(part));
	}
	return oid;
}

static void put(struct bench *b, struct tree_builder *builder, const struct oid *oid)
{
	void *record;
	size_t len;

	check(tree_builder_finish(builder, &record, &len), "tree_builder_finish");
	check(tree_put(storage_tree_index(b->st), oid, record, len), "tree_put");
	free(record);
	tree_builder_free(builder);
}

static void make_trees(struct bench *b)
{
	struct tree_builder *root = tree_builder_new(20);

	for (unsigned d = 0; d < b->directories; d++) {
		struct tree_builder *builder = tree_builder_new(20);
		struct oid oid = number(d, 1);

		for (unsigned f = 0; f < b->files; f++)
			add(builder, "file", f, S_IFREG | 0644, number(d * b->files + f, 2));
		put(b, builder, &oid);
		add(root, "directory", d, S_IFDIR | 0755, oid);
	}
	b->root = number(0, 3);
	put(b, root, &b->root);
}

static void setup(struct bench *b)
{
	char repo[160], ws_dir[160], command[256];
	struct err e = {0};

	(void)snprintf(b->dir, sizeof(b->dir), "/tmp/bench_overlay.XXXXXX");
	if (!mkdtemp(b->dir))
		check(-1, "mkdtemp");
	(void)snprintf(repo, sizeof(repo), "%s/repo", b->dir);
	(void)snprintf(ws_dir, sizeof(ws_dir), "%s/ws", b->dir);
	(void)snprintf(command, sizeof(command), "git init -q --bare %s", repo);
	check(system(command) == 0 ? 0 : -1, command);
	check(origin_git_init(&e), "origin_git_init");
	check(origin_open(&b->origin,
		      &(struct origin_config){.name = "b", .type = "git", .url = repo}, &e),
		"origin_open");
	check(storage_open(&b->st,
		      &(struct storage_config){.data_dir = b->dir,
			      .memory_bytes = 1 << 20,
			      .disk_bytes = 16 << 20,
			      .clock = &clock_system},
		      &e),
		"storage_open");
	make_trees(b);
	quota_init(&b->quota, NULL);
	check(ovl_new(&b->o, &(struct ovl_config){.tenant = "b", .clock = &clock_system}),
		"ovl_new");
	check(ovl_ws_add(b->o,
		      &(struct ovl_ws_config){.name = "ws",
			      .serial = 1,
			      .dir = ws_dir,
			      .lower = lower_tree_new(b->st, b->origin),
			      .root_tree = b->root,
			      .quota = &b->quota},
		      &b->ws, &e),
		"ovl_ws_add");
}

static void teardown(struct bench *b)
{
	ovl_ws_remove(b->o, b->ws);
	ovl_free(b->o);
	storage_close(b->st);
	origin_unref(b->origin);
	origin_git_fini();
	free(b->dir_id);
	(void)io_remove_tree(-100, b->dir); /* AT_FDCWD; what is left is in /tmp */
}

static void report(const char *what, uint64_t since, uint64_t count)
{
	uint64_t ns = cpu_ns() - since;

	(void)printf("%-44s %8llu x %6llu ns\n", what, (unsigned long long)count,
		(unsigned long long)(ns / count));
}

static void look_up_directories(struct bench *b)
{
	struct ovl_req rq = {.unique = 1};
	uint64_t since = cpu_ns();
	struct ovl_entry e;
	char name[32];

	for (unsigned d = 0; d < b->directories; d++) {
		(void)snprintf(name, sizeof(name), "directory-%u", d);
		check(ovl_lookup(b->o, &rq, ovl_ws_root_id(b->ws), name, &e), "lookup");
		b->dir_id[d] = e.id;
	}
	report("lookup of a directory", since, b->directories);
}

static void look_up_files(
	struct bench *b, const char *what, unsigned count, bool in_order, const char *prefix)
{
	struct ovl_req rq = {.unique = 1};
	uint64_t since = cpu_ns(), state = 1;
	struct ovl_entry e;
	char name[32];

	for (unsigned i = 0; i < count; i++) {
		unsigned d = in_order ? i / b->files : next(&state) % b->directories;

		(void)snprintf(name, sizeof(name), "%s-%u", prefix,
			in_order ? i % b->files : next(&state) % b->files);
		int r = ovl_lookup(b->o, &rq, b->dir_id[d], name, &e);

		check(r == -2 && *prefix == 'n' ? 0 : r, "lookup");
	}
	report(what, since, count);
}

static int take(void *arg, const char *name, const struct ovl_entry *entry, uint64_t next_offset)
{
	struct bench *b = arg;

	(void)name;
	(void)next_offset;
	b->entries += entry->attr.st_ino != 0;
	return 0;
}

static void list(struct bench *b, const char *what)
{
	struct ovl_req rq = {.unique = 1};
	uint64_t since = cpu_ns();

	b->entries = 0;
	check(ovl_readdir(b->o, &rq, ovl_ws_root_id(b->ws), 0, true, take, b), "readdir");
	for (unsigned d = 0; d < b->directories; d++)
		check(ovl_readdir(b->o, &rq, b->dir_id[d], 0, true, take, b), "readdir");
	report(what, since, b->entries);
}

static void get_attributes(struct bench *b)
{
	struct ovl_req rq = {.unique = 1};
	uint64_t since, state = 1;
	struct stat st;

	since = cpu_ns();
	for (unsigned i = 0; i < b->lookups; i++)
		check(ovl_getattr(b->o, &rq, b->dir_id[next(&state) % b->directories], &st),
			"getattr");
	report("getattr of a directory", since, b->lookups);
}

int main(int argc, char **argv)
{
	struct bench b = {.directories = 2000, .files = 25, .lookups = 200000};

	if (argc > 1)
		b.directories = (unsigned)strtoul(argv[1], NULL, 10);
	if (argc > 2)
		b.files = (unsigned)strtoul(argv[2], NULL, 10);
	if (argc > 3)
		b.lookups = (unsigned)strtoul(argv[3], NULL, 10);
	b.dir_id = calloc(b.directories, sizeof(*b.dir_id));
	if (!b.dir_id)
		return 1;
	setup(&b);
	look_up_directories(&b);
	list(&b, "readdirplus entry, directories entered first");
	list(&b, "readdirplus entry");
	look_up_files(&b, "lookup, in order", b.directories * b.files, true, "file");
	look_up_files(&b, "lookup, at random", b.lookups, false, "file");
	look_up_files(&b, "lookup of nothing, at random", b.lookups, false, "none");
	get_attributes(&b);
	teardown(&b);
	return 0;
}
