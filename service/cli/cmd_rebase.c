// SPDX-License-Identifier: Apache-2.0
/* fetch, rebase: what the origin has by now, and moving a workspace there while it is used. */
#include "output.h"
#include "workspace.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void show_fetch(const ProtobufCMessage *message)
{
	const Coppice__V1__FetchResponse *m = (const void *)message;

	(void)printf("%s %.12s%s\n", *m->revision ? m->revision : "(default)", m->commit,
		m->moved ? ", not the base of the workspace" : " is the base of the workspace");
}

int cmd_fetch(struct cli *cli, int argc, char **argv)
{
	Coppice__V1__FetchRequest m = COPPICE__V1__FETCH_REQUEST__INIT;
	const char *revision = "";
	const struct workspace_option options[] = {{"revision", &revision, NULL, 0}, {0}};
	struct workspace_args a;
	int r = workspace_parse(&a, options, argc, argv);

	if (r == CLI_OK && a.path_count)
		r = cli_usage(a.command, "fetch takes no paths");
	if (r == CLI_OK) {
		m.workspace = &a.ref;
		m.revision = (char *)revision;
		r = workspace_call(cli, WORKFLOW_SERVICE "Fetch", &m.base,
			&coppice__v1__fetch_response__descriptor, true, show_fetch);
	}
	workspace_fini(&a);
	return r;
}

static void show_mount(const ProtobufCMessage *message)
{
	const Coppice__V1__Mount *m = (const void *)message;

	for (size_t i = 0; i < m->n_rebased; i++)
		(void)printf("%.12s %s%.12s\n", m->rebased[i]->old,
			*m->rebased[i]->commit ? "is now " : "is in the new base already",
			m->rebased[i]->commit);
	(void)printf(
		"%s is at %.12s, generation %" PRIu64 "\n", m->job_id, m->commit, m->generation);
}

int cmd_rebase(struct cli *cli, int argc, char **argv)
{
	Coppice__V1__RebaseRequest m = COPPICE__V1__REBASE_REQUEST__INIT;
	Coppice__V1__Signature committer = COPPICE__V1__SIGNATURE__INIT;
	const char *revision = "", *by = NULL, *date = NULL;
	bool mine = false, theirs = false, merge = false;
	const struct workspace_option options[] = {{"revision", &revision, NULL, 0},
		{"keep-mine", NULL, &mine, 0}, {"take-theirs", NULL, &theirs, 0},
		{"merge", NULL, &merge, 0}, {"committer", &by, NULL, 0},
		{"committer-date", &date, NULL, 0}, {0}};
	struct workspace_args a;
	int r = workspace_parse(&a, options, argc, argv);

	if (r == CLI_OK && a.path_count)
		r = cli_usage(a.command, "rebase takes no paths");
	if (r == CLI_OK && mine + theirs + merge > 1)
		r = cli_usage(a.command, "one of --keep-mine, --take-theirs and --merge");
	if (r == CLI_OK && (by || date || getenv("GIT_COMMITTER_NAME"))) {
		r = workspace_person(a.command, "COMMITTER", by, date, &committer);
		m.committer = &committer;
	}
	if (r == CLI_OK) {
		m.mount_id = a.ref.mount_id;
		m.job_id = a.ref.job_id;
		m.tenant = a.ref.tenant;
		m.expected_generation = a.ref.expected_generation;
		m.revision = (char *)revision;
		m.on_conflict = mine     ? COPPICE__V1__ON_CONFLICT__KEEP_MINE
				: theirs ? COPPICE__V1__ON_CONFLICT__TAKE_THEIRS
				: merge  ? COPPICE__V1__ON_CONFLICT__MERGE_LINES
					 : COPPICE__V1__ON_CONFLICT__FAIL;
		r = workspace_call(cli, "/coppice.v1.MountService/Rebase", &m.base,
			&coppice__v1__mount__descriptor, false, show_mount);
	}
	workspace_fini(&a);
	return r;
}
