/* SPDX-License-Identifier: Apache-2.0 */
/* A request for a mount, checked and made canonical, so that two of them can be compared. */
#pragma once
#include "mount_codec.h"

struct cfg;
struct err;
struct tenant;

/*
 * Checks every field and fills a new record with what was asked: names, canonical path, quota in
 * force, lease, owner, labels sorted by key, and the hash of all that. -EINVAL naming the field,
 * -EACCES.
 */
int mount_request_check(const struct cfg *cfg, const struct tenant *tn,
	const struct mount_request *rq, struct mount_record *ret_record, struct err *e);
/* 0 if both records ask for the same; else -EEXIST, reason JOB_ID_IN_USE, naming what differs. */
int mount_request_compare(
	const struct mount_record *have, const struct mount_record *want, struct err *e);
int mount_labels_check(const struct mount_label *labels, unsigned count, struct err *e);
/* Copy, sorted by key. -ENOMEM. */
int mount_labels_set(struct mount_record *r, const struct mount_label *labels, unsigned count);
