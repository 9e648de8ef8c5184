// SPDX-License-Identifier: Apache-2.0
/*
 * What one lookup in the tree index costs: begin a view, find a name, end. Fills an index with
 * directories, then looks up names in random order, as the cold directories of a build would be.
 * Prints nanoseconds per operation.
 *
 *	bench_tree [DIRECTORIES [ENTRIES [LOOKUPS]]]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/io.h"
#include "storage/tree.h"

#include <fcntl.h>

struct bench {
	struct tree_index *ti;
	uint32_t directories, entries, lookups;
	uint64_t found;
};

/* A cheap generator, so that what is measured is not the generator. */
static uint32_t next(uint64_t *state)
{
	*state = *state * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(*state >> 33);
}

static struct oid oid_of(uint32_t n)
{
	struct oid o = {.len = 20};
	uint64_t state = n + 1ull;

	for (unsigned i = 0; i < 20; i++)
		o.bytes[i] = (uint8_t)next(&state);
	return o;
}

static size_t name_of(uint32_t n, char *buf, size_t cap)
{
	return (size_t)snprintf(buf, cap, "source-%u.c", n * 7919u % 10007u);
}

static int fill_one(struct bench *b, uint32_t dir)
{
	struct tree_builder *builder = tree_builder_new(20);
	struct oid oid = oid_of(dir);
	void *record = NULL;
	size_t len;
	int r = builder ? 0 : -1;

	for (uint32_t i = 0; r == 0 && i < b->entries; i++) {
		char name[32];
		struct tree_builder_entry entry = {
			.name = name,
			.name_len = name_of(i, name, sizeof(name)),
			.mode = S_IFREG | 0644,
			.oid = oid_of(dir * b->entries + i),
			.size_known = true,
			.size = i,
		};

		r = tree_builder_add(builder, &entry);
	}
	if (r == 0)
		r = tree_builder_finish(builder, &record, &len);
	if (r == 0)
		r = tree_put(b->ti, &oid, record, len);
	free(record);
	tree_builder_free(builder);
	return r;
}

static int view_only(struct bench *b, uint64_t *state)
{
	struct oid oid = oid_of(next(state) % b->directories);
	struct tree_view view;
	int r = tree_view_begin(b->ti, &oid, &view);

	if (r == 0)
		tree_view_end(&view);
	return r;
}

static int lookup(struct bench *b, uint64_t *state)
{
	struct oid oid = oid_of(next(state) % b->directories);
	struct tree_view view;
	char name[32];
	size_t len = name_of(next(state) % b->entries, name, sizeof(name));
	uint32_t idx;
	int r = tree_view_begin(b->ti, &oid, &view);

	if (r < 0)
		return r;
	b->found += tree_view_find(&view, name, len, &idx);
	tree_view_end(&view);
	return 0;
}

/* The cost of making up oids and names, to be taken off. */
static int nothing(struct bench *b, uint64_t *state)
{
	struct oid oid = oid_of(next(state) % b->directories);
	char name[32];

	b->found += name_of(next(state) % b->entries, name, sizeof(name)) + oid.bytes[0];
	return 0;
}

static double measure(struct bench *b, int (*fn)(struct bench *b, uint64_t *state))
{
	uint64_t state = 1, start_ns = clock_mono_ns(&clock_system);

	for (uint32_t i = 0; i < b->lookups; i++)
		if (fn(b, &state) < 0)
			return -1;
	return (double)(clock_mono_ns(&clock_system) - start_ns) / b->lookups;
}

static int run(struct bench *b)
{
	uint64_t start_ns = clock_mono_ns(&clock_system);
	double base, view, find;

	for (uint32_t i = 0; i < b->directories; i++)
		if (fill_one(b, i) < 0)
			return fprintf(stderr, "filling the index failed\n"), 1;
	printf("fill: %.1f us per directory of %u entries\n",
		(double)(clock_mono_ns(&clock_system) - start_ns) / b->directories / 1000,
		b->entries);
	(void)measure(b, lookup); /* warm the page cache */
	base = measure(b, nothing);
	view = measure(b, view_only);
	b->found = 0;
	find = measure(b, lookup);
	if (view < 0 || find < 0 || b->found != b->lookups)
		return fprintf(stderr, "lookups failed\n"), 1;
	printf("begin + end:        %.0f ns\n", view - base);
	printf("begin + find + end: %.0f ns\n", find - base);
	return 0;
}

static uint32_t arg_of(char **argv, int argc, int i, uint32_t fallback)
{
	return i < argc ? (uint32_t)strtoul(argv[i], NULL, 10) : fallback;
}

int main(int argc, char **argv)
{
	struct bench b = {
		.directories = arg_of(argv, argc, 1, 20000),
		.entries = arg_of(argv, argc, 2, 30),
		.lookups = arg_of(argv, argc, 3, 1000000),
	};
	char dir[] = "/tmp/coppice-bench-XXXXXX", index_dir[64];
	struct err e = {0};
	int r;

	if (!b.directories || !b.entries || !b.lookups || !mkdtemp(dir))
		return 2;
	(void)snprintf(index_dir, sizeof(index_dir), "%s/index", dir);
	r = tree_index_open(&b.ti, index_dir, 4ull << 30, NULL, &e);
	if (r < 0)
		(void)fprintf(stderr, "%s\n", err_message(&e));
	else
		r = run(&b);
	tree_index_close(b.ti);
	(void)io_remove_tree(AT_FDCWD, dir);
	return r ? 1 : 0;
}
