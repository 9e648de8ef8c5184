// SPDX-License-Identifier: Apache-2.0
/* coppice: the command line client. Global options come before the command; each command parses its
 * own. */
#include "cli.h"

#include <base/clock.h>
#include <base/io.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_ADDRESS    "unix:/run/coppice/coppice.sock"
#define DEFAULT_TIMEOUT_NS (60 * NS_PER_S)

static void print_help(FILE *out)
{
	(void)fprintf(out, "usage: coppice [OPTIONS] COMMAND [ARGS]\n\ncommands:\n");
	for (const struct cli_command *c = cli_commands; c->name; c++)
		(void)fprintf(out, "  %-11s %s\n", c->name, c->summary);
	(void)fprintf(out,
		"\noptions:\n"
		"  -a, --address ADDR     unix:/path or host:port [COPPICE_ADDRESS, "
		"else " DEFAULT_ADDRESS "]\n"
		"  -o, --output FORMAT    table or json\n"
		"  -t, --timeout TIME     how long one call may take [60s]\n"
		"      --token-file FILE  bearer token [COPPICE_TOKEN_FILE]\n"
		"      --config FILE      for config and doctor [/etc/coppice/coppice.yaml]\n"
		"  -h, --help\n"
		"      --version\n"
		"\n'coppice help COMMAND' tells more. Exit codes: 0 done, 1 failed, 2 wrong usage, "
		"3 service not reachable,\n"
		"4 not found, 5 denied, 6 exists already or not in a state for it, 7 a limit was "
		"reached.\n");
}

int cmd_help(struct cli *cli, int argc, char **argv)
{
	const struct cli_command *c;

	(void)cli;
	if (argc < 2) {
		print_help(stdout);
		return CLI_OK;
	}
	c = cli_find(argv[1]);
	if (!c)
		return cli_usage(NULL, "no command is called '%s'", argv[1]);
	(void)printf("usage: coppice %s %s\n%s\n", c->name, c->args, c->summary);
	if (*c->options)
		(void)printf("options: %s\n", c->options);
	return CLI_OK;
}

int cmd_version(struct cli *cli, int argc, char **argv)
{
	(void)cli, (void)argc, (void)argv;
	(void)printf("coppice %s\n", COPPICE_VERSION);
	return CLI_OK;
}

enum { OPT_TOKEN_FILE = 256, OPT_CONFIG, OPT_VERSION };

static const struct option options[] = {
	{"address", required_argument, NULL, 'a'},
	{"output", required_argument, NULL, 'o'},
	{"timeout", required_argument, NULL, 't'},
	{"token-file", required_argument, NULL, OPT_TOKEN_FILE},
	{"config", required_argument, NULL, OPT_CONFIG},
	{"help", no_argument, NULL, 'h'},
	{"version", no_argument, NULL, OPT_VERSION},
	{0},
};

/* Takes the output format out of a command's own words too: `coppice list -o json` is what people
 * type. */
static int take_output(struct cli *cli, int *argc, char **argv)
{
	int kept = 0;

	for (int i = 0; i < *argc; i++) {
		const char *value = NULL;

		if (i + 1 < *argc &&
			(strcmp(argv[i], "-o") == 0 || strcmp(argv[i], "--output") == 0))
			value = argv[++i];
		else if (strncmp(argv[i], "--output=", 9) == 0)
			value = argv[i] + 9;
		else
			argv[kept++] = argv[i];
		if (!value)
			continue;
		if (strcmp(value, "json") != 0 && strcmp(value, "table") != 0)
			return cli_usage(NULL, "--output is table or json, not '%s'", value);
		cli->json = strcmp(value, "json") == 0;
	}
	argv[kept] = NULL;
	*argc = kept;
	return CLI_OK;
}

/* Right behind the command, or as the last word (`coppice umount job --help`); not as the value of
 * an option. */
static bool asks_for_help(int argc, char **argv)
{
	const char *last = argc > 1 ? argv[argc - 1] : "";

	if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0))
		return true;
	return (strcmp(last, "--help") == 0 || strcmp(last, "-h") == 0) && argv[argc - 2][0] != '-';
}

static int parse_globals(struct cli *cli, int argc, char **argv)
{
	int c;

	while ((c = getopt_long(argc, argv, "+a:o:t:h", options, NULL)) != -1) {
		switch (c) {
		case 'a':
			cli->address = optarg;
			break;
		case 'o':
			if (strcmp(optarg, "json") != 0 && strcmp(optarg, "table") != 0)
				return cli_usage(
					NULL, "--output is table or json, not '%s'", optarg);
			cli->json = strcmp(optarg, "json") == 0;
			break;
		case 't':
			if (!io_parse_duration(optarg, &cli->timeout_ns) || cli->timeout_ns == 0)
				return cli_usage(NULL,
					"--timeout is a time such as 30s or 5m, not '%s'", optarg);
			break;
		case OPT_TOKEN_FILE:
			cli->token_file = optarg;
			break;
		case OPT_CONFIG:
			cli->config = optarg;
			break;
		case OPT_VERSION:
			exit(cmd_version(cli, 0, NULL));
		case 'h':
			print_help(stdout);
			exit(CLI_OK);
		default:
			return CLI_USAGE; /* getopt has said why */
		}
	}
	return CLI_OK;
}

/* What was printed must have arrived: `coppice list > /full/disk` is a failure. */
static int flush_stdout(int r)
{
	if (fflush(stdout) != 0 || ferror(stdout)) {
		perror("coppice: writing the answer");
		return r ? r : CLI_FAILED;
	}
	return r;
}

int main(int argc, char **argv)
{
	const char *address = getenv("COPPICE_ADDRESS");
	struct cli cli = {
		.address = address && *address ? address : DEFAULT_ADDRESS,
		.token_file = getenv("COPPICE_TOKEN_FILE"),
		.timeout_ns = DEFAULT_TIMEOUT_NS,
	};
	const struct cli_command *command;
	int r = parse_globals(&cli, argc, argv);

	if (r != CLI_OK)
		return r;
	if (optind >= argc) {
		print_help(stderr);
		return CLI_USAGE;
	}
	argc -= optind;
	argv += optind;
	optind = 0; /* start over: the command parses the rest */
	command = cli_find(argv[0]);
	if (!command)
		return cli_usage(NULL, "no command is called '%s'", argv[0]);
	r = take_output(&cli, &argc, argv);
	if (r == CLI_OK && asks_for_help(argc, argv)) {
		char *help[] = {(char *)"help", argv[0], NULL};

		return flush_stdout(cmd_help(&cli, 2, help));
	}
	if (r == CLI_OK)
		r = command->run(&cli, argc, argv);
	client_free(cli.client);
	return flush_stdout(r);
}
