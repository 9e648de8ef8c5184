// SPDX-License-Identifier: Apache-2.0
/* Shared by the commands: reaching the service, telling a failure, and parsing words of the command
 * line. */
#include "cli.h"
#include "output.h"

#include <base/clock.h>
#include <base/io.h>
#include <ctype.h>
#include <errno.h>
#include <grpc/status.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum cli_exit exit_of(const struct client_status *st)
{
	switch (st->code) {
	case GRPC_STATUS_OK:
		return CLI_OK;
	case GRPC_STATUS_INVALID_ARGUMENT:
	case GRPC_STATUS_OUT_OF_RANGE:
		return CLI_USAGE;
	case GRPC_STATUS_UNAVAILABLE:
	case GRPC_STATUS_DEADLINE_EXCEEDED:
		return CLI_UNREACHABLE;
	case GRPC_STATUS_NOT_FOUND:
		return CLI_NOT_FOUND;
	case GRPC_STATUS_PERMISSION_DENIED:
	case GRPC_STATUS_UNAUTHENTICATED:
		return CLI_DENIED;
	case GRPC_STATUS_ALREADY_EXISTS:
	case GRPC_STATUS_FAILED_PRECONDITION:
	case GRPC_STATUS_ABORTED:
		return CLI_PRECONDITION;
	case GRPC_STATUS_RESOURCE_EXHAUSTED:
		return CLI_EXHAUSTED;
	default:
		return CLI_FAILED;
	}
}

int cli_fail(const struct client_status *st)
{
	(void)fputs("coppice: ", stderr);
	output_safe(stderr, *st->message ? st->message : client_code_name(st->code));
	if (*st->field)
		(void)fprintf(stderr, " [field %s]", st->field);
	(void)fprintf(stderr, " (%s%s%s)\n", client_code_name(st->code), *st->reason ? ", " : "",
		st->reason);
	return (int)exit_of(st);
}

int cli_connect(struct cli *cli)
{
	struct client_config config = {.address = cli->address,
		.token_file = cli->token_file,
		.timeout_ns = cli->timeout_ns};
	struct client_status st;

	if (!cli->client)
		cli->client = client_new(&config, &st);
	return cli->client ? CLI_OK : cli_fail(&st);
}

int cli_usage(const struct cli_command *command, const char *fmt, ...)
{
	va_list args;

	(void)fputs("coppice: ", stderr);
	va_start(args, fmt);
	(void)vfprintf(stderr, fmt, args);
	va_end(args);
	if (command)
		(void)fprintf(stderr, "\nusage: coppice %s %s\n", command->name, command->args);
	else
		(void)fputs("\n'coppice help' lists the commands\n", stderr);
	return CLI_USAGE;
}

bool cli_is_mount_id(const char *name)
{
	size_t i;

	for (i = 0; name[i]; i++)
		if (i == 8 || i == 13 || i == 18 || i == 23 ? name[i] != '-'
							    : !isxdigit((unsigned char)name[i]))
			return false;
	return i == 36;
}

const char *cli_state_name(Coppice__V1__MountState state)
{
	const ProtobufCEnumValue *v = protobuf_c_enum_descriptor_get_value(
		&coppice__v1__mount_state__descriptor, (int)state);

	return v ? v->name : "?";
}

bool cli_parse_number(const char *text, uint64_t max, uint64_t *ret_number)
{
	char *end;

	errno = 0;
	unsigned long long value = strtoull(text, &end, 10);
	if (!isdigit((unsigned char)*text) || *end || errno || value > max)
		return false;
	*ret_number = value;
	return true;
}

bool cli_parse_seconds(const char *text, uint32_t *ret_seconds)
{
	uint64_t value;

	if (!cli_parse_number(text, UINT32_MAX, &value)) {
		if (!io_parse_duration(text, &value) || value % NS_PER_S ||
			value / NS_PER_S > UINT32_MAX)
			return false;
		value /= NS_PER_S;
	}
	*ret_seconds = (uint32_t)value;
	return true;
}

Coppice__V1__Label *cli_label_new(const char *text)
{
	const char *equals = strchr(text, '=');
	size_t len = strlen(text);
	Coppice__V1__Label *label;
	char *copy;

	if (!equals || equals == text)
		return NULL;
	label = malloc(sizeof(*label) + len + 1);
	if (!label)
		return NULL;
	coppice__v1__label__init(label);
	copy = (char *)(label + 1);
	memcpy(copy, text, len + 1);
	copy[equals - text] = '\0';
	label->key = copy;
	label->value = copy + (equals - text) + 1;
	return label;
}
