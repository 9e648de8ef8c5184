/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The overlay of one tenant: its table of workspaces, and the root directory in which each of them
 * is an entry.
 *
 * `lock` (rank OVL, read by every call for the time of one table lookup) guards the tables. A
 * removed workspace is out of them at once; ovl_ws_remove then waits for the calls that were under
 * way, which do local work only.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/path.h"
#include "overlay/ovl_chores.h"
#include "overlay/ovl_internal.h"
#include "overlay/ovl_state.h"
#include "overlay/ovl_switch.h"

#define FDS_MAX_DEFAULT 2048u
#define FDS_MAX_LEAST \
	16u /* a chain of directories is opened one by one, each beneath the one before */
#define SERIAL_MAX     ((1ull << 23) - 1)
#define REMOVE_POLL_NS (1 * NS_PER_MS)

int ovl_new(struct overlay **ret_overlay, const struct ovl_config *config)
{
	struct overlay *o = calloc(1, sizeof(*o));
	unsigned max = config->fds_max ? config->fds_max : FDS_MAX_DEFAULT;
	int r = o ? ovl_digester_new(&o->digester) : -ENOMEM;

	if (r == 0)
		r = ovl_chores_new(o);
	if (r < 0) {
		if (o)
			ovl_digester_free(o->digester);
		free(o);
		return r;
	}
	(void)snprintf(o->tenant, sizeof(o->tenant), "%s", config->tenant);
	o->root_mode = config->is_private ? 0711 : 0755;
	o->ws_mode = config->is_private ? 0700 : 0755;
	o->clock = config->clock;
	o->metrics = config->metrics;
	o->root_time = clock_timespec(clock_wall_ns(o->clock));
	ovl_gate_init(&o->gate);
	rwlock_init(&o->lock, LOCK_RANK_OVL);
	hashmap_init(&o->by_serial);
	list_init(&o->workspaces);
	lock_init(&o->fds.lock, LOCK_RANK_OVL_FDS);
	list_init(&o->fds.lru);
	ovl_shrink_init(&o->shrink, config->nodes_max ? config->nodes_max : OVL_NODES_MAX_DEFAULT);
	o->fds.max = max < FDS_MAX_LEAST ? FDS_MAX_LEAST : max;
	ovl_metrics_add(o);
	*ret_overlay = o;
	return 0;
}

struct overlay *ovl_free(struct overlay *o)
{
	if (!o)
		return NULL;
	ovl_metrics_drop(o);
	ovl_chores_free(o);
	ovl_digester_free(o->digester);
	hashmap_fini(&o->by_serial);
	lock_fini(&o->fds.lock);
	rwlock_fini(&o->lock);
	ovl_gate_fini(&o->gate);
	free(o);
	return NULL;
}

struct ovl_ws *ovl_ws_of(struct overlay *o, uint64_t id)
{
	struct ovl_ws *ws;

	RWLOCK_READ_GUARD(&o->lock);
	ws = hashmap_find(&o->by_serial, id >> OVL_LOCAL_BITS);
	if (ws)
		ref_get(&ws->ref);
	return ws;
}

static struct ovl_ws *find_name_locked(struct overlay *o, const char *name)
{
	list_for_each (it, &o->workspaces) {
		struct ovl_ws *ws = list_entry(it, struct ovl_ws, link);

		if (strcmp(ws->name, name) == 0)
			return ws;
	}
	return NULL;
}

static int check_free(struct overlay *o, const struct ovl_ws_config *config, struct err *e)
{
	RWLOCK_READ_GUARD(&o->lock);
	if (find_name_locked(o, config->name) || hashmap_find(&o->by_serial, config->serial))
		return err_set(e, -EEXIST, NULL, "workspace %s is there already", config->name);
	return 0;
}

/* Among its neighbours by serial, so that listing is in a fixed order. */
static int publish(struct overlay *o, struct ovl_ws *ws)
{
	struct list *before;
	int r;

	RWLOCK_WRITE_GUARD(&o->lock);
	if (find_name_locked(o, ws->name))
		return -EEXIST;
	r = hashmap_insert(&o->by_serial, ws->serial, ws);
	if (r)
		return r;
	for (before = o->workspaces.prev; before != &o->workspaces; before = before->prev)
		if (list_entry(before, struct ovl_ws, link)->serial < ws->serial)
			break;
	list_insert_between(before, &ws->link, before->next);
	o->root_time = clock_timespec(clock_wall_ns(o->clock));
	return 0;
}

int ovl_ws_add(struct overlay *o, const struct ovl_ws_config *config, struct ovl_ws **ret_ws,
	struct err *e)
{
	struct ovl_ws *ws;
	int r;

