/* SPDX-License-Identifier: Apache-2.0 */
/* One tenant "a" with a session over a mini overlay, as the set-up and tear-down of a test:
 * unmounted even if the test fails. */
#pragma once
#include "farm_fixture.h"
#include "mini_overlay.h"

struct mini_world {
	struct farm_fixture f;
	struct overlay *o;
	struct session *s; /* a test may close it and set it to NULL */
};

/* For cmocka_unit_test_setup_teardown; the test finds the world in *state. */
int mini_world_setup(void **state);
int mini_world_teardown(void **state);
/* Again, with another farm. */
void mini_world_restart(struct mini_world *w, const struct sess_farm_config *config);
/* A path in the tenant's mount. */
const char *mini_world_at(struct mini_world *w, const char *name);
