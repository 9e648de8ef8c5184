/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The overlay's own structures and the calls between its files. Read README.md (overlay law) first.
 *
 *	overlay ──► ovl_ws (by name, by serial)
 *	             ├── ids: next one, lookup counts (mapped file), blocks (lower directory ↔ ids)
 *	             ├── nodes: id → ovl_node, for what has state of its own: directories that were
 *	             │   entered, upper objects the kernel knows, lower files that were changed
 *	             ├── journal (mapped file): BLOCK, NODE, DROP, INTENT, DONE, VOID
 *	             └── upper/ (what the job wrote) and work/ (tmp/, orphan/, links/, ...)
 *
 * An untouched lower file has no node: it is (directory, index), found by binary search over the
 * blocks. "obj" below is either.
 *
 * Lock order (base/lock.h): ws->rename_lock (OVL_WS) → dir->lock (OVL_DIR; two of them only through
 * ovl_dir_lock_pair) → node->lock (OVL_NODE) → table shard (OVL_TABLE) → fds (OVL_FDS) → journal
 * (OVL_JOURNAL). No lock is held over a fetch. A directory lock may be held over syscalls on the
 * local upper.
 */
#pragma once
#include "fuse/overlay.h"
#include "overlay/ovl_shrink.h"

#include <base/hashmap.h>
#include <base/list.h>
#include <base/lock.h>
#include <base/quota.h>
#include <base/ref.h>
#include <stdatomic.h>

#define OVL_LOCAL_MASK   ((1ull << OVL_LOCAL_BITS) - 1)
#define OVL_LOCAL_ROOT   1ull
#define OVL_TABLE_SHARDS 16

/* Marks in the upper; none is visible from inside. */
#define OVL_XATTR_PREFIX "trusted.overlay."
#define OVL_XATTR_OPAQUE "trusted.overlay.opaque" /* "y": nothing of the lower shows through */
#define OVL_XATTR_REDIRECT                                                                      \
	"trusted.overlay.redirect" /* "/<tree oid>": the lower directory below this one is that \
				      tree */
#define OVL_XATTR_OWN "trusted.coppice."
#define OVL_XATTR_NODE                                                                           \
	"trusted.coppice.node" /* 8 bytes little endian: local id; how an id survives FORGET and \
				  restart */

/* ---- a directory's names in the upper (ovl_names.c): an ordered hash table ---- */

/* Iteration is in order of (hash, name), so a hash is a position for readdir that survives change
 * and restart. */
struct ovl_child {
	struct ovl_child *next; /* in the bucket, ascending */
	uint64_t hash;          /* 62 bits, never 0: ovl_name_hash */
	/* The node whose own place (parent, name) this is, if it is in the table. Not pinned by
	 * this pointer; cleared by eviction. Other names of a hard-linked node have NULL here: they
	 * are found by their mark. */
	struct ovl_node *node;
	uint8_t type; /* DT_*; DT_WHT for a whiteout */
	uint16_t name_len;
	char name[]; /* NUL-terminated */
};
struct ovl_names {
	struct ovl_child **bucket; /* bucket index = top bits of the hash, so that walking buckets
				      walks in hash order */
	uint32_t bucket_bits, whiteouts, subdirs;
	_Atomic uint32_t count; /* read without the lock by lookups: 0 means that only the lower can
				   have the name */
};
uint64_t ovl_name_hash(
	const char *name, size_t len); /* fixed key: positions must survive restart */
void ovl_names_init(struct ovl_names *t);
void ovl_names_fini(struct ovl_names *t);
struct ovl_child *ovl_names_find(const struct ovl_names *t, const char *name, size_t len);
/* Insert or change the type; NULL: no memory. Keeps whiteouts and subdirs counted. */
struct ovl_child *ovl_names_put(struct ovl_names *t, const char *name, size_t len, uint8_t type);
void ovl_names_remove(struct ovl_names *t, const char *name, size_t len);
/* First child whose hash is > `after` (0: the first). Children with equal hashes follow each other
 * by `next` of the walk. */
