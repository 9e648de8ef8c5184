/* SPDX-License-Identifier: Apache-2.0 */
/* See farm_fixture.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "farm_fixture.h"

#include "session/device.h"
#include "session/mountinfo.h"
#include "session/seal.h"

#include <base/clock.h>
#include <base/err.h>
#include <dirent.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

void farm_fixture_init(struct farm_fixture *f, const struct sess_farm_config *config)
{
	struct sess_farm_config c = config ? *config : (struct sess_farm_config){.spin = true};
	struct err e = {0};

	tmpdir_init(&f->dir);
	f->mounter = sess_mounter_local_new();
	assert_non_null(f->mounter);
	c.mounter = f->mounter;
	if (sess_farm_new(&f->farm, &c, &e) < 0)
		fail_msg("%s", err_message(&e));
}

void farm_fixture_fini(struct farm_fixture *f)
{
	assert_int_equal(sess_sweep_mounts(f->farm, f->dir.path), 0);
	assert_int_equal(drop_seals(f->dir.path), 0);
	f->farm = sess_farm_free(f->farm);
	f->mounter = sess_mounter_free(f->mounter);
	tmpdir_fini(&f->dir);
}

struct session *farm_fixture_open(struct farm_fixture *f, const char *tenant, struct overlay *o)
{
	char mountpoint[512], state[512];
	const struct sess_config config = {
		.tenant = tenant, .mountpoint = mountpoint, .state_dir = state, .overlay = o};
	struct session *s = NULL;
	struct err e = {0};

	(void)snprintf(
		mountpoint, sizeof(mountpoint), "%s/mnt/%s", f->dir.path, tenant); /* short: fits */
	(void)snprintf(state, sizeof(state), "%s/sessions/%s", f->dir.path, tenant); /* as above */
	if (sess_open(f->farm, &s, &config, &e) < 0)
		fail_msg("%s", err_message(&e));
	return s;
}

const char *farm_fixture_path(struct farm_fixture *f, const char *tenant, const char *name)
{
	static _Thread_local char buf[4][512];
	static _Thread_local unsigned next;
	char *p = buf[next++ % 4];

	(void)snprintf(p, sizeof(buf[0]), "%s/mnt/%s/%s", f->dir.path, tenant, name); /* as above */
	return p;
}

static unsigned count_entries(const char *path)
{
	DIR *d = opendir(path);
	unsigned n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	assert_int_equal(closedir(d), 0);
	return n - 2;
}

unsigned count_fds(void)
{
	return count_entries("/proc/self/fd") - 1; /* the one that looks */
}

unsigned count_threads(void)
{
	return count_entries("/proc/self/task");
}

struct below {
	const char *dir;
	unsigned count;
};

static int count_below(void *arg, const struct mount_point *m)
{
	struct below *b = arg;

	if (strcmp(m->fstype, DEVICE_FSTYPE) == 0 && mountinfo_below(m->path, b->dir))
		b->count++;
	return 0;
}

unsigned count_mounts(const char *dir)
{
	struct below b = {.dir = dir};

	assert_int_equal(mountinfo_each(count_below, &b), 0);
	return b.count;
}

/* One of them. */
static int find_seal(void *arg, const struct mount_point *m)
{
	struct below *b = arg;

	if (strcmp(m->source, SEAL_SOURCE) != 0 || !mountinfo_below(m->path, b->dir))
		return 0;
	assert_int_equal(umount2(m->path, MNT_DETACH), 0);
	return 1;
}

unsigned drop_seals(const char *dir)
{
	struct below b = {.dir = dir};

	while (mountinfo_each(find_seal, &b) == 1)
		b.count++;
	return b.count;
}

uint64_t now_ms(void)
{
	return clock_mono_ns(&clock_system) / NS_PER_MS;
}
