/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A workspace on its own: its directory on disk, opening and closing, references, and what it needs
 * from the lower.
 *
 *	upper/      what the job wrote; its root is the workspace's root
 *	work/       ours:
 *	  format    version of all this
 *	  tmp/, orphan/, links/, whiteout, journal, refs
 *
 * Life: ovl_ws_open (recovers) → visible → dead (ovl_ws_remove: no new calls, running ones end) →
 * ovl_ws_close → freed with the last reference. A need may outlive the close: it holds the memory
 * and the lower, nothing on disk.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/io.h"
#include "overlay/ovl_internal.h"
#include "overlay/ovl_left.h"
#include "overlay/ovl_map.h"
#include "overlay/ovl_state.h"

#define TEXT_OF_(n) #n
#define TEXT_OF(n)  TEXT_OF_(n)
#define FORMAT      "coppice-overlay " TEXT_OF(OVL_FORMAT) "\n"

/* ---- references and needs ---- */

static void ws_free(struct ovl_ws *ws)
{
	if (ws->lower)
		ws->lower->ops->free(ws->lower);
	for (unsigned i = 0; i < OVL_TABLE_SHARDS; i++) {
		hashmap_fini(&ws->shard[i].map);
		lock_fini(&ws->shard[i].lock);
	}
	lock_fini(&ws->rename_lock);
	cond_fini(&ws->copy_done);
	lock_fini(&ws->copy_lock);
	free(ws->name);
	free(ws);
}

struct ovl_ws *ovl_ws_unref(struct ovl_ws *ws)
{
	if (ws && ref_put(&ws->ref))
		ws_free(ws);
	return NULL;
}

int ovl_need_set(
	struct ovl_req *rq, struct ovl_ws *ws, enum lower_need_kind kind, const struct oid *oid)
{
	ovl_need_drop(&rq->need); /* a caller that asks again without having fetched */
	ref_get(&ws->ref);
	atomic_fetch_add(&ws->needs, 1);
	rq->need = (struct ovl_need){.kind = kind, .oid = *oid, .ws = ws};
	return -EAGAIN;
}

void ovl_need_drop(struct ovl_need *need)
{
	struct ovl_ws *ws = need->ws;

	*need = (struct ovl_need){0};
	if (!ws)
		return;
	atomic_fetch_sub(&ws->needs, 1);
	ovl_ws_unref(ws);
}

int ovl_fetch(struct ovl_need *need, uint64_t deadline_ns, lower_done fn, void *arg)
{
	struct lower *lower;
	int r;

	if (!need->ws)
		return -EINVAL;
	if (need->id)
		return ovl_digest_start(need, deadline_ns, fn, arg);
	lower = need->ws->lower;
	r = atomic_load(&need->ws->dead)
		    ? -ESTALE
		    : lower->ops->fetch(lower, need->kind, &need->oid, deadline_ns, fn, arg);
	ovl_need_drop(need);
	return r;
}

int ovl_tree_view(
	struct ovl_ws *ws, struct ovl_req *rq, const struct oid *tree, struct tree_view *ret_view)
{
	int r = ws->lower->ops->tree(ws->lower, tree, ret_view);

	return r == -EAGAIN ? ovl_need_set(rq, ws, LOWER_NEED_TREE, tree) : r;
}

/* ---- the directory on disk ---- */

static int make_sub(int dirfd, const char *name)
{
	return mkdirat(dirfd, name, 0700) < 0 && errno != EEXIST ? -errno : 0;
}

static int open_sub(int dirfd, const char *name, int *ret_fd)
{
	int r = make_sub(dirfd, name);

	if (r)
		return r;
	*ret_fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return *ret_fd < 0 ? -errno : 0;
}

/* Whatever else is in work/ is reached by its name from there. */
static int open_skeleton(struct ovl_ws *ws, const char *dir)
{
	_cleanup_close_ int fd = -1;
	int r = io_mkdirs(dir, 0700);

	if (r)
		return r;
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = open_sub(fd, "work", &ws->work_fd);
	if (!r)
		r = make_sub(ws->work_fd, "tmp");
	if (!r)
		r = make_sub(ws->work_fd, "orphan");
	if (!r)
		r = make_sub(ws->work_fd, "links");
	if (!r)
		r = open_sub(fd, "upper", &ws->upper_fd);
	return r;
}

/* The root as a lower directory looks, or private. Nothing of a job is there yet, or the format
 * would be. */
static int make_root(struct ovl_ws *ws)
{
	const struct timespec times[2] = {ws->lower_time, ws->lower_time};

	if (fchown(ws->upper_fd, ws->uid, ws->gid) < 0 ||
		fchmod(ws->upper_fd, ws->overlay->ws_mode) < 0 || futimens(ws->upper_fd, times) < 0)
		return -errno;
	/* last: a directory with a format is complete */
	return io_write_file(ws->work_fd, "format", FORMAT, strlen(FORMAT), 0600, false);
}