struct ovl_child *ovl_names_after(const struct ovl_names *t, uint64_t after);
/* The child after `c` in the order of the walk; NULL at the end. */
struct ovl_child *ovl_names_next(const struct ovl_names *t, const struct ovl_child *c);

/* ---- nodes ---- */

enum ovl_node_flag {
	OVL_UPPER = 1 << 0,  /* has an object in the upper (or in orphan/, links/) */
	OVL_ORPHAN = 1 << 1, /* no name left; lives in work/orphan/<id> if OVL_UPPER, until the last
				FORGET */
	OVL_LINKED = 1 << 2, /* had a second name once: lives in work/links/<id> too, which is how
			      * it is opened; nlink is one less than on disk. A non-directory that
			      * is loaded with st_nlink > 1 is LINKED. */
	OVL_NODE_XATTR = 1 << 3, /* OVL_XATTR_NODE has been written */
	OVL_COPYING = 1 << 4,    /* a copy-up is under way; wait on ws->copy_done */
	OVL_ATTR = 1 << 5,       /* attr is valid */
	OVL_DEAD = 1 << 6,       /* removed directory: calls on it are -ENOENT */
};

struct ovl_dir;

struct ovl_node {
	struct ovl_ws *ws;
	uint64_t id;
	mode_t type;           /* S_IFMT part; const */
	_Atomic uint32_t pins; /* calls that use it now, and child nodes that name it as parent; 0 →
				* 1 only under the shard's lock or the parent's directory lock, 1 →
				* 0 only under the shard's lock */
	_Atomic unsigned flags; /* changed under lock (OVL_NODE), or dir->lock of the parent for
				   OVL_ORPHAN */
	struct lock lock;       /* LOCK_RANK_OVL_NODE */

	/* Where it is: changed under the parent's directory lock (both for a change of parent) and
	 * the shard's lock, so that either is enough to read it. The parent is pinned, and stays so
	 * when the name is gone. NULL: the workspace's root, or born without name. */
	struct ovl_node *parent;
	char *name;
	size_t name_len;
	/* Inode number of the upper object, 0 while unknown: what is reached by name is compared
	 * with it, since a rename may be between its syscall and its update of the tables. Set by
	 * the first stat. */
	_Atomic uint64_t upper_ino;

	struct stat attr; /* guarded by lock; valid with OVL_ATTR; st_ino is the id, st_nlink the
			     visible one */
	uint64_t charged_bytes; /* guarded by lock; what the quota was charged for this object */
	uint64_t content; /* guarded by lock; goes up with every change of an upper file's bytes */
	struct content_digests *digests; /* guarded by lock; of those bytes; NULL: not known */
	struct oid
		lower_blob; /* lower content while a lower file has a node and is not OVL_UPPER */
	uint64_t lower_size;
	uint32_t lower_mode;

	_Atomic bool journaled;      /* has a NODE record */
	_Atomic bool used;           /* a hint: since ovl_shrink.c last came by */
	struct ovl_node *evict_next; /* in ws->evict, while it waits there */

	int fd;             /* cached descriptor or -1; guarded by ws->overlay->fds lock */
	uint32_t fd_users;  /* same guard */
	struct list fd_lru; /* same guard */

	struct ovl_dir *dir; /* for directories; const once the node is in the table */
};

struct ovl_dir {
	struct lock lock; /* LOCK_RANK_OVL_DIR */
	bool has_lower;   /* lower_tree shows through; false when opaque */
	struct oid lower_tree;
	/* Set by ovl_dir_load, under lock, before names_loaded is published. These and the two
	 * above change after that only while no call runs (ovl_switch.c). */
	uint64_t block_base;  /* local id of entry 0 of lower_tree; 0 = it has no lower or an empty
				 one */
	uint32_t block_count; /* entries of lower_tree */
	const struct ovl_map *map; /* ids of the entries, instead of block_base; NULL: it was never
				      switched */
	bool awaited; /* pinned until it is loaded, for what is to come back (ovl_left.c); guarded
			 by lock */
	_Atomic bool names_loaded; /* block and names (the complete content of the upper directory)
				      are there */
	struct ovl_names names;    /* empty and loaded if the directory has no upper */
	_Atomic uint32_t subdirs;  /* visible sub-directories, for st_nlink; changed under lock by
				      whoever adds or removes one */
};

