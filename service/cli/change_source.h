/* SPDX-License-Identifier: Apache-2.0 */
/* Where a change list comes from, as words of the command line, for each command that takes one:
 * --change-list REF|A..B, --cl LINK [--cl-path DIR], --patch FILE, --tar FILE [--deleted PATH]. */
#pragma once
#include "cli.h"

#define CHANGE_DELETED_MAX 1024

struct change_words {
	const char *commits, *link, *link_path, *patch, *tar; /* NULL: not given */
	const char *deleted[CHANGE_DELETED_MAX];
	size_t deleted_count;
};

/* The message for a request, with the memory that it points to. */
struct change_source {
	Coppice__V1__ChangeList message;
	Coppice__V1__FileArchive archive;
	ProtobufCBinaryData *deleted;
	char *data;
};

/* CLI_OK, with *ret_list NULL if no word was given; or an exit code after having said why. "-" is
 * the standard input. */
int change_source_init(struct change_source *s, const struct cli_command *command,
	const struct change_words *words, Coppice__V1__ChangeList **ret_list);
void change_source_fini(struct change_source *s);
