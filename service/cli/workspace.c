// SPDX-License-Identifier: Apache-2.0
/* The words of workflow commands. See workspace.h. */
#include "workspace.h"

#include "output.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OPTIONS_MAX 24
#define LONG_BASE   256 /* values of getopt_long beyond characters */

static const struct workspace_option *option_at(
	const struct workspace_option *own, const struct workspace_option *common, int index)
{
	int count = 0;

	while (own[count].name)
		count++;
	return index < count ? &own[index] : &common[index - count];
}

static int add_options(
	const struct workspace_option *list, struct option *longs, int count, char *letters)
{
	for (; list->name && count < OPTIONS_MAX; list++, count++) {
		longs[count] = (struct option){.name = list->name,
			.has_arg = list->value ? required_argument : no_argument,
			.val = LONG_BASE + count};
		if (list->letter)
			letters = stpcpy(letters + strlen(letters),
				(char[]){list->letter, list->value ? ':' : '\0', '\0'});
	}
	return count;
}

static int index_of_letter(const struct workspace_option *own, int letter)
{
	for (int i = 0; own[i].name; i++)
		if (own[i].letter == letter)
			return i;
	return -1;
}

static int take_options(struct workspace_args *a, const struct workspace_option *own,
	const struct workspace_option *common, int argc, char **argv)
{
	struct option longs[OPTIONS_MAX + 1] = {0};
	char letters[2 * OPTIONS_MAX + 1] = "";
	int count = add_options(own, longs, 0, letters), c;

	(void)add_options(common, longs, count, letters);
	while ((c = getopt_long(argc, argv, letters, longs, NULL)) != -1) {
		int index = c >= LONG_BASE ? c - LONG_BASE : index_of_letter(own, c);
		const struct workspace_option *option;

		if (c == '?' || index < 0)
			return cli_usage(a->command, "the line above names the wrong word");
		option = option_at(own, common, index);
		if (option->value)
			*option->value = optarg;
		else
			*option->flag = true;
	}
	return CLI_OK;
}

static int take_words(struct workspace_args *a, int argc, char **argv)
{
	if (optind >= argc)
		return cli_usage(a->command, "which workspace? Give its job id or mount id");
	*(cli_is_mount_id(argv[optind]) ? &a->ref.mount_id : &a->ref.job_id) = argv[optind];
	a->path_count = (size_t)(argc - optind - 1);
	a->paths = calloc(a->path_count + 1, sizeof(*a->paths));
	if (!a->paths)
		return CLI_FAILED;
	for (size_t i = 0; i < a->path_count; i++) {
		char *path = argv[optind + 1 + (int)i];

		a->paths[i] = (ProtobufCBinaryData){strlen(path), (uint8_t *)path};
	}
	return CLI_OK;
}

int workspace_parse(
	struct workspace_args *a, const struct workspace_option *options, int argc, char **argv)
{
	const char *tenant = "", *generation = NULL, *head = "";
	const struct workspace_option common[] = {{"tenant", &tenant, NULL, 0},
		{"expected-generation", &generation, NULL, 0}, {"expected-head", &head, NULL, 0},
		{0}};
	int r;

	*a = (struct workspace_args){
		.command = cli_find(argv[0]), .ref = COPPICE__V1__WORKSPACE_REF__INIT};
	r = take_options(a, options, common, argc, argv);
	if (r != CLI_OK)
		return r;
	a->ref.tenant = (char *)tenant;
	a->ref.expected_head = (char *)head;
	if (generation && !cli_parse_number(generation, INT64_MAX, &a->ref.expected_generation))
		return cli_usage(
			a->command, "--expected-generation is a number, not '%s'", generation);
	return take_words(a, argc, argv);
}

void workspace_fini(struct workspace_args *a)
{
	free(a->paths);
	a->paths = NULL;
}

void workspace_print_path(FILE *out, const ProtobufCBinaryData *path)
{
	char *text = strndup((const char *)path->data, path->len);

	output_safe(out, text ? text : "?");
	free(text);
}

int workspace_call(struct cli *cli, const char *method, const ProtobufCMessage *request,
	const ProtobufCMessageDescriptor *answer, bool idempotent,
	void (*show)(const ProtobufCMessage *answer))
{
	ProtobufCMessage *message;
	struct client_status st;
	int r = cli_connect(cli);

	if (r != CLI_OK)
		return r;
	message = client_call(cli->client, method, request, answer, idempotent, &st);
	if (!message)
		return cli_fail(&st);
	if (cli->json)
		r = output_json(stdout, message) < 0 ? CLI_FAILED : CLI_OK;
	else
		show(message);
	protobuf_c_message_free_unpacked(message, NULL);
	return r;
}
