/* SPDX-License-Identifier: Apache-2.0 */
/* See mount_journal.h. The four tables are always written together in one transaction, so they
 * cannot disagree after a crash. */
#include "mount_journal.h"

#include "mount_serial.h"

#include <base/buf.h>
#include <base/cleanup.h>
#include <base/err.h>
#include <base/lock.h>
#include <base/path.h>
#include <errno.h>
#include <service/formats.h>
#include <stdio.h>
#include <stdlib.h>
#include <storage/kv.h>
#include <string.h>

#define JOURNAL_MAP_BYTES (UINT64_C(1) << 30)
#define SEQUENCE_KEY      "sequence"

enum { TABLE_MOUNTS, TABLE_JOBS, TABLE_SERIALS, TABLE_META };

struct mount_journal {
	struct kv *kv;   /* const after init, as the next */
	char *data_dir;  /* where `formats` is */
	struct lock mu;  /* LOCK_RANK_LEAF */
	unsigned format; /* of records, that `formats` tells of; guarded by mu */
	unsigned met;    /* the newest one read; of the thread that starts */
};

int mount_journal_open(struct mount_journal **ret_journal, const char *data_dir,
	struct metrics *metrics, struct err *e)
{
	_cleanup_free_ char *dir = path_join(data_dir, "mounts");
	struct kv_config config = {
		.dir = dir,
		.mode = KV_DURABLE,
		.max_bytes = JOURNAL_MAP_BYTES,
		.format_version = MOUNT_JOURNAL_FORMAT,
		.tables = {"mounts", "jobs", "serials", "meta"},
		.metrics = metrics,
		.name = "mounts",
	};
	struct mount_journal *j = calloc(1, sizeof(*j));
	int err;

	if (j)
		j->data_dir = strdup(data_dir);
	if (!dir || !j || !j->data_dir) {
		free(j);
		return err_set(e, -ENOMEM, "", "no memory for the journal of mounts");
	}
	err = kv_open(&j->kv, &config, NULL, e);
	if (err) {
		free(j->data_dir);
		free(j);
		return err_wrap(e, err, "journal of mounts in %s", dir);
	}
	lock_init(&j->mu, LOCK_RANK_LEAF);
	j->met = MOUNT_RECORD_FIRST;
	j->format = formats_of_mounts(data_dir);
	*ret_journal = j;
	return 0;
}

struct mount_journal *mount_journal_close(struct mount_journal *j)
{
	if (!j)
		return NULL;
	kv_close(j->kv);
	lock_fini(&j->mu);
	free(j->data_dir);
	free(j);
	return NULL;
}

static int raise_format(struct mount_journal *j, unsigned format)
{
	int err;

	LOCK_GUARD(&j->mu); /* over a write to the local disk, once or twice in a process' life */
	if (format <= j->format)
		return 0;
	err = formats_write(j->data_dir, format, NULL);
	if (!err)
		j->format = format;
	return err;
}

int mount_journal_settle_format(struct mount_journal *j, struct err *e)
{
	int err;

	LOCK_GUARD(&j->mu); /* likewise */
	err = formats_write(j->data_dir, j->met, e);
	if (!err)
		j->format = j->met;
	return err;
}

static size_t job_key(const char *tenant, const char *job_id, char key[MOUNT_JOB_KEY_MAX])
{
	return (size_t)snprintf(key, MOUNT_JOB_KEY_MAX, "%s/%s", tenant, job_id);
}

static void put_le(uint64_t value, uint8_t ret_bytes[8])
{
	for (unsigned i = 0; i < 8; i++)
		ret_bytes[i] = (uint8_t)(value >> 8 * i);
}

static uint64_t get_le(const void *bytes, size_t len)
{
	const uint8_t *b = bytes;
	uint64_t value = 0;

	for (size_t i = 0; i < len && i < 8; i++)
		value |= (uint64_t)b[i] << 8 * i;
	return value;
}

static struct kv_op serial_op(const struct mount_record *r, uint8_t value[8])
{
	put_le(r->serial, value);
	return (struct kv_op){.table = TABLE_SERIALS,
		.key = r->tenant,
		.key_len = strlen(r->tenant),
		.value = value,
		.value_len = 8};
}

int mount_journal_put(struct mount_journal *j, const struct mount_record *r, unsigned rows)
{
	char job[MOUNT_JOB_KEY_MAX];
	uint8_t serial[8];
	struct kv_op ops[3];
	unsigned count = 0;
	struct buf record;
	int err;

	buf_init(&record, MOUNT_RECORD_MAX);
	err = raise_format(j, mount_record_format(r));
	if (!err)
		err = mount_record_encode(r, &record);
	if (err)
		goto out;
	ops[count++] = (struct kv_op){.table = TABLE_MOUNTS,
		.key = r->mount_id,
		.key_len = strlen(r->mount_id),
		.value = record.data,
		.value_len = record.len};
	if (rows & (JOURNAL_JOB_SET | JOURNAL_JOB_DROP))
		ops[count++] = (struct kv_op){.table = TABLE_JOBS,
			.key = job,
			.key_len = job_key(r->tenant, r->job_id, job),
			.value = rows & JOURNAL_JOB_SET ? r->mount_id : NULL,
			.value_len = strlen(r->mount_id)};
	if (rows & JOURNAL_SERIAL)
		ops[count++] = serial_op(r, serial);
	err = kv_write(j->kv, ops, count);
out:
	buf_fini(&record);
	return err;
}