	if (!path_ident_ok(config->name, PATH_NAME_MAX))
		return err_field(e, "name", "%s cannot be the name of a workspace", config->name);
	if (!config->serial || config->serial > SERIAL_MAX)
		return err_field(e, "serial", "must be 1 to 2^23 - 1");
	r = check_free(o, config, e); /* before anything of its directory is touched */
	if (!r)
		r = ovl_ws_open(o, config, &ws, e);
	if (r)
		return r;
	r = publish(o, ws);
	if (r) {
		ws->lower = NULL; /* stays the caller's */
		ovl_ws_close(ws, false);
		ovl_ws_unref(ws);
		return err_wrap(e, r, "add workspace %s", config->name);
	}
	/* These wait for nothing else: if there is no thread for them, nodes come when they are
	 * asked for, and the next start counts. */
	if (atomic_load(&ws->uncounted))
		(void)ovl_chore_ask(ws, OVL_CHORE_RECOUNT);
	if (ws->left)
		(void)ovl_chore_ask(ws, OVL_CHORE_REVIVE);
	*ret_ws = ws;
	return 0;
}

static bool in_use(struct ovl_ws *ws)
{
	/* Needs are counted after their reference is taken and before it is dropped, so this errs
	 * towards "in use". */
	uint32_t needs = atomic_load(&ws->needs);

	return atomic_load(&ws->ref.count) > 1 + needs;
}

static void take_away(struct overlay *o, struct ovl_ws *ws, bool keep)
{
	rwlock_write(&o->lock);
	(void)hashmap_remove(&o->by_serial, ws->serial);
	list_remove(&ws->link);
	o->root_time = clock_timespec(clock_wall_ns(o->clock));
	rwlock_release(&o->lock);
	atomic_store(&ws->dead, true);
	/* Calls under way do local work; the last one lets go without telling, so look again every
	 * millisecond. */
	lock_acquire(&ws->copy_lock);
	while (in_use(ws))
		(void)cond_wait_until(
			&ws->copy_done, &ws->copy_lock, clock_after(&clock_system, REMOVE_POLL_NS));
	lock_release(&ws->copy_lock);
	ovl_ws_close(ws, keep);
	ovl_ws_unref(ws);
}

void ovl_ws_remove(struct overlay *o, struct ovl_ws *ws)
{
	take_away(o, ws, true);
}

void ovl_ws_discard(struct overlay *o, struct ovl_ws *ws)
{
	take_away(o, ws, false);
}

/* ---- the root directory ---- */

void ovl_root_attr(struct overlay *o, struct stat *ret_attr)
{
	RWLOCK_READ_GUARD(&o->lock);
	*ret_attr = (struct stat){
		.st_ino = OVL_ROOT_ID,
		.st_mode = S_IFDIR | o->root_mode,
		.st_nlink = 2 + (nlink_t)hashmap_count(&o->by_serial),
		.st_size = 4096,
		.st_blksize = 4096,
		.st_blocks = 8,
		.st_atim = o->root_time,
		.st_mtim = o->root_time,
		.st_ctim = o->root_time,
	};
}

int ovl_root_lookup(
	struct overlay *o, struct ovl_req *rq, const char *name, struct ovl_entry *ret_entry)
{
	struct ovl_ws *ws;
	int r;

	rwlock_read(&o->lock);
	ws = find_name_locked(o, name);
	if (ws)
		ref_get(&ws->ref);
	rwlock_release(&o->lock);
	if (!ws)
		return -ENOENT;
	r = ovl_entry_of(ws->root, rq, ret_entry);
	ovl_ws_unref(ws);
	return r;
}

/* Positions: 1 ".", 2 "..", 2 + serial a workspace. */
#define POS_DOTS 2ull

static struct ovl_ws *next_ws(struct overlay *o, uint64_t pos)
{
	RWLOCK_READ_GUARD(&o->lock);
	list_for_each (it, &o->workspaces) {
		struct ovl_ws *ws = list_entry(it, struct ovl_ws, link);

		if (POS_DOTS + ws->serial > pos) {
			ref_get(&ws->ref);
			return ws;
		}
	}
	return NULL;
}

static int root_emit_ws(struct ovl_ws *ws, struct ovl_req *rq, bool plus, ovl_fill fill, void *arg)
{
	struct ovl_entry entry = {.attr = {.st_ino = ovl_ws_root_id(ws), .st_mode = S_IFDIR}};
	int r = plus ? ovl_entry_of(ws->root, rq, &entry) : 0;

	if (r)
		return r;
	r = fill(arg, ws->name, &entry, POS_DOTS + ws->serial);
	if (r && plus) /* not taken, so not known to the kernel */
		(void)ovl_refs_sub(ws, OVL_LOCAL_ROOT, 1);
	return r;
}

int ovl_root_readdir(
	struct overlay *o, struct ovl_req *rq, uint64_t offset, bool plus, ovl_fill fill, void *arg)
{
	static const char *const dots[] = {".", ".."};
	struct ovl_entry self = {.attr = {.st_ino = OVL_ROOT_ID, .st_mode = S_IFDIR}};
	struct ovl_ws *ws;
	int r = 0;

	for (; !r && offset < POS_DOTS; offset++)
		r = fill(arg, dots[offset], &self, offset + 1);
	while (!r && (ws = next_ws(o, offset))) {
		r = root_emit_ws(ws, rq, plus, fill, arg);
		offset = POS_DOTS + ws->serial;
		ovl_ws_unref(ws);
	}
	return r > 0 ? 0 : r;
}
