/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests that the kernel sends again after a takeover. Most may simply be done again. A change of
 * names may not: it would find its own work in the way (EEXIST) or gone (ENOENT). The journal knows
 * exactly which were done; those are answered with success, and with the entry looked up anew. The
 * kernel has the directories locked until then, so the entry is still the one that was made.
 *
 * Threads: as run functions.
 */
#include "session/op.h"

/* Whose journal knows, where the name is made. */
static bool changes_names(const struct op *op, uint64_t *ret_dir)
{
	*ret_dir = op->kind == OP_LINK ? op->id2 : op->id;
	switch (op->kind) {
	case OP_MKNOD:
	case OP_MKDIR:
	case OP_SYMLINK:
	case OP_CREATE:
	case OP_LINK:
	case OP_UNLINK:
	case OP_RMDIR:
	case OP_RENAME:
		return true;
	default:
		return false;
	}
}

bool op_done_before(struct op *op, int *ret)
{
	struct ovl_entry entry;
	uint64_t dir;
	int r;

	if (!changes_names(op, &dir) || !ovl_was_done(op->s->overlay, dir, op->rq.unique))
		return false;
	counter_add(op->s->farm->m.resent_done, 1);
	if (op->kind == OP_UNLINK || op->kind == OP_RMDIR || op->kind == OP_RENAME) {
		*ret = reply_result(op, 0);
		return true;
	}
	r = ovl_lookup(op->s->overlay, &op->rq, dir, op->name, &entry);
	*ret = op->kind == OP_CREATE ? reply_create(op, r, &entry) : reply_entry(op, r, &entry);
	return true;
}