struct ovl_block {
	uint64_t base; /* local */
	uint32_t count;
	uint32_t first;   /* entry of the tree that has the id `base` */
	bool part;        /* of a tree, made by a switch: the directory has a map */
	struct oid tree;  /* names and contents of this range */
	uint64_t dir_id;  /* whose children they are */
	uint64_t time_ns; /* of the entries; 0: from before the first switch */
};

/* A thing that a call works on. Get with ovl_obj_get, release with ovl_obj_put. */
struct ovl_obj {
	struct ovl_ws *ws;     /* referenced */
	struct ovl_node *node; /* pinned; NULL for an untouched lower entry */
	uint64_t id;
	/* for an untouched lower entry, as it was when the id was made */
	uint64_t dir_id; /* full id */
	struct oid tree; /* the block's tree */
	uint32_t idx;
	/* dir_id, tree and idx are also set for a node that has no upper yet and whose id lies in a
	 * block; dir_id is 0 otherwise. */
};

struct ovl_fds {
	struct lock lock; /* LOCK_RANK_OVL_FDS */
	struct list lru;  /* ovl_node.fd_lru, least recent first; only with fd_users == 0 */
	unsigned open, max;
};

struct ovl_shard {
	struct lock lock;   /* LOCK_RANK_OVL_TABLE */
	struct hashmap map; /* id → ovl_node */
};

struct ovl_journal;
struct ovl_refs;
struct ovl_blocks;
struct ovl_maps;
struct ovl_left;

/* Keeps calls out for the moment of a switch (ovl_gate.c). */
struct ovl_gate {
	_Atomic uint32_t inside; /* calls */
	_Atomic bool closed;     /* written under lock */
	struct lock lock;        /* LOCK_RANK_OVL_GATE */
	struct cond opened;
};

struct pool;

struct ovl_ws {
	struct overlay *overlay;
	struct ref ref;         /* the table's, and one per call or need */
	_Atomic uint32_t needs; /* references of `ref` that are held by an ovl_need: a removal does
				   not wait for them */
	_Atomic bool dead;      /* removed: new calls get -ESTALE */
	char *name;
	uint64_t serial;
	struct lower *lower;
	struct oid root_tree;       /* as lower_tree of a directory */
	struct timespec lower_time; /* of what is entered from now on */
	struct timespec first_time; /* of what was entered before the first switch */
	uint32_t generation;        /* switches so far; changes while no call runs, as the next */
	struct oid switched_to;     /* root of the last one; none before the first */
	uid_t uid;
	gid_t gid;
	bool read_only;
	bool adopt; /* const; see ovl_ws_config */
	struct quota *quota;

	struct list link; /* overlay.workspaces */
	_Atomic(struct ovl_node *)
		evict; /* claimed nodes without refs that were let go of under a lock */
	void (*crash_hook)(struct ovl_ws *ws, const char *point); /* tests only; NULL */

	int upper_fd, work_fd; /* all that an idle workspace holds open */

	struct lock rename_lock; /* LOCK_RANK_OVL_WS: renames of directories */
	struct lock copy_lock;   /* LOCK_RANK_LEAF: with copy_done, waits for OVL_COPYING */
	struct cond copy_done;