static int check_format(struct ovl_ws *ws, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r = io_read_file(ws->work_fd, "format", 256, &text, &len);

	if (r == -ENOENT)
		return make_root(ws);
	if (r)
		return r;
	if (len != strlen(FORMAT) || memcmp(text, FORMAT, len) != 0)
		return err_set(e, -EPROTO, "FORMAT",
			"the workspace's directory was written by another version of coppice; "
			"remove the mount, or "
			"run the version that made it");
	return 0;
}

/* ---- opening ---- */

static void close_fd(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd); /* directories: nothing to lose */
	*fd = -1;
}

static struct ovl_ws *ws_new(struct overlay *o, const struct ovl_ws_config *config)
{
	struct ovl_ws *ws = calloc(1, sizeof(*ws));

	if (!ws)
		return NULL;
	ref_init(&ws->ref);
	list_init(&ws->link);
	lock_init(&ws->rename_lock, LOCK_RANK_OVL_WS);
	lock_init(&ws->copy_lock, LOCK_RANK_LEAF);
	cond_init(&ws->copy_done);
	for (unsigned i = 0; i < OVL_TABLE_SHARDS; i++) {
		lock_init(&ws->shard[i].lock, LOCK_RANK_OVL_TABLE);
		hashmap_init(&ws->shard[i].map);
	}
	ws->overlay = o;
	ws->serial = config->serial;
	ws->root_tree = config->root_tree;
	ws->lower_time.tv_sec = config->lower_time_s;
	ws->first_time = ws->lower_time;
	ws->uid = config->uid;
	ws->gid = config->gid;
	ws->read_only = config->read_only;
	ws->adopt = config->adopt;
	ws->quota = config->quota;
	ws->upper_fd = ws->work_fd = -1;
	ws->name = strdup(config->name);
	if (!ws->name)
		return ovl_ws_unref(ws);
	ws->lower = config->lower;
	return ws;
}

static int make_root_node(struct ovl_ws *ws)
{
	struct ovl_node_init init = {
		.id = ovl_ws_root_id(ws),
		.type = S_IFDIR,
		.flags = OVL_UPPER | OVL_NODE_XATTR, /* its id is given, it needs no mark */
		.lower_tree = &ws->root_tree,
	};
	bool made;

	return ovl_node_add(ws, &init, &ws->root, &made);
}

/* The switch that the last process was at, if any, was made or it was not. */
static void choose_root(struct ovl_ws *ws, const struct oid *switching_to)
{
	if (!oid_is_none(switching_to) && oid_equal(&ws->switched_to, switching_to))
		ws->root_tree = *switching_to;
}

static int open_state(struct ovl_ws *ws, const struct oid *switching_to)
{
	int r = ovl_refs_open(ws);

	if (!r)
		r = ovl_blocks_open(ws);
	if (!r)
		r = ovl_maps_open(ws);
	if (!r)
		r = ovl_journal_open(ws);
	if (!r)
		choose_root(ws, switching_to);
	if (!r)
		r = make_root_node(ws);
	if (!r)
		r = ovl_recover(ws);
	if (!r)
		r = ovl_journal_restart(ws);
	if (!r)
		r = ovl_recover_usage(ws);
	return r;
}

int ovl_ws_open(struct overlay *o, const struct ovl_ws_config *config, struct ovl_ws **ret_ws,
	struct err *e)
{
	struct ovl_ws *ws = ws_new(o, config);
	int r;

	if (!ws)
		return -ENOMEM;
	r = open_skeleton(ws, config->dir);
	if (!r)
		r = check_format(ws, e);
	if (!r)
		r = open_state(ws, &config->switching_to);
	if (r) {
		ws->lower = NULL; /* stays the caller's */
		ovl_ws_close(ws, false);
		ovl_ws_unref(ws);
		return err_wrap(e, r, "open the workspace's directory %s", config->dir);
	}
	*ret_ws = ws;
	return 0;
}

void ovl_ws_close(struct ovl_ws *ws, bool clean)
{
	ovl_evict_all(ws, clean);
	ovl_left_close(ws);
	ovl_journal_close(ws);
	ovl_maps_close(ws);
	ovl_blocks_close(ws);
	ovl_refs_close(ws, clean);
	close_fd(&ws->upper_fd);
	close_fd(&ws->work_fd);
}

uint64_t ovl_ws_root_id(const struct ovl_ws *ws)
{
	return ws->serial << OVL_LOCAL_BITS | OVL_LOCAL_ROOT;
}

void ovl_ws_stats(struct ovl_ws *ws, struct ovl_ws_stats *ret_stats)
{
	*ret_stats = (struct ovl_ws_stats){
		.nodes = atomic_load(&ws->node_count),
		.directories = atomic_load(&ws->dir_count),
		.copied_up = atomic_load(&ws->copied_up),
		.journal_bytes = ovl_journal_bytes(ws),
		.orphans = atomic_load(&ws->orphan_count),
		.revived = ws->revived,
		.resolved = ws->resolved,
		.journal_set_aside = ovl_journal_set_aside(ws),
	};
}
