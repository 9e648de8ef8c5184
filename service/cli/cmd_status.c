// SPDX-License-Identifier: Apache-2.0
/* status: what changed, one line for a path in the letters of `git status --short`. */
#include "output.h"
#include "workspace.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef Coppice__V1__StatusEntry entry_t;

/* The staged half of a path waits for the other half, which comes next if there is one. */
struct printer {
	struct cli *cli;
	char *path; /* of the half that waits; NULL: none */
	size_t path_len;
	char *old_path;
	char letter;
	bool complete;
	int result;
};

static char letter_of(const entry_t *e)
{
	static const char letters[] = {'?', 'A', 'M', 'D', 'R', 'T', 'M', '?', '!'};

	return (unsigned)e->kind < sizeof(letters) ? letters[e->kind] : '?';
}

static void flush_half(struct printer *p, char other)
{
	if (!p->path)
		return;
	(void)printf("%c%c ", p->letter, other);
	if (p->old_path) {
		output_safe(stdout, p->old_path);
		(void)printf(" -> ");
	}
	output_safe(stdout, p->path);
	(void)putchar('\n');
	free(p->path);
	free(p->old_path);
	p->path = p->old_path = NULL;
}

static bool print_entry(struct printer *p, const entry_t *e)
{
	char letter = letter_of(e);

	if (!e->staged && p->path && e->path.len == p->path_len && letter != '?' &&
		memcmp(e->path.data, p->path, p->path_len) == 0) {
		flush_half(p, letter);
		return true;
	}
	flush_half(p, ' ');
	if (e->staged) {
		p->path = strndup((const char *)e->path.data, e->path.len);
		p->path_len = e->path.len;
		p->old_path = e->old_path.len
				      ? strndup((const char *)e->old_path.data, e->old_path.len)
				      : NULL;
		p->letter = letter;
		return p->path != NULL;
	}
	(void)printf("%c%c ", letter == '?' || letter == '!' ? letter : ' ', letter);
	workspace_print_path(stdout, &e->path);
	(void)putchar('\n');
	return true;
}

static bool print_message(void *arg, const ProtobufCMessage *message)
{
	const Coppice__V1__StatusResponse *m = (const void *)message;
	struct printer *p = arg;

	p->complete |= m->head != NULL;
	for (size_t i = 0; i < m->n_entries; i++)
		if (p->cli->json ? output_json(stdout, &m->entries[i]->base) < 0
				 : !print_entry(p, m->entries[i])) {
			p->result = CLI_FAILED;
			return false;
		}
	return true;
}

static bool parse_untracked(const char *word, Coppice__V1__StatusRequest__Untracked *ret)
{
	static const char *const words[] = {"normal", "all", "no"};

	for (unsigned i = 0; i < 3; i++)
		if (strcmp(word, words[i]) == 0) {
			*ret = (Coppice__V1__StatusRequest__Untracked)i;
			return true;
		}
	return false;
}

int cmd_status(struct cli *cli, int argc, char **argv)
{
	Coppice__V1__StatusRequest m = COPPICE__V1__STATUS_REQUEST__INIT;
	const char *untracked = "normal";
	bool ignored = false, no_renames = false;
	const struct workspace_option options[] = {{"untracked", &untracked, NULL, 'u'},
		{"ignored", NULL, &ignored, 0}, {"no-renames", NULL, &no_renames, 0}, {0}};
	struct printer p = {.cli = cli};
	struct workspace_args a;
	struct client_status st;
	int r = workspace_parse(&a, options, argc, argv);

	if (r == CLI_OK && !parse_untracked(untracked, &m.untracked))
		r = cli_usage(a.command, "--untracked is normal, all or no, not '%s'", untracked);
	if (r == CLI_OK)
		r = cli_connect(cli);
	if (r == CLI_OK) {
		m.workspace = &a.ref;
		m.paths = a.paths;
		m.n_paths = a.path_count;
		m.ignored = ignored;
		m.no_renames = no_renames;
		client_stream(cli->client, WORKFLOW_SERVICE "Status", &m.base,
			&coppice__v1__status_response__descriptor, print_message, &p, &st);
		flush_half(&p, ' ');
		r = st.code ? cli_fail(&st) : p.result;
	}
	workspace_fini(&a);
	return r;
}
