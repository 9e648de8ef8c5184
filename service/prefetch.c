// SPDX-License-Identifier: Apache-2.0
/*
 * See service/prefetch.h. The work is storage_warm(); here is what a mount has to do with it: which
 * tree of which origin it shows, what the paths of a request mean, and the words for what failed.
 *
 * Threads: the caller's, which may block.
 */
#include "prefetch_match.h"

#include <base/clock.h>
#include <base/err.h>
#include <base/log.h>
#include <errno.h>
#include <limits.h>
#include <service/mounts.h>
#include <service/origins.h>
#include <service/prefetch.h>
#include <storage/storage.h>
#include <string.h>

#include "mount/mounts_internal.h"
#include "prefetch_wait.h"

struct prefetch {
	struct mounts *m;
	const struct prefetch_request *rq;
	struct prefetch_match match;
	struct mount_info info;
	struct origin *origin;
	struct oid root;
	uint64_t started_ns;
	prefetch_report fn;
	void *arg;
};

static bool wanted(void *arg, const char *path, bool directory)
{
	const struct prefetch *p = arg;

	return prefetch_match_wanted(&p->match, path, directory);
}

static void report(void *arg, const struct warm_progress *progress)
{
	const struct prefetch *p = arg;

	if (p->fn)
		p->fn(p->arg, progress, clock_mono_ns(p->m->config.clock) - p->started_ns);
}

static int open_mount(struct prefetch *p, const struct mount_key *key, struct err *e)
{
	const struct mounts_config *c = &p->m->config;
	int err = mounts_get(p->m, key, &p->info, e);

	if (err)
		return err;
	if (p->info.state != MOUNT_READY)
		return err_set(e, -EBUSY, "NOT_READY", "mount %s is %s", p->info.mount_id,
			mount_state_name(p->info.state));
	err = oid_parse(p->info.root_tree, &p->root);
	return err ? err
		   : origins_get(c->storage, c->cfg, c->metrics, p->info.origin, &p->origin, e);
}

/* A path that is plainly wrong is a mistake that somebody wants to hear of; a pattern that matches
 * nothing may be meant so. */
static int check_path(struct prefetch *p, const char *path, uint64_t deadline_ns, struct err *e)
{
	struct oid tree;
	int err;

	if (prefetch_is_pattern(path))
		return 0;
	err = storage_find_subtree(
		p->m->config.storage, p->origin, &p->root, path, deadline_ns, &tree, e);
	return err == -ENOTDIR ? 0 : err; /* a file */
}

static int warm(struct prefetch *p, const struct cancel *cancel, uint64_t deadline_ns)
{
	struct storage *storage = p->m->config.storage;
	const struct warm_plan plan = {
		.origin = p->origin,
		.tenant = storage_tenant(storage, p->info.tenant),
		.root = p->root,
		.depth = UINT_MAX,
		.contents = !p->rq->directories_only,
		.bytes_max = p->rq->bytes_max,
		.wanted = p->match.count || p->match.depth != UINT_MAX ? wanted : NULL,
		.report = report,
		.arg = p,
	};
	struct warm_progress progress;
	int err = storage_warm(storage, &plan, cancel, deadline_ns, &progress);

	report(p, &progress);
	log_info("prefetch_done", LOG_S("mount_id", p->info.mount_id),
		LOG_S("tenant", p->info.tenant), LOG_U("directories", progress.directories),
		LOG_U("blobs", progress.blobs), LOG_U("bytes", progress.bytes),
		LOG_U("failed", progress.failed),
		LOG_U("took_ms", (clock_mono_ns(p->m->config.clock) - p->started_ns) / NS_PER_MS),
		LOG_E(err));
	return err;
}

static int explain(const struct prefetch *p, int err, struct err *e)
{
	if (!err || e->message[0])
		return err;
	if (err == -ECANCELED || err == -ETIMEDOUT)
		return err_set(e, err, "",
			err == -ECANCELED ? "the call was cancelled"
					  : "the deadline of the call has passed");
	if (err == -EIO || err == -EHOSTUNREACH)
		return err_set(e, -EHOSTUNREACH, "ORIGIN_UNAVAILABLE",
			"origin %s did not deliver all of it: %s", p->info.origin, strerror(-err));
	return err_set(e, err, "", "prefetch: %s", strerror(-err));
}

int mounts_prefetch(struct mounts *m, const struct mount_key *key,
	const struct prefetch_request *rq, const struct cancel *cancel, uint64_t deadline_ns,
	prefetch_report fn, void *arg, struct err *e)
{
	struct prefetch p = {.m = m, .rq = rq, .fn = fn, .arg = arg};
	int err;

	p.started_ns = clock_mono_ns(m->config.clock);
	p.match = (struct prefetch_match){.patterns = rq->paths,
		.count = rq->path_count,
		.depth = rq->depth ? rq->depth : UINT_MAX};
	err = prefetch_match_check(&p.match, e);
	if (!err)
		err = open_mount(&p, key, e);
	for (unsigned i = 0; !err && i < rq->path_count; i++)
		err = check_path(&p, rq->paths[i], deadline_ns, e);
	if (!err)
		err = explain(&p, warm(&p, cancel, deadline_ns), e);
	origin_unref(p.origin);
	mount_info_fini(&p.info);
	return err;
}

int prefetch_wait(struct mounts *m, const struct mount_info *info, const struct mount_request *rq,
	const struct cancel *cancel, uint64_t deadline_ns, struct err *e)
{
	const struct mount_key key = {.mount_id = info->mount_id};
	const struct prefetch_request want = {
		.depth = rq->preload_depth, .directories_only = rq->wait_for == MOUNT_WAIT_INDEXED};
	bool room;
	int err;

	if (rq->wait_for == MOUNT_WAIT_MOUNTED)
		return 0;
	lock_acquire(&m->mu);
	room = m->waiting_warm < PREFETCH_WAITS_MAX;
	m->waiting_warm += room;
	lock_release(&m->mu);
	if (!room)
		return err_set(e, -EAGAIN, "OVERLOADED",
			"the mount is made, but %d others wait for their contents already; ask "
			"again",
			PREFETCH_WAITS_MAX);
	err = mounts_prefetch(m, &key, &want, cancel, deadline_ns, NULL, NULL, e);
	lock_acquire(&m->mu);
	m->waiting_warm--;
	lock_release(&m->mu);
	return err;
}
