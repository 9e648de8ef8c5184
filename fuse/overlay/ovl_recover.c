/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a workspace does about its last process, before anybody sees it:
 *
 *	open intents  Did the change happen? Every change is one atomic step on disk, except that
 *	              an object made in place may lack its owner: it is taken away again (no reply
 *	              was sent, so nobody has seen it). What happened is DONE, what did not is void:
 *	              a request that the kernel sends again is answered or done, exactly once.
 *	named nodes   get their id mark, so that the id is the same at the next lookup.
 *	work/         tmp and orphan are emptied (no connection is left that has files open);
 *	              links without names go.
 *	quota         charged with what is really there; after a takeover with what was charged, and
 *	              counted later (ovl_usage.c).
 *
 * One thread, blocking on the local disk. Nothing here depends on a remote or on room on the disk:
 * a lower directory that is not in the index any more, or a full disk, costs a mark (a new id),
 * never the start.
 */
#include "overlay/ovl_change.h"
#include "overlay/ovl_state.h"
#include "overlay/ovl_usage.h"

#include <base/cleanup.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

/* ---- intents ---- */

/* What is under the name now; a whiteout is told apart. */
struct seen {
	bool exists, whiteout, is_dir;
	uint64_t ino;
};

static int see(
	struct ovl_ws *ws, uint64_t dir_id, const char *name, struct seen *ret_seen, int *ret_fd)
{
	_cleanup_close_ int fd = -1;
	struct seen s = {0};
	struct stat st;
	int r = name ? ovl_journal_open_dir(ws, dir_id, &fd) : -ENOENT;

