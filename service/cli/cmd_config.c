// SPDX-License-Identifier: Apache-2.0
/* config: the daemon's own parser, run here, so that a mistake is found before a restart. */
#include "cli.h"

#include <base/buf.h>
#include <base/err.h>
#include <service/config.h>
#include <stdio.h>
#include <string.h>

#define RENDER_MAX (1 << 20)

static int show(const struct cfg *cfg)
{
	struct buf out;
	int r;

	buf_init(&out, RENDER_MAX);
	r = cfg_render(cfg, &out);
	if (r == 0)
		(void)fputs(buf_cstr(&out), stdout);
	buf_fini(&out);
	return r < 0 ? CLI_FAILED : CLI_OK;
}

int cmd_config(struct cli *cli, int argc, char **argv)
{
	const struct cli_command *command = cli_find(argv[0]);
	const char *verb = argc > 1 ? argv[1] : "";
	const char *path = cli->config;
	struct err e = {0};
	struct cfg *cfg;
	int r;

	if (argc == 4 && strcmp(argv[2], "--config") == 0)
		path = argv[3];
	else if (argc == 3 && strncmp(argv[2], "--config=", 9) == 0)
		path = argv[2] + 9;
	else if (argc != 2)
		return cli_usage(command, "config takes check or show, and perhaps --config FILE");
	if (strcmp(verb, "check") != 0 && strcmp(verb, "show") != 0)
		return cli_usage(command, "config takes check or show, not '%s'", verb);

	r = cfg_load(&cfg, path, NULL, 0, &e);
	if (r < 0) {
		(void)fprintf(stderr, "coppice: %s\n", err_message(&e));
		return CLI_USAGE;
	}
	if (strcmp(verb, "show") == 0)
		r = show(cfg);
	else
		(void)printf("%s: good\n", cfg->source);
	cfg_free(cfg);
	return r;
}
