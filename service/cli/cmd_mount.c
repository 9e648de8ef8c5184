// SPDX-License-Identifier: Apache-2.0
/* mount, umount, renew, update: the commands that change a workspace. */
#include "output.h"
#include "request.h"

#include <stdio.h>

#define MOUNT_SERVICE "/coppice.v1.MountService/"

static int say(struct cli *cli, Coppice__V1__Mount *mount, const char *line)
{
	if (cli->json)
		return cli_print_mount(cli, mount);
	if (line) {
		output_safe(stdout, line);
		(void)putchar('\n');
	}
	coppice__v1__mount__free_unpacked(mount, NULL);
	return CLI_OK;
}

/* One call that answers with the mount. NULL after having set the exit code. */
static Coppice__V1__Mount *call_mount(
	struct cli *cli, const char *method, const ProtobufCMessage *request, int *ret_exit)
{
	struct client_status st;
	ProtobufCMessage *answer;

	*ret_exit = cli_connect(cli);
	if (*ret_exit != CLI_OK)
		return NULL;
	answer = client_call(
		cli->client, method, request, &coppice__v1__mount__descriptor, true, &st);
	if (!answer)
		*ret_exit = cli_fail(&st);
	return (Coppice__V1__Mount *)answer;
}

static int do_mount(struct cli *cli, struct request *rq)
{
	Coppice__V1__CreateMountRequest m = COPPICE__V1__CREATE_MOUNT_REQUEST__INIT;
	Coppice__V1__Quota quota = COPPICE__V1__QUOTA__INIT;
	Coppice__V1__Owner owner = COPPICE__V1__OWNER__INIT;
	struct change_source change;
	Coppice__V1__Mount *mount;
	int exit_code = CLI_OK;

	if (!rq->job_id)
		rq->job_id = rq->name;
	if (!rq->job_id)
		return cli_usage(rq->command, "--job-id is needed: it names the workspace");
	m.job_id = (char *)rq->job_id;
	m.tenant = (char *)(rq->tenant ? rq->tenant : "");
	m.origin = (char *)(rq->origin ? rq->origin : "");
	m.path = (char *)(rq->path ? rq->path : "");
	m.revision = (char *)(rq->revision ? rq->revision : "");
	m.mountpoint = (char *)(rq->mountpoint ? rq->mountpoint : "");
	m.read_only = rq->read_only;
	m.lease_seconds = rq->lease_seconds;
	m.wait_for = rq->wait_for;
	m.preload_depth = (uint32_t)rq->preload_depth;
	m.labels = rq->labels;
	m.n_labels = rq->label_count;
	quota.bytes = rq->quota_bytes;
	quota.inodes = rq->quota_inodes;
	if (rq->has_quota_bytes || rq->has_quota_inodes)
		m.quota = &quota;
	owner.uid = rq->uid;
	owner.gid = rq->gid;
	if (rq->has_owner)
		m.owner = &owner;

	exit_code = change_source_init(&change, rq->command, &rq->change, &m.change_list);
	mount = exit_code == CLI_OK
			? call_mount(cli, MOUNT_SERVICE "CreateMount", &m.base, &exit_code)
			: NULL;
	change_source_fini(&change);
	if (!mount)
		return exit_code;
	return say(cli, mount, *mount->mountpoint ? mount->mountpoint : mount->root);
}

static int do_umount(struct cli *cli, struct request *rq)
{
	Coppice__V1__DeleteMountRequest m = COPPICE__V1__DELETE_MOUNT_REQUEST__INIT;
	Coppice__V1__Mount *mount;
	char line[160], used[24];
	int exit_code = CLI_OK;

	if (!rq->name)
		return cli_usage(rq->command, "which one? Give its job id or mount id");
	*(cli_is_mount_id(rq->name) ? &m.mount_id : &m.job_id) = (char *)rq->name;
	m.tenant = (char *)(rq->tenant ? rq->tenant : "");
	m.report_holders = true;
	mount = call_mount(cli, MOUNT_SERVICE "DeleteMount", &m.base, &exit_code);
	if (!mount)
		return exit_code;
	for (size_t i = 0; i < mount->n_holders; i++)
		(void)fprintf(stderr, "coppice: was used by process %u (%s, %s)\n",
			mount->holders[i]->pid, mount->holders[i]->command, mount->holders[i]->how);
	(void)snprintf(line, sizeof(line), "removed: %s written in %llu files and directories",
		output_bytes(mount->usage ? mount->usage->bytes : 0, used, sizeof(used)),
		(unsigned long long)(mount->usage ? mount->usage->inodes : 0));
	return say(cli, mount, line);
}

