/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process that kills itself (SIGKILL) at the n-th stage of what it does to a workspace, over the
 * same small lower each time. Include after cmocka.h.
 */
#pragma once
#include "ovl_world.h"

#include <signal.h>
#include <sys/wait.h>

#define STAGES_MAX 40

static unsigned crash_stages_left;

static inline void crash_here(struct ovl_ws *ws, const char *point)
{
	(void)ws;
	(void)point;
	if (--crash_stages_left == 0)
		(void)kill(getpid(), SIGKILL);
}

/* In the child, with the workspace open. */
static inline void crash_arm(struct world *w, unsigned stage)
{
	crash_stages_left = stage;
	w->ws->crash_hook = crash_here;
}

/* True if the child died, false if it reached the end. */
static inline bool crash_died(pid_t child, const char *title)
{
	int status;

	assert_int_equal(waitpid(child, &status, 0), child);
	if (WIFSIGNALED(status)) {
		assert_int_equal(WTERMSIG(status), SIGKILL);
		return true;
	}
	if (WEXITSTATUS(status) != 0)
		fail_msg("%s: what was done itself failed", title);
	return false;
}

/* `before`: what must be there in the upper; NULL: nothing. */
static inline void crash_set_up(struct world *w, void (*before)(struct world *w))
{
	world_init(w);
	fake_lower_add(w->fake, "low/file", S_IFREG | 0755, "lower content", 13);
	fake_lower_add(w->fake, "low/link", S_IFLNK | 0777, "file", 4);
	fake_lower_add(w->fake, "low/sub/deep", S_IFREG | 0644, "deep", 4);
	fake_lower_add(w->fake, "empty", S_IFDIR | 0755, "", 0);
	fake_lower_add(w->fake, "top", S_IFREG | 0644, "top", 3);
	world_open(w);
	if (before)
		before(w);
	world_close(w);
}
