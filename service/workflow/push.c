/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Push: the workspace's commits to a reference of its origin.
 *
 *	look at the reference ──► it is HEAD: nothing to do (a repeated push)
 *	        │                  it is a commit below HEAD, or not there: send
 *	        │                  else NON_FAST_FORWARD, unless the caller expects exactly that one
 *	        ▼
 *	push, if the reference is still what was seen ──► the server's answer
 *	        │
 *	        └─ none, or refused: look again ──► HEAD: it was done ──► as before: it was not
 *	           ──► not known
 *
 * It holds no turn: commits never change, and HEAD is read once.
 */
#include "workflow/push.h"

#include "mount/mounts_internal.h"
#include "workflow/commits.h"
#include "workflow/lfs.h"

#include <base/cancel.h>
#include <base/cleanup.h>
#include <base/clock.h>
#include <base/log.h>
#include <errno.h>
#include <service/config.h>
#include <service/tenants.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COMMITS_MAX   100000u
#define LOOKS         10u /* while the server is at it */
#define LOOK_PAUSE_NS (200 * NS_PER_MS)

/* ---- what is asked for ---- */

/* The rules of git check-ref-format. */
static bool ref_ok(const char *ref)
{
	size_t len = strlen(ref);

	if (len > 250 || strncmp(ref, "refs/", 5) != 0 || !ref[5] || strstr(ref, "..") ||
		strstr(ref, "//") || strstr(ref, "/.") || strstr(ref, "@{") ||
		strstr(ref, ".lock/") || ref[len - 1] == '/' || ref[len - 1] == '.' ||
		(len > 5 && strcmp(ref + len - 5, ".lock") == 0) || !strchr(ref + 5, '/'))
		return false;
	for (const char *at = ref; *at; at++)
		if ((unsigned char)*at <= ' ' || *at == 0x7f || strchr("~^:?*[\\", *at))
			return false;
	return true;
}

static int decide_ref(const struct wf *w, const char *asked, char ret_ref[256])
{
	if (!asked || !asked[0])
		asked = w->use->revision;
	if (!asked[0])
		return err_field(w->e, "ref", "is needed: the mount names no branch");
	if (strncmp(asked, "refs/", 5) == 0)
		(void)snprintf(ret_ref, 256, "%s", asked);
	else
		(void)snprintf(ret_ref, 256, "refs/heads/%s", asked);
	if (!ref_ok(ret_ref) || (strlen(asked) == 40 && strspn(asked, "0123456789abcdef") == 40))
		return err_field(w->e, "ref", "\"%.128s\" is not the name of a reference", asked);
	return 0;
}

static const struct cfg_origin *origin_config(const struct wf *w)
{
	const struct cfg *cfg = w->call->mounts->config.cfg;

	for (unsigned i = 0; i < cfg->origin_count; i++)
		if (strcmp(cfg->origins[i].name, w->use->origin) == 0)
			return &cfg->origins[i];
	return NULL;
}

static int check_origin(const struct wf *w, const struct cfg_origin **ret_origin)
{
	const struct cfg_origin *o = origin_config(w);
	int r;

	if (!o)
		return err_set(w->e, -EHOSTUNREACH, "ORIGIN_UNAVAILABLE",
			"origin %s is not configured any more", w->use->origin);
	r = tenant_may_push(w->use->mount->tenant, w->call->admin, o->name, w->e);
	if (r < 0)
		return r;
	*ret_origin = o;
	return 0;
}

/* ---- may it go there? ---- */

/* Is `oid` one of the commits from HEAD to the base? */
static int is_below(struct wf *w, const struct oid *oid, bool *ret_below)
{
	struct oid at = w->state.head;

	*ret_below = false;
	for (unsigned i = 0; i < COMMITS_MAX; i++) {
		struct wf_parsed_commit c;
		int r;

		*ret_below = oid_equal(&at, oid);
		if (*ret_below || oid_equal(&at, &w->use->commit))
			return 0;
		r = wf_commit_read(w, &at, &c);
		if (r < 0)
			return r == -ENOENT ? -EIO : r;
		at = c.parent;
		wf_parsed_commit_fini(&c);
	}
	return -EFBIG;
}

static int check_old(
	struct wf *w, const struct wf_push_request *rq, const char *ref, const struct oid *old)
{
	char hex[OID_HEX_MAX] = "";
	bool below = true;
	int r = 0;

	if (!oid_is_none(old))
		(void)oid_hex(old, hex);
	if (rq->force_with_lease && rq->force_with_lease[0]) {
		if (strcmp(hex, rq->force_with_lease) == 0)
			return 0;
		r = err_set(w->e, -EBUSY, "NON_FAST_FORWARD",
			"%.128s is %s on the server, not %.64s", ref, hex[0] ? hex : "absent",
			rq->force_with_lease);
	} else if (hex[0]) {
		r = is_below(w, old, &below);
		if (r == 0 && !below)
			r = err_set(w->e, -EBUSY, "NON_FAST_FORWARD",
				"%.128s is %s on the server, which is not below HEAD", ref, hex);
	}
	if (r == -EBUSY)
		err_meta(w->e, "old", hex);
	return r;
}

/* ---- the verb ---- */