	struct ovl_shard shard[OVL_TABLE_SHARDS];
	struct ovl_blocks *blocks;    /* ovl_block.c */
	struct ovl_maps *maps;        /* ovl_map.c */
	struct ovl_refs *refs;        /* ovl_refs.c */
	struct ovl_journal *journal;  /* ovl_journal.c */
	struct ovl_left *left;        /* ovl_left.c; const once open; NULL: nobody was before us */
	struct ovl_node *root;        /* pinned for the life of the workspace */
	_Atomic uint64_t usage_moves; /* how often the charge changed (ovl_usage.c) */
	_Atomic uint32_t reaping;     /* removals of orphans that are under way */
	_Atomic bool uncounted;       /* what is charged is what the last process had charged */
	uint64_t count_at_ns, count_took_ns; /* of ovl_usage_chore alone */
	unsigned count_tries;                /* likewise */
	_Atomic unsigned chores;             /* enum ovl_chore that were asked for (ovl_chores.c) */
	_Atomic uint64_t tmp_serial;         /* names in work/tmp */
	_Atomic uint64_t copied_up, orphan_count, node_count, dir_count;
	uint64_t revived, resolved; /* const once open */
};

struct overlay {
	char tenant[64];
	mode_t root_mode, ws_mode; /* of its directory, and of that of a new workspace; const */
	const struct clock *clock;
	struct metrics *metrics;
	struct ovl_gate gate;
	struct rwlock lock; /* LOCK_RANK_OVL: the two tables */
	struct hashmap by_serial;
	struct list workspaces;
	struct ovl_fds fds;
	struct ovl_shrink shrink;
	struct ovl_digester *digester;
	struct pool *chores; /* ovl_chores.c */
	struct timespec root_time;
	_Atomic uint64_t nodes_freed;     /* a statistic: when memory is worth giving back */
	_Atomic uint64_t compactions;     /* a statistic */
	_Atomic uint64_t usage_corrected; /* a statistic: what a takeover charged was not right */
};

/* ================= part "state": written by ovl.c, ovl_*.c named in brackets ================= */

/* Workspace of an id, referenced; NULL: none or dead. [ovl.c] */
struct ovl_ws *ovl_ws_of(struct overlay *o, uint64_t id);
struct ovl_ws *ovl_ws_unref(struct ovl_ws *ws);

/* ids and counts [ovl_refs.c]: u32 lookup counts by local id in a MAP_SHARED file whose blocks are
 * allocated ahead, so that a full disk is an error here and never a SIGBUS. Allocation of ids: */
int ovl_ids_alloc(struct ovl_ws *ws, uint32_t count, uint64_t *ret_local); /* -ENOSPC */
void ovl_refs_add(struct ovl_ws *ws, uint64_t local, uint32_t n);
/* Subtract, clamped at zero; returns what is left. */
uint32_t ovl_refs_sub(struct ovl_ws *ws, uint64_t local, uint64_t n);
uint32_t ovl_refs_get(struct ovl_ws *ws, uint64_t local);
/* Whether the kernel may have pages of a lower file, which a program may have changed through a
 * mapping: from a READ until they were written back and dropped, or the last FORGET. */
void ovl_refs_pages_come(struct ovl_ws *ws, uint64_t local);
void ovl_refs_pages_go(struct ovl_ws *ws, uint64_t local); /* about to be dropped */
void ovl_refs_pages_gone(struct ovl_ws *ws, uint64_t local);
bool ovl_refs_has_pages(struct ovl_ws *ws, uint64_t local);

/* rq->need: kind and oid are missing in ws's lower; takes a reference on ws. Returns -EAGAIN.
 * [ovl_ws.c] */
int ovl_need_set(
	struct ovl_req *rq, struct ovl_ws *ws, enum lower_need_kind kind, const struct oid *oid);
/* So that what a crawl will want next can be fetched ahead: tells the lower which entry is missing,
 * and where its directory stands, up to the root. [ovl_read.c] */
void ovl_tell_missed(struct ovl_ws *ws, uint64_t id);
/* lower->ops->tree, with -EAGAIN turned into a need. */
int ovl_tree_view(
	struct ovl_ws *ws, struct ovl_req *rq, const struct oid *tree, struct tree_view *ret_view);

