/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Origins as callers see them: the table of types, checks of arguments, and counts, errors and
 * latencies of every call, around the hooks of origin_impl.h. An origin is const after it was
 * opened, apart from its reference count; what changes is behind the hooks.
 */
#include "storage/origin_impl.h"

#include "base/cancel.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/metrics.h"
#include "base/path.h"
#include "base/ref.h"
#include "origin/lfs_client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define NAME_MAX_BYTES 64
#define URL_MAX_BYTES  4096
#define REVISION_MAX   1024

static const struct origin_ops *const types[] = {
	&origin_gitremote_ops, &origin_git_ops, &origin_mega_ops};
#define TYPE_COUNT (sizeof(types) / sizeof(types[0]))

enum op { OP_RESOLVE, OP_TREE, OP_BLOB, OP_PREPARE, OP_LFS, OP_COUNT };
static const char *const op_words[OP_COUNT] = {"resolve", "tree", "blob", "prepare", "lfs"};

struct origin {
	struct ref ref;
	const struct origin_ops *ops;
	void *impl;
	struct lfs_client *lfs; /* NULL: pointers are shown as they are */
	char name[NAME_MAX_BYTES + 1];
	char *url;
	struct metrics *metrics; /* may be NULL; then so are the two below */
	struct counter *calls[OP_COUNT];
	struct histogram *latency[OP_COUNT];
};

static const struct origin_ops *find_type(const char *type, const char *url, struct err *e)
{
	char known[128] = "";
	size_t len = 0;

	for (unsigned i = 0; i < TYPE_COUNT; i++) {
		if (strcmp(types[i]->type, type) == 0 && (!types[i]->takes || types[i]->takes(url)))
			return types[i];
		if (!types[i]->takes)
			len += (size_t)snprintf(known + len, sizeof(known) - len, "%s%s",
				len ? ", " : "", types[i]->type);
	}
	(void)err_field(e, "type", "there is no origin type \"%s\"; known: %s", type, known);
	return NULL;
}

/* "scheme://user:secret@host/…" without what is before the '@'. */
static char *url_without_credentials(const char *url)
{
	const char *host = strstr(url, "://"), *at, *end;
	char *clean = NULL;

	if (!host)
		return strdup(url);
	host += 3;
	end = host + strcspn(host, "/?#");
	at = memrchr(host, '@', (size_t)(end - host));
	if (!at)
		return strdup(url);
	if (asprintf(&clean, "%.*s%s", (int)(host - url), url, at + 1) < 0)
		return NULL;
	return clean;
}

static void register_metrics(struct origin *o)
{
	for (unsigned op = 0; o->metrics && op < OP_COUNT; op++) {
		char labels[128];

		(void)snprintf(
			labels, sizeof(labels), "origin=\"%s\",op=\"%s\"", o->name, op_words[op]);
		o->calls[op] = metrics_counter(
			o->metrics, "coppice_origin_calls_total", "Requests to an origin.", labels);
		o->latency[op] = metrics_histogram(o->metrics, "coppice_origin_seconds",
			"How long an origin took to answer.", labels);
	}
}

int origin_new(struct origin **ret_origin, const struct origin_ops *ops, void *impl,
	const struct origin_config *config)
{
	struct origin *o = calloc(1, sizeof(*o));

	if (!o)
		return -ENOMEM;
	ref_init(&o->ref);
	o->ops = ops;
	o->metrics = config->metrics;
	(void)snprintf(o->name, sizeof(o->name), "%s", config->name);
	o->url = url_without_credentials(config->url);
	if (!o->url) {
		free(o);
		return -ENOMEM;
	}
	register_metrics(o);
	o->impl = impl;
	*ret_origin = o;
	return 0;
}