static int do_renew(struct cli *cli, struct request *rq)
{
	Coppice__V1__RenewLeaseRequest m = COPPICE__V1__RENEW_LEASE_REQUEST__INIT;
	Coppice__V1__Mount *mount;
	int exit_code = CLI_OK;

	if (!rq->name)
		return cli_usage(rq->command, "which one? Give its job id or mount id");
	*(cli_is_mount_id(rq->name) ? &m.mount_id : &m.job_id) = (char *)rq->name;
	m.tenant = (char *)(rq->tenant ? rq->tenant : "");
	m.lease_seconds = rq->lease_seconds;
	mount = call_mount(cli, MOUNT_SERVICE "RenewLease", &m.base, &exit_code);
	return mount ? say(cli, mount, NULL) : exit_code;
}

static int do_update(struct cli *cli, struct request *rq)
{
	Coppice__V1__UpdateMountRequest m = COPPICE__V1__UPDATE_MOUNT_REQUEST__INIT;
	Google__Protobuf__FieldMask mask = GOOGLE__PROTOBUF__FIELD_MASK__INIT;
	Coppice__V1__Quota quota = COPPICE__V1__QUOTA__INIT;
	char *paths[4];
	Coppice__V1__Mount *mount;
	int exit_code = CLI_OK;

	if (!rq->name)
		return cli_usage(rq->command, "which one? Give its job id or mount id");
	*(cli_is_mount_id(rq->name) ? &m.mount_id : &m.job_id) = (char *)rq->name;
	m.tenant = (char *)(rq->tenant ? rq->tenant : "");
	mask.paths = paths;
	if (rq->has_quota_bytes)
		paths[mask.n_paths++] = (char *)"quota.bytes";
	if (rq->has_quota_inodes)
		paths[mask.n_paths++] = (char *)"quota.inodes";
	if (rq->has_lease)
		paths[mask.n_paths++] = (char *)"lease_seconds";
	if (rq->label_count)
		paths[mask.n_paths++] = (char *)"labels";
	if (!mask.n_paths)
		return cli_usage(rq->command, "what is to change? Give at least one option");
	quota.bytes = rq->quota_bytes;
	quota.inodes = rq->quota_inodes;
	m.quota = &quota;
	m.lease_seconds = rq->lease_seconds;
	m.labels = rq->labels;
	m.n_labels = rq->label_count;
	m.update_mask = &mask;
	mount = call_mount(cli, MOUNT_SERVICE "UpdateMount", &m.base, &exit_code);
	return mount ? say(cli, mount, NULL) : exit_code;
}

static int with_request(
	struct cli *cli, int argc, char **argv, int (*fn)(struct cli *, struct request *))
{
	struct request rq;
	int r = request_parse(&rq, argc, argv);

	if (r == CLI_OK)
		r = fn(cli, &rq);
	request_fini(&rq);
	return r;
}

int cmd_mount(struct cli *cli, int argc, char **argv)
{
	return with_request(cli, argc, argv, do_mount);
}

int cmd_umount(struct cli *cli, int argc, char **argv)
{
	return with_request(cli, argc, argv, do_umount);
}

int cmd_renew(struct cli *cli, int argc, char **argv)
{
	return with_request(cli, argc, argv, do_renew);
}

int cmd_update(struct cli *cli, int argc, char **argv)
{
	return with_request(cli, argc, argv, do_update);
}