/* Which lower directory an id belongs to. False: none. Lock-free. [ovl_block.c] */
bool ovl_block_of(const struct ovl_ws *ws, uint64_t local, struct ovl_block *ret_block);
/* Which entry of block->tree an id of the block is. */
static inline uint32_t ovl_block_idx(const struct ovl_block *block, uint64_t id)
{
	return block->first + (uint32_t)((id & OVL_LOCAL_MASK) - block->base);
}
/* The id of entry `idx` of a loaded directory's lower tree. [ovl_dir.c] */
uint64_t ovl_entry_id(const struct ovl_node *dir, uint32_t idx);
/* The block of a directory, allocated (and journaled) on first need. `tree` has `count` > 0
 * entries. */
int ovl_block_get(struct ovl_ws *ws, uint64_t dir_id, const struct oid *tree, uint32_t count,
	uint64_t *ret_base);

/* Every call that takes an id begins with ovl_obj_get or ovl_dir_get, without any lock held: they
 * also evict what waits in ws->evict. */

/* Resolve an id. -ESTALE: no such node (any more); -EAGAIN: it comes back from the last process,
 * and a tree above it is not local. [ovl_node.c] */
int ovl_obj_get(struct overlay *o, struct ovl_req *rq, uint64_t id, struct ovl_obj *ret_obj);
void ovl_obj_put(struct ovl_obj *obj);
/* The same, for a directory that is to be entered: makes its node if it had none. Block and names
 * are loaded (-EAGAIN + rq->need if the tree is not local; -ENOTDIR; -ESTALE; -ENOENT for a removed
 * directory). */
int ovl_dir_get(struct overlay *o, struct ovl_req *rq, uint64_t id, struct ovl_node **ret_dir);
/* The node of a directory of the lower that has none, through those above it; pinned. Errors as
 * above. */
int ovl_dir_enter(struct ovl_ws *ws, struct ovl_req *rq, uint64_t id, struct ovl_node **ret_node);
/* Block and names of a directory node, if they are not there yet. No directory lock held. */
int ovl_dir_load(struct ovl_node *dir, struct ovl_req *rq);
/* A reference on ws travels with the pin. The caller has a pin already. */
struct ovl_node *ovl_node_pin(struct ovl_node *n);
/* The last unpin of a node the kernel has forgotten hands it to ovl_evict.c (which works later, so
 * any locks may be held). Accepts NULL, returns NULL. */
struct ovl_node *ovl_node_unpin(struct ovl_node *n);
static inline void ovl_node_cleanup(struct ovl_node **n)
{
	ovl_node_unpin(*n);
}
#define _cleanup_node_ __attribute__((cleanup(ovl_node_cleanup)))

void ovl_dir_lock_pair(struct ovl_node *a, struct ovl_node *b);
void ovl_dir_unlock_pair(struct ovl_node *a, struct ovl_node *b);

/* What a name in a locked directory is. [ovl_lookup.c] */
enum ovl_where { OVL_ABSENT, OVL_IN_LOWER, OVL_IN_UPPER };
struct ovl_found {
	enum ovl_where where;
	struct ovl_child *child; /* OVL_IN_UPPER; also the whiteout that hides a lower entry, with
				    where == OVL_ABSENT */
	bool lower_exists; /* the lower tree has the name, hidden or not: removing the name needs a
			      whiteout */
	uint32_t lower_idx;
	uint64_t lower_id; /* 0: that of entry lower_idx now; a copy-up gives the one it began with
			    */
	/* the lower entry, copied out, if lower_exists */
	uint32_t lower_mode;
	struct oid lower_oid;
	uint64_t lower_size;
	bool lower_size_known;
};
/* Caller holds dir->dir->lock; never blocks on a remote (-EAGAIN + rq->need). */
int ovl_find_locked(struct ovl_node *dir, struct ovl_req *rq, const char *name, size_t len,
	struct ovl_found *ret_found);
/* The node of what was found, pinned, made if needed (stat of an upper object; a lower file gets
 * lower_blob). For a directory too, without loading it. Caller holds the directory's lock. -ENOENT
 * if absent. */
int ovl_node_of_locked(struct ovl_node *dir, struct ovl_req *rq, const char *name, size_t len,
	const struct ovl_found *found, struct ovl_node **ret_node);
