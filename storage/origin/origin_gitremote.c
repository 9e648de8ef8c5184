/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The `git` origin for a repository on a server (http, https, ssh, git): a private bare mirror
 * (git_mirror.h) that is filled on demand and read as a local repository is.
 *
 *	mode partial   a commit with its trees when it is resolved, blobs when they are read; the
 *	               server must speak version 2 of Git's protocol and allow filters
 *	mode mirror    everything, by `git fetch`, when a name is resolved and `refresh` has passed
 *
 * Opening asks the server nothing: what is here can be used while the server is away.
 *
 * Threads: any that may block; those of git_batch.h fetch.
 */
#include "origin/origin_gitremote_internal.h"

#include "base/cancel.h"
#include "base/clock.h"
#include "base/err.h"
#include "origin/git_env.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONNECT_NS   (10 * NS_PER_S)
#define TIMEOUT_NS   (15 * NS_PER_S)
#define REFRESH_NS   (30 * NS_PER_S)
#define MIRROR_BYTES (UINT64_C(20) << 30)
#define CHANNELS_MAX 6u
#define AHEAD_MIN    64u
#define AHEAD_MAX    8192u

bool gitremote_partial(struct gitremote *r)
{
	LOCK_GUARD(&r->lock);
	return r->partial;
}

void gitremote_fall_back(struct gitremote *r, const char *why)
{
	bool was_partial;

	lock_acquire(&r->lock);
	was_partial = r->partial;
	r->partial = false;
	lock_release(&r->lock);
	if (was_partial && r->notice)
		r->notice(r->name, "origin_mirrored", why);
}

static bool known_size(void *arg, const struct oid *blob, uint64_t *ret_size)
{
	return gitsizes_get(arg, blob, ret_size);
}

static void gitremote_close(void *impl)
{
	struct gitremote *r = impl;

	if (r->closing)
		cancel_fire(r->closing);
	for (unsigned i = 0; i < BATCH_COUNT; i++)
		gitbatch_free(r->batch[i]);
	gitexchange_fini(&r->x);
	gitmirror_fini(&r->mirror);
	gitrepo_close(r->repo);
	gitsizes_fini(&r->sizes);
	gitahead_fini(&r->ahead);
	gitorder_fini(&r->order);
	lock_fini(&r->lock);
	r->env = gitenv_free(r->env);
	giturl_fini(&r->url);
	cancel_unref(r->closing);
	free(r->name);
	free(r->ssh_key);
	free(r->ssh_hosts);
	free(r);
	(void)git_libgit2_shutdown();
}

static int take_mode(struct gitremote *r, const struct origin_config *config, struct err *e)
{
	const char *mode = config->mode ? config->mode : "partial";

	r->partial = strcmp(mode, "partial") == 0;
	if (!r->partial && strcmp(mode, "mirror") != 0)
		return err_field(e, "mode", "\"%.40s\" is neither partial nor mirror", mode);
	return 0;
}

static void set_up_exchange(struct gitremote *r, const struct origin_net *net)
{
	unsigned requests = net->max_requests;

	r->x.server = (struct gitchan_server){
		.url = &r->url,
		.env = r->env,
		.dir = r->mirror.path,
		.connect_ns = net->connect_timeout_ns ? net->connect_timeout_ns : CONNECT_NS,
		.ssh_key = r->ssh_key,
		.ssh_hosts = r->ssh_hosts,
	};
	r->x.name = r->name;
	r->x.notice = r->notice;
	r->x.timeout_ns = net->timeout_ns ? net->timeout_ns : TIMEOUT_NS;
	r->x.channels_max = requests && requests < CHANNELS_MAX ? requests : CHANNELS_MAX;
}

static void on_dropped(void *arg)
{
	struct gitremote *r = arg;

	gitrepo_dropped(r->repo);
	if (r->notice)
		r->notice(r->name, "mirror_trimmed",
			"the mirror was larger than mirror_size; its oldest half was removed and "
			"is "
			"fetched again when it is needed");
}

/* In mode mirror everything is wanted, and may be gone from the server. */
static void set_up_budget(struct gitremote *r, const struct origin_config *config)
{
	struct gitmirror_budget budget = {.dropped = on_dropped, .arg = r};
	char labels[128];

	if (r->partial)
		budget.bytes = config->mirror_bytes ? config->mirror_bytes : MIRROR_BYTES;
	(void)snprintf(labels, sizeof(labels), "origin=\"%s\"", r->name);
	if (config->metrics) {
		budget.size = metrics_gauge(config->metrics, "coppice_git_mirror_bytes",
			"Size of the packs of a mirror.", labels);
		budget.trimmed = metrics_counter(config->metrics,
			"coppice_git_mirror_trimmed_bytes_total",
			"Packs removed because a mirror was larger than mirror_size.", labels);
	}
	r->mirror.budget = budget;
}

