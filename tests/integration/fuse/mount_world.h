/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A mounted workspace of the product's overlay over a lower in memory: tenant "a", workspace "ws".
 * Set-up and tear-down of a test; unmounted even if the test fails.
 */
#pragma once
#include "farm_fixture.h"
#include "fuse/overlay.h"

#include <base/quota.h>
#include <fake_lower.h>

struct mount_world {
	struct farm_fixture f;
	struct fake_lower *lower;
	struct oid root;
	struct overlay *o;
	struct ovl_ws *ws;
	struct quota quota;
	struct session *s;
};

/*
 * The lower: README, src/main.c, src/lib/{a,b,c}.c, src/lib/deep/x, bin/tool (executable),
 * link → src/main.c, big (1 MiB + 17 bytes), many/000 … many/999.
 */
int mount_world_setup(void **state);
int mount_world_teardown(void **state);
/* Close the session and the overlay and open both again over what is on disk. */
void mount_world_restart(struct mount_world *w);
/* A path in the workspace. */
const char *mount_world_at(struct mount_world *w, const char *name);
