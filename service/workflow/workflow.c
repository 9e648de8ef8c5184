/* SPDX-License-Identifier: Apache-2.0 */
/* Opening a workspace for one verb, and what all verbs share. Each verb runs on its caller's
 * thread. */
#include "mount/mount_host.h"
#include "mount/mounts_internal.h"
#include "workflow/plan.h"
#include "workflow/seen.h"
#include "workflow/wf.h"

#include <base/cancel.h>
#include <base/cleanup.h>
#include <base/log.h>
#include <errno.h>
#include <fcntl.h>
#include <storage/storage.h>
#include <string.h>
#include <sys/stat.h>

int wf_failed_at(const struct wf *w, int r, const char *what, const char *path)
{
	if (!w->e || w->e->code == r)
		return r; /* said already */
	if (r == -ECANCELED && cancel_fired(w->use->cancel) && !cancel_fired(w->call->cancel))
		return err_set(w->e, -EBUSY, "NOT_READY", "the workspace is being closed");
	if (r == -EDQUOT)
		return err_set(w->e, r, "QUOTA_EXCEEDED",
			"cannot %s %.256s: the workspace's quota of bytes is used up", what, path);
	if (r == -ENOSPC)
		return err_set(w->e, r, "DISK_FULL", "cannot %s %.256s: the node's disk is full",
			what, path);
	return err_set(w->e, r, "", "cannot %s %.256s: %s", what, path, strerror(-r));
}

int wf_failed(const struct wf *w, int r, const char *what)
{
	return wf_failed_at(w, r, what, "");
}

int wf_check(const struct wf *w)
{
	return cancel_check(w->use->cancel, w->use->deadline_ns);
}

static int make_dir(int dirfd, const char *name)
{
	return mkdirat(dirfd, name, 0700) < 0 && errno != EEXIST ? -errno : 0;
}

