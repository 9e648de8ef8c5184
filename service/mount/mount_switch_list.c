/* SPDX-License-Identifier: Apache-2.0 */
/* Another change list over the same revision, or none, while jobs use the mount. */
#include "mount_change_list.h"
#include "mount_switch.h"
#include "mount_use.h"
#include "mounts_internal.h"
#include "workflow/state.h"

#include <base/cleanup.h>
#include <base/path.h>
#include <errno.h>
#include <string.h>

/* What was staged or committed is over the old tree; without any the Git state moves along. */
static int move_state(const struct mount_switch *sw, struct err *e)
{
	const struct mount_record *now = &sw->mt->rec, *next = &sw->next;
	_cleanup_free_ char *dir =
		path_join(sw->mt->registry->workspaces_dir, sw->mt->rec.mount_id);
	int r = dir ? wf_state_move(dir, mount_change_list_base(now), mount_change_list_base(next),
			      &next->root)
		    : -ENOMEM;

	if (r == -EBUSY)
		return err_set(e, r, "WORKSPACE_HAS_COMMITS",
			"the workspace has commits or staged changes, which belong to the tree "
			"that "
			"it shows now; reset or push them first");
	return r < 0 ? err_set(e, r, "", "cannot move the Git state: %s", strerror(-r)) : 0;
}

static int switch_list(struct mount_switch *sw, const struct mount_change_source *source,
	struct mount_info *ret_info, struct err *e)
{
	int err = mount_change_list_choose(&sw->next, source);

	if (err)
		return err_set(e, err, "", "no memory");
	err = mount_switch_resolve(sw, NULL, source, e);
	if (!err)
		err = move_state(sw, e);
	if (!err)
		err = mount_switch_go(sw, e);
	if (err)
		return err;
	LOCK_GUARD(&sw->mt->registry->mu);
	return mount_copy_info_locked(sw->mt, ret_info, e);
}

int mounts_set_change_list(struct mounts *m, const struct mount_switch_call *call,
	const struct mount_change_source *source, struct mount_info *ret_info, struct err *e)
{
	const struct mount_use_config config = {
		.key = call->key,
		.changes = true,
		.expected_generation = call->expected_generation,
		.cancel = call->cancel,
		.deadline_ns = call->deadline_ns,
	};
	struct mount_use *use;
	struct mount_switch sw;
	int err = mount_change_list_check(source, e);

	if (!err)
		err = mount_use_begin(m, &config, &use, e);
	if (err)
		return err;
	err = mount_switch_begin(&sw, use, e);
	if (!err) {
		err = switch_list(&sw, source, ret_info, e);
		mount_switch_end(&sw);
	}
	(void)mount_use_end(use); /* returns NULL always */
	return err;
}
