/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See rename.h. The rules are those of git 2.39's diffcore-rename, so that the answers are the
 *same:
 *
 *	1. equal ids: for each path that came, the first unused one that went, of the same base name
 *	   if there is one
 *	2. base names that are unique on both sides, if at least three quarters alike
 *	3. all with all, if they are at most a million pairs: the best first
 *
 * How alike: the bytes in lines (or pieces of 64 bytes) that both have, as a part of the larger.
 */
#include "workflow/rename.h"

#include <base/cleanup.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PATHS_MAX    200000u
#define PAIRS_MAX    1000000u
#define CONTENT_MAX  (64u << 20) /* larger files are only found by id */
#define SCORE_MAX    60000u
#define SCORE_MIN    30000u
#define BASENAME_MIN 45000u
#define HASH_BASE    107927u
#define PIECE_MAX    64u
#define BEST_OF_DST  4u
#define TWINS_MAX    100u
#define SKETCHES_MAX (64u << 20) /* bytes of all sketches: beyond, files are only found by id */
#define PIECES_MAX   (2u * HASH_BASE) /* unsettled, of one file */

struct piece {
	uint32_t hash, bytes;
};
struct sketch {
	size_t count, cap;
	bool unreadable;
	struct piece pieces[];
};

int wf_renames_add(struct wf_renames *x, bool come, const char *path, const struct wf_node *node)
{
	struct wf_rename_path **list = come ? &x->come : &x->gone;
	size_t *count = come ? &x->come_count : &x->gone_count;
	size_t *cap = come ? &x->come_cap : &x->gone_cap;

	if (x->too_many || node->mode == WF_MODE_GITLINK)
		return 0;
	if (x->come_count + x->gone_count == PATHS_MAX) {
		wf_renames_fini(x);
		x->too_many = true;
		return 0;
	}
	if (*count == *cap) {
		size_t more = *cap ? 2 * *cap : 64;
		struct wf_rename_path *grown = reallocarray(*list, more, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		*list = grown;
		*cap = more;
	}
	(*list)[*count] = (struct wf_rename_path){.path = strdup(path), .node = *node};
	if (!(*list)[*count].path)
		return -ENOMEM;
	(*count)++;
	return 0;
}

static void fini_list(struct wf_rename_path *list, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		free(list[i].path);
		free(list[i].sketch);
	}
	free(list);
}

