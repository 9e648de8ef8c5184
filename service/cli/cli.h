/* SPDX-License-Identifier: Apache-2.0 */
/* What the commands share: global options, the exit codes, the table of commands. */
#pragma once
#include "client.h"

#include <coppice/v1/mount.pb-c.h>
#include <coppice/v1/node.pb-c.h>
#include <stdbool.h>
#include <stdint.h>

/* Stable; documented in coppice(1). */
enum cli_exit {
	CLI_OK = 0,
	CLI_FAILED = 1, /* the service, or this machine, failed */
	CLI_USAGE = 2,  /* wrong words on the command line, or a field that the service refused */
	CLI_UNREACHABLE = 3, /* no answer from coppiced */
	CLI_NOT_FOUND = 4,
	CLI_DENIED = 5,
	CLI_PRECONDITION = 6, /* already exists, or not in a state for it */
	CLI_EXHAUSTED = 7,    /* a quota or limit */
};

struct cli {
	const char *address, *token_file, *config;
	uint64_t timeout_ns;
	bool json;
	struct client *client; /* made by cli_connect at the first use */
};

struct cli_command {
	const char *name, *args, *summary;
	const char *verbs;   /* words that follow it, space separated, for the completion */
	const char *options; /* likewise, its long options with "--" */
	int (*run)(struct cli *cli, int argc, char **argv); /* argv[0] is the command's name */
};
extern const struct cli_command cli_commands[]; /* ends with a NULL name */

/* Make cli->client. CLI_OK, or the exit code after having said why. */
int cli_connect(struct cli *cli);
/* Say what went wrong and give the exit code for it. */
int cli_fail(const struct client_status *st);
int cli_usage(const struct cli_command *command, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
const struct cli_command *cli_find(const char *name);

/* Is this a mount id (a UUID)? Otherwise a name of a mount is taken as a job id. */
bool cli_is_mount_id(const char *name);
/* "MESSAGE failed" as JSON or through `show`. Frees the message. */
int cli_print_mount(struct cli *cli, Coppice__V1__Mount *mount);
const char *cli_state_name(Coppice__V1__MountState state);
/* Whole decimal number; false if it is not one or above `max`. */
bool cli_parse_number(const char *text, uint64_t max, uint64_t *ret_number);
/* "k=v" into a label allocated in one piece (free it); NULL if malformed or no memory. */
Coppice__V1__Label *cli_label_new(const char *text);
/* Seconds from "90", "90s", "5m", "2h"; false beyond 32 bits. */
bool cli_parse_seconds(const char *text, uint32_t *ret_seconds);

int cmd_mount(struct cli *cli, int argc, char **argv);
int cmd_umount(struct cli *cli, int argc, char **argv);
int cmd_renew(struct cli *cli, int argc, char **argv);
int cmd_update(struct cli *cli, int argc, char **argv);
int cmd_list(struct cli *cli, int argc, char **argv);
int cmd_show(struct cli *cli, int argc, char **argv);
int cmd_watch(struct cli *cli, int argc, char **argv);
int cmd_node(struct cli *cli, int argc, char **argv);
/* node with a verb: drain, undrain */
int cmd_node_life(struct cli *cli, int argc, char **argv);
int cmd_cache(struct cli *cli, int argc, char **argv);
int cmd_doctor(struct cli *cli, int argc, char **argv);
int cmd_config(struct cli *cli, int argc, char **argv);
int cmd_completion(struct cli *cli, int argc, char **argv);
int cmd_help(struct cli *cli, int argc, char **argv);
int cmd_version(struct cli *cli, int argc, char **argv);
