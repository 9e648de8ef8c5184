/* SPDX-License-Identifier: Apache-2.0 */
/* The look at raw requests: every length, every mark, and the one request that is renamed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "session/session_internal.h"
#include "session/wire.h"

#include <base/clock.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <tmpdir.h>
#include <unistd.h>

struct desk {
	struct sess_farm farm;
	struct session s;
	struct counter counter;
	struct tmpdir dir;
	char buf[512];
};

static void desk_init(struct desk *d)
{
	*d = (struct desk){.s.state_fd = -1};
	d->s.farm = &d->farm;
	for (unsigned i = 0; i < SESS_OPCODES; i++)
		d->farm.m.requests[i] = &d->counter;
	lock_init(&d->s.lock, LOCK_RANK_SESSION);
	cond_init(&d->s.changed);
	tmpdir_init(&d->dir);
	d->s.state_fd = open(d->dir.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(d->s.state_fd >= 0);
}

static void desk_fini(struct desk *d)
{
	sess_init_forget(&d->s);
	(void)close(d->s.state_fd); /* a directory */
	tmpdir_fini(&d->dir);
	cond_fini(&d->s.changed);
	lock_fini(&d->s.lock);
}

static size_t put(struct desk *d, uint32_t opcode, uint64_t unique, const void *body, size_t len)
{
	struct wire_in_header h = {
		.len = (uint32_t)(sizeof(h) + len), .opcode = opcode, .unique = unique};

	memcpy(d->buf, &h, sizeof(h));
	if (len)
		memcpy(d->buf + sizeof(h), body, len);
	return h.len;
}

static void test_marks(void **state)
{
	struct wire_write_in write = {.write_flags = WIRE_WRITE_KILL_SUIDGID};
	struct wire_setattr_in setattr = {.valid = WIRE_FATTR_KILL_SUIDGID};
	struct sess_raw raw;
	struct desk d;

	(void)state;
	desk_init(&d);
	assert_true(sess_raw_inspect(&d.s, &raw, d.buf, put(&d, WIRE_LOOKUP, 6, NULL, 0)));
	assert_int_equal(raw.opcode, WIRE_LOOKUP);
	assert_int_equal(raw.unique, 6);
	assert_false(raw.kill_suid || raw.tmpfile);
	assert_true(
		sess_raw_inspect(&d.s, &raw, d.buf, put(&d, WIRE_WRITE, 8, &write, sizeof(write))));
	assert_true(raw.kill_suid);
	write.write_flags = 1;
	assert_true(
		sess_raw_inspect(&d.s, &raw, d.buf, put(&d, WIRE_WRITE, 8, &write, sizeof(write))));
	assert_false(raw.kill_suid);
	assert_true(sess_raw_inspect(
		&d.s, &raw, d.buf, put(&d, WIRE_SETATTR, 8, &setattr, sizeof(setattr))));
	assert_true(raw.kill_suid);
	assert_int_equal(counter_get(&d.counter), 4);
	assert_int_equal(sess_counted(&d.s.requests[WIRE_WRITE]), 2);
	desk_fini(&d);
}

static void test_resent_request_keeps_its_number(void **state)
{
	struct sess_raw raw;
	struct desk d;

	(void)state;
	desk_init(&d);
	assert_true(sess_raw_inspect(
		&d.s, &raw, d.buf, put(&d, WIRE_MKDIR, 10 | WIRE_UNIQUE_RESEND, NULL, 0)));
	assert_int_equal(raw.unique, 10);
	desk_fini(&d);
}

static void test_tmpfile_becomes_create(void **state)
{
	struct wire_in_header h;
	struct sess_raw raw;
	struct desk d;

	(void)state;
	desk_init(&d);
	assert_true(sess_raw_inspect(&d.s, &raw, d.buf, put(&d, WIRE_TMPFILE, 12, NULL, 0)));
	assert_true(raw.tmpfile);
	assert_int_equal(raw.opcode, WIRE_TMPFILE);
	memcpy(&h, d.buf, sizeof(h));
	assert_int_equal(h.opcode, WIRE_CREATE);
	desk_fini(&d);
}

static void test_short_and_unknown_requests(void **state)
{
	struct wire_write_in write = {.write_flags = WIRE_WRITE_KILL_SUIDGID};
	struct sess_raw raw;
	struct desk d;
	size_t len;

	(void)state;
	desk_init(&d);
	len = put(&d, WIRE_WRITE, 1, &write, sizeof(write));
	for (size_t cut = 0; cut < len; cut++)
		assert_int_equal(sess_raw_inspect(&d.s, &raw, d.buf, cut),
			cut >= sizeof(struct wire_in_header));
	assert_true(sess_raw_inspect(&d.s, &raw, d.buf, put(&d, UINT32_MAX, 1, NULL, 0)));
	assert_int_equal(sess_counted(&d.s.requests[SESS_OPCODES - 1]), 1);
	desk_fini(&d);
}

static void test_init_is_kept_patched_and_saved(void **state)
{
	struct wire_init_in in = {.major = 7,
		.minor = 45,
		.flags = WIRE_INIT_PARALLEL_DIROPS |
			 WIRE_INIT_MAX_PAGES}; /* no KILLPRIV_V2 offered */
	struct wire_init_out out = {.major = 7}, saved;
	char path[300], file[1024];
	struct sess_raw raw;
	struct desk d;
	ssize_t n;
	int fd;

	(void)state;
	desk_init(&d);
	assert_true(sess_raw_inspect(&d.s, &raw, d.buf, put(&d, WIRE_INIT, 2, &in, sizeof(in))));
	assert_int_equal(sess_init_finish(&d.s, &out, 8), -EPROTO); /* not a reply of that kind */
	assert_int_equal(sess_init_finish(&d.s, &out, sizeof(out) + 1), -EPROTO);
	assert_int_equal(sess_init_finish(&d.s, &out, sizeof(out)), 0);
	assert_int_equal(out.flags, WIRE_INIT_PARALLEL_DIROPS | WIRE_INIT_MAX_PAGES);
	assert_int_equal(out.max_pages, 256);
	fd = open(tmpdir_path(&d.dir, "init", path, sizeof(path)), O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	n = read(fd, file, sizeof(file));
	(void)close(fd); /* it was only read */
	assert_int_equal(n, 20 + sizeof(struct wire_in_header) + sizeof(in) + sizeof(out));
	assert_memory_equal(file + 20, d.buf, sizeof(struct wire_in_header) + sizeof(in));
	memcpy(&saved, file + n - (ssize_t)sizeof(saved), sizeof(saved));
	assert_memory_equal(&saved, &out, sizeof(out));
	/* A second INIT on one connection is refused. */
	assert_false(sess_raw_inspect(&d.s, &raw, d.buf, put(&d, WIRE_INIT, 4, &in, sizeof(in))));
	assert_int_equal(d.s.life, SESS_FAILED);
	desk_fini(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_marks),
		cmocka_unit_test(test_resent_request_keeps_its_number),
		cmocka_unit_test(test_tmpfile_becomes_create),
		cmocka_unit_test(test_short_and_unknown_requests),
		cmocka_unit_test(test_init_is_kept_patched_and_saved),
	};

	return cmocka_run_group_tests_name("raw requests", tests, NULL, NULL);
}
