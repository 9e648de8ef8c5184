/* SPDX-License-Identifier: Apache-2.0 */
/* See mount_world.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mount_world.h"

#include <base/clock.h>
#include <base/err.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static void add_text(struct fake_lower *l, const char *path, uint32_t mode, const char *text)
{
	fake_lower_add(l, path, mode, text, strlen(text));
}

static void fill_lower(struct fake_lower *l)
{
	static char big[(1 << 20) + 17];
	char path[32], text[32];

	add_text(l, "README", S_IFREG | 0644, "read me\n");
	add_text(l, "src/main.c", S_IFREG | 0644, "int main(void)\n{\n\treturn 0;\n}\n");
	add_text(l, "src/lib/a.c", S_IFREG | 0644, "int a;\n");
	add_text(l, "src/lib/b.c", S_IFREG | 0644, "int b;\n");
	add_text(l, "src/lib/c.c", S_IFREG | 0644, "int c;\n");
	add_text(l, "src/lib/deep/x", S_IFREG | 0644, "deep\n");
	add_text(l, "bin/tool", S_IFREG | 0755, "#!/bin/sh\necho tool\n");
	add_text(l, "link", S_IFLNK | 0777, "src/main.c");
	for (size_t i = 0; i < sizeof(big); i++)
		big[i] = (char)(i * 2654435761u >> 13);
	fake_lower_add(l, "big", S_IFREG | 0644, big, sizeof(big));
	for (unsigned i = 0; i < 1000; i++) {
		(void)snprintf(path, sizeof(path), "many/%03u", i); /* fits, as the next */
		(void)snprintf(text, sizeof(text), "number %u\n", i);
		add_text(l, path, S_IFREG | 0644, text);
	}
}

static void start(struct mount_world *w)
{
	const struct ovl_config config = {.tenant = "a", .clock = &clock_system};
	struct ovl_ws_config ws = {.name = "ws", .serial = 1, .lower_time_s = 1000000};
	struct err e = {0};
	char dir[300];

	(void)snprintf(dir, sizeof(dir), "%s/ws-dir", w->f.dir.path); /* fits */
	quota_init(&w->quota, NULL);
	quota_set_limit(&w->quota, QUOTA_BYTES, 64u << 20);
	quota_set_limit(&w->quota, QUOTA_INODES, 10000);
	assert_int_equal(ovl_new(&w->o, &config), 0);
	ws.dir = dir;
	ws.lower = fake_lower_open(w->lower);
	ws.root_tree = w->root;
	ws.quota = &w->quota;
	if (ovl_ws_add(w->o, &ws, &w->ws, &e) < 0)
		fail_msg("%s", err_message(&e));
	w->s = farm_fixture_open(&w->f, "a", w->o);
}

static void stop(struct mount_world *w)
{
	w->s = sess_close(w->s);
	if (w->ws)
		ovl_ws_remove(w->o, w->ws);
	w->ws = NULL;
	w->o = ovl_free(w->o);
	quota_fini(&w->quota);
}

int mount_world_setup(void **state)
{
	struct mount_world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	farm_fixture_init(&w->f, NULL);
	w->lower = fake_lower_new();
	fill_lower(w->lower);
	w->root = fake_lower_seal(w->lower);
	start(w);
	*state = w;
	return 0;
}

int mount_world_teardown(void **state)
{
	struct mount_world *w = *state;

	stop(w);
	w->lower = fake_lower_free(w->lower);
	farm_fixture_fini(&w->f);
	free(w);
	return 0;
}

void mount_world_restart(struct mount_world *w)
{
	stop(w);
	start(w);
}

const char *mount_world_at(struct mount_world *w, const char *name)
{
	char path[256];

	(void)snprintf(path, sizeof(path), "ws/%s", name); /* the tests' names fit */
	return farm_fixture_path(&w->f, "a", path);
}
