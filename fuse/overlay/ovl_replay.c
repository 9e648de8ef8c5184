/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the last process left in the journal, for ovl_recover: open intents, nodes with their names,
 * and the way from a directory's id to its upper directory. Valid between ovl_journal_open and
 * ovl_journal_restart, on the thread that opens the workspace.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "overlay/ovl_journal_internal.h"
#include "overlay/ovl_removed.h"
#include "overlay/ovl_state.h"

#define DEPTH_MAX 65536u /* more is a cycle */

static uint64_t full_id(const struct ovl_ws *ws, uint64_t local)
{
	return local ? ws->serial << OVL_LOCAL_BITS | (local & OVL_LOCAL_MASK) : 0;
}

/* The latest NODE record of an id; NULL: none. */
static const void *left_record(const struct ovl_journal *j, uint64_t local)
{
	size_t at = j->left ? ovl_index_get(&j->left->nodes, local) : 0;

	return at ? j->map.base + at : NULL;
}

int ovl_journal_each_open(struct ovl_ws *ws, ovl_intent_visit fn, void *arg)
{
	const struct ovl_scan *left = ws->journal->left;
	int r = 0;

	if (!left)
		return 0;
	for (struct hashmap_cursor it = {0}; !r && hashmap_next(&left->intents, &it);) {
		char name[256] = "", new_name[256] = "";
		struct ovl_record rec = {0};

		ovl_record_read(it.value, &rec);
		if (rec.name_len)
			memcpy(name, rec.name, rec.name_len);
		if (rec.new_name_len)
			memcpy(new_name, rec.new_name, rec.new_name_len);
		r = fn(arg, &(struct ovl_intent){
				    .unique = rec.unique,
				    .op = (enum ovl_intent_op)rec.op,
				    .id = full_id(ws, rec.id),
				    .parent = full_id(ws, rec.parent),
				    .new_parent = full_id(ws, rec.new_parent),
				    .name = rec.name_len ? name : NULL,
				    .new_name = rec.new_name_len ? new_name : NULL,
				    .backing_ino = rec.ino,
			    });
	}
	return r;
}

static bool is_named(const struct ovl_record *rec)
{
	return rec->name_len && rec->parent && !(rec->flags & OVL_ORPHAN) &&
	       !memchr(rec->name, '/', rec->name_len) && !memchr(rec->name, 0, rec->name_len);
}

int ovl_journal_each_node(struct ovl_ws *ws, ovl_left_visit fn, void *arg)
{
	const struct ovl_journal *j = ws->journal;
	uint64_t local = 0;
	int r = 0;

	if (!j->left)
		return 0;
	while (!r && (local = ovl_index_next(&j->left->nodes, local + 1))) {
		char name[256] = "";
		struct ovl_record rec = {0};

		ovl_record_read(left_record(j, local), &rec);
		if (!is_named(&rec))
			continue;
		memcpy(name, rec.name, rec.name_len);
		r = fn(arg, &(struct ovl_left_node){
				    .id = full_id(ws, rec.id),
				    .parent = full_id(ws, rec.parent),
				    .type = rec.mode & S_IFMT,
				    .upper_ino = rec.ino,
				    .name = name,
				    .name_len = rec.name_len,
			    });
	}
	return r;
}

/* A lower directory at its own place: its name is in its parent's tree. */
static int place_in_lower(struct ovl_ws *ws, uint64_t local, uint64_t *ret_parent, char **ret_name)
{
	struct ovl_block block;
	struct ovl_req rq = {0};
	struct tree_view view;
	struct tree_entry entry;
	int r;

	if (!ovl_block_of(ws, local, &block))
		return -ENOENT;
	r = ovl_tree_view(ws, &rq, &block.tree, &view);
	if (r == -EAGAIN)
		ovl_need_drop(&rq.need);
	if (r)
		return r;
	if (ovl_block_idx(&block, local) >= view.count) {
		tree_view_end(&view);
		return -EIO; /* the record is not the one that the block was made for */
	}
	tree_view_entry(&view, ovl_block_idx(&block, local), &entry);
	*ret_name = strndup(entry.name, entry.name_len);
	*ret_parent = block.dir_id & OVL_LOCAL_MASK;
	tree_view_end(&view);
	return *ret_name ? 0 : -ENOMEM;
}

