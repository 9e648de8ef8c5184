/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a Mega origin remembers, in an environment of its own (storage/kv.h):
 *	places   tree id   → commit id with its length in front, path
 *	roots    commit id → tree id with its length in front, time (8 bytes), and perhaps where
 *	         in the monorepo it belongs
 *	sizes    blob id   → 8 bytes
 * Numbers are little-endian. Values are checked when read: a damaged one is as if it were not
 * there.
 *
 * Threads: any; the environment has its writer thread.
 */
#include "origin/mega_memory.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "storage/kv.h"
#include "storage/origin.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define FORMAT_VERSION 1
#define MAP_BYTES      (16ull << 30) /* of address space */
#define OPS_MAX        512           /* in one write */
#define PATH_MAX_BYTES 16384
#define FACTS_MAX      (256u << 20) /* bytes */

enum { TABLE_PLACES, TABLE_ROOTS, TABLE_SIZES };

struct mega_memory {
	struct kv *kv;
};

int mega_memory_open(
	struct mega_memory **ret_memory, const struct origin_config *config, struct err *e)
{
	_cleanup_free_ char *dir = NULL, *name = NULL;
	struct mega_memory *m;
	int r;

	if (asprintf(&dir, "%s/mega", config->state_dir) < 0 ||
		asprintf(&name, "mega-%s", config->name) < 0)
		return err_set(e, -ENOMEM, NULL, "no memory");
	const struct kv_config kv = {
		.dir = dir,
		.mode = KV_CACHE,
		.max_bytes = MAP_BYTES,
		.format_version = FORMAT_VERSION,
		.tables = {"places", "roots", "sizes", NULL},
		.metrics = config->metrics,
		.name = name,
	};
	m = calloc(1, sizeof(*m));
	r = m ? kv_open(&m->kv, &kv, NULL, e) : -ENOMEM;

	if (r < 0) {
		free(m);
		return r;
	}
	*ret_memory = m;
	return 0;
}

struct mega_memory *mega_memory_close(struct mega_memory *m)
{
	if (!m)
		return NULL;
	(void)kv_close(m->kv);
	free(m);
	return NULL;
}

static void cleanup_txn(struct kv_txn **txn)
{
	if (*txn)
		kv_read_end(*txn);
}

/* The value of an id; -ENOENT if there is none. Valid until the transaction ends. */
static int find(struct kv_txn *txn, unsigned table, const struct oid *id, const uint8_t **ret_value,
	size_t *ret_len)
{
	const void *value;
	int r = kv_get(txn, table, id->bytes, id->len, &value, ret_len);

	if (r == 0 && !value)
		r = -ENOENT;
	if (r == 0)
		*ret_value = value;
	return r;
}

/* Its length, then an id. */
static int take_oid(const uint8_t **value, size_t *len, struct oid *ret_oid)
{
	uint8_t oid_len = *len ? **value : 0;

	if ((oid_len != 20 && oid_len != 32) || *len < 1u + oid_len)
		return -ENOENT;
	*ret_oid = oid_from_bytes(*value + 1, oid_len);
	*value += 1 + oid_len;
	*len -= 1u + oid_len;
	return 0;
}

static int take_number(const uint8_t *value, size_t len, uint64_t *ret_number)
{
	uint64_t number;

	if (len < sizeof(number))
		return -ENOENT;
	memcpy(&number, value, sizeof(number));
	*ret_number = le64toh(number);
	return 0;
}

int mega_memory_place(struct mega_memory *m, const struct oid *tree, struct mega_place *ret_place)
{
	CLEANUP(cleanup_txn) struct kv_txn *txn = NULL;
	struct mega_place place;
	const uint8_t *value;
	size_t len;
	int r = kv_read_begin(m->kv, &txn);

	if (r == 0)
		r = find(txn, TABLE_PLACES, tree, &value, &len);
	if (r == 0)
		r = take_oid(&value, &len, &place.commit);
	if (r < 0)
		return r;
	if (len > PATH_MAX_BYTES || memchr(value, '\0', len))
		return -ENOENT;
	place.at = NULL;
	place.path = strndup((const char *)value, len);
	if (!place.path)
		return -ENOMEM;
	*ret_place = place;
	return 0;
}

int mega_memory_root(struct mega_memory *m, const struct oid *commit, struct mega_root *ret_root)
{
	CLEANUP(cleanup_txn) struct kv_txn *txn = NULL;
	struct mega_root root = {.at = ""};
	const uint8_t *value;
	uint64_t time_s = 0;
	size_t len;
	int r = kv_read_begin(m->kv, &txn);

	if (r == 0)
		r = find(txn, TABLE_ROOTS, commit, &value, &len);
	if (r == 0)
		r = take_oid(&value, &len, &root.tree);
	if (r == 0)
		r = take_number(value, len, &time_s);
	if (r < 0)
		return r;
	if (len - sizeof(time_s) < sizeof(root.at))
		memcpy(root.at, value + sizeof(time_s), len - sizeof(time_s));
	root.time_s = (int64_t)time_s;
	*ret_root = root;
	return 0;
}

struct root_list {
	struct oid *roots;
	unsigned cap, count;
};

static int take_root(void *arg, const void *key, size_t key_len, const void *value, size_t len)
{
	struct root_list *list = arg;
	const uint8_t *at = value;

	(void)key;
	(void)key_len;
	if (take_oid(&at, &len, &list->roots[list->count]) == 0)
		list->count++;
	return list->count == list->cap;
}

