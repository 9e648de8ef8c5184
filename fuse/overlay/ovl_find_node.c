/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a name that was found to its node. A lower entry's id is its place in the block. An upper
 * object's is, in this order: that of the node the name points to; its mark; the lower entry's, for
 * a directory that still stands at its own place over it; a new one.
 *
 * What shows through an upper directory: a redirect names its tree; else nothing if it is opaque;
 * else the lower directory of that name, if there is one.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "overlay/ovl_internal.h"
#include "overlay/ovl_state.h"

static uint64_t full_id(const struct ovl_ws *ws, uint64_t local)
{
	return ws->serial << OVL_LOCAL_BITS | local;
}

/* ws->ref for a raw pin: the pin that callers get. */
static struct ovl_node *full_pin(struct ovl_node *n)
{
	ref_get(&n->ws->ref);
	return n;
}

static int lower_node(struct ovl_node *dir, struct ovl_req *rq, const char *name, size_t len,
	const struct ovl_found *found, struct ovl_node **ret_node)
{
	bool is_dir = S_ISDIR(found->lower_mode), made;
	struct ovl_node_init init = {
		.id = found->lower_id ? found->lower_id : ovl_entry_id(dir, found->lower_idx),
		.type = found->lower_mode,
		.parent = dir,
		.name = name,
		.name_len = len,
		.lower_tree = is_dir ? &found->lower_oid : NULL,
		.lower_blob = is_dir ? NULL : &found->lower_oid,
		.lower_size = found->lower_size,
		.lower_mode = found->lower_mode,
	};
	int r;

	if (!found->lower_size_known)
		return ovl_need_set(rq, dir->ws, LOWER_NEED_TREE, &dir->dir->lower_tree);
	r = ovl_node_add(dir->ws, &init, ret_node, &made);
	if (!r && made && found->child && found->child->type != DT_WHT)
		found->child->node = *ret_node;
	return r;
}

/* What an upper object says about itself. */
struct upper_look {
	struct stat st;
	struct oid lower; /* directories: what shows through */
	uint64_t local;   /* its id, 0: has none yet */
	bool marked;
};

static int look_at_dir(struct ovl_node *dir, int dirfd, const char *name,
	const struct ovl_found *found, struct upper_look *l)
{
	bool redirected, opaque = false;
	int r = ovl_redirect_get(dirfd, name, &l->lower, &redirected);

	if (!r && !redirected)
		r = ovl_opaque_get(dirfd, name, &opaque);
	if (r || redirected || opaque || !found->lower_exists || !S_ISDIR(found->lower_mode))
		return r;
	l->lower = found->lower_oid;
	/* A switch may have put a lower one below a directory that had its own id before. */
	r = ovl_mark_get(dirfd, name, &l->local);
	l->marked = r == 0 && ovl_ids_known(dir->ws, l->local);
	if (!l->marked)
		l->local = ovl_entry_id(dir, found->lower_idx) & OVL_LOCAL_MASK;
	return r;
}

static int look(
	struct ovl_node *dir, const char *name, const struct ovl_found *found, struct upper_look *l)
{
	int dirfd, r = ovl_fd_get(dir, &dirfd);

	if (r)
		return r;
	if (fstatat(dirfd, name, &l->st, AT_SYMLINK_NOFOLLOW) < 0)
		r = errno == ENOENT ? -EIO : -errno; /* the upper was changed behind our back */
	if (!r && S_ISDIR(l->st.st_mode))
		r = look_at_dir(dir, dirfd, name, found, l);
	if (!r && !l->local) {
		r = ovl_mark_get(dirfd, name, &l->local);
		if (!ovl_ids_known(dir->ws, l->local))
			l->local = 0; /* none, or of another workspace */
		l->marked = l->local != 0;
	}
	ovl_fd_put(dir);
	return r;
}

/* Whether the node that has this id already is this very object (another of its names was looked up
 * before). */
static bool same_object(struct ovl_node *node, const struct stat *st)
{
	return (atomic_load(&node->flags) & OVL_UPPER) && node->type == (st->st_mode & S_IFMT) &&
	       atomic_load_explicit(&node->upper_ino, memory_order_relaxed) == st->st_ino;
}