int origin_open(struct origin **ret_origin, const struct origin_config *config, struct err *e)
{
	const struct origin_ops *ops;
	struct lfs_client *lfs = NULL;
	void *impl;
	int r;

	if (!config->name || !path_ident_ok(config->name, NAME_MAX_BYTES))
		return err_field(e, "name", "an origin's name has 1 to %d of A-Z a-z 0-9 . _ -",
			NAME_MAX_BYTES);
	if (!config->url || !*config->url || strnlen(config->url, URL_MAX_BYTES) == URL_MAX_BYTES)
		return err_field(e, "url", "origin %s: the url is empty or too long", config->name);
	ops = find_type(config->type ? config->type : "", config->url, e);
	if (!ops)
		return -EINVAL;
	r = ops->open(&impl, config, e);
	if (r < 0)
		return err_wrap(e, r, "origin %s", config->name);
	r = config->lfs ? lfs_client_new(&lfs, config, e) : 0;
	if (r < 0) {
		ops->close(impl);
		return err_wrap(e, r, "origin %s", config->name);
	}
	r = origin_new(ret_origin, ops, impl, config);
	if (r < 0) {
		(void)lfs_client_free(lfs);
		ops->close(impl);
		return err_set(e, r, NULL, "origin %s: no memory", config->name);
	}
	(*ret_origin)->lfs = lfs;
	return 0;
}

struct origin *origin_ref(struct origin *o)
{
	ref_get(&o->ref);
	return o;
}

struct origin *origin_unref(struct origin *o)
{
	if (o && ref_put(&o->ref)) {
		(void)lfs_client_free(o->lfs);
		o->ops->close(o->impl);
		free(o->url);
		free(o);
	}
	return NULL;
}

const char *origin_name(const struct origin *o)
{
	return o->name;
}

const char *origin_url(const struct origin *o)
{
	return o->url;
}

unsigned origin_caps(const struct origin *o)
{
	return o->ops->caps | (o->lfs ? ORIGIN_CAP_LFS : 0u);
}

static void count_error(struct origin *o, enum op op, int r)
{
	const char *word = strerrorname_np(-r);
	char labels[160];

	(void)snprintf(labels, sizeof(labels), "origin=\"%s\",op=\"%s\",error=\"%s\"", o->name,
		op_words[op], word ? word : "other");
	counter_add(metrics_counter(o->metrics, "coppice_origin_errors_total",
			    "Requests to an origin that failed.", labels),
		1);
}

static int finish(struct origin *o, enum op op, uint64_t start_ns, int r)
{
	if (!o->metrics)
		return r;
	counter_add(o->calls[op], 1);
	histogram_observe(o->latency[op], clock_mono_ns(&clock_system) - start_ns);
	if (r < 0)
		count_error(o, op, r);
	return r;
}

int origin_resolve(struct origin *o, const char *revision, uint64_t deadline_ns,
	struct origin_revision *ret_revision, struct err *e)
{
	uint64_t start_ns = clock_mono_ns(&clock_system);
	struct origin_revision found = {0};
	int r;

	if (strnlen(revision, REVISION_MAX) == REVISION_MAX)
		return err_field(
			e, "revision", "a revision has at most %d bytes", REVISION_MAX - 1);
	r = cancel_check(NULL, deadline_ns);
	if (r == 0)
		r = o->ops->resolve(o->impl, revision, deadline_ns, &found, e);
	if (r == 0)
		*ret_revision = found;
	else if (r == -ETIMEDOUT)
		r = err_set(e, r, NULL, "origin %s did not answer in time", o->name);
	return finish(o, OP_RESOLVE, start_ns, r);
}

void origin_refresh(struct origin *o)
{
	if (o->ops->refresh)
		o->ops->refresh(o->impl);
}

int origin_probe(struct origin *o, const struct cancel *cancel, uint64_t deadline_ns)
{
	struct origin_revision found;
	int r = cancel_check(cancel, deadline_ns);

	if (r == 0 && o->ops->probe)
		return o->ops->probe(o->impl, cancel, deadline_ns);
	if (r == 0)
		r = o->ops->resolve(o->impl, "", deadline_ns, &found, NULL);
	return r == -ENOENT ? 0 : r; /* empty, it says */
}

int origin_merge_base(struct origin *o, const struct oid commits[2], uint64_t deadline_ns,
	struct oid *ret_base, struct err *e)
{
	uint64_t start_ns = clock_mono_ns(&clock_system);
	struct oid base;
	int r = cancel_check(NULL, deadline_ns);

	if (!o->ops->merge_base)
		return err_set(e, -EOPNOTSUPP, "ORIGIN_UNSUPPORTED",
			"origin %s is of type %s, which does not tell where two commits parted",
			o->name, o->ops->type);
	if (r == 0)
		r = o->ops->merge_base(o->impl, commits, deadline_ns, &base, e);
	if (r == 0)
		*ret_base = base;
	else if (r == -ETIMEDOUT)
		r = err_set(e, r, NULL, "origin %s did not answer in time", o->name);
	return finish(o, OP_RESOLVE, start_ns, r);
}