static void register_metrics(struct gitremote *r, struct metrics *metrics)
{
	static const char *const kinds[BATCH_COUNT] = {
		"blobs", "sizes", "small", "listings", "peeks", "trees", "commits", "all"};
	char labels[128];

	for (unsigned i = 0; metrics && i < BATCH_COUNT; i++) {
		(void)snprintf(
			labels, sizeof(labels), "origin=\"%s\",kind=\"%s\"", r->name, kinds[i]);
		r->requests[i] = metrics_counter(metrics, "coppice_git_requests_total",
			"Requests to a Git server for objects.", labels);
		r->objects[i] = metrics_counter(metrics, "coppice_git_objects_total",
			"Objects that a Git server was asked for.", labels);
	}
	(void)snprintf(labels, sizeof(labels), "origin=\"%s\"", r->name);
	if (metrics)
		r->received = metrics_counter(metrics, "coppice_git_received_bytes_total",
			"Bytes of packs from a Git server.", labels);
}

static int set_up_mirror(struct gitremote *r, const struct origin_config *config, struct err *e)
{
	struct origin_net net = config->net;
	int err = gitmirror_open(&r->mirror, config->state_dir, e);

	if (err < 0)
		return err;
	if (!net.timeout_ns)
		net.timeout_ns = TIMEOUT_NS;
	if (gitenv_new(&r->env, &r->url, &net, r->mirror.path) < 0)
		return err_set(e, -ENOMEM, NULL, "no memory");
	gitmirror_set_env(&r->mirror, r->env);
	err = gitrepo_open_path(&r->repo, r->mirror.path, e);
	if (err < 0)
		return err;
	r->repo->known_size = known_size;
	r->repo->known_arg = &r->sizes;
	return 0;
}

static int set_up(struct gitremote *r, const struct origin_config *config, struct err *e)
{
	int err = take_mode(r, config, e);

	if (err == 0)
		err = giturl_parse(&r->url, config->url, e);
	if (err < 0)
		return err;
	if (!config->state_dir)
		return err_set(e, -EINVAL, NULL,
			"a remote repository needs a directory to keep "
			"what it fetches");
	r->refresh_ns = config->refresh_ns ? config->refresh_ns : REFRESH_NS;
	r->notice = config->notice;
	r->name = strdup(config->name);
	if (config->net.ssh_key_file)
		r->ssh_key = strdup(config->net.ssh_key_file);
	if (config->net.ssh_known_hosts_file)
		r->ssh_hosts = strdup(config->net.ssh_known_hosts_file);
	r->closing = cancel_new();
	if (!r->name || !r->closing || gitahead_init(&r->ahead, AHEAD_MIN, AHEAD_MAX) < 0 ||
		gitorder_init(&r->order) < 0 || gitremote_make_batches(r) < 0)
		return err_set(e, -ENOMEM, NULL, "no memory");
	err = set_up_mirror(r, config, e);
	if (err < 0)
		return err;
	set_up_exchange(r, &config->net);
	register_metrics(r, config->metrics);
	set_up_budget(r, config);
	return 0;
}

static int gitremote_open(void **ret_impl, const struct origin_config *config, struct err *e)
{
	struct gitremote *r = calloc(1, sizeof(*r));
	int err;

	if (!r)
		return err_set(e, -ENOMEM, NULL, "no memory");
	if (git_libgit2_init() < 0) {
		free(r);
		return err_set(e, -EIO, NULL, "libgit2 does not start: %s", gitrepo_message());
	}
	lock_init(&r->lock, LOCK_RANK_ORIGIN);
	gitexchange_init(&r->x);
	gitmirror_init(&r->mirror);
	err = gitsizes_init(&r->sizes);
	if (err == 0)
		err = set_up(r, config, e);
	if (err < 0) {
		gitremote_close(r);
		return err;
	}
	*ret_impl = r;
	return 0;
}

static bool gitremote_takes(const char *url)
{
	return giturl_remote(url);
}

const struct origin_ops origin_gitremote_ops = {
	.type = "git",
	.takes = gitremote_takes,
	.caps = ORIGIN_CAP_PINNED | ORIGIN_CAP_SIZES | ORIGIN_CAP_MODES | ORIGIN_CAP_PUSH |
		ORIGIN_CAP_BATCH,
	.open = gitremote_open,
	.close = gitremote_close,
	.resolve = gitremote_resolve,
	.merge_base = gitremote_merge_base,
	.refresh = gitremote_refresh,
	.probe = gitremote_probe,
	.read_tree = gitremote_read_tree,
	.read_blob = gitremote_read_blob,
	.read_raw = gitremote_read_raw,
	.prepare_blobs = gitremote_prepare_blobs,
	.has_blob = gitremote_has_blob,
	.set_peers = gitremote_set_peers,
};