/* For OVL_IN_LOWER `found` may also be made by hand (a removed lower file that is still used):
 * names are looked at only to set child->node. */
/* A node for a fresh object, `made`: new id, NODE journaled, in the table, child entry put and set,
 * pinned, OVL_UPPER; no attr yet. A directory is loaded and empty, without lower. dir->subdirs is
 * the caller's to change. */
int ovl_node_new_locked(struct ovl_node *dir, const char *name, size_t len, const struct stat *made,
	struct ovl_node **ret_node);
/* The same without a name (O_TMPFILE): OVL_ORPHAN until ovl_node_move_locked gives it one. */
int ovl_node_new_orphan(struct ovl_ws *ws, mode_t type, struct ovl_node **ret_node);
/* Entry reply for a node: attr filled (stat if needed), lookup counted. Takes node->lock. */
int ovl_entry_of(struct ovl_node *node, struct ovl_req *rq, struct ovl_entry *ret_entry);
/* Attributes of a lower entry. */
void ovl_lower_attr(const struct ovl_ws *ws, uint64_t id, uint32_t mode, uint64_t size,
	uint32_t subdirs, struct stat *ret_attr);
/* node->attr up to date (fstatat through ovl_node_statat if not OVL_ATTR). Caller holds node->lock.
 */
int ovl_attr_load_locked(struct ovl_node *node, struct ovl_req *rq);
/* Take a stat of the backing object as the attributes: st_ino is the id, st_nlink the visible one;
 * sets OVL_ATTR and upper_ino. Caller holds node->lock. */
void ovl_attr_set_locked(struct ovl_node *node, const struct stat *disk);
/* Forget the cached attributes of a directory whose upper was changed. Takes node->lock. */
void ovl_attr_drop(struct ovl_node *node);
/* Give a node a new place: parent pins, child->node of the old place (if it is still there) and the
 * new (put before), NODE record; an orphan is none any more. Does not touch the set of names.
 * `name` is from malloc and becomes the node's: the disk has changed already, so nothing may fail.
 * Caller holds the locks of the directories involved. [ovl_place.c] */
void ovl_node_move_locked(
	struct ovl_node *node, struct ovl_node *new_parent, char *name, size_t len);
/* No name any more: child->node cleared if the child is still there, OVL_ORPHAN, NODE record. The
 * parent stays pinned. */
void ovl_node_detach_locked(struct ovl_node *node);

/* Descriptors [ovl_fds.c]. A directory: O_PATH of the upper directory (must be OVL_UPPER). A file:
 * O_RDWR of the upper object, wherever it lives (name, links/, orphan/). Opened by walking up to
 * the nearest cached ancestor. Put it back when done; fds are shared. */
int ovl_fd_get(struct ovl_node *node, int *ret_fd);
void ovl_fd_put(struct ovl_node *node);
/* Hand over a descriptor that was just opened for a node without one. */
void ovl_fd_adopt(struct ovl_node *node, int fd);
void ovl_fd_drop(struct ovl_node *node);
/* Names below work/, for calls with ws->work_fd: orphan/ and links/ with the local part of the id,
 * 16 hex digits. */
#define OVL_WORK_NAME 24
void ovl_orphan_name(uint64_t id, char ret_name[OVL_WORK_NAME]);
void ovl_links_name(uint64_t id, char ret_name[OVL_WORK_NAME]);
/* Directory fd and name by which an upper object can be reached with *at calls; release with
 * ovl_at_put. */
struct ovl_at {
	int dirfd;
	char name[256];
	struct ovl_node *holder; /* whose fd is borrowed; NULL for work/ directories */
};
int ovl_at_get(struct ovl_node *node, struct ovl_at *ret_at);
void ovl_at_put(struct ovl_at *at);

/* Journal [ovl_journal.c]. Append is a short leaf-locked memcpy; -ENOSPC before anything is done.
 */
