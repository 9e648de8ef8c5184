/* SPDX-License-Identifier: Apache-2.0 */
/* Another change list over the same revision, or none, while jobs use the mount. */
#include "mount_change_list.h"
#include "mount_switch.h"
#include "mount_use.h"
#include "mounts_internal.h"
#include "workflow/rebase.h"

static int switch_list(struct mount_switch *sw, const struct mount_change_source *source,
	struct mount_info *ret_info, struct err *e)
{
	int err = mount_change_list_choose(&sw->next, source);

	if (err)
		return err_set(e, err, "", "no memory");
	err = mount_switch_resolve(sw, NULL, source, e);
	if (!err)
		err = wf_move_list(sw, e);
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
