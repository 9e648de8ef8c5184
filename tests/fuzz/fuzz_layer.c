// SPDX-License-Identifier: Apache-2.0
/*
 * Layers made of hostile bytes: two lists of changes over each other. Nothing may crash; a merge
 * that succeeds gives a tree that can be read whole, and laying the same list over it again changes
 * nothing.
 *
 * A change is a byte of what to do, a byte of content, and a path up to the next zero byte.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "layer_store.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool ok)
{
	if (!ok)
		abort();
}

static struct layer_entry entry_of(uint8_t what, uint8_t content, const struct oid *tree)
{
	static const uint32_t modes[] = {0, S_IFREG | 0644, S_IFREG | 0755, S_IFLNK | 0777,
		S_IFDIR | 0755, S_IFDIR | 0755, S_IFIFO, 0};
	struct layer_entry e = {.mode = modes[what % 8]};

	if (S_ISREG(e.mode) || S_ISLNK(e.mode))
		e.oid = (struct oid){.len = 20, .bytes = {content, 1}};
	if (what % 8 == 4)
		e.oid = *tree;
	return e;
}

/* Bytes as changes that fit the list's own rules. */
static struct layer *read_layer(const uint8_t *data, size_t size, const struct oid *tree)
{
	struct layer *l = layer_new(20);

	while (l && size > 3) {
		char path[64];
		size_t len = strnlen((const char *)data + 2, size - 2 < 63 ? size - 2 : 63);
		struct layer_change c = {.path = path,
			.put = entry_of(data[0], data[1], tree),
			.expects = data[0] & 0x40,
			.old = entry_of(data[0] >> 3, data[1], tree)};

		memcpy(path, data + 2, len);
		path[len] = '\0';
		(void)layer_add(l, &c); /* refused ones are left out */
		data += 2 + len;
		size -= 2 + len;
		if (size > 0 && *data == '\0') {
			data++;
			size--;
		}
	}
	return l;
}

/* Every tree that is named is there, and whole. */
static void read_all(struct layer_store *s, const struct oid *tree, unsigned depth)
{
	struct tree_view v;
	struct tree_entry e;

	expect(depth < 70); /* two paths of 63 bytes */
	expect(s->source.ops->tree(&s->source, tree, &v) == 0);
	for (uint32_t i = 0; i < v.count; i++) {
		struct oid below;

		tree_view_entry(&v, i, &e);
		expect(e.size_known);
		if (!S_ISDIR(e.mode) || !e.oid)
			continue;
		below = oid_from_bytes(e.oid, v.oid_len);
		read_all(s, &below, depth + 1);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct oid base = {0}, once = {0}, twice = {0};
	struct layer_report report = {0};
	struct layer_store s;
	struct layer *a, *b;

	layer_store_init(&s);
	a = read_layer(data, size / 2, &base);
	if (a && layer_merge(a, &s.source, &(struct oid){0}, &report, &base) == 0) {
		b = read_layer(data + size / 2, size - size / 2, &base);
		if (b && layer_merge(b, &s.source, &base, &report, &once) == 0) {
			read_all(&s, &once, 0);
			if (layer_merge(b, &s.source, &once, &report, &twice) == 0)
				expect(oid_equal(&once, &twice));
		}
		layer_free(b);
	}
	layer_free(a);
	layer_store_fini(&s);
	return 0;
}