void wf_renames_fini(struct wf_renames *x)
{
	fini_list(x->gone, x->gone_count);
	fini_list(x->come, x->come_count);
	*x = (struct wf_renames){0};
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static bool same_base(const struct wf_rename_path *a, const struct wf_rename_path *b)
{
	return strcmp(base_name(a->path), base_name(b->path)) == 0;
}

static bool is_regular(const struct wf_node *n)
{
	return n->mode == WF_MODE_FILE || n->mode == WF_MODE_EXEC;
}

static void pair(struct wf_renames *x, size_t gone, struct wf_rename_path *come, unsigned score)
{
	come->pair = gone + 1;
	come->score = score * 100 / SCORE_MAX;
	x->gone[gone].used = true;
}

/* ---- equal contents ---- */

struct by_id {
	const struct wf_rename_path *path;
	size_t index;
};

static int order_by_id(const void *a, const void *b)
{
	const struct by_id *x = a, *y = b;
	int r = memcmp(x->path->node.oid.bytes, y->path->node.oid.bytes, OID_MAX_BYTES);

	return r ? r : (x->index > y->index) - (x->index < y->index);
}

static size_t first_of_id(const struct by_id *ids, size_t count, const struct oid *oid)
{
	size_t low = 0, high = count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (memcmp(ids[mid].path->node.oid.bytes, oid->bytes, OID_MAX_BYTES) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static void find_equal(struct wf_renames *x, const struct by_id *ids, struct wf_rename_path *come)
{
	size_t at = first_of_id(ids, x->gone_count, &come->node.oid), best = 0;
	unsigned best_score = 0;

	for (size_t i = at; i < x->gone_count && i - at < TWINS_MAX; i++) {
		const struct wf_rename_path *gone = ids[i].path;
		unsigned score = 1;

		if (!oid_equal(&gone->node.oid, &come->node.oid))
			break;
		if (gone->used || ((!is_regular(&gone->node) || !is_regular(&come->node)) &&
					  gone->node.mode != come->node.mode))
			continue;
		score += same_base(gone, come);
		if (score > best_score) {
			best_score = score;
			best = ids[i].index;
		}
	}
	if (best_score)
		pair(x, best, come, SCORE_MAX);
}

static int find_all_equal(struct wf_renames *x)
{
	_cleanup_free_ struct by_id *ids = calloc(x->gone_count, sizeof(*ids));

	if (!ids)
		return -ENOMEM;
	for (size_t i = 0; i < x->gone_count; i++)
		ids[i] = (struct by_id){&x->gone[i], i};
	qsort(ids, x->gone_count, sizeof(*ids), order_by_id);
	for (size_t i = 0; i < x->come_count; i++)
		if (!oid_is_none(&x->come[i].node.oid))
			find_equal(x, ids, &x->come[i]);
	return 0;
}

/* ---- similarity ---- */

static int order_pieces(const void *a, const void *b)
{
	const struct piece *x = a, *y = b;

	return (x->hash > y->hash) - (x->hash < y->hash);
}

/* Sorts, and joins those of one hash. */
static void settle(struct sketch *s)
{
	size_t kept = 0;

	qsort(s->pieces, s->count, sizeof(s->pieces[0]), order_pieces);
	for (size_t i = 0; i < s->count; i++) {
		if (kept && s->pieces[kept - 1].hash == s->pieces[i].hash)
			s->pieces[kept - 1].bytes += s->pieces[i].bytes;
		else
			s->pieces[kept++] = s->pieces[i];
	}
	s->count = kept;
}

/* As git 2.39: what is behind the last end of a line or full piece does not count. */
static void cut(struct sketch *s, const unsigned char *data, size_t len)
{
	bool text = !memchr(data, 0, len < 8000 ? len : 8000);
	uint32_t a = 0, b = 0, n = 0;

	for (size_t i = 0; i < len; i++) {
		uint32_t old = a;

		if (text && data[i] == '\r' && i + 1 < len && data[i + 1] == '\n')
			continue;
		a = (a << 7) ^ (b >> 25);
		b = (b << 7) ^ (old >> 25);
		a += data[i];
		if (++n < PIECE_MAX && data[i] != '\n')
			continue;
		if (s->count == s->cap)
			settle(s); /* there are at most HASH_BASE different ones */
		s->pieces[s->count++] = (struct piece){(a + b * 0x61) % HASH_BASE, n};
		a = b = n = 0;
	}
	settle(s);
}

static size_t count_pieces(const char *data, size_t len)
{
	size_t count = len / PIECE_MAX + 1;

	for (const char *at = data; (at = memchr(at, '\n', len - (size_t)(at - data))); at++)
		count++;
	return count < PIECES_MAX ? count : PIECES_MAX;
}

struct finder {
	struct wf *w;
	struct wf_renames *x;
	wf_rename_read read;
	void *arg;
	size_t sketch_bytes; /* of all */
};

static size_t sketch_size(size_t pieces)
{
	return sizeof(struct sketch) + pieces * sizeof(struct piece);
}

static int make_sketch(struct finder *f, struct wf_rename_path *p)
{
	_cleanup_free_ char *data = NULL;
	size_t len = 0, count = 0;
	struct sketch *s, *fit;
	int r = -EFBIG;

	if (f->sketch_bytes < SKETCHES_MAX)
		r = f->read(f->arg, p, CONTENT_MAX, &data, &len);
	if (r < 0 && r != -EFBIG && r != -ENOENT)
		return r;
	count = r == 0 ? count_pieces(data, len) : 0;
	s = calloc(1, sketch_size(count));
	if (!s)
		return -ENOMEM;
	s->cap = count;
	s->unreadable = r < 0;
	if (r == 0)
		cut(s, (const unsigned char *)data, len);
	fit = realloc(s, sketch_size(s->count));
	p->sketch = s = fit ? fit : s;
	f->sketch_bytes += sketch_size(s->count);
	return 0;
}

static int sketch_of(struct finder *f, struct wf_rename_path *p, struct sketch **ret_sketch)
{
	int r = p->sketch ? 0 : make_sketch(f, p);

	*ret_sketch = p->sketch;
	return r;
}

static uint64_t common_bytes(const struct sketch *a, const struct sketch *b)
{
	uint64_t sum = 0;

	for (size_t i = 0, k = 0; i < a->count && k < b->count;) {
		const struct piece *x = &a->pieces[i], *y = &b->pieces[k];

		if (x->hash == y->hash)
			sum += x->bytes < y->bytes ? x->bytes : y->bytes;
		i += x->hash <= y->hash;
		k += y->hash <= x->hash;
	}
	return sum;
}

static int similarity(struct finder *f, struct wf_rename_path *gone, struct wf_rename_path *come,
	unsigned *ret_score)
{
	struct sketch *a, *b;
	uint64_t large, small;
	int r;

	*ret_score = 0;
	if (!is_regular(&gone->node) || !is_regular(&come->node))
		return 0;
	r = wf_blob_size(f->w, &gone->node);
	if (r == 0)
		r = wf_blob_size(f->w, &come->node);
	if (r < 0)
		return r;
	large = gone->node.size > come->node.size ? gone->node.size : come->node.size;
	small = gone->node.size > come->node.size ? come->node.size : gone->node.size;
	if (!come->node.size || large > CONTENT_MAX || large < 2 * (large - small))
		return 0;
	r = sketch_of(f, gone, &a);
	if (r == 0)
		r = sketch_of(f, come, &b);
	if (r == 0 && !a->unreadable && !b->unreadable)
		*ret_score = (unsigned)(common_bytes(a, b) * SCORE_MAX / large);
	return r;
}

/* ---- unique base names ---- */

struct by_base {
	const char *base;
	size_t index;
	bool come;
};

static int order_by_base(const void *a, const void *b)
{
	const struct by_base *x = a, *y = b;

	return strcmp(x->base, y->base);
}

static int try_base(struct finder *f, const struct by_base *a, const struct by_base *b)
{
	size_t gone = a->come ? b->index : a->index, come = a->come ? a->index : b->index;
	unsigned score;
	int r = similarity(f, &f->x->gone[gone], &f->x->come[come], &score);

	if (r == 0 && score >= BASENAME_MIN)
		pair(f->x, gone, &f->x->come[come], score);
	return r;
}

static int find_by_base(struct finder *f)
{
	const struct wf_renames *x = f->x;
	_cleanup_free_ struct by_base *all = calloc(x->gone_count + x->come_count, sizeof(*all));
	size_t count = 0, next;
	int r = 0;

	if (!all)
		return -ENOMEM;
	for (size_t i = 0; i < x->gone_count; i++)
		if (!x->gone[i].used)
			all[count++] = (struct by_base){base_name(x->gone[i].path), i, false};
	for (size_t i = 0; i < x->come_count; i++)
		if (!x->come[i].pair)
			all[count++] = (struct by_base){base_name(x->come[i].path), i, true};
	qsort(all, count, sizeof(*all), order_by_base);
	for (size_t i = 0; r == 0 && i < count; i = next) {
		for (next = i + 1; next < count && !strcmp(all[next].base, all[i].base); next++)
			;
		if (next - i == 2 && all[i].come != all[i + 1].come)
			r = try_base(f, &all[i], &all[i + 1]);
	}
	return r;
}

/* ---- all with all ---- */

struct candidate {
	size_t gone, come, order;
	unsigned score;
	bool same_base;
	bool taken; /* else there is none yet */
};

static int better(const struct candidate *a, const struct candidate *b)
{
	if (!a->taken || !b->taken)
		return b->taken - a->taken;
	if (a->score != b->score)
		return a->score < b->score ? 1 : -1;
	if (a->same_base != b->same_base)
		return a->same_base ? -1 : 1;
	return 0;
}

static int order_candidates(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;
	int r = better(x, y);

	return r ? r : (x->order > y->order) - (x->order < y->order);
}

/* The best few of one path that came. As with Git a bad one takes a place too: the one that drives
 * it out stands where it stood, and of equals the first place counts. */
static int collect(struct finder *f, size_t come, struct candidate *best)
{
	struct wf_renames *x = f->x;

	for (unsigned i = 0; i < BEST_OF_DST; i++)
		best[i] = (struct candidate){.come = come, .order = come * BEST_OF_DST + i};
	for (size_t i = 0; i < x->gone_count; i++) {
		struct candidate c = {.gone = i, .come = come, .taken = true};
		unsigned worst = 0;
		int r;

		if (x->gone[i].used)
			continue;
		r = similarity(f, &x->gone[i], &x->come[come], &c.score);
		if (r < 0)
			return r;
		c.same_base = same_base(&x->gone[i], &x->come[come]);
		for (unsigned k = 1; k < BEST_OF_DST; k++)
			if (better(&best[worst], &best[k]) < 0)
				worst = k;
		c.order = best[worst].order;
		if (better(&c, &best[worst]) < 0)
			best[worst] = c;
	}
	return wf_check(f->w);
}

static int find_best(struct finder *f)
{
	struct wf_renames *x = f->x;
	_cleanup_free_ struct candidate *all = NULL;
	size_t gone = 0, come = 0, count = 0;
	int r = 0;

	for (size_t i = 0; i < x->gone_count; i++)
		gone += !x->gone[i].used;
	for (size_t i = 0; i < x->come_count; i++)
		come += !x->come[i].pair;
	if (!gone || !come || gone > PAIRS_MAX / come)
		return 0;
	all = calloc(come * BEST_OF_DST, sizeof(*all));
	if (!all)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && i < x->come_count; i++)
		if (!x->come[i].pair) {
			r = collect(f, i, all + count);
			count += BEST_OF_DST;
		}
	if (r < 0)
		return r;
	qsort(all, count, sizeof(*all), order_candidates);
	for (size_t i = 0; i < count && all[i].score >= SCORE_MIN; i++)
		if (!x->come[all[i].come].pair && !x->gone[all[i].gone].used)
			pair(x, all[i].gone, &x->come[all[i].come], all[i].score);
	return 0;
}

int wf_renames_find(struct wf *w, struct wf_renames *x, wf_rename_read read, void *arg)
{
	struct finder f = {.w = w, .x = x, .read = read, .arg = arg};
	int r;

	if (!x->gone_count || !x->come_count)
		return 0;
	r = find_all_equal(x);
	if (r == 0)
		r = find_by_base(&f);
	return r == 0 ? find_best(&f) : r;
}

/* ---- looking up: both lists are in Git's order of paths, which is that of bytes ---- */

static const struct wf_rename_path *find_path(
	const struct wf_rename_path *list, size_t count, const char *path)
{
	size_t low = 0, high = count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int order = strcmp(list[mid].path, path);

		if (order == 0)
			return &list[mid];
		if (order < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}

const struct wf_rename_path *wf_renames_come(const struct wf_renames *x, const char *path)
{
	const struct wf_rename_path *come = find_path(x->come, x->come_count, path);

	return come && come->pair ? &x->gone[come->pair - 1] : NULL;
}

bool wf_renames_gone(const struct wf_renames *x, const char *path)
{
	const struct wf_rename_path *gone = find_path(x->gone, x->gone_count, path);

	return gone && gone->used;
}

unsigned wf_renames_score(const struct wf_renames *x, const char *path)
{
	const struct wf_rename_path *come = find_path(x->come, x->come_count, path);

	return come && come->pair ? come->score : 0;
}
