// SPDX-License-Identifier: Apache-2.0
/* push: progress on a terminal and the server's words on standard error, the result on standard
 * output. */
#include "output.h"
#include "workspace.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

struct push_printer {
	struct cli *cli;
	bool terminal, drawn;
	int result;
};

static void end_bar(struct push_printer *p)
{
	if (p->drawn)
		(void)fputc('\n', stderr);
	p->drawn = false;
}

static void print_progress(struct push_printer *p, const Coppice__V1__PushProgress *m)
{
	static const char *const words[] = {
		"", "Counting", "Compressing", "Writing", "", "Sending LFS"};

	if (m->phase == COPPICE__V1__PUSH_PROGRESS__PHASE__SERVER) {
		end_bar(p);
		(void)fputs("remote: ", stderr);
		workspace_print_path(stderr, &m->text);
		(void)fputc('\n', stderr);
		return;
	}
	if (!p->terminal || (unsigned)m->phase >= sizeof(words) / sizeof(words[0]))
		return;
	(void)fprintf(stderr, "\r\033[K%s objects: %" PRIu64, words[m->phase], m->objects);
	if (m->total)
		(void)fprintf(stderr, "/%" PRIu64, m->total);
	if (m->bytes) {
		char text[24];

		(void)fprintf(stderr, ", %s", output_bytes(m->bytes, text, sizeof(text)));
	}
	p->drawn = true;
}

static bool print_answer(void *arg, const ProtobufCMessage *message)
{
	const Coppice__V1__PushResponse *m = (const void *)message;
	struct push_printer *p = arg;

	if (m->result)
		p->result = CLI_OK;
	if (p->cli->json)
		return output_json(stdout, message) >= 0;
	if (m->progress)
		print_progress(p, m->progress);
	if (m->result) {
		end_bar(p);
		(void)printf("%s %.12s..%.12s%s\n", m->result->ref,
			*m->result->old ? m->result->old : "(none)", m->result->new_,
			m->result->up_to_date ? " up to date"
			: m->result->created  ? " new"
					      : "");
		if (*m->result->change_list)
			(void)printf("change list %s%s\n", m->result->change_list,
				m->result->up_to_date ? ""
				: m->result->created  ? " created"
						      : " updated");
	}
	return true;
}

int cmd_push(struct cli *cli, int argc, char **argv)
{
	Coppice__V1__PushRequest m = COPPICE__V1__PUSH_REQUEST__INIT;
	const char *ref = "", *lease = "";
	const struct workspace_option options[] = {
		{"ref", &ref, NULL, 0}, {"force-with-lease", &lease, NULL, 0}, {0}};
	struct push_printer p = {
		.cli = cli, .terminal = isatty(STDERR_FILENO), .result = CLI_FAILED};
	struct workspace_args a;
	struct client_status st;
	int r = workspace_parse(&a, options, argc, argv);

	if (r == CLI_OK && a.path_count)
		r = cli_usage(a.command, "push takes no paths");
	if (r == CLI_OK)
		r = cli_connect(cli);
	if (r == CLI_OK) {
		m.workspace = &a.ref;
		m.ref = (char *)ref;
		m.force_with_lease = (char *)lease;
		client_stream(cli->client, WORKFLOW_SERVICE "Push", &m.base,
			&coppice__v1__push_response__descriptor, print_answer, &p, &st);
		end_bar(&p);
		r = st.code ? cli_fail(&st) : p.result;
	}
	workspace_fini(&a);
	return r;
}
