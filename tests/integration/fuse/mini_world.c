/* SPDX-License-Identifier: Apache-2.0 */
/* See mini_world.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mini_world.h"

#include <stdlib.h>

static void start(struct mini_world *w, const struct sess_farm_config *config)
{
	farm_fixture_init(&w->f, config);
	w->o = mini_overlay_new();
	mini_overlay_add(w->o, "hello", "world");
	w->s = farm_fixture_open(&w->f, "a", w->o);
}

static void stop(struct mini_world *w)
{
	w->s = sess_close(w->s);
	w->o = mini_overlay_free(
		w->o); /* fetches that are still out come back here, after the session */
	farm_fixture_fini(&w->f);
}

int mini_world_setup(void **state)
{
	struct mini_world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	start(w, NULL);
	*state = w;
	return 0;
}

int mini_world_teardown(void **state)
{
	stop(*state);
	free(*state);
	return 0;
}

void mini_world_restart(struct mini_world *w, const struct sess_farm_config *config)
{
	stop(w);
	start(w, config);
}

const char *mini_world_at(struct mini_world *w, const char *name)
{
	return farm_fixture_path(&w->f, "a", name);
}
