/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See mount_use.h. The list of uses hangs off the mount and is guarded by the registry's lock;
 * nothing blocks under it but the waits of a condition. Any thread.
 */
#include "mount_use.h"

#include "mount_change_list.h"
#include "mounts_internal.h"

#include <base/cancel.h>
#include <base/clock.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void pass_on(void *arg)
{
	cancel_fire(arg);
}

static struct mount_use *use_free(struct mount_use *use)
{
	if (!use)
		return NULL;
	if (use->callers_handle > 0)
		(void)cancel_off(use->callers, use->callers_handle); /* run or not: both are fine */
	cancel_unref(use->cancel);
	free(use->path);
	free(use);
	return NULL;
}

static struct mount_use *use_new(struct mounts *m, const struct mount_use_config *config)
{
	struct mount_use *use = calloc(1, sizeof(*use));

	if (!use)
		return NULL;
	list_init(&use->link);
	use->cancel = cancel_new();
	if (!use->cancel)
		return use_free(use);
	use->changes = config->changes;
	use->deadline_ns = mount_deadline(m, config->deadline_ns);
	use->callers = config->cancel;
	if (config->cancel) {
		use->callers_handle = cancel_on(config->cancel, pass_on, use->cancel);
		if (use->callers_handle < 0)
			return use_free(use);
	}
	return use;
}

static int not_ready(const struct mount *mt, struct err *e)
{
	return err_set(e, -EBUSY, "NOT_READY", "mount %s is %s", mt->rec.mount_id,
		mount_state_name(mt->rec.state));
}

static bool is_usable(const struct mount *mt)
{
	return mt->rec.state == MOUNT_READY && mt->attached && !mt->closing;
}

static bool is_being_changed(const struct mount *mt)
{
	list_for_each (it, &mt->uses)
		if (list_entry(it, struct mount_use, link)->changes)
			return true;
	return false;
}

/* How soon a waiting use sees that it was cancelled. */
#define WAIT_STEP_NS (100 * NS_PER_MS)

static bool must_wait(const struct mount *mt, const struct mount_use *use)
{
	if (mt->alone)
		return mt->attached && !mt->closing;
	return is_usable(mt) && use->changes && is_being_changed(mt);
}

static int wait_turn_locked(struct mount *mt, const struct mount_use *use, struct err *e)
{
	while (must_wait(mt, use)) {
		uint64_t step_ns = clock_after(&clock_system, WAIT_STEP_NS);
		int r = cancel_check(use->cancel, use->deadline_ns);

		if (r < 0)
			return err_set(e, r, "",
				"another change of mount %s is under way, and takes too long",
				mt->rec.mount_id);
		(void)cond_wait_until(&mt->changed, &mt->registry->mu,
			step_ns < use->deadline_ns ? step_ns : use->deadline_ns);
	}
	return is_usable(mt) ? 0 : not_ready(mt, e);
}

static int check_generation(const struct mount *mt, uint64_t expected, struct err *e)
{
	char present[24];
	int r;

	if (!expected || expected == mt->rec.generation)
		return 0;
	(void)snprintf(present, sizeof(present), "%" PRIu64, mt->rec.generation);
	r = err_set(e, -ESTALE, "GENERATION_CHANGED",
		"the workspace is at generation %s, not %" PRIu64, present, expected);
	err_meta(e, "generation", present);
	return r;
}

static int enter_locked(struct mount *mt, struct mount_use *use, struct err *e)
{
	const struct mount_record *rec = &mt->rec;

	use->path = strdup(rec->path ? rec->path : "");
	if (!use->path)
		return err_set(e, -ENOMEM, "", "no memory");
	(void)snprintf(use->mount_id, sizeof(use->mount_id), "%s", rec->mount_id);
	(void)snprintf(use->origin, sizeof(use->origin), "%s", rec->origin);
	(void)snprintf(use->revision, sizeof(use->revision), "%s", rec->revision);
	use->commit = *mount_change_list_base(rec);
	use->root = rec->root;
	use->generation = rec->generation;
	use->uid = rec->uid;
	use->gid = rec->gid;
	use->read_only = rec->read_only;
	use->has_change_list = mount_change_list_given(rec) && !rec->change_exact;
	use->change_kind = rec->change_kind;
	use->change_from = rec->change_from;
	use->change_to = rec->change_to;
	(void)snprintf(use->change_name, sizeof(use->change_name), "%s",
		rec->change_text ? rec->change_text : "");
	use->mount = mt;
	list_push_back(&mt->uses, &use->link);
	return 0;
}

