// SPDX-License-Identifier: Apache-2.0
/*
 * The environment's life: lock, inspect, open, check the format version, close. A cache that turns
 * out damaged or of another version at any of these steps is set aside once, and the steps are run
 * again on an empty directory.
 *
 * The address space is reserved in full at start (sparse), because LMDB cannot grow a map while a
 * read transaction is open. MDB_NOTLS lets transactions move between threads; MDB_NORDAHEAD keeps
 * random lookups from reading around them.
 *
 * Threads: open and close belong to one thread; everything between is in kv_read.c and kv_write.c.
 */
#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/log.h"
#include "base/path.h"
#include "kv/kv_internal.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define META_TABLE  ".meta"
#define ROOM_BYTES  (1u << 20)
#define VERSION_KEY "format_version"
#define RESERVE_MIN (UINT64_C(1) << 20)

int kv_errno(int mdb_result)
{
	static const struct {
		int mdb, err;
	} table[] = {
		{MDB_SUCCESS, 0},
		{MDB_NOTFOUND, -ENOENT},
		{MDB_KEYEXIST, -EEXIST},
		{MDB_MAP_FULL, -ENOSPC},
		{MDB_TXN_FULL, -ENOSPC},
		{MDB_READERS_FULL, -EBUSY},
		{MDB_BAD_VALSIZE, -EINVAL},
		{MDB_VERSION_MISMATCH, -EPROTONOSUPPORT},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (table[i].mdb == mdb_result)
			return table[i].err;
	/* LMDB passes errnos through as positive numbers; all of its other own results mean damage.
	 */
	return mdb_result > 0 ? -mdb_result : -EIO;
}

static int check_config(const struct kv_config *c, struct err *e)
{
	unsigned n = 0;

	if (!c->dir || !c->dir[0] || !c->name)
		return err_set(e, -EINVAL, NULL, "a store needs a directory and a name");
	while (n < KV_TABLES_MAX && c->tables[n])
		n++;
	if (n == 0)
		return err_set(e, -EINVAL, NULL, "store %s has no tables", c->name);
	return 0;
}

static void metrics_setup(struct kv_metrics *m, struct metrics *registry, const char *name)
{
	char labels[32];

	m->commits = &m->own_counter[0];
	m->ops = &m->own_counter[1];
	m->failures = &m->own_counter[2];
	m->syncs = &m->own_counter[3];
	m->damaged = &m->own_counter[4];
	m->queued_bytes = &m->own_gauge[0];
	m->used_bytes = &m->own_gauge[1];
	m->commit_seconds = &m->own_histogram;
	if (!registry)
		return;
	(void)snprintf(labels, sizeof(labels), "store=\"%s\"", name);
	m->commits = metrics_counter(
		registry, "coppice_kv_commits_total", "Transactions committed.", labels);
	m->ops = metrics_counter(
		registry, "coppice_kv_ops_total", "Puts and deletes committed.", labels);
	m->failures = metrics_counter(
		registry, "coppice_kv_failures_total", "Writes that failed.", labels);
	m->syncs = metrics_counter(
		registry, "coppice_kv_syncs_total", "Deferred syncs to disk.", labels);
	m->damaged =
		metrics_counter(registry, "coppice_kv_damaged_total", "Damaged pages met.", labels);
	m->queued_bytes = metrics_gauge(
		registry, "coppice_kv_queued_bytes", "Waiting for the writer.", labels);
	m->used_bytes = metrics_gauge(registry, "coppice_kv_used_bytes", "Pages in use.", labels);
	m->commit_seconds = metrics_histogram(
		registry, "coppice_kv_commit_seconds", "Time of one commit.", labels);
}

static struct kv *kv_new(const struct kv_config *c)
{
	struct kv *kv = calloc(1, sizeof(*kv));
	size_t len;

	if (!kv)
		return NULL;
	kv->lock_fd = -1;
	kv->mode = c->mode;
	kv->max_bytes = c->max_bytes;
	kv->dir = strdup(c->dir);
	if (!kv->dir)
		return free(kv), NULL;
	for (len = strlen(kv->dir); len > 1 && kv->dir[len - 1] == '/'; len--)
		kv->dir[len - 1] = '\0';
	(void)snprintf(kv->name, sizeof(kv->name), "%s", c->name);
	metrics_setup(&kv->m, c->metrics, kv->name);
	kv_read_init(kv);
	return kv;
}

/* Creates the missing tables and checks or writes the version, in one transaction. */
static int open_tables(struct kv *kv, const struct kv_config *c, MDB_txn *txn)
{
	MDB_val key = {.mv_data = (void *)VERSION_KEY, .mv_size = strlen(VERSION_KEY)};
	MDB_val value = {0};
	uint32_t version = c->format_version;
	MDB_dbi meta;
	int r = mdb_dbi_open(txn, META_TABLE, MDB_CREATE, &meta);

	if (r)
		return kv_errno(r);
	r = mdb_get(txn, meta, &key, &value);
	if (r == MDB_NOTFOUND) {
		value = (MDB_val){.mv_data = &version, .mv_size = sizeof(version)};
		r = mdb_put(txn, meta, &key, &value, 0);
	} else if (r == 0 && value.mv_size != sizeof(version)) {
		r = MDB_CORRUPTED;
	} else if (r == 0 && memcmp(value.mv_data, &version, sizeof(version)) != 0) {
		return -EPROTONOSUPPORT;
	}
	for (unsigned i = 0; r == 0 && i < KV_TABLES_MAX && c->tables[i]; i++) {
		r = mdb_dbi_open(txn, c->tables[i], MDB_CREATE, &kv->dbi[i]);
		kv->table_count = i + 1;
	}
	return kv_errno(r);
}

int kv_live_bytes(const struct kv *kv, MDB_txn *txn, uint64_t *ret_bytes)
{
	uint64_t pages = 0;

	for (unsigned i = 0; i < kv->table_count; i++) {
		MDB_stat s;
		int r = mdb_stat(txn, kv->dbi[i], &s);

		if (r)
			return r;
		pages += s.ms_branch_pages + s.ms_leaf_pages + s.ms_overflow_pages;
	}
	*ret_bytes = pages * kv->page_bytes;
	return 0;
}

/* Room to delete in, also in a file that was filled under another limit. */
static int map_bytes(const struct kv *kv, size_t *ret_bytes)
{
	_cleanup_free_ char *path = path_join(kv->dir, "data.mdb");
	uint64_t bytes = kv->max_bytes;
	struct stat st;

	if (!path)
		return -ENOMEM;
	if (stat(path, &st) == 0 && (uint64_t)st.st_size > bytes)
		bytes = (uint64_t)st.st_size;
	*ret_bytes = (size_t)(bytes + bytes / 8 + RESERVE_MIN);
	return 0;
}

static int open_env(struct kv *kv, const struct kv_config *c)
{
	unsigned flags = MDB_NOTLS | MDB_NORDAHEAD | (c->mode == KV_CACHE ? MDB_NOSYNC : 0);
	MDB_txn *txn = NULL;
	MDB_stat stat;
	size_t map = 0;
	int r = map_bytes(kv, &map), dead;

	if (r < 0)
		return r;
	r = mdb_env_create(&kv->env);
	if (r)
		return kv->env = NULL, kv_errno(r);
	r = kv_guard_allocate(kv->dir);
	if (r < 0)
		return r;
	if ((r = mdb_env_set_mapsize(kv->env, map)) ||
		(r = mdb_env_set_maxreaders(kv->env, KV_READERS)) ||
		(r = mdb_env_set_maxdbs(kv->env, KV_TABLES_MAX + 1)) ||
		(r = mdb_env_open(kv->env, kv->dir, flags, 0600)) ||
		(r = mdb_reader_check(kv->env, &dead)) || (r = mdb_env_stat(kv->env, &stat)) ||
		(r = mdb_txn_begin(kv->env, NULL, 0, &txn)))
		return kv_errno(r);
	kv->page_bytes = stat.ms_psize;
	r = open_tables(kv, c, txn);
	if (r == 0)
		r = kv_errno(kv_live_bytes(kv, txn, &kv->live_bytes));
	if (r < 0) {
		mdb_txn_abort(txn);
		return r;
	}
	return kv_errno(mdb_txn_commit(txn));
}

void kv_keep_room(struct kv *kv)
{
	struct stat st;
	int fd;

	if (kv->mode != KV_DURABLE || mdb_env_get_fd(kv->env, &fd) || fstat(fd, &st) < 0 ||
		(uint64_t)st.st_size + ROOM_BYTES / 2 <= kv->room_end)
		return;
	if (fallocate(fd, FALLOC_FL_KEEP_SIZE, st.st_size, ROOM_BYTES) == 0)
		kv->room_end = (uint64_t)st.st_size + ROOM_BYTES;
}

static void close_env(struct kv *kv)
{
	if (kv->env)
		mdb_env_close(kv->env);
	kv->env = NULL;
}

/* One attempt; *ret_why tells what is damaged if the result is -EIO or -EPROTONOSUPPORT. */
static int try_open(struct kv *kv, const struct kv_config *c, const char **ret_why)
{
	unsigned kills;
	int r = kv_guard_inspect(kv->dir, kv->mode, &kills, ret_why);

	if (r < 0)
		return r;
	if (kv->mode == KV_CACHE) {
		r = kv_guard_mark(kv->dir, KV_STATE_OPEN, kills);
		if (r < 0)
			return r;
	}
	r = open_env(kv, c);
	if (r < 0)
		close_env(kv);
	if (r == -EIO)
		*ret_why = "LMDB found it damaged";
	if (r == -EPROTONOSUPPORT)
		*ret_why = "written in another format version";
	return r;
}

static int open_or_set_aside(
	struct kv *kv, const struct kv_config *c, bool *set_aside, struct err *e)
{
	const char *why = "unreadable";
	int r = try_open(kv, c, &why);
	bool unusable = r == -EIO || r == -EPROTONOSUPPORT;

	if (unusable && kv->mode == KV_DURABLE)
		return err_set(e, r, r == -EIO ? "STORE_DAMAGED" : "STORE_VERSION",
			"%s: %s; restore it from a backup, or move it away to start empty", kv->dir,
			why);
	if (!unusable)
		return r < 0 ? err_wrap(e, r, "open %s", kv->dir) : 0;
	log_debug("kv_set_aside", LOG_S("dir", kv->dir), LOG_S("why", why));
	r = kv_guard_set_aside(kv->dir, e);
	if (r < 0)
		return r;
	*set_aside = true;
	r = try_open(kv, c, &why);
	if (r == -ENOSPC && kv_guard_drop_aside(kv->dir) == 0)
		r = try_open(kv, c, &why);
	return r < 0 ? err_wrap(e, r, "open %s anew", kv->dir) : 0;
}

int kv_open(struct kv **ret_kv, const struct kv_config *config, bool *ret_set_aside, struct err *e)
{
	bool set_aside = false;
	struct kv *kv;
	int r = check_config(config, e);

	if (r < 0)
		return r;
	kv = kv_new(config);
	if (!kv)
		return err_set(e, -ENOMEM, NULL, "no memory");
	r = io_mkdirs(kv->dir, 0700);
	if (r < 0)
		r = err_wrap(e, r, "create %s", kv->dir);
	if (r == 0)
		r = kv_guard_lock(kv->dir, &kv->lock_fd, e);
	if (r == 0)
		r = open_or_set_aside(kv, config, &set_aside, e);
	if (r == 0) {
		kv_keep_room(kv);
		r = kv_writer_start(kv);
		if (r < 0)
			r = err_wrap(e, r, "start the writer of %s", kv->dir);
	}
	if (r < 0) {
		kv_close(kv);
		return r;
	}
	*ret_kv = kv;
	if (ret_set_aside)
		*ret_set_aside = set_aside;
	return 0;
}

struct kv *kv_close(struct kv *kv)
{
	int r;

	if (!kv)
		return NULL;
	assert(kv->readers == 0);
	kv_writer_stop(kv);
	kv_read_fini(kv);
	if (kv->env) {
		r = kv_errno(mdb_env_sync(kv->env, 1));
		close_env(kv);
		/* Only what is on disk may be called clean; otherwise the next start decides by the
		 * boot id. */
		if (r == 0 && kv->mode == KV_CACHE && !kv->writer.damaged)
			r = kv_guard_mark(kv->dir, KV_STATE_CLEAN, 0);
		if (r < 0)
			log_debug("kv_close_unclean", LOG_S("dir", kv->dir), LOG_E(r));
	}
	if (kv->lock_fd >= 0)
		(void)close(kv->lock_fd); /* ends the flock */
	free(kv->dir);
	free(kv);
	return NULL;
}

int kv_stats(struct kv *kv, struct kv_stats *ret_stats)
{
	struct kv_stats s = {
		.commits = counter_get(kv->m.commits),
		.ops = counter_get(kv->m.ops),
		.readers = kv->readers,
	};
	struct kv_txn *txn;
	MDB_envinfo info;
	int r = kv_errno(mdb_env_info(kv->env, &info));

	if (r < 0)
		return r;
	s.max_bytes = kv->max_bytes;
	s.used_bytes = (info.me_last_pgno + 1) * kv->page_bytes;
	r = kv_read_begin(kv, &txn);
	if (r < 0)
		return r;
	for (unsigned i = 0; r == 0 && i < kv->table_count; i++) {
		uint64_t count = 0;

		r = kv_count(txn, i, &count);
		s.entries += count;
	}
	if (r == 0)
		r = kv_errno(kv_live_bytes(kv, txn->txn, &s.live_bytes));
	kv_read_end(txn);
	if (r == 0)
		*ret_stats = s;
	return r;
}
