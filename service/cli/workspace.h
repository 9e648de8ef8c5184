/* SPDX-License-Identifier: Apache-2.0 */
/* What the commands of the Git workflow share: JOB|MOUNT_ID, then paths, and options of their own.
 */
#pragma once
#include "cli.h"

#include <coppice/v1/workflow.pb-c.h>
#include <getopt.h>

#define WORKFLOW_SERVICE "/coppice.v1.WorkflowService/"

struct workspace_args {
	const struct cli_command *command;
	Coppice__V1__WorkspaceRef ref;
	ProtobufCBinaryData *paths; /* owned */
	size_t path_count;
};

/* An option of a command: its value is put here. */
struct workspace_option {
	const char *name;   /* long, without "--" */
	const char **value; /* of an option with a value */
	bool *flag;         /* of one without */
	char letter;        /* 0: none */
};

/* CLI_OK, or an exit code after having said why. `options` ends with a NULL name; --tenant,
 * --expected-generation and --expected-head are always known. */
int workspace_parse(
	struct workspace_args *a, const struct workspace_option *options, int argc, char **argv);
void workspace_fini(struct workspace_args *a);
/* A path, with control bytes made visible. */
void workspace_print_path(FILE *out, const ProtobufCBinaryData *path);

/* Who it is: from an option "NAME <ADDRESS>" and one with a date, either may be NULL, or else the
 * variables that Git has for it; `who` is "AUTHOR" or "COMMITTER". */
int workspace_person(const struct cli_command *command, const char *who, const char *option,
	const char *date, Coppice__V1__Signature *ret);

int cmd_prefetch(struct cli *cli, int argc, char **argv);
/* For one whose result is a message: prints it as JSON, or calls `show`; `idempotent` as for
 * client_call. Frees nothing of `a`. */
int workspace_call(struct cli *cli, const char *method, const ProtobufCMessage *request,
	const ProtobufCMessageDescriptor *answer, bool idempotent,
	void (*show)(const ProtobufCMessage *answer));

int cmd_status(struct cli *cli, int argc, char **argv);
int cmd_add(struct cli *cli, int argc, char **argv);
int cmd_reset(struct cli *cli, int argc, char **argv);
int cmd_commit(struct cli *cli, int argc, char **argv);
int cmd_diff(struct cli *cli, int argc, char **argv);
int cmd_push(struct cli *cli, int argc, char **argv);
int cmd_log(struct cli *cli, int argc, char **argv);
int cmd_cl(struct cli *cli, int argc, char **argv);
int cmd_fetch(struct cli *cli, int argc, char **argv);
int cmd_rebase(struct cli *cli, int argc, char **argv);
