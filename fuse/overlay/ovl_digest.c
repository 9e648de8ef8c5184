/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Digests of content, for build tools. Those of a lower file belong to its blob and are remembered
 * in the index. Those of an upper file belong to its node: computed once, forgotten with every
 * change of its bytes.
 *
 * Computing reads the whole file, so no worker does it: the request is parked with a need, like a
 * READ that must fetch. For an upper file that need is a job here: make the kernel write back what
 * was changed through mappings (it tells nobody before), hash, remember, call back; then the
 * request is repeated. Since a mapping can change the file at any time without a word, every
 * request has a job of its own, and believes only digests that were there, or were made, after its
 * job's write-back. The hash is computed without the node's lock: it counts only if `content` is
 * the same before and after.
 *
 * A lower file may be mapped and changed too, and nobody has told yet that it is going to be an
 * upper one. Only pages that the kernel has read can be changed, so the same job, without the hash,
 * comes before the answer if there are such pages (ovl_refs.c). What nobody has read costs nothing.
 *
 * Threads: any for requests. Jobs run on two threads per tenant, started on first need; they block
 * on the local disk and on the kernel's write-back, and end with the request's deadline or the
 * workspace.
 */
#include "overlay/ovl_change.h"

#include <base/cleanup.h>
#include <base/clock.h>
#include <base/pool.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#define DIGEST_THREADS   2
#define DIGEST_QUEUE_MAX 4096
/* A file that keeps changing: this often in one job, then its request asks again, until its
 * deadline. */
#define ATTEMPTS 3

struct ovl_digester {
	struct pool *pool;
	struct lock lock; /* LOCK_RANK_LEAF: all below */
	struct cond idle; /* no flush is running */
	ovl_flush flush;
	void *flush_arg;
	unsigned flushing;
	unsigned settling; /* jobs that have pages of lower files dropped */
};

int ovl_digester_new(struct ovl_digester **ret_digester)
{
	const struct pool_config config = {"ovl-digest", DIGEST_THREADS, DIGEST_QUEUE_MAX};
	struct ovl_digester *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return -ENOMEM;
	r = pool_new(&d->pool, &config);
	if (r < 0) {
		free(d);
		return r;
	}
	lock_init(&d->lock, LOCK_RANK_LEAF);
	cond_init(&d->idle);
	*ret_digester = d;
	return 0;
}

struct ovl_digester *ovl_digester_free(struct ovl_digester *d)
{
	if (!d)
		return NULL;
	pool_free(d->pool);
	cond_fini(&d->idle);
	lock_fini(&d->lock);
	free(d);
	return NULL;
}

/* ---- write-back ---- */

int ovl_set_flush(struct overlay *o, ovl_flush flush, void *arg, uint64_t deadline_ns)
{
	struct ovl_digester *d = o->digester;

	LOCK_GUARD(&d->lock);
	d->flush = flush;
	d->flush_arg = arg;
	while (!flush && d->flushing > 0)
		if (!cond_wait_until(&d->idle, &d->lock, deadline_ns) && d->flushing > 0)
			return -ETIMEDOUT;
	return 0;
}

static void write_back(struct ovl_digester *d, uint64_t id)
{
	ovl_flush flush;
	void *arg;

	lock_acquire(&d->lock);
	flush = d->flush;
	arg = d->flush_arg;
	d->flushing += flush != NULL;
	lock_release(&d->lock);
	if (!flush)
		return;
	flush(arg, id);
	lock_acquire(&d->lock);
	if (--d->flushing == 0)
		cond_broadcast(&d->idle);
	lock_release(&d->lock);
}

/* ---- hashing an upper file ---- */

struct reading {
	struct ovl_ws *ws;
	int fd;
	uint64_t deadline_ns;
};

