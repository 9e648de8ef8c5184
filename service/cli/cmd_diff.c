// SPDX-License-Identifier: Apache-2.0
/* diff: what `git diff` prints. */
#include "output.h"
#include "workspace.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

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

/* As git finds it. */
static unsigned columns(void)
{
	const char *text = getenv("COLUMNS");
	struct winsize size;
	uint64_t number;

	if (text && cli_parse_number(text, 10000, &number) && number)
		return (unsigned)number;
	return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

struct formats {
	bool names, kinds, counts, stat, sum;
};

static Coppice__V1__DiffRequest__Format format_of(const struct formats *f)
{
	return f->names    ? COPPICE__V1__DIFF_REQUEST__FORMAT__NAME_ONLY
	       : f->kinds  ? COPPICE__V1__DIFF_REQUEST__FORMAT__NAME_STATUS
	       : f->counts ? COPPICE__V1__DIFF_REQUEST__FORMAT__NUMSTAT
	       : f->stat   ? COPPICE__V1__DIFF_REQUEST__FORMAT__STAT
	       : f->sum    ? COPPICE__V1__DIFF_REQUEST__FORMAT__SHORTSTAT
			   : COPPICE__V1__DIFF_REQUEST__FORMAT__PATCH;
}

int cmd_diff(struct cli *cli, int argc, char **argv)
{
	Coppice__V1__DiffRequest m = COPPICE__V1__DIFF_REQUEST__INIT;
	const char *from = "", *to = "", *context = NULL;
	bool staged = false, no_renames = false;
	struct formats formats = {0};
	const struct workspace_option options[] = {{"from", &from, NULL, 0}, {"to", &to, NULL, 0},
		{"unified", &context, NULL, 'U'}, {"staged", NULL, &staged, 0},
		{"name-only", NULL, &formats.names, 0}, {"name-status", NULL, &formats.kinds, 0},
		{"numstat", NULL, &formats.counts, 0}, {"stat", NULL, &formats.stat, 0},
		{"shortstat", NULL, &formats.sum, 0}, {"no-renames", NULL, &no_renames, 0}, {0}};
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
		m.format = format_of(&formats);
		m.width = columns();
		client_stream(cli->client, WORKFLOW_SERVICE "Diff", &m.base,
			&coppice__v1__diff_response__descriptor, print_text, &p, &st);
		r = st.code ? cli_fail(&st) : p.result;
	}
	workspace_fini(&a);
	return r;
}