int mount_use_begin(struct mounts *m, const struct mount_use_config *config,
	struct mount_use **ret_use, struct err *e)
{
	struct mount_use *use = use_new(m, config);
	struct mount *mt;
	int r;

	if (!use)
		return err_set(e, -ENOMEM, "", "no memory");
	lock_acquire(&m->mu);
	mt = mount_find_locked(m, config->key);
	if (!mt || !mt->known || mt->rec.state == MOUNT_DELETED) {
		r = mount_not_found(config->key, e);
	} else {
		mt->refs++;
		r = wait_turn_locked(mt, use, e);
		if (r == 0)
			r = check_generation(mt, config->expected_generation, e);
		if (r == 0)
			r = enter_locked(mt, use, e);
		if (r < 0)
			mount_unref_locked(mt);
	}
	lock_release(&m->mu);
	if (r < 0)
		use_free(use); /* with no lock held: it may wait for a callback */
	else
		*ret_use = use;
	return r;
}

int mount_use_claimed(struct mount *mt, uint64_t deadline_ns, struct mount_use **ret_use)
{
	const struct mount_use_config config = {.changes = true, .deadline_ns = deadline_ns};
	struct mount_use *use = use_new(mt->registry, &config);
	int r;

	if (!use)
		return -ENOMEM;
	lock_acquire(&mt->registry->mu);
	r = enter_locked(mt, use, NULL);
	mt->refs += r == 0;
	lock_release(&mt->registry->mu);
	if (r < 0)
		use_free(use);
	else
		*ret_use = use;
	return r;
}

int mount_use_alone(struct mount_use *use, struct err *e)
{
	struct mount *mt = use->mount;

	LOCK_GUARD(&mt->registry->mu);
	mt->alone = use; /* uses that change take turns, so there is no other */
	while (mt->uses.next != &use->link || use->link.next != &mt->uses) {
		int r = cancel_check(use->cancel, use->deadline_ns);

		if (r < 0)
			return err_set(e, r, "", "others work in mount %s, and that takes too long",
				mt->rec.mount_id);
		(void)cond_wait_until(
			&mt->changed, &mt->registry->mu, clock_after(&clock_system, WAIT_STEP_NS));
	}
	return 0;
}

struct mount_use *mount_use_end(struct mount_use *use)
{
	struct mounts *m;

	if (!use)
		return NULL;
	m = use->mount->registry;
	lock_acquire(&m->mu);
	list_remove(&use->link);
	if (use->mount->alone == use)
		use->mount->alone = NULL;
	cond_broadcast(&use->mount->changed);
	mount_unref_locked(use->mount);
	lock_release(&m->mu);
	return use_free(use);
}

void mount_uses_close(struct mount *mt)
{
	struct mounts *m = mt->registry;

	LOCK_GUARD(&m->mu);
	mt->closing = true;
	while (!list_empty(&mt->uses)) {
		/* Each time: cancel_fire calls nobody who blocks, and who is cancelled ends soon.
		 */
		list_for_each (it, &mt->uses)
			cancel_fire(list_entry(it, struct mount_use, link)->cancel);
		(void)cond_wait_until(
			&mt->changed, &m->mu, clock_after(&clock_system, WAIT_STEP_NS));
	}
}

void mount_uses_open(struct mount *mt)
{
	LOCK_GUARD(&mt->registry->mu);
	mt->closing = false;
}