static int open_dir(struct wf *w, const char *workspace, bool make)
{
	_cleanup_close_ int fd = open(workspace, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r;

	if (fd < 0)
		return -errno;
	r = make ? make_dir(fd, "git") : 0;
	if (r < 0)
		return r;
	w->dirfd = openat(fd, "git", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (w->dirfd < 0)
		return errno == ENOENT ? 0 : -errno;
	if (make) {
		r = make_dir(w->dirfd, "objects");
		if (r == 0)
			r = make_dir(w->dirfd, "objects/pack");
		if (r == 0)
			r = make_dir(w->dirfd, "objects/info");
	}
	return r;
}

/* As it stands before the first change. */
static void initial_state(struct wf *w)
{
	w->state = (struct wf_state){w->use->commit, w->use->root, w->use->root, 0};
}

static int load_state(struct wf *w)
{
	int r = w->dirfd < 0 ? -ENOENT : wf_state_read(w->dirfd, &w->state);

	if (r == -EBADMSG)
		return err_set(w->e, -EIO, "WORKFLOW_STATE_DAMAGED",
			"the Git state of mount %s is damaged; without its file git/state in "
			"the workspace's directory on the node it begins again at the base",
			w->use->mount_id);
	w->has_state = r == 0;
	if (r == -ENOENT)
		initial_state(w);
	return r == -ENOENT ? 0 : r;
}

static int check_head(const struct wf *w)
{
	char head[OID_HEX_MAX];
	int r;

	if (!w->call->expected_head || !w->call->expected_head[0])
		return 0;
	(void)oid_hex(&w->state.head, head);
	if (strcmp(head, w->call->expected_head) == 0)
		return 0;
	r = err_set(w->e, -ESTALE, "HEAD_CHANGED", "HEAD is %s, not %.64s", head,
		w->call->expected_head);
	err_meta(w->e, "head", head);
	return r;
}

/* After a crash there may be git/ and nothing in it. */
static bool has_objects(const struct wf *w)
{
	return w->dirfd >= 0 && faccessat(w->dirfd, "objects", F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static int open_all(struct wf *w, bool changes)
{
	struct mounts *m = w->call->mounts;
	_cleanup_free_ char *workspace = NULL;
	int r;

	if (asprintf(&workspace, "%s/%s", m->workspaces_dir, w->use->mount_id) < 0)
		return wf_failed(w, -ENOMEM, "open the workspace");
	if (w->use->root.len != 20)
		return err_set(w->e, -EOPNOTSUPP, "NOT_IN_THIS_VERSION",
			"the workflow of repositories with SHA-256 ids is not supported by this "
			"version");
	r = open_dir(w, workspace, changes);
	if (r == 0)
		r = load_state(w);
	if (r == 0 && has_objects(w))
		r = wf_odb_open(w->dirfd, &w->odb);
	if (r == 0 && w->odb)
		r = wf_seen_open(w->dirfd, &w->seen);
	if (r == 0)
		r = check_head(w);
	return r < 0 ? wf_failed(w, r, "open the workspace's Git state") : 0;
}

/* What the change list does is staged from the start. A state from before it was switched has
 * nothing else staged. */
static int open_list(struct wf *w, bool may_make)
{
	int r = wf_list_open(w, may_make);

	if (r < 0)
		return r == -EAGAIN ? r : wf_failed(w, r, "open the change list");
	if (!w->has_state || (oid_equal(&w->state.head, &w->use->commit) &&
				     oid_equal(&w->state.tree, &w->use->root) &&
				     oid_equal(&w->state.index, &w->use->root))) {
		w->state.head = w->use->commit;
		w->state.tree = w->list.base;
		w->state.index = w->list.index;
	}
	return 0;
}

static int open_rest(struct wf *w, bool changes)
{
	int r;

	w->storage = w->call->mounts->config.storage;
	w->origin = storage_origin(w->storage, w->use->origin);
	w->ws = w->use->mount->ws;
	r = open_all(w, changes);
	/* a switch of a workspace without a state has no need of it */
	if (r == 0 && w->use->has_change_list && (w->has_state || !w->borrowed))
		r = open_list(w, changes);
	if (r == 0 && changes) {
		r = wf_plan_finish(w);
		if (r < 0)
			(void)wf_failed(w, r, "end the move to another revision");
	}
	if (r < 0)
		wf_close(w);
	return r;
}

/* -EAGAIN: again, with a turn. */
static int try_open(struct wf *w, const struct wf_call *call, bool changes, struct err *e)
{
	struct mount_use_config config = {
		.key = &call->key,
		.changes = changes,
		.expected_generation = call->expected_generation,
		.cancel = call->cancel,
		.deadline_ns = call->deadline_ns,
	};
	int r;

	*w = (struct wf){.call = call, .dirfd = -1, .e = e};
	r = mount_use_begin(call->mounts, &config, &w->use, e);
	return r < 0 ? r : open_rest(w, changes);
}

int wf_open_use(struct wf *w, const struct wf_call *call, struct mount_use *use, struct err *e)
{
	*w = (struct wf){.call = call, .dirfd = -1, .use = use, .borrowed = true, .e = e};
	return open_rest(w, true);
}

int wf_open(struct wf *w, const struct wf_call *call, bool changes, struct err *e)
{
	int r = try_open(w, call, changes, e);

	return r == -EAGAIN && !changes ? try_open(w, call, true, e) : r;
}

void wf_head_of(const struct wf *w, struct wf_head *ret_head)
{
	*ret_head = (struct wf_head){.generation = w->use->generation};
	(void)oid_hex(&w->use->commit, ret_head->base);
	(void)oid_hex(&w->state.head, ret_head->head);
}

int wf_save(struct wf *w, const struct wf_state *next)
{
	struct wf_state s = *next;
	int r = w->odb ? wf_odb_seal(w->odb, true) : 0; /* what the state names is there first */

	if (r < 0)
		return wf_failed(w, r, "store what was made");
	s.bytes = w->state.bytes + w->added_bytes;
	r = wf_state_write(w->dirfd, &s);
	if (r < 0)
		return wf_failed(w, r, "save the workspace's Git state");
	w->state = s;
	w->added_bytes = 0;
	w->has_state = true;
	return 0;
}

void wf_close(struct wf *w)
{
	struct err *e = w->e;

	w->e = NULL; /* the verb has said what happened */
	wf_odb_drop(w);
	if (w->added_bytes) { /* objects of a verb that failed: they are there, and charged */
		struct wf_state s = w->state;

		if (wf_save(w, &s) < 0)
			log_warn("workflow_charge_lost", LOG_S("mount_id", w->use->mount_id),
				LOG_U("bytes", w->added_bytes));
	}
	w->e = e;
	w->odb = wf_odb_free(w->odb);
	wf_list_fini(&w->list);
	w->seen = wf_seen_close(w->seen);
	if (w->dirfd >= 0)
		(void)close(w->dirfd); /* a directory: nothing to lose */
	origin_unref(w->origin);
	w->use = w->borrowed ? NULL : mount_use_end(w->use);
	w->dirfd = -1;
}