	if (r == 0 && fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		r = -errno;
	if (r == -ENOENT || r == -EAGAIN || r == -ELOOP)
		r = 0; /* no such directory or name: nothing is there */
	else if (r == 0)
		s = (struct seen){true, ovl_is_whiteout(&st), S_ISDIR(st.st_mode), st.st_ino};
	if (r < 0)
		return r;
	*ret_seen = s;
	if (ret_fd)
		*ret_fd = TAKE_FD(fd);
	return 0;
}

/* Made in place: perhaps not complete, and certainly not seen by anybody. */
static int take_back(struct ovl_ws *ws, const struct ovl_intent *it)
{
	_cleanup_close_ int fd = -1;
	struct seen s;
	int r = see(ws, it->parent, it->name, &s, &fd);

	if (r < 0 || !s.exists || s.whiteout)
		return r;
	r = unlinkat(fd, it->name, s.is_dir ? AT_REMOVEDIR : 0) < 0 ? -errno : 0;
	return r == -ENOTEMPTY ? 0 : r; /* not ours, then */
}

static int resolve_make(struct ovl_ws *ws, const struct ovl_intent *it, bool *ret_done)
{
	struct seen s;
	int r;

	*ret_done = false;
	if (!it->new_name)
		return take_back(ws, it);
	r = see(ws, it->parent, it->name, &s, NULL);
	if (r == 0)
		*ret_done = s.exists && !s.whiteout;
	return r;
}

static int resolve_remove(struct ovl_ws *ws, const struct ovl_intent *it, bool *ret_done)
{
	struct seen s;
	int r = see(ws, it->parent, it->name, &s, NULL);

	if (r == 0) /* of a lower entry only a whiteout can tell */
		*ret_done = it->backing_ino ? !s.exists || s.ino != it->backing_ino
					    : s.exists && s.whiteout;
	return r;
}

static int resolve_move(struct ovl_ws *ws, const struct ovl_intent *it, bool *ret_done)
{
	struct seen s;
	int r = see(ws, it->new_parent, it->new_name, &s, NULL);

	if (r == 0)
		*ret_done = s.exists && it->backing_ino && s.ino == it->backing_ino;
	return r;
}

static bool moves(const struct ovl_intent *it)
{
	return it->op == OVL_INTENT_RENAME || it->op == OVL_INTENT_EXCHANGE;
}

struct search {
	const struct ovl_intent *it;
	uint64_t id;
};

static int has_target_place(void *arg, const struct ovl_left_node *left)
{
	struct search *s = arg;

	if (left->parent != s->it->new_parent || left->id == s->it->id ||
		strcmp(left->name, s->it->new_name) != 0)
		return 0;
	s->id = left->id;
	return 1;
}

/* The change happened, its records did not: who took part is where it put it. */
static int follow(struct ovl_ws *ws, const struct ovl_intent *it)
{
	struct search s = {.it = it};
	struct ovl_left_place place;
	int r = 0;

	if (it->op == OVL_INTENT_EXCHANGE && ovl_journal_each_node(ws, has_target_place, &s) > 0)
		r = ovl_journal_left_move(ws, s.id, it->parent, it->name);
	if (r == 0 && moves(it))
		r = ovl_journal_left_move(ws, it->id, it->new_parent, it->new_name);
	if (it->op == OVL_INTENT_RMDIR && it->id)
		r = ovl_journal_left_removed(ws, it->id);
	if (it->op == OVL_INTENT_LINK && ovl_journal_left(ws, it->id, &place) && !place.node.name)
		r = ovl_journal_left_move(ws, it->id, it->new_parent, it->new_name);
	return r == -ENOSPC ? 0 : r; /* a node less, where nothing can be written anyway */
}

static int resolve(void *arg, const struct ovl_intent *it)
{
	struct ovl_ws *ws = arg;
	bool done = false;
	int r = 0;

	switch (it->op) {
	case OVL_INTENT_CREATE:
	case OVL_INTENT_MKDIR:
	case OVL_INTENT_MKNOD:
	case OVL_INTENT_SYMLINK:
		r = resolve_make(ws, it, &done);
		break;
	case OVL_INTENT_UNLINK:
	case OVL_INTENT_RMDIR:
		r = resolve_remove(ws, it, &done);
		break;
	case OVL_INTENT_LINK:
	case OVL_INTENT_RENAME:
	case OVL_INTENT_EXCHANGE:
		r = resolve_move(ws, it, &done);
		break;
	case OVL_INTENT_COPYUP:
	case OVL_INTENT_TMPFILE:
		break; /* leave nothing but what the sweep removes */
	}
	if (r < 0)
		return r;
	if (done)
		ovl_journal_done(ws, it->unique);
	else
		ovl_journal_void(ws, it->unique);
	ws->resolved++;
	return done ? follow(ws, it) : 0;
}

static int resolve_moves(void *arg, const struct ovl_intent *it)
{
	return moves(it) ? resolve(arg, it) : 0;
}

static int resolve_others(void *arg, const struct ovl_intent *it)
{
	return moves(it) ? 0 : resolve(arg, it);
}

int ovl_recover_intents(struct ovl_ws *ws)
{
	/* First what may have moved a directory: the others are looked for below it. Of two moves
	 * one at most is of a directory (ws->rename_lock). */
	int r = ovl_journal_each_open(ws, resolve_moves, ws);

	return r < 0 ? r : ovl_journal_each_open(ws, resolve_others, ws);
}

/* ---- work/ ---- */

/* An object in work/links with no name besides is garbage; with one it is an ordinary file again.
 */
int ovl_sweep_link(void *arg, int dirfd, const char *name, const struct stat *st)
{
	(void)arg;
	if (st->st_nlink > 2)
		return 0;
	return unlinkat(dirfd, name, S_ISDIR(st->st_mode) ? AT_REMOVEDIR : 0) < 0 ? -errno : 0;
}

static int empty_tmp(struct ovl_ws *ws)
{
	_cleanup_close_ int tmp = -1;
	int r = ovl_work_open(ws, "tmp", &tmp);

	return r < 0 ? r : ovl_empty_dir(tmp);
}

/* A connection that is gone has no open files. */
static int sweep(struct ovl_ws *ws)
{
	_cleanup_close_ int orphan = -1, links = -1;
	int r = ovl_work_open(ws, "orphan", &orphan);

	if (r == 0)
		r = ovl_empty_dir(orphan);
	if (r == 0)
		r = ovl_work_open(ws, "links", &links);
	return r < 0 ? r : ovl_walk(links, ovl_sweep_link, NULL);
}

int ovl_recover(struct ovl_ws *ws)
{
	int r = ovl_recover_intents(ws);

	if (r == 0)
		r = empty_tmp(ws);
	if (r == 0 && ws->adopt)
		r = ovl_revive(ws);
	if (r == 0 && !ws->adopt)
		r = ovl_recover_marks(ws);
	if (r == 0 && !ws->adopt)
		r = sweep(ws);
	return r;
}

int ovl_recover_usage(struct ovl_ws *ws)
{
	uint64_t bytes, inodes;
	bool kept = ovl_usage_kept(ws, &bytes, &inodes);
	int r = kept ? 0 : ovl_charge_scan(ws, &bytes, &inodes);

	if (r == 0)
		ovl_usage_begin(ws, bytes, inodes, !kept);
	return r;
}
