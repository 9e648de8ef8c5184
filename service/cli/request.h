/* SPDX-License-Identifier: Apache-2.0 */
/* The words that several commands take, parsed once: which mount, which quota, lease and labels. */
#pragma once
#include "change_source.h"
#include "cli.h"

#define REQUEST_LABELS_MAX 32

struct request {
	const struct cli_command *command;
	const char *name; /* JOB or MOUNT_ID, or NULL */
	const char *job_id, *origin, *revision, *path, *mountpoint, *tenant;
	struct change_words change;
	Coppice__V1__WaitFor wait_for;
	uint64_t preload_depth;
	uint64_t quota_bytes, quota_inodes, since, expected_generation;
	bool has_quota_bytes, has_quota_inodes, has_lease, has_owner, read_only;
	uint32_t lease_seconds, uid, gid;
	Coppice__V1__Label *labels[REQUEST_LABELS_MAX];
	size_t label_count;
	Coppice__V1__MountState states[8];
	size_t state_count;
};

/* Parses argv by the command's list of options. CLI_OK, or an exit code after having said why. */
int request_parse(struct request *rq, int argc, char **argv);
void request_fini(struct request *rq);