int origin_refs(
	struct origin *o, const char *path, uint64_t deadline_ns, origin_ref_fn fn, void *arg)
{
	uint64_t start_ns = clock_mono_ns(&clock_system);
	int r = cancel_check(NULL, deadline_ns);

	if (!o->ops->refs)
		return -EOPNOTSUPP;
	if (r == 0)
		r = o->ops->refs(o->impl, path, deadline_ns, fn, arg);
	return finish(o, OP_RESOLVE, start_ns, r);
}

int origin_push(struct origin *o, const struct origin_push *push, char *ret_why, size_t cap)
{
	int r = cancel_check(push->cancel, push->deadline_ns);

	if (!o->ops->push)
		return -EOPNOTSUPP;
	return r == 0 ? o->ops->push(o->impl, push, ret_why, cap) : r;
}

int origin_find_change(struct origin *o, const char *link, const char *path, uint64_t deadline_ns,
	struct origin_change *ret_change)
{
	uint64_t start_ns = clock_mono_ns(&clock_system);
	struct origin_change change;
	int r = cancel_check(NULL, deadline_ns);

	if (!o->ops->find_change)
		return -EOPNOTSUPP;
	if (r == 0)
		r = o->ops->find_change(o->impl, link, path, deadline_ns, &change);
	if (r == 0)
		*ret_change = change;
	return finish(o, OP_RESOLVE, start_ns, r);
}

int origin_change_files(struct origin *o, const char *link, uint64_t deadline_ns,
	origin_change_file_fn fn, void *arg)
{
	uint64_t start_ns = clock_mono_ns(&clock_system);
	int r = cancel_check(NULL, deadline_ns);

	if (!o->ops->change_files)
		return -EOPNOTSUPP;
	if (r == 0)
		r = o->ops->change_files(o->impl, link, deadline_ns, fn, arg);
	return finish(o, OP_RESOLVE, start_ns, r);
}

int origin_read_tree(struct origin *o, const struct oid *tree, struct tree_builder *builder,
	const struct cancel *cancel, uint64_t deadline_ns)
{
	uint64_t start_ns = clock_mono_ns(&clock_system);
	int r = cancel_check(cancel, deadline_ns);

	if (r == 0)
		r = o->ops->read_tree(o->impl, tree, builder, cancel, deadline_ns);
	return finish(o, OP_TREE, start_ns, r);
}

int origin_read_raw(
	struct origin *o, const struct origin_raw_request *rq, void **ret_data, size_t *ret_len)
{
	uint64_t start_ns = clock_mono_ns(&clock_system);
	int r = cancel_check(rq->cancel, rq->deadline_ns);

	if (!o->ops->read_raw)
		return -EOPNOTSUPP;
	if (r == 0)
		r = o->ops->read_raw(o->impl, rq, ret_data, ret_len);
	return finish(o, OP_TREE, start_ns, r);
}

int origin_learn_tree(struct origin *o, const struct oid *tree, const struct tree_view *view)
{
	return o->ops->learn_tree ? o->ops->learn_tree(o->impl, tree, view) : 0;
}

int origin_roots(struct origin *o, struct oid *ret_roots, unsigned cap, unsigned *ret_count)
{
	*ret_count = 0;
	return o->ops->roots ? o->ops->roots(o->impl, ret_roots, cap, ret_count) : 0;
}

/* Contents of Git LFS are not in the repository. */
static size_t without_lfs(const struct oid *blobs, size_t count, struct oid *ret_blobs)
{
	size_t n = 0;

	for (size_t i = 0; i < count; i++)
		if (blobs[i].len == 20)
			ret_blobs[n++] = blobs[i];
	return n;
}

