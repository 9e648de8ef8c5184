/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Steps from numbers. Names come from a small fixed set, the one that tests/posix/tree.py fills the
 * repository with, so that most paths exist and operations meet each other; a step never looks at
 * the tree, which makes every subset of a run a run.
 */
#include "gen.h"

#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const char *const dir_names[] = {"d0", "d1", "d2", "d3"};
static const char *const leaf_names[] = {"f0", "f1", "f2", "f3", "f4", "l0", "l1", "p0", "s0"};
static const char *const odd_names[] = {".wh.f0", ".wh..wh..opq", "with space", "\xff\xfe\n", "#",
	"f0/", "d0/", "l0/", ".", "..", "f0/.", "LONG", "TOO LONG"};

static const struct op_table *const tables[] = {&file_ops, &space_ops, &name_ops, &attr_ops,
	&xattr_ops, &dir_ops, &lock_ops, &map_ops, &special_ops, &exec_ops};

struct rng {
	uint64_t state;
};

static uint64_t next(struct rng *r)
{
	uint64_t z = (r->state += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static unsigned below(struct rng *r, size_t n)
{
	return (unsigned)(next(r) % n);
}

const struct op *gen_op(unsigned op)
{
	for (size_t i = 0; i < COUNT(tables); i++) {
		if (op < tables[i]->count)
			return &tables[i]->ops[op];
		op -= (unsigned)tables[i]->count;
	}
	return NULL;
}

static unsigned choose_op(struct rng *r)
{
	unsigned total = 0, pick;

	for (unsigned i = 0; gen_op(i); i++)
		total += gen_op(i)->weight;
	pick = below(r, total);
	for (unsigned i = 0;; i++) {
		if (pick < gen_op(i)->weight)
			return i;
		pick -= gen_op(i)->weight;
	}
}

static void add(char *path, const char *name)
{
	size_t len = strlen(path);

	if (strcmp(name, "LONG") == 0 || strcmp(name, "TOO LONG") == 0) {
		size_t n = *name == 'L' ? 255 : 256;

		path[len++] = '/';
		memset(path + len, 'n', n);
		path[len + n] = '\0';
	} else {
		(void)snprintf(path + len, PATH_CAP - len, "/%s", name);
	}
}

static void choose_path(struct rng *r, char *path)
{
	static const uint8_t depths[] = {0, 0, 0, 1, 1, 1, 1, 2, 2, 3};
	unsigned depth = depths[below(r, COUNT(depths))], odd;

	path[0] = '\0';
	if (below(r, 150) == 0) {
		(void)snprintf(path, PATH_CAP, "/");
		return;
	}
	for (unsigned i = 0; i < depth; i++) {
		odd = below(r, 40);
		add(path, odd == 0   ? "l0"
			  : odd == 1 ? "f0"
			  : odd == 2 ? ".."
				     : dir_names[below(r, COUNT(dir_names))]);
	}
	odd = below(r, 30);
	if (odd == 0)
		add(path, odd_names[below(r, COUNT(odd_names))]);
	else if (odd < 10)
		add(path, dir_names[below(r, COUNT(dir_names))]);
	else
		add(path, leaf_names[below(r, COUNT(leaf_names))]);
}

void gen_step(uint64_t seed, unsigned number, struct step *step)
{
	static const mode_t umasks[] = {022, 022, 0, 077};
	struct rng r = {seed * 0x2545f4914f6cdd1du + number};
	unsigned who;

	(void)next(&r);
	*step = (struct step){.number = number};
	step->op = choose_op(&r);
	who = below(&r, 10);
	step->who = who < 6 || (gen_op(step->op)->uses & AS_ROOT) ? 0 : who - 6 + 1;
	step->umask = umasks[below(&r, COUNT(umasks))];
	step->watch = below(&r, 16) == 0;
	step->s = below(&r, SLOTS);
	step->t = below(&r, SLOTS);
	for (size_t i = 0; i < COUNT(step->n); i++)
		step->n[i] = next(&r);
	choose_path(&r, step->a);
	choose_path(&r, step->b);
}

static void quote(const char *path, char *out, size_t cap)
{
	size_t at = 0;

	if (strlen(path) > 200) {
		(void)snprintf(out, cap, "%.20s...(%zu bytes)", path, strlen(path));
		return;
	}
	for (; *path && at + 5 < cap; path++)
		at += (size_t)snprintf(out + at, cap - at,
			*path >= ' ' && *path < 127 ? "%c" : "\\x%02x", (unsigned char)*path);
	out[at] = '\0';
}

void gen_describe(const struct step *step, char *text, size_t cap)
{
	const struct op *op = gen_op(step->op);
	char a[1024] = "", b[1024] = "", s[32] = "", t[32] = "";

	if (op->uses & USES_A)
		quote(step->a, a, sizeof(a));
	if (op->uses & USES_B)
		quote(step->b, b, sizeof(b));
	if (op->uses & USES_S)
		(void)snprintf(s, sizeof(s), " slot %u", step->s);
	if (op->uses & USES_T)
		(void)snprintf(t, sizeof(t), " slot %u", step->t);
	(void)snprintf(text, cap, "%u: %s %s %s%s%s (user %u, umask %03o, n %llx %llx %llx %llx)",
		step->number, op->name, a, b, s, t, step->who, step->umask,
		(unsigned long long)step->n[0], (unsigned long long)step->n[1],
		(unsigned long long)step->n[2], (unsigned long long)step->n[3]);
}
