/* SPDX-License-Identifier: Apache-2.0 */
/* A farm with a temporary run directory, and sessions in it, for tests that mount. Failures fail
 * the test. */
#pragma once
#include "fuse/session.h"

#include <stdbool.h>
#include <tmpdir.h>

struct farm_fixture {
	struct tmpdir dir;
	struct sess_mounter *mounter;
	struct sess_farm *farm;
};

/* `config` may be NULL; its mounter is filled in. */
void farm_fixture_init(struct farm_fixture *f, const struct sess_farm_config *config);
/* Also checks that nothing stayed mounted. Sessions must have been closed. */
void farm_fixture_fini(struct farm_fixture *f);
/* Mounted at <dir>/mnt/<tenant>. */
struct session *farm_fixture_open(struct farm_fixture *f, const char *tenant, struct overlay *o);
/* "<dir>/mnt/<tenant>/<name>" in one of a few static buffers. */
const char *farm_fixture_path(struct farm_fixture *f, const char *tenant, const char *name);

unsigned count_fds(void);
unsigned count_threads(void);
/* Mounts of ours below `dir`. */
unsigned count_mounts(const char *dir);
/* Takes away what lies beneath them; how many there were. */
unsigned drop_seals(const char *dir);
/* CLOCK_MONOTONIC in milliseconds. */
uint64_t now_ms(void);
