// SPDX-License-Identifier: Apache-2.0
/* diff: what `git diff` prints. */
#include "output.h"
#include "workspace.h"

#include <stdio.h>

struct diff_printer {
	struct cli *cli;
	int result;
};

static bool print_text(void *arg, const ProtobufCMessage *message)
{
	const Coppice__V1__DiffResponse *m = (const void *)message;
	struct diff_printer *p = arg;

	if (p->cli->json && output_json(stdout, message) < 0)
		p->result = CLI_FAILED;
	else if (!p->cli->json && m->text.len &&
		 fwrite(m->text.data, 1, m->text.len, stdout) != m->text.len)
		p->result = CLI_FAILED;
	return p->result == CLI_OK;
}

int cmd_diff(struct cli *cli, int argc, char **argv)
{
	Coppice__V1__DiffRequest m = COPPICE__V1__DIFF_REQUEST__INIT;
	const char *from = "", *to = "", *context = NULL;
	bool staged = false, names = false, kinds = false, counts = false, no_renames = false;
	const struct workspace_option options[] = {{"from", &from, NULL, 0}, {"to", &to, NULL, 0},
		{"unified", &context, NULL, 'U'}, {"staged", NULL, &staged, 0},
		{"name-only", NULL, &names, 0}, {"name-status", NULL, &kinds, 0},
		{"numstat", NULL, &counts, 0}, {"no-renames", NULL, &no_renames, 0}, {0}};
	struct diff_printer p = {.cli = cli};
	struct workspace_args a;
	struct client_status st;
	uint64_t lines = 3;
	int r = workspace_parse(&a, options, argc, argv);

	if (r == CLI_OK && context && !cli_parse_number(context, 1000000, &lines))
		r = cli_usage(a.command, "--unified is a number of lines, not '%s'", context);
	if (r == CLI_OK)
		r = cli_connect(cli);
	if (r == CLI_OK) {
		m.workspace = &a.ref;
		m.paths = a.paths;
		m.n_paths = a.path_count;
		m.from = (char *)from;
		m.to = (char *)to;
		m.staged = staged;
		m.no_renames = no_renames;
		m.context = lines ? (int32_t)lines : -1;
		m.format = names    ? COPPICE__V1__DIFF_REQUEST__FORMAT__NAME_ONLY
			   : kinds  ? COPPICE__V1__DIFF_REQUEST__FORMAT__NAME_STATUS
			   : counts ? COPPICE__V1__DIFF_REQUEST__FORMAT__NUMSTAT
				    : COPPICE__V1__DIFF_REQUEST__FORMAT__PATCH;
		client_stream(cli->client, WORKFLOW_SERVICE "Diff", &m.base,
			&coppice__v1__diff_response__descriptor, print_text, &p, &st);
		r = st.code ? cli_fail(&st) : p.result;
	}
	workspace_fini(&a);
	return r;
}