int mega_memory_roots(
	struct mega_memory *m, struct oid *ret_roots, unsigned cap, unsigned *ret_count)
{
	CLEANUP(cleanup_txn) struct kv_txn *txn = NULL;
	struct root_list list = {.roots = ret_roots, .cap = cap};
	int r = kv_read_begin(m->kv, &txn);

	if (r == 0 && cap)
		r = kv_scan(txn, TABLE_ROOTS, NULL, 0, take_root, &list);
	if (r < 0)
		return r;
	*ret_count = list.count;
	return 0;
}

bool mega_memory_knows_place(struct mega_memory *m, const struct oid *tree)
{
	CLEANUP(cleanup_txn) struct kv_txn *txn = NULL;
	const uint8_t *value;
	size_t len;

	return kv_read_begin(m->kv, &txn) == 0 && find(txn, TABLE_PLACES, tree, &value, &len) == 0;
}

int mega_memory_size(struct mega_memory *m, const struct oid *blob, uint64_t *ret_size)
{
	CLEANUP(cleanup_txn) struct kv_txn *txn = NULL;
	const uint8_t *value;
	size_t len;
	int r = kv_read_begin(m->kv, &txn);

	if (r == 0)
		r = find(txn, TABLE_SIZES, blob, &value, &len);
	return r == 0 ? take_number(value, len, ret_size) : r;
}

/* ---- writing ---- */

struct fact {
	unsigned table;
	struct oid id;
	size_t at, len; /* of the value in the buffer */
};

struct mega_facts {
	struct fact *facts;
	size_t count, cap;
	struct buf values;
	int error;
};

struct mega_facts *mega_facts_new(void)
{
	struct mega_facts *f = calloc(1, sizeof(*f));

	if (f)
		buf_init(&f->values, FACTS_MAX);
	return f;
}

struct mega_facts *mega_facts_free(struct mega_facts *f)
{
	if (!f)
		return NULL;
	buf_fini(&f->values);
	free(f->facts);
	free(f);
	return NULL;
}

/* A fact whose value is what is appended to f->values next. */
static struct fact *begin_fact(struct mega_facts *f, unsigned table, const struct oid *id)
{
	if (f->count == f->cap) {
		size_t cap = f->cap ? f->cap * 2 : 64;
		struct fact *grown = reallocarray(f->facts, cap, sizeof(*grown));

		if (!grown) {
			f->error = -ENOMEM;
			return NULL;
		}
		f->facts = grown;
		f->cap = cap;
	}
	f->facts[f->count] = (struct fact){.table = table, .id = *id, .at = f->values.len};
	return &f->facts[f->count++];
}

static void end_fact(struct mega_facts *f, struct fact *fact)
{
	fact->len = f->values.len - fact->at;
	if (buf_error(&f->values))
		f->error = buf_error(&f->values);
}

static void put_oid(struct buf *out, const struct oid *oid)
{
	(void)buf_append(out, &oid->len, 1); /* end_fact looks at the buffer's error */
	(void)buf_append(out, oid->bytes, oid->len);
}

static void put_number(struct buf *out, uint64_t number)
{
	number = htole64(number);
	(void)buf_append(out, &number, sizeof(number));
}

void mega_facts_size(struct mega_facts *f, const struct oid *blob, uint64_t size)
{
	struct fact *fact = begin_fact(f, TABLE_SIZES, blob);

	if (!fact)
		return;
	put_number(&f->values, size);
	end_fact(f, fact);
}

void mega_facts_place(struct mega_facts *f, const struct oid *tree, const struct oid *commit,
	const char *path, size_t path_len)
{
	struct fact *fact = path_len <= PATH_MAX_BYTES ? begin_fact(f, TABLE_PLACES, tree) : NULL;

	if (!fact) /* too deep: such a directory cannot be asked for */
		return;
	put_oid(&f->values, commit);
	(void)buf_append(&f->values, path, path_len);
	end_fact(f, fact);
}

static int write_some(
	struct mega_memory *m, const struct mega_facts *f, size_t from, unsigned count)
{
	struct kv_op *ops = calloc(count, sizeof(*ops));
	int r;

	if (!ops)
		return -ENOMEM;
	for (unsigned i = 0; i < count; i++) {
		const struct fact *fact = &f->facts[from + i];

		ops[i] = (struct kv_op){
			.table = fact->table,
			.key = fact->id.bytes,
			.key_len = fact->id.len,
			.value = f->values.data + fact->at,
			.value_len = fact->len,
			.keep_existing = fact->table == TABLE_PLACES,
		};
	}
	r = kv_write(m->kv, ops, count);
	free(ops);
	return r;
}

int mega_memory_learn(struct mega_memory *m, struct mega_facts *f)
{
	int r = f->error;

	for (size_t at = 0; r == 0 && at < f->count; at += OPS_MAX)
		r = write_some(
			m, f, at, f->count - at < OPS_MAX ? (unsigned)(f->count - at) : OPS_MAX);
	return r;
}

int mega_memory_put_root(
	struct mega_memory *m, const struct oid *commit, const struct mega_root *root)
{
	struct mega_facts *f = mega_facts_new();
	struct fact *fact = f ? begin_fact(f, TABLE_ROOTS, commit) : NULL;
	int r = -ENOMEM;

	if (fact) {
		put_oid(&f->values, &root->tree);
		put_number(&f->values, (uint64_t)root->time_s);
		(void)buf_puts(&f->values, root->at); /* the buffer remembers a failure */
		end_fact(f, fact);
		mega_facts_place(f, &root->tree, commit, "", 0);
		r = mega_memory_learn(m, f);
	}
	(void)mega_facts_free(f);
	return r;
}