enum ovl_intent_op {
	OVL_INTENT_CREATE = 1,
	OVL_INTENT_MKDIR,
	OVL_INTENT_MKNOD,
	OVL_INTENT_SYMLINK,
	OVL_INTENT_LINK,
	OVL_INTENT_UNLINK,
	OVL_INTENT_RMDIR,
	OVL_INTENT_RENAME,
	OVL_INTENT_EXCHANGE,
	OVL_INTENT_COPYUP,
	OVL_INTENT_TMPFILE,
};
struct ovl_intent {
	uint64_t unique;
	enum ovl_intent_op op;
	uint64_t id; /* node concerned, 0 if none yet */
	uint64_t parent, new_parent;
	const char *name, *new_name; /* NULL if none */
	uint64_t backing_ino; /* of the upper object, 0 unknown: tells on recovery whether the
				 effect is there */
};
int ovl_journal_intent(struct ovl_ws *ws, const struct ovl_intent *intent);
void ovl_journal_done(struct ovl_ws *ws, uint64_t unique); /* room was reserved with the intent */
/* Close an intent whose syscall failed: like done, but ovl_journal_was_done says no. */
void ovl_journal_void(struct ovl_ws *ws, uint64_t unique);
/* A request of that unique has succeeded: one of the last 65,536. Ask before doing a request that
 * was sent again. */
bool ovl_journal_was_done(struct ovl_ws *ws, uint64_t unique);
/* Every node in the table with OVL_UPPER has a NODE record with its place. Call it when a node
 * becomes OVL_UPPER; move and detach do. */
int ovl_journal_node(struct ovl_node *node);
/* The same of a directory whose name goes or is gone, with its attributes: ovl_removed.h. */
int ovl_journal_removed(struct ovl_node *dir, const struct stat *attr);
void ovl_journal_drop(struct ovl_ws *ws, uint64_t id);
int ovl_journal_block(struct ovl_ws *ws, const struct ovl_block *block);

/* What the last process left, for ovl_recover. [ovl_replay.c] A non-zero answer of the visitor ends
 * the walk and is returned. */
typedef int (*ovl_intent_visit)(void *arg, const struct ovl_intent *intent);
int ovl_journal_each_open(struct ovl_ws *ws, ovl_intent_visit fn, void *arg); /* no DONE */
struct ovl_left_node {
	uint64_t id, parent;
	mode_t type;
	uint64_t upper_ino; /* 0: not known when it was written */
	const char *name;
	size_t name_len;
	const struct stat *removed; /* what it is if its name is gone; NULL: not known */
};
typedef int (*ovl_left_visit)(void *arg, const struct ovl_left_node *node);
int ovl_journal_each_node(struct ovl_ws *ws, ovl_left_visit fn, void *arg); /* named ones */
/* The record of one id; name NULL: it has none. False: there is no record. */
struct ovl_left_place {
	struct ovl_left_node node;
	char name[256];      /* node.name points here */
	struct stat removed; /* node.removed points here */
};
bool ovl_journal_left(struct ovl_ws *ws, uint64_t id, struct ovl_left_place *ret_place);
/* A change that its process did not finish has given the object this place. No record of the id: 0.
 */
int ovl_journal_left_move(struct ovl_ws *ws, uint64_t id, uint64_t parent, const char *name);
/* The same, of a directory that lost its name and had no record: nothing was in the upper. */
int ovl_journal_left_removed(struct ovl_ws *ws, uint64_t id);
/* O_PATH descriptor of the upper directory of an id, to be closed by the caller. -ENOENT: it has
 * none. */
int ovl_journal_open_dir(struct ovl_ws *ws, uint64_t dir_id, int *ret_fd);

/* ================= part "change" ================= */

/* Upper directory for `dir` and all its parents (mkdir chain, marks, times kept). No lock of `dir`
 * held. [ovl_copyup.c] */
int ovl_dir_need_upper(struct ovl_node *dir, struct ovl_req *rq);
/* The object gets an upper file with the content of the lower one (`with_data` false: empty, for
 * O_TRUNC). On return obj->node is set and OVL_UPPER. Blocks on local disk only; -EAGAIN + need if
 * the blob is not local. No lock held by the caller. */
