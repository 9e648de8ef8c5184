// SPDX-License-Identifier: Apache-2.0
/* add, reset, commit and log: what is staged, and what was committed. */
#include "output.h"
#include "workspace.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- add ---- */

static void show_nothing(const ProtobufCMessage *answer)
{
	(void)answer; /* as git: no news is good news */
}

int cmd_add(struct cli *cli, int argc, char **argv)
{
	Coppice__V1__AddRequest m = COPPICE__V1__ADD_REQUEST__INIT;
	bool all = false, update = false, force = false;
	const struct workspace_option options[] = {{"all", NULL, &all, 'A'},
		{"update", NULL, &update, 'u'}, {"force", NULL, &force, 'f'}, {0}};
	struct workspace_args a;
	int r = workspace_parse(&a, options, argc, argv);

	if (r == CLI_OK && !all && !update && !a.path_count)
		r = cli_usage(a.command, "what? Give paths, --all or --update");
	if (r == CLI_OK) {
		m.workspace = &a.ref;
		m.paths = a.paths;
		m.n_paths = a.path_count;
		m.all = all && !a.path_count;
		m.update = update;
		m.force = force;
		r = workspace_call(cli, WORKFLOW_SERVICE "Add", &m.base,
			&coppice__v1__add_response__descriptor, true, show_nothing);
	}
	workspace_fini(&a);
	return r;
}

/* ---- reset ---- */

int cmd_reset(struct cli *cli, int argc, char **argv)
{
	Coppice__V1__ResetRequest m = COPPICE__V1__RESET_REQUEST__INIT;
	bool soft = false, mixed = false, hard = false;
	const char *to = "";
	const struct workspace_option options[] = {{"soft", NULL, &soft, 0},
		{"mixed", NULL, &mixed, 0}, {"hard", NULL, &hard, 0}, {"to", &to, NULL, 0}, {0}};
	struct workspace_args a;
	int r = workspace_parse(&a, options, argc, argv);

	if (r == CLI_OK && soft + mixed + hard > 1)
		r = cli_usage(a.command, "only one of --soft, --mixed and --hard");
	if (r == CLI_OK) {
		m.workspace = &a.ref;
		m.mode = soft   ? COPPICE__V1__RESET_REQUEST__MODE__SOFT
			 : hard ? COPPICE__V1__RESET_REQUEST__MODE__HARD
				: COPPICE__V1__RESET_REQUEST__MODE__MIXED;
		m.to = (char *)to;
		m.paths = a.paths;
		m.n_paths = a.path_count;
		r = workspace_call(cli, WORKFLOW_SERVICE "Reset", &m.base,
			&coppice__v1__reset_response__descriptor, false, show_nothing);
	}
	workspace_fini(&a);
	return r;
}

/* ---- commit ---- */

static void show_commit(const ProtobufCMessage *answer)
{
	const Coppice__V1__CommitResponse *m = (const void *)answer;

	(void)printf("%s\n", m->commit);
}

/* "Name <address>" into its two parts, cut in `text`. */
static bool parse_person(char *text, Coppice__V1__Signature *ret)
{
	char *open = strrchr(text, '<'), *close = open ? strchr(open, '>') : NULL;

	if (!close || close[1])
		return false;
	*open = *close = '\0';
	ret->name = text;
	ret->email = open + 1;
	for (char *end = open; end > text && end[-1] == ' ';)
		*--end = '\0';
	return true;
}

/* "SECONDS" or "SECONDS +0200". */
static bool parse_date(const char *text, Coppice__V1__Signature *ret)
{
	char *end;
	long zone;

	ret->time = strtoll(text, &end, 10);
	if (end == text)
		return false;
	if (!*end)
		return true;
	zone = *end == ' ' ? strtol(end + 1, &end, 10) : 0;
	if (*end)
		return false;
	ret->offset_minutes = (int32_t)(zone / 100 * 60 + zone % 100);
	return true;
}

int workspace_person(const struct cli_command *command, const char *who, const char *option,
	const char *date, Coppice__V1__Signature *ret)
{
	char variable[32];
	const char *value;

	if (option && !parse_person((char *)option, ret))
		return cli_usage(command, "'%s' is not like 'NAME <ADDRESS>'", option);
	if (!option) {
		(void)snprintf(variable, sizeof(variable), "GIT_%s_NAME", who);
		value = getenv(variable);
		ret->name = (char *)(value ? value : "");
		(void)snprintf(variable, sizeof(variable), "GIT_%s_EMAIL", who);
		value = getenv(variable);
		ret->email = (char *)(value ? value : "");
	}
	if (date && !parse_date(date, ret))
		return cli_usage(command, "a date is seconds since 1970, not '%s'", date);
	if (!*ret->name)
		return cli_usage(command,
			"who is the %s? Give --%s 'NAME <ADDRESS>', or set %s_NAME and %s_EMAIL",
			*who == 'A' ? "author" : "committer", *who == 'A' ? "author" : "committer",
			*who == 'A' ? "GIT_AUTHOR" : "GIT_COMMITTER",
			*who == 'A' ? "GIT_AUTHOR" : "GIT_COMMITTER");
	return CLI_OK;
}