void ovl_record_place(const struct ovl_ws *ws, const void *bytes, struct ovl_left_place *ret_place)
{
	struct ovl_left_node *node = &ret_place->node;
	struct ovl_record rec = {0};

	ovl_record_read(bytes, &rec);
	*node = (struct ovl_left_node){
		.id = full_id(ws, rec.id), .type = rec.mode & S_IFMT, .upper_ino = rec.ino};
	if (ovl_removed_decode(rec.new_name, rec.new_name_len, &ret_place->removed))
		node->removed = &ret_place->removed;
	if (!is_named(&rec))
		return;
	memcpy(ret_place->name, rec.name, rec.name_len);
	ret_place->name[rec.name_len] = '\0';
	node->parent = full_id(ws, rec.parent);
	node->name = ret_place->name;
	node->name_len = rec.name_len;
}

bool ovl_journal_left(struct ovl_ws *ws, uint64_t id, struct ovl_left_place *ret_place)
{
	const void *bytes = left_record(ws->journal, id & OVL_LOCAL_MASK);

	if (bytes)
		ovl_record_place(ws, bytes, ret_place);
	return bytes != NULL;
}

void ovl_journal_take_left(struct ovl_ws *ws, struct ovl_index *ret_nodes)
{
	struct ovl_scan *left = ws->journal->left;

	*ret_nodes = left->nodes;
	left->nodes = (struct ovl_index){0};
}

int ovl_journal_left_move(struct ovl_ws *ws, uint64_t id, uint64_t parent, const char *name)
{
	struct ovl_journal *j = ws->journal;
	const void *bytes = left_record(j, id & OVL_LOCAL_MASK);
	struct ovl_record rec = {0};
	size_t at = j->tail;
	int r;

	if (!bytes)
		return 0;
	ovl_record_read(bytes, &rec);
	rec.parent = parent & OVL_LOCAL_MASK;
	rec.name = name;
	rec.name_len = strlen(name);
	rec.flags &= ~(uint32_t)OVL_ORPHAN;
	r = ovl_journal_append(ws, &rec);
	if (!r)
		ovl_index_set(&j->left->nodes, rec.id, at);
	return r;
}

int ovl_journal_left_removed(struct ovl_ws *ws, uint64_t id)
{
	struct ovl_journal *j = ws->journal;
	struct ovl_record rec = {.type = OVL_REC_NODE,
		.id = id & OVL_LOCAL_MASK,
		.mode = S_IFDIR,
		.flags = OVL_ORPHAN};
	size_t at = j->tail;
	int r;

	if (left_record(j, rec.id))
		return 0;
	r = ovl_journal_append(ws, &rec);
	if (!r)
		ovl_index_set(&j->left->nodes, rec.id, at);
	return r;
}

static int place_of(struct ovl_ws *ws, uint64_t local, uint64_t *ret_parent, char **ret_name)
{
	const void *bytes = left_record(ws->journal, local);
	struct ovl_record rec = {0};

	if (!bytes)
		return place_in_lower(ws, local, ret_parent, ret_name);
	ovl_record_read(bytes, &rec);
	if (!is_named(&rec))
		return -ENOENT;
	*ret_name = strndup(rec.name, rec.name_len);
	*ret_parent = rec.parent;
	return *ret_name ? 0 : -ENOMEM;
}

struct way {
	char **name; /* innermost first */
	size_t count;
};

static void way_fini(struct way *w)
{
	for (size_t i = 0; i < w->count; i++)
		free(w->name[i]);
	free(w->name);
}

static int way_up(struct ovl_ws *ws, uint64_t local, struct way *w)
{
	int r;

	while (local != OVL_LOCAL_ROOT) {
		if (w->count == DEPTH_MAX)
			return -ELOOP;
		if ((w->count & (w->count - 1)) == 0) { /* full whenever it is a power of two */
			char **more =
				reallocarray(w->name, w->count ? 2 * w->count : 1, sizeof(*more));

			if (!more)
				return -ENOMEM;
			w->name = more;
		}
		r = place_of(ws, local, &local, &w->name[w->count]);
		if (r)
			return r;
		w->count++;
	}
	return 0;
}

int ovl_journal_open_dir(struct ovl_ws *ws, uint64_t dir_id, int *ret_fd)
{
	__attribute__((cleanup(way_fini))) struct way way = {0};
	_cleanup_close_ int fd = -1;
	int r = way_up(ws, dir_id & OVL_LOCAL_MASK, &way);

	if (r)
		return r;
	fd = fcntl(ws->upper_fd, F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	for (size_t i = way.count; i-- > 0;) {
		int below = openat(fd, way.name[i], O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

		if (below < 0)
			return errno == ENOTDIR ? -ENOENT : -errno;
		(void)close(fd); /* O_PATH: nothing to lose */
		fd = below;
	}
	*ret_fd = TAKE_FD(fd);
	return 0;
}
