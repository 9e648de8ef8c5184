// SPDX-License-Identifier: Apache-2.0
/*
 * Layers over trees of this storage: what a merge asks for comes from the index, or first from the
 * origin; what comes out goes into the index.
 *
 * Threads: any but those that call fetch callbacks; blocks on the origin until the deadline.
 */
#include "storage_internal.h"

#include "base/list.h"
#include "layer/layer_internal.h"

struct storage_source {
	struct layer_source source;
	struct storage *st;
	struct origin *origin;
	uint64_t deadline_ns;
	struct collect_merge merge;
};

static struct storage_source *of(struct layer_source *s)
{
	return container_of(s, struct storage_source, source);
}

static int source_tree(struct layer_source *s, const struct oid *tree, struct tree_view *ret_view)
{
	struct storage_source *src = of(s);

	return storage_need_view(src->st, src->origin, tree, src->deadline_ns, ret_view);
}

static int source_size(struct layer_source *s, const struct oid *blob, uint64_t *ret_size)
{
	struct storage_source *src = of(s);

	return storage_need_size(src->st, src->origin, blob, src->deadline_ns, ret_size);
}

static int source_put(struct layer_source *s, const struct tree_record *records, unsigned count)
{
	struct storage_source *src = of(s);

	collector_merge_put(&src->st->collector, &src->merge, records, count);
	return tree_put_all(src->st->index, records, count);
}

int storage_lay_over(struct storage *st, struct origin *o, const struct oid *base, struct layer *l,
	uint64_t deadline_ns, struct layer_report *report, struct oid *ret_root)
{
	static const struct layer_source_ops ops = {
		.tree = source_tree, .size = source_size, .put = source_put};
	struct storage_source src = {
		.source.ops = &ops, .st = st, .origin = o, .deadline_ns = deadline_ns};

	int r;

	collector_merge_begin(&st->collector, &src.merge);
	r = layer_merge(l, &src.source, base, report, ret_root);
	collector_merge_end(&st->collector, &src.merge, r == 0 ? ret_root : NULL);
	return r;
}