static int add_upper(struct ovl_node *dir, const char *name, size_t len, const struct upper_look *l,
	struct ovl_node **ret_node, bool *ret_made)
{
	bool linked = !S_ISDIR(l->st.st_mode) && l->st.st_nlink > 1;
	struct ovl_node_init init = {
		.id = full_id(dir->ws, l->local),
		.type = l->st.st_mode,
		.flags = OVL_UPPER | (l->marked ? OVL_NODE_XATTR : 0u) | (linked ? OVL_LINKED : 0u),
		.parent = dir,
		.name = name,
		.name_len = len,
		.lower_tree = &l->lower,
	};

	return ovl_node_add(dir->ws, &init, ret_node, ret_made);
}

static void first_stat(struct ovl_node *node, const struct stat *st)
{
	LOCK_GUARD(&node->lock);
	node->charged_bytes = ovl_charge_of(st);
	ovl_attr_set_locked(node, st);
}

static int upper_node(struct ovl_node *dir, const char *name, size_t len,
	const struct ovl_found *found, struct ovl_node **ret_node)
{
	struct upper_look l = {0};
	struct ovl_node *node;
	bool made = false;
	int r = look(dir, name, found, &l);

	if (!r && l.local)
		r = add_upper(dir, name, len, &l, &node, &made);
	if (!r && l.local && !made && !same_object(node, &l.st)) {
		ovl_unpin_raw(node); /* a mark that was copied: the second to come gets an id of its
					own */
		l.local = 0;
	}
	if (!r && !l.local) {
		l.marked = false;
		r = ovl_ids_alloc(dir->ws, 1, &l.local);
		if (!r)
			r = add_upper(dir, name, len, &l, &node, &made);
	}
	if (r)
		return r;
	if (made) {
		first_stat(node, &l.st);
		found->child->node = node;
		(void)ovl_journal_node(node); /* a full disk must not stop reading; only a takeover
						 would miss it */
	}
	*ret_node = node;
	return 0;
}

int ovl_node_of_locked(struct ovl_node *dir, struct ovl_req *rq, const char *name, size_t len,
	const struct ovl_found *found, struct ovl_node **ret_node)
{
	struct ovl_node *node;
	int r;

	if (found->where == OVL_ABSENT)
		return -ENOENT;
	if (found->where == OVL_IN_UPPER && found->child->node) {
		*ret_node = ovl_node_pin(found->child->node);
		return 0;
	}
	if (found->where == OVL_IN_LOWER)
		r = lower_node(dir, rq, name, len, found, &node);
	else
		r = upper_node(dir, name, len, found, &node);
	if (!r)
		*ret_node = full_pin(node);
	return r;
}

/* ---- fresh objects ---- */

/* A node that is in the table for an object that will not come to be. */
static void abandon(struct ovl_node *node)
{
	atomic_fetch_and(&node->flags, ~(unsigned)OVL_UPPER);
	ovl_node_detach_locked(node);
	ovl_unpin_raw(node);
}

static int add_fresh(struct ovl_ws *ws, struct ovl_node_init *init, struct ovl_node **ret_node)
{
	struct ovl_node *node;
	uint64_t local;
	bool made;
	int r = ovl_ids_alloc(ws, 1, &local);

	if (r)
		return r;
	init->id = full_id(ws, local);
	r = ovl_node_add(ws, init, &node, &made);
	if (r)
		return r;
	if (node->dir) /* new and empty: nothing to be loaded */
		atomic_store(&node->dir->names_loaded, true);
	r = ovl_journal_node(node);
	if (r)
		abandon(node);
	else
		*ret_node = node;
	return r;
}

int ovl_node_new_locked(struct ovl_node *dir, const char *name, size_t len, const struct stat *made,
	struct ovl_node **ret_node)
{
	struct ovl_node_init init = {.type = made->st_mode & S_IFMT,
		.flags = OVL_UPPER,
		.parent = dir,
		.name = name,
		.name_len = len,
		.upper_ino = made->st_ino};
	struct ovl_child *child;
	struct ovl_node *node;
	int r = add_fresh(dir->ws, &init, &node);

	if (r)
		return r;
	child = ovl_names_put(&dir->dir->names, name, len, (uint8_t)IFTODT(init.type));
	if (!child) {
		abandon(node);
		return -ENOMEM;
	}
	child->node = node;
	*ret_node = full_pin(node);
	return 0;
}

int ovl_node_new_orphan(struct ovl_ws *ws, mode_t type, struct ovl_node **ret_node)
{
	struct ovl_node_init init = {.type = type, .flags = OVL_UPPER | OVL_ORPHAN};
	struct ovl_node *node;
	int r = add_fresh(ws, &init, &node);

	if (!r)
		*ret_node = full_pin(node);
	return r;
}