static ssize_t read_piece(void *arg, void *buf, size_t len, uint64_t offset)
{
	const struct reading *reading = arg;
	ssize_t n;

	if (atomic_load(&reading->ws->dead))
		return -ESTALE;
	if (clock_mono_ns(&clock_system) >= reading->deadline_ns)
		return -ETIMEDOUT;
	do
		n = pread(reading->fd, buf, len, (off_t)offset);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

/* -EBADMSG: it got longer or shorter meanwhile. */
static int hash(struct ovl_node *n, uint64_t deadline_ns, struct content_digests *ret_digests)
{
	const struct oid *tree = &n->ws->root_tree;
	struct reading reading = {.ws = n->ws, .deadline_ns = deadline_ns};
	enum digest_kind kind = DIGEST_SHA1;
	struct stat st;
	int r = ovl_fd_get(n, &reading.fd);

	if (r < 0)
		return r;
	(void)digest_kind_of(tree, &kind); /* a workspace without a lower: as most repositories */
	r = fstat(reading.fd, &st) < 0 ? -errno : 0;
	if (r == 0)
		r = content_digest(kind, (uint64_t)st.st_size, read_piece, &reading, ret_digests);
	ovl_fd_put(n);
	return r;
}

/* False if the content is not what was hashed any more. */
static bool remember(struct ovl_node *n, uint64_t content, struct content_digests **digests)
{
	LOCK_GUARD(&n->lock);
	if (n->content != content)
		return false;
	free(n->digests);
	n->digests = TAKE_PTR(*digests);
	return true;
}

static bool is_known(struct ovl_node *n, uint64_t *ret_content)
{
	LOCK_GUARD(&n->lock);
	*ret_content = n->content;
	return n->digests;
}

static int digest_node(struct ovl_node *n, uint64_t deadline_ns)
{
	_cleanup_free_ struct content_digests *digests = malloc(sizeof(*digests));
	uint64_t content;

	if (!digests)
		return -ENOMEM;
	if (!S_ISREG(n->type) || !ovl_has(n, OVL_UPPER))
		return -ESTALE;
	for (unsigned i = 0; i < ATTEMPTS && !is_known(n, &content); i++) {
		int r = hash(n, deadline_ns, digests);

		if (r == 0 && remember(n, content, &digests))
			return 0;
		if (r < 0 && r != -EBADMSG)
			return r;
	}
	return 0;
}

/* ---- jobs ---- */

struct job {
	struct ovl_need need; /* owned */
	struct overlay *overlay;
	uint64_t deadline_ns;
	lower_done fn;
	void *arg;
};

/* The marks about pages are taken away when these were dropped. A page that comes meanwhile has a
 * mark of its own; one that another job is about to have dropped keeps the mark of both until that
 * is done, also over the death of this process. */
static bool settle_begin(struct ovl_digester *d, const struct ovl_obj *obj)
{
	uint64_t local = ovl_local(obj->id);

	LOCK_GUARD(&d->lock);
	if (!ovl_refs_has_pages(obj->ws, local))
		return false;
	ovl_refs_pages_go(obj->ws, local);
	d->settling++;
	return true;
}

static void settle_end(struct ovl_digester *d, const struct ovl_obj *obj)
{
	LOCK_GUARD(&d->lock);
	if (--d->settling == 0 && obj->ws)
		ovl_refs_pages_gone(obj->ws, ovl_local(obj->id));
}

/* Of a lower file nothing is to be computed here. */
static int work(const struct job *j)
{
	struct ovl_digester *d = j->overlay->digester;
	struct ovl_obj obj = {0};
	struct ovl_req rq = {0};
	bool settling;
	int r = ovl_obj_get(j->overlay, &rq, j->need.id, &obj);

	ovl_need_drop(&rq.need); /* whoever asked had it, so nothing is missing */
	if (r < 0)
		return r;
	settling = settle_begin(d, &obj);
	ovl_obj_put(&obj);
	/* holding nothing: removing the workspace waits for its objects, not for the kernel */
	write_back(d, j->need.id);
	obj = (struct ovl_obj){0};
	r = ovl_obj_get(j->overlay, &rq, j->need.id, &obj);
	ovl_need_drop(&rq.need); /* as above */
	if (settling)
		settle_end(d, &obj);
	if (r < 0)
		return r;
	if (obj.node && ovl_has(obj.node, OVL_UPPER))
		r = digest_node(obj.node, j->deadline_ns);
	ovl_obj_put(&obj);
	return r;
}

static void job_run(void *arg)
{
	struct job *j = arg;
	int r = work(j);

	ovl_need_drop(&j->need);
	j->fn(j->arg, r);
	free(j);
}

int ovl_digest_start(struct ovl_need *need, uint64_t deadline_ns, lower_done fn, void *arg)
{
	struct overlay *o = need->ws->overlay;
	struct job *j = malloc(sizeof(*j));
	int r = -ENOMEM;

	if (j) {
		*j = (struct job){*need, o, deadline_ns, fn, arg};
		r = pool_submit(o->digester->pool, job_run, j, false);
	}
	if (r < 0) {
		free(j);
		ovl_need_drop(need);
	} else {
		*need = (struct ovl_need){0}; /* the job's */
	}
	return r;
}

/* ---- requests ---- */

void ovl_content_changed_locked(struct ovl_node *node)
{
	node->content++;
	free(node->digests);
	node->digests = NULL;
}

int ovl_digest_lower(struct ovl_ws *ws, struct ovl_req *rq, const struct oid *blob,
	struct content_digests *ret_digests)
{
	int r = ws->lower->ops->digests(ws->lower, blob, ret_digests);

	return r == -EAGAIN ? ovl_need_set(rq, ws, LOWER_NEED_DIGESTS, blob) : r;
}

static int ask_for_job(struct ovl_ws *ws, struct ovl_req *rq, uint64_t id)
{
	static const struct oid none;
	int r = ovl_need_set(rq, ws, LOWER_NEED_DIGESTS, &none);

	rq->need.id = id;
	rq->digested = true;
	return r;
}

int ovl_digest_settle(struct ovl_obj *obj, struct ovl_req *rq)
{
	if (rq->digested || obj->ws->read_only || !ovl_refs_has_pages(obj->ws, ovl_local(obj->id)))
		return 0;
	return ask_for_job(obj->ws, rq, obj->id);
}

static bool recall(struct ovl_node *n, struct content_digests *ret_digests)
{
	LOCK_GUARD(&n->lock);
	if (n->digests)
		*ret_digests = *n->digests;
	return n->digests;
}

int ovl_digest_upper(struct ovl_node *node, struct ovl_req *rq, struct content_digests *ret_digests)
{
	if (rq->digested && recall(node, ret_digests))
		return 0;
	return ask_for_job(node->ws, rq, node->id);
}
