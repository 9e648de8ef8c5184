/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Extended attributes. Sizes either fit beside the marks of the overlay or would fit nowhere: at
 * the edge the marks count (docs/posix.md). Of the namespaces only user and trusted are the same.
 */
#include "side.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

static const char *const names[] = {
	"user.a", "user.b", "user.c", "trusted.t", "user.big", "user.", "bogus.x", "user.a"};

static char long_name[300];

static const char *choose_name(const struct step *step)
{
	if (step->n[0] % 64 == 9) { /* 255 fit, 256 do not */
		memset(long_name, 'x', sizeof(long_name));
		memcpy(long_name, "user.", 5);
		long_name[step->n[0] & 64 ? 255 : 256] = '\0';
		return long_name;
	}
	return names[step->n[0] % 8];
}

static size_t choose_size(const struct step *step, const char *name)
{
	static const size_t big[] = {1500, 65537, 0, 30000, 65536, 700, 2900, 4097};

	return strcmp(name, "user.big") == 0 ? big[step->n[1] % 8] : (step->n[1] >> 8) % 60;
}

/* A directory that is open and removed has no attributes any more (docs/posix.md). */
static bool by_slot(const struct side *side, const struct step *step)
{
	struct stat st;

	return (step->n[2] & 1) &&
	       (fstat(side->slots[step->s], &st) < 0 || !S_ISDIR(st.st_mode) || st.st_nlink > 0);
}

static long op_set(struct side *side, const struct step *step)
{
	static uint8_t value[65537];
	static const int flags[] = {0, 0, XATTR_CREATE, XATTR_REPLACE};
	const char *name = choose_name(step);
	size_t len = choose_size(step, name);

	fill_bytes(step, value, len);
	if (by_slot(side, step))
		return result_of(
			fsetxattr(side->slots[step->s], name, value, len, flags[step->n[3] % 4]));
	return result_of(lsetxattr(step->a, name, value, len, flags[step->n[3] % 4]));
}

static long op_get(struct side *side, const struct step *step)
{
	static uint8_t value[65537];
	static const size_t caps[] = {0, 10, 65536, 65536};
	const char *name = choose_name(step);
	size_t cap = caps[step->n[1] % 4];
	long r = result_of(by_slot(side, step) ? fgetxattr(side->slots[step->s], name, value, cap)
					       : lgetxattr(step->a, name, value, cap));

	(void)fprintf(side->out, " %llx",
		(unsigned long long)hash_bytes(
			HASH_START, value, r < 0 || cap == 0 ? 0 : (size_t)r));
	return r;
}

static long op_list(struct side *side, const struct step *step)
{
	put_xattrs(side, step->a);
	return 0;
}

static long op_remove(struct side *side, const struct step *step)
{
	const char *name = choose_name(step);

	return result_of(by_slot(side, step) ? fremovexattr(side->slots[step->s], name)
					     : lremovexattr(step->a, name));
}

static const struct op ops[] = {
	{"setxattr", 25, USES_A | USES_S, op_set},
	{"getxattr", 10, USES_A | USES_S, op_get},
	{"listxattr", 6, USES_A, op_list},
	{"removexattr", 10, USES_A | USES_S, op_remove},
};
const struct op_table xattr_ops = {ops, sizeof(ops) / sizeof(ops[0])};