/* The connection broke after something was sent. */
static int find_out(struct wf_remote *r, const char *ref, const struct oid *old)
{
	struct wf *w = r->thin->w;
	char why[256];
	struct oid now;

	(void)snprintf(why, sizeof(why), "%.255s", r->said);
	if (wf_remote_look(r, ref, &now) < 0)
		return err_set(w->e, -ECONNRESET, "PUSH_OUTCOME_UNKNOWN",
			"the connection broke, and the server cannot be asked what it did; push "
			"again: %.200s",
			why);
	if (oid_equal(&now, &w->state.head))
		return 0;
	if (now.len == old->len && (now.len == 0 || oid_equal(&now, old)))
		return err_set(w->e, -ECONNRESET, "PUSH_LOST",
			"the connection broke, and the server has not taken the push; push again: "
			"%.200s",
			why);
	return err_set(
		w->e, -EBUSY, "NON_FAST_FORWARD", "%.128s has moved on the server meanwhile", ref);
}

/* The server refused. An earlier push of the same, whose answer nobody heard, may have been faster,
 * or be just about to end. */
static int was_overtaken(struct wf_remote *r, const char *ref, const struct oid *old, int err)
{
	struct wf *w = r->thin->w;
	struct err why = w->e ? *w->e : (struct err){0};
	bool locked =
		strstr(r->summary, "failed to update ref") || strstr(r->summary, "cannot lock ref");
	struct oid now;

	for (unsigned left = locked ? LOOKS : 1; left; left--) {
		if (wf_remote_look(r, ref, &now) < 0)
			break;
		if (oid_equal(&now, &w->state.head)) {
			if (w->e)
				*w->e = (struct err){.code = 0};
			return 0;
		}
		if (!oid_equal(&now, old) || left == 1 ||
			cancel_sleep_until(w->use->cancel,
				clock_after(&clock_system, LOOK_PAUSE_NS)) != -ETIMEDOUT)
			break;
	}
	if (w->e)
		*w->e = why;
	return err;
}

static int tell_lfs(void *arg, uint64_t objects, uint64_t bytes)
{
	const struct wf_remote *r = arg;
	const struct wf_push_progress p = {
		.phase = WF_PUSH_LFS, .objects = objects, .bytes = bytes};

	return r->progress ? r->progress(r->arg, &p) : 0;
}

/* A new reference, or one that is replaced, does not tell what the server has; another one may. If
 * it is hidden from who pushes, the server gets no whole pack, and must be asked: repeating is safe
 * because of what is expected. */
static int send(struct wf_remote *r, const char *ref, const struct oid *old, bool unknown)
{
	const struct wf *w = r->thin->w;
	int err = wf_remote_push(r, &w->state.head, ref, old, unknown && !r->has_base);

	if (!unknown || !r->has_base ||
		(err != -ECONNRESET && !strstr(r->summary, "unpacker error")))
		return err;
	if (w->e)
		*w->e = (struct err){.code = 0};
	return wf_remote_push(r, &w->state.head, ref, old, true);
}

static int push_to(
	struct wf_remote *r, const struct wf_push_request *rq, struct wf_push_result *result)
{
	struct wf *w = r->thin->w;
	bool leased = rq->force_with_lease && rq->force_with_lease[0];
	struct oid old;
	int err = wf_remote_look(r, result->ref, &old);

	if (err < 0)
		return err;
	(void)oid_hex(&w->state.head, result->new);
	if (!oid_is_none(&old))
		(void)oid_hex(&old, result->old);
	result->created = oid_is_none(&old);
	result->up_to_date = oid_equal(&old, &w->state.head);
	if (result->up_to_date)
		return 0;
	err = check_old(w, rq, result->ref, &old);
	if (err == 0)
		err = wf_lfs_push(w, &w->state.head, tell_lfs, r);
	if (err == 0)
		err = wf_thin_fill(r->thin, &w->state.head);
	if (err == 0)
		err = send(r, result->ref, &old, result->created || leased);
	if (err == -EBUSY)
		return was_overtaken(r, result->ref, &old, err);
	return err == -ECONNRESET ? find_out(r, result->ref, &old) : err;
}

static int run(struct wf *w, const struct wf_push_request *rq, wf_push_fn progress, void *arg,
	struct wf_push_result *result)
{
	struct wf_thin thin;
	struct wf_remote remote = {.thin = &thin, .progress = progress, .arg = arg};
	int r = check_origin(w, &remote.origin);

	if (r < 0)
		return r;
	if (oid_equal(&w->state.head, &w->use->commit))
		return err_set(
			w->e, -EBUSY, "NOTHING_TO_PUSH", "the workspace has no commit of its own");
	if (strcmp(remote.origin->type, "mega") == 0)
		return wf_push_mega(w, rq, &(struct wf_push_listener){progress, arg}, result);
	r = decide_ref(w, rq->ref, result->ref);
	if (r < 0)
		return r;
	remote.url = remote.origin->push_url ? remote.origin->push_url : remote.origin->url;
	r = wf_thin_init(&thin, w);
	if (r < 0)
		return r;
	r = wf_remote_init(&remote);
	if (r == 0)
		r = push_to(&remote, rq, result);
	wf_thin_fini(&thin);
	return r;
}

int wf_push(const struct wf_call *call, const struct wf_push_request *rq, wf_push_fn progress,
	void *arg, struct wf_push_result *ret_result, struct err *e)
{
	struct wf_push_result result = {0};
	struct wf w;
	int r = wf_open(&w, call, false, e);

	if (r < 0)
		return r;
	r = run(&w, rq, progress, arg, &result);
	if (r < 0)
		(void)wf_failed(&w, r, "push");
	else
		*ret_result = result;
	log_info("workflow_push", LOG_S("mount_id", w.use->mount_id),
		LOG_S("origin", w.use->origin), LOG_S("ref", result.ref), LOG_S("old", result.old),
		LOG_S("new", result.new),
		LOG_S("result", r < 0               ? err_reason(e)
				: result.up_to_date ? "up_to_date"
						    : "done"));
	wf_close(&w);
	return r;
}