int ovl_copyup(struct ovl_obj *obj, struct ovl_req *rq, bool with_data);
/* Whiteout at dirfd/name (a link to work/whiteout). [ovl_whiteout.c] */
int ovl_whiteout_make(struct ovl_ws *ws, int dirfd, const char *name);
bool ovl_is_whiteout(const struct stat *st);
int ovl_opaque_get(int dirfd, const char *name, bool *ret_opaque);
int ovl_opaque_set(int fd);
/* 0 with *ret_found; reads OVL_XATTR_REDIRECT. */
int ovl_redirect_get(int dirfd, const char *name, struct oid *ret_tree, bool *ret_found);
int ovl_redirect_set(int fd, const struct oid *tree);
/* The id mark. get: 0 = none. `at` style: works on any type without following. */
int ovl_mark_get(int dirfd, const char *name, uint64_t *ret_local);
int ovl_mark_set(int dirfd, const char *name, uint64_t local);
/* xattr on dirfd/name without following the last component and without opening it. */
ssize_t ovl_xattr_at_get(int dirfd, const char *name, const char *attr, void *value, size_t cap);
int ovl_xattr_at_set(
	int dirfd, const char *name, const char *attr, const void *value, size_t len, int flags);

/* What an object costs [ovl_charge.c]: regular files by space used, rounded to 4 KiB, never more
 * than the rounded size unless space was preallocated beyond it; others nothing. One function of
 * stat, so that a recount after a crash gives the same sum. */
uint64_t ovl_charge_of(const struct stat *st);
/* Bring node->charged_bytes to what `st` says. Caller holds node->lock. */
void ovl_charge_settle_locked(struct ovl_node *node, const struct stat *st);
/* Sum over upper/ and work/{orphan,links}: each inode once, whiteouts and the skeleton not at all.
 */
int ovl_charge_scan(struct ovl_ws *ws, uint64_t *ret_bytes, uint64_t *ret_inodes);

/* Digests of content [ovl_digest.c]. -EAGAIN with a need where they must be computed first. */
struct ovl_digester;
int ovl_digester_new(struct ovl_digester **ret_digester);
struct ovl_digester *ovl_digester_free(struct ovl_digester *d); /* waits for what runs */
int ovl_digest_lower(struct ovl_ws *ws, struct ovl_req *rq, const struct oid *blob,
	struct content_digests *ret_digests);
/* A regular file that is OVL_UPPER. */
int ovl_digest_upper(
	struct ovl_node *node, struct ovl_req *rq, struct content_digests *ret_digests);
/* Before what the lower says of a lower file's content is told: -EAGAIN with a need if the kernel
 * has to write back its pages first, after which it may be an upper one. */
int ovl_digest_settle(struct ovl_obj *obj, struct ovl_req *rq);
/* ovl_fetch for a need that names a file. */
int ovl_digest_start(struct ovl_need *need, uint64_t deadline_ns, lower_done fn, void *arg);
/* The bytes of an upper file changed: with every write, truncate, fallocate, copy. Caller holds
 * node->lock, and has held it since before the change. */
void ovl_content_changed_locked(struct ovl_node *node);

/* At ovl_ws_add, after the journal was replayed and before the workspace is visible
 * [ovl_recover.c]: resolve open intents, write OVL_XATTR_NODE for named nodes that lack it, empty
 * tmp/ and orphan/. */
int ovl_recover(struct ovl_ws *ws);
/* After that, with the journal that goes on: charge the quota. */
int ovl_recover_usage(struct ovl_ws *ws);
/* Last FORGET of an orphan: remove work/orphan/<id>, give the quota back. [ovl_remove.c] */
void ovl_orphan_reap(struct ovl_node *node);
/* Before eviction of a named upper node: make its id durable. [ovl_whiteout.c's marks] */
int ovl_node_persist_id(struct ovl_node *node);

/* A named stage of a mutation, where tests end the process. */
static inline void ovl_crash_point(struct ovl_ws *ws, const char *point)
{
	if (ws->crash_hook)
		ws->crash_hook(ws, point);
}