int mount_journal_remove(struct mount_journal *j, const struct mount_record *r, bool drop_job)
{
	char job[MOUNT_JOB_KEY_MAX];
	uint8_t serial[8];
	uint32_t latest;
	struct kv_op ops[3];
	unsigned count = 0;
	int err = mount_journal_serial(j, r->tenant, &latest);

	if (err)
		return err;
	ops[count++] = (struct kv_op){
		.table = TABLE_MOUNTS, .key = r->mount_id, .key_len = strlen(r->mount_id)};
	if (drop_job)
		ops[count++] = (struct kv_op){.table = TABLE_JOBS,
			.key = job,
			.key_len = job_key(r->tenant, r->job_id, job)};
	if (serial_is_later(r->serial, latest)) /* nothing else would remember it */
		ops[count++] = serial_op(r, serial);
	return kv_write(j->kv, ops, count);
}

struct each {
	struct mount_journal *journal;
	mount_journal_visit fn;
	void *arg;
};

static int visit_record(void *arg, const void *key, size_t key_len, const void *value, size_t len)
{
	struct each *each = arg;
	struct mount_record r;
	char id[40];
	int err = mount_record_decode(value, len, &r);

	(void)snprintf(id, sizeof(id), "%.*s",
		(int)(key_len < sizeof(id) ? key_len : sizeof(id) - 1), (const char *)key);
	if (!err && strcmp(id, r.mount_id) !=
			    0) { /* a record under the name of another is damage too */
		mount_record_fini(&r);
		err = -EBADMSG;
	}
	if (err == -ENOMEM)
		return err;
	if (!err && *(const uint8_t *)value > each->journal->met)
		each->journal->met = *(const uint8_t *)value; /* its format stands first */
	return each->fn(each->arg, id, err ? NULL : &r, err);
}

int mount_journal_each(struct mount_journal *j, mount_journal_visit fn, void *arg)
{
	struct each each = {j, fn, arg};
	struct kv_txn *txn;
	int err = kv_read_begin(j->kv, &txn);

	if (err)
		return err;
	err = kv_scan(txn, TABLE_MOUNTS, NULL, 0, visit_record, &each);
	kv_read_end(txn);
	return err;
}

int mount_journal_job(
	struct mount_journal *j, const char *tenant, const char *job_id, char ret_mount_id[40])
{
	char key[MOUNT_JOB_KEY_MAX];
	const void *value;
	struct kv_txn *txn;
	size_t len;
	int err = kv_read_begin(j->kv, &txn);

	if (err)
		return err;
	err = kv_get(txn, TABLE_JOBS, key, job_key(tenant, job_id, key), &value, &len);
	if (!err)
		(void)snprintf(ret_mount_id, 40, "%.*s", value && len < 40 ? (int)len : 0,
			value ? (const char *)value : "");
	kv_read_end(txn);
	return err;
}

int mount_journal_serial(struct mount_journal *j, const char *tenant, uint32_t *ret_serial)
{
	const void *value;
	struct kv_txn *txn;
	size_t len;
	int err = kv_read_begin(j->kv, &txn);

	if (err)
		return err;
	err = kv_get(txn, TABLE_SERIALS, tenant, strlen(tenant), &value, &len);
	if (!err)
		*ret_serial = value ? (uint32_t)(get_le(value, len) % (SERIAL_MAX + 1ull)) : 0;
	kv_read_end(txn);
	return err;
}

int mount_journal_reserve(struct mount_journal *j, uint64_t count, uint64_t *ret_next)
{
	struct kv_op op = {.table = TABLE_META,
		.key = SEQUENCE_KEY,
		.key_len = strlen(SEQUENCE_KEY),
		.value_len = 8};
	const void *value;
	struct kv_txn *txn;
	uint8_t bytes[8];
	uint64_t next;
	size_t len;
	int err = kv_read_begin(j->kv, &txn);

	if (err)
		return err;
	err = kv_get(txn, TABLE_META, SEQUENCE_KEY, strlen(SEQUENCE_KEY), &value, &len);
	next = !err && value ? get_le(value, len) : 1;
	kv_read_end(txn);
	if (err)
		return err;
	put_le(next + count, bytes);
	op.value = bytes;
	err = kv_write(j->kv, &op, 1);
	if (!err)
		*ret_next = next;
	return err;
}