int cmd_commit(struct cli *cli, int argc, char **argv)
{
	Coppice__V1__CommitRequest m = COPPICE__V1__COMMIT_REQUEST__INIT;
	Coppice__V1__Signature author = COPPICE__V1__SIGNATURE__INIT;
	Coppice__V1__Signature committer = COPPICE__V1__SIGNATURE__INIT;
	const char *message = NULL, *by = NULL, *date = NULL, *also = NULL, *also_date = NULL;
	bool allow_empty = false;
	const struct workspace_option options[] = {{"message", &message, NULL, 'm'},
		{"author", &by, NULL, 0}, {"date", &date, NULL, 0}, {"committer", &also, NULL, 0},
		{"committer-date", &also_date, NULL, 0}, {"allow-empty", NULL, &allow_empty, 0},
		{0}};
	struct workspace_args a;
	int r = workspace_parse(&a, options, argc, argv);

	if (r == CLI_OK && a.path_count)
		r = cli_usage(a.command, "commit takes no paths; 'coppice add' stages them");
	if (r == CLI_OK && !message)
		r = cli_usage(a.command, "give a message with -m");
	if (r == CLI_OK)
		r = workspace_person(a.command, "AUTHOR", by, date, &author);
	if (r == CLI_OK && (also || also_date || getenv("GIT_COMMITTER_NAME"))) {
		r = workspace_person(a.command, "COMMITTER", also, also_date, &committer);
		m.committer = &committer;
	}
	if (r == CLI_OK) {
		m.workspace = &a.ref;
		m.message = (char *)message;
		m.author = &author;
		m.allow_empty = allow_empty;
		r = workspace_call(cli, WORKFLOW_SERVICE "Commit", &m.base,
			&coppice__v1__commit_response__descriptor, false, show_commit);
	}
	workspace_fini(&a);
	return r;
}

/* ---- log ---- */

struct log_printer {
	struct cli *cli;
	bool some;
	int result;
};

static void print_when(const Coppice__V1__Signature *s)
{
	time_t local = (time_t)(s->time + (int64_t)s->offset_minutes * 60);
	int minutes = abs(s->offset_minutes);
	struct tm tm;
	char text[64] = "";

	if (gmtime_r(&local, &tm))
		(void)strftime(text, sizeof(text), "%a %b %e %H:%M:%S %Y", &tm);
	(void)printf("Date:   %s %c%02d%02d\n", text, s->offset_minutes < 0 ? '-' : '+',
		minutes / 60, minutes % 60);
}

static void print_commit(const Coppice__V1__LogEntry *e)
{
	const char *at = (const char *)e->message.data;
	size_t left = e->message.len;

	(void)printf("commit %s\nAuthor: ", e->commit);
	output_safe(stdout, e->author->name);
	(void)printf(" <");
	output_safe(stdout, e->author->email);
	(void)printf(">\n");
	print_when(e->author);
	(void)putchar('\n');
	while (left) {
		const char *end = memchr(at, '\n', left);
		ProtobufCBinaryData line = {end ? (size_t)(end - at) : left, (uint8_t *)at};

		(void)printf(line.len ? "    " : "");
		workspace_print_path(stdout, &line);
		(void)putchar('\n');
		left -= line.len + (end != NULL);
		at += line.len + (end != NULL);
	}
}

static bool print_entries(void *arg, const ProtobufCMessage *message)
{
	const Coppice__V1__LogResponse *m = (const void *)message;
	struct log_printer *p = arg;

	for (size_t i = 0; i < m->n_entries; i++) {
		if (p->cli->json && output_json(stdout, &m->entries[i]->base) < 0) {
			p->result = CLI_FAILED;
			return false;
		}
		if (!p->cli->json) {
			if (p->some)
				(void)putchar('\n');
			print_commit(m->entries[i]);
		}
		p->some = true;
	}
	return true;
}

int cmd_log(struct cli *cli, int argc, char **argv)
{
	Coppice__V1__LogRequest m = COPPICE__V1__LOG_REQUEST__INIT;
	const char *limit = NULL;
	const struct workspace_option options[] = {{"limit", &limit, NULL, 'n'}, {0}};
	struct log_printer p = {.cli = cli};
	struct workspace_args a;
	struct client_status st;
	uint64_t number = 0;
	int r = workspace_parse(&a, options, argc, argv);

	if (r == CLI_OK && limit && !cli_parse_number(limit, UINT32_MAX, &number))
		r = cli_usage(a.command, "--limit is a number, not '%s'", limit);
	if (r == CLI_OK)
		r = cli_connect(cli);
	if (r == CLI_OK) {
		m.workspace = &a.ref;
		m.limit = (uint32_t)number;
		client_stream(cli->client, WORKFLOW_SERVICE "Log", &m.base,
			&coppice__v1__log_response__descriptor, print_entries, &p, &st);
		r = st.code ? cli_fail(&st) : p.result;
	}
	workspace_fini(&a);
	return r;
}
