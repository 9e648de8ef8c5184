// SPDX-License-Identifier: Apache-2.0
/* cl: the change list of a workspace, changed while it is used. */
#include "output.h"
#include "request.h"
#include "workspace.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define MOUNT_SERVICE "/coppice.v1.MountService/"

static void show_mount(const ProtobufCMessage *message)
{
	const Coppice__V1__Mount *m = (const void *)message;

	if (m->change_list)
		(void)printf("%s: change list %.12s, %" PRIu64 " paths, generation %" PRIu64 "\n",
			m->job_id, m->change_list_commit, m->change_list_paths, m->generation);
	else
		(void)printf(
			"%s: no change list, generation %" PRIu64 "\n", m->job_id, m->generation);
}

static int set(struct cli *cli, const struct request *rq)
{
	Coppice__V1__SetChangeListRequest m = COPPICE__V1__SET_CHANGE_LIST_REQUEST__INIT;
	struct change_source change;
	int r = change_source_init(&change, rq->command, &rq->change, &m.change_list);

	if (r == CLI_OK && !m.change_list)
		r = cli_usage(
			rq->command, "'cl set' needs a change list, such as --change-list A..B");
	if (r == CLI_OK) {
		*(cli_is_mount_id(rq->name) ? &m.mount_id : &m.job_id) = (char *)rq->name;
		m.tenant = (char *)(rq->tenant ? rq->tenant : "");
		m.expected_generation = rq->expected_generation;
		r = workspace_call(cli, MOUNT_SERVICE "SetChangeList", &m.base,
			&coppice__v1__mount__descriptor, true, show_mount);
	}
	change_source_fini(&change);
	return r;
}

static int clear(struct cli *cli, const struct request *rq)
{
	Coppice__V1__ClearChangeListRequest m = COPPICE__V1__CLEAR_CHANGE_LIST_REQUEST__INIT;

	*(cli_is_mount_id(rq->name) ? &m.mount_id : &m.job_id) = (char *)rq->name;
	m.tenant = (char *)(rq->tenant ? rq->tenant : "");
	m.expected_generation = rq->expected_generation;
	return workspace_call(cli, MOUNT_SERVICE "ClearChangeList", &m.base,
		&coppice__v1__mount__descriptor, true, show_mount);
}

static bool print_entries(void *arg, const ProtobufCMessage *message)
{
	const Coppice__V1__ListChangeListResponse *m = (const void *)message;
	const struct cli *cli = arg;

	if (cli->json)
		return output_json(stdout, message) >= 0;
	for (size_t i = 0; i < m->n_entries; i++) {
		const Coppice__V1__ChangeListEntry *e = m->entries[i];

		(void)printf("%c\t", !e->old_mode ? 'A' : !e->mode ? 'D' : 'M');
		workspace_print_path(stdout, &e->path);
		(void)putchar('\n');
	}
	return true;
}

static int show(struct cli *cli, const struct request *rq)
{
	Coppice__V1__ListChangeListRequest m = COPPICE__V1__LIST_CHANGE_LIST_REQUEST__INIT;
	Coppice__V1__WorkspaceRef ref = COPPICE__V1__WORKSPACE_REF__INIT;
	struct client_status st;
	int r = cli_connect(cli);

	if (r != CLI_OK)
		return r;
	*(cli_is_mount_id(rq->name) ? &ref.mount_id : &ref.job_id) = (char *)rq->name;
	ref.tenant = (char *)(rq->tenant ? rq->tenant : "");
	ref.expected_generation = rq->expected_generation;
	m.workspace = &ref;
	client_stream(cli->client, WORKFLOW_SERVICE "ListChangeList", &m.base,
		&coppice__v1__list_change_list_response__descriptor, print_entries, cli, &st);
	return st.code ? cli_fail(&st) : CLI_OK;
}

static const struct {
	const char *name;
	int (*run)(struct cli *cli, const struct request *rq);
} verbs[] = {{"set", set}, {"clear", clear}, {"show", show}};

int cmd_cl(struct cli *cli, int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : "";
	struct request rq;
	int r;

	for (unsigned i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (strcmp(verb, verbs[i].name) != 0)
			continue;
		argv[1] = argv[0];
		r = request_parse(&rq, argc - 1, argv + 1);
		if (r == CLI_OK && !rq.name)
			r = cli_usage(rq.command, "which workspace? Give its job id or mount id");
		if (r == CLI_OK)
			r = verbs[i].run(cli, &rq);
		request_fini(&rq);
		return r;
	}
	return cli_usage(cli_find("cl"), "cl needs one of: set, clear, show");
}
