// SPDX-License-Identifier: Apache-2.0
/* completion: scripts for three shells, made from the table of commands. */
#include "cli.h"

#include <stdio.h>
#include <string.h>

/* What may follow a command: its verbs and options. `help` takes the name of a command. */
static void print_words(const struct cli_command *c)
{
	(void)printf("%s%s%s --output", c->verbs, *c->verbs ? " " : "", c->options);
	if (c->run == cmd_help)
		for (const struct cli_command *other = cli_commands; other->name; other++)
			(void)printf(" %s", other->name);
}

static void bash(void)
{
	(void)printf("_coppice() {\n  local cur=${COMP_WORDS[COMP_CWORD]} cmd=${COMP_WORDS[1]}\n"
		     "  if [ \"$COMP_CWORD\" -eq 1 ]; then\n    COMPREPLY=($(compgen -W '");
	for (const struct cli_command *c = cli_commands; c->name; c++)
		(void)printf("%s ", c->name);
	(void)printf("' -- \"$cur\"))\n    return\n  fi\n  case $cmd in\n");
	for (const struct cli_command *c = cli_commands; c->name; c++) {
		(void)printf("  %s) COMPREPLY=($(compgen -W '", c->name);
		print_words(c);
		(void)printf("' -- \"$cur\"));;\n");
	}
	(void)printf("  esac\n}\ncomplete -o default -F _coppice coppice\n");
}

static void zsh(void)
{
	(void)printf("#compdef coppice\n_coppice() {\n  local -a commands\n  commands=(\n");
	for (const struct cli_command *c = cli_commands; c->name; c++)
		(void)printf("    '%s:%s'\n", c->name, c->summary);
	(void)printf("  )\n  if (( CURRENT == 2 )); then _describe command commands; return; fi\n  "
		     "case $words[2] in\n");
	for (const struct cli_command *c = cli_commands; c->name; c++) {
		(void)printf("  %s) compadd -- ", c->name);
		print_words(c);
		(void)printf(";;\n");
	}
	(void)printf("  esac\n}\n"
		     "if [ \"$funcstack[1]\" = _coppice ]; then _coppice \"$@\"; else compdef "
		     "_coppice coppice; fi\n");
}

static void fish(void)
{
	(void)printf("complete -c coppice -f\n");
	for (const struct cli_command *c = cli_commands; c->name; c++) {
		char words[512], *rest = words, *word;

		(void)printf("complete -c coppice -n __fish_use_subcommand -a %s -d '%s'\n",
			c->name, c->summary);
		if (*c->verbs)
			(void)printf("complete -c coppice -n '__fish_seen_subcommand_from %s' -a "
				     "'%s'\n",
				c->name, c->verbs);
		(void)snprintf(words, sizeof(words), "%s", c->options);
		while ((word = strsep(&rest, " ")))
			if (strlen(word) > 2)
				(void)printf("complete -c coppice -n '__fish_seen_subcommand_from "
					     "%s' -l %s\n",
					c->name, word + 2);
	}
}

int cmd_completion(struct cli *cli, int argc, char **argv)
{
	static const struct {
		const char *shell;
		void (*print)(void);
	} shells[] = {{"bash", bash}, {"zsh", zsh}, {"fish", fish}};

	(void)cli;
	for (unsigned i = 0; argc == 2 && i < sizeof(shells) / sizeof(shells[0]); i++)
		if (strcmp(argv[1], shells[i].shell) == 0) {
			shells[i].print();
			return CLI_OK;
		}
	return cli_usage(cli_find(argv[0]), "for which shell? bash, zsh or fish");
}