int origin_prepare_blobs(struct origin *o, const struct oid *blobs, size_t count,
	const struct cancel *cancel, uint64_t deadline_ns)
{
	uint64_t start_ns = clock_mono_ns(&clock_system);
	_cleanup_free_ struct oid *own = NULL;
	int r;

	if (!o->ops->prepare_blobs || count == 0)
		return 0;
	if (o->lfs) {
		own = reallocarray(NULL, count, sizeof(*own));
		if (!own)
			return -ENOMEM;
		count = without_lfs(blobs, count, own);
		blobs = own;
	}
	if (count == 0)
		return 0;
	r = cancel_check(cancel, deadline_ns);
	if (r == 0)
		r = o->ops->prepare_blobs(o->impl, blobs, count, cancel, deadline_ns);
	return finish(o, OP_PREPARE, start_ns, r);
}

bool origin_has_blob(struct origin *o, const struct oid *blob)
{
	if (o->lfs && blob->len != 20)
		return false;
	return o->ops->has_blob && o->ops->has_blob(o->impl, blob);
}

void origin_set_peers(struct origin *o, const struct origin_peers *peers)
{
	if (o->ops->set_peers)
		o->ops->set_peers(o->impl, peers);
}

int origin_read_lfs(struct origin *o, const struct origin_lfs *lfs, struct blob_sink *sink,
	const struct cancel *cancel, uint64_t deadline_ns)
{
	uint64_t start_ns = clock_mono_ns(&clock_system);
	struct lfs_pointer wanted = {.size = lfs->size};
	int r = cancel_check(cancel, deadline_ns);

	if (!o->lfs)
		return -EOPNOTSUPP;
	memcpy(wanted.sha256, lfs->sha256, sizeof(wanted.sha256));
	if (r == 0)
		r = lfs_client_read(o->lfs, &wanted, sink, cancel, deadline_ns);
	return finish(o, OP_LFS, start_ns, r);
}

int origin_prepare_lfs(struct origin *o, const struct origin_lfs *lfs, unsigned count,
	const struct cancel *cancel, uint64_t deadline_ns)
{
	uint64_t start_ns = clock_mono_ns(&clock_system);
	_cleanup_free_ struct lfs_pointer *wanted = NULL;
	struct lfs_batch batch = {.count = count};
	int r = cancel_check(cancel, deadline_ns);

	if (!o->lfs || count == 0 || r < 0)
		return r;
	batch.objects = wanted = calloc(count, sizeof(*wanted));
	if (!wanted)
		return -ENOMEM;
	for (unsigned i = 0; i < count; i++) {
		wanted[i].size = lfs[i].size;
		memcpy(wanted[i].sha256, lfs[i].sha256, sizeof(wanted[i].sha256));
	}
	r = lfs_client_prepare(o->lfs, &batch, cancel, deadline_ns);
	return finish(o, OP_PREPARE, start_ns, r);
}

bool origin_lfs_parse(const char *text, size_t len, struct origin_lfs *ret_lfs)
{
	struct lfs_pointer pointer;

	if (!lfs_pointer_parse(text, len, &pointer))
		return false;
	memcpy(ret_lfs->sha256, pointer.sha256, sizeof(ret_lfs->sha256));
	ret_lfs->size = pointer.size;
	return true;
}

int origin_write_lfs(struct origin *o, const struct origin_lfs *lfs, int fd,
	const struct cancel *cancel, uint64_t deadline_ns)
{
	uint64_t start_ns = clock_mono_ns(&clock_system);
	struct lfs_pointer object = {.size = lfs->size};
	int r = cancel_check(cancel, deadline_ns);

	if (!o->lfs)
		return -EOPNOTSUPP;
	memcpy(object.sha256, lfs->sha256, sizeof(object.sha256));
	if (r == 0)
		r = lfs_client_write(o->lfs, &object, fd, cancel, deadline_ns);
	return finish(o, OP_LFS, start_ns, r);
}

static int produce(void *arg, const struct oid *oid, struct blob_sink *sink,
	const struct cancel *cancel, uint64_t deadline_ns)
{
	struct origin *o = arg;
	uint64_t start_ns = clock_mono_ns(&clock_system);
	int r = cancel_check(cancel, deadline_ns);

	if (r == 0)
		r = o->ops->read_blob(o->impl, oid, sink, cancel, deadline_ns);
	return finish(o, OP_BLOB, start_ns, r);
}

struct blob_source origin_blob_source(struct origin *o)
{
	return (struct blob_source){
		.produce = produce, .arg = o, .cheap = o->ops->caps & ORIGIN_CAP_LOCAL};
}
