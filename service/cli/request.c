// SPDX-License-Identifier: Apache-2.0
/* One parser for all commands: a table of options, of which a command accepts those that its row in
 * commands.c names. */
#include "request.h"

#include <base/io.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	OPT_JOB_ID = 256,
	OPT_ORIGIN,
	OPT_REVISION,
	OPT_PATH,
	OPT_MOUNTPOINT,
	OPT_TENANT,
	OPT_QUOTA_BYTES,
	OPT_QUOTA_INODES,
	OPT_LEASE,
	OPT_LABEL,
	OPT_READ_ONLY,
	OPT_OWNER,
	OPT_CHANGE_LIST,
	OPT_CL,
	OPT_CL_PATH,
	OPT_PATCH,
	OPT_TAR,
	OPT_DELETED,
	OPT_SINCE,
	OPT_STATE,
	OPT_WAIT,
	OPT_PRELOAD_DEPTH,
	OPT_EXPECTED_GENERATION,
};

static const struct option options[] = {
	{"job-id", required_argument, NULL, OPT_JOB_ID},
	{"job", required_argument, NULL, OPT_JOB_ID},
	{"origin", required_argument, NULL, OPT_ORIGIN},
	{"revision", required_argument, NULL, OPT_REVISION},
	{"change-list", required_argument, NULL, OPT_CHANGE_LIST},
	{"cl", required_argument, NULL, OPT_CL},
	{"cl-path", required_argument, NULL, OPT_CL_PATH},
	{"patch", required_argument, NULL, OPT_PATCH},
	{"tar", required_argument, NULL, OPT_TAR},
	{"deleted", required_argument, NULL, OPT_DELETED},
	{"path", required_argument, NULL, OPT_PATH},
	{"mountpoint", required_argument, NULL, OPT_MOUNTPOINT},
	{"tenant", required_argument, NULL, OPT_TENANT},
	{"quota-bytes", required_argument, NULL, OPT_QUOTA_BYTES},
	{"quota-inodes", required_argument, NULL, OPT_QUOTA_INODES},
	{"lease", required_argument, NULL, OPT_LEASE},
	{"label", required_argument, NULL, OPT_LABEL},
	{"read-only", no_argument, NULL, OPT_READ_ONLY},
	{"owner", required_argument, NULL, OPT_OWNER},
	{"since", required_argument, NULL, OPT_SINCE},
	{"state", required_argument, NULL, OPT_STATE},
	{"wait", required_argument, NULL, OPT_WAIT},
	{"preload-depth", required_argument, NULL, OPT_PRELOAD_DEPTH},
	{"expected-generation", required_argument, NULL, OPT_EXPECTED_GENERATION},
	{0},
};

static bool accepts(const struct cli_command *command, const char *option)
{
	char word[32];
	const char *at;

	if (strcmp(option, "job") == 0) /* the short spelling */
		option = "job-id";
	int len = snprintf(word, sizeof(word), "--%s", option);
	at = strstr(command->options, word);
	return at && (at[len] == ' ' || at[len] == '\0');
}

static int add_label(struct request *rq, const char *text)
{
	Coppice__V1__Label *label = cli_label_new(text);

	if (!label)
		return cli_usage(rq->command, "--label is key=value, not '%s'", text);
	if (rq->label_count == REQUEST_LABELS_MAX) {
		free(label);
		return cli_usage(rq->command, "at most %d labels", REQUEST_LABELS_MAX);
	}
	rq->labels[rq->label_count++] = label;
	return CLI_OK;
}

static int add_state(struct request *rq, const char *text)
{
	const ProtobufCEnumValue *v = protobuf_c_enum_descriptor_get_value_by_name(
		&coppice__v1__mount_state__descriptor, text);

	if (!v || v->value == 0 || rq->state_count == sizeof(rq->states) / sizeof(rq->states[0]))
		return cli_usage(rq->command,
			"--state is PROVISIONING, READY, QUIESCING, DELETING, FAILED or EXPIRED, "
			"not '%s'",
			text);
	rq->states[rq->state_count++] = (Coppice__V1__MountState)v->value;
	return CLI_OK;
}

static int set_wait(struct request *rq, const char *text)
{
	static const struct {
		const char *word;
		Coppice__V1__WaitFor value;
	} words[] = {{"mounted", COPPICE__V1__WAIT_FOR__MOUNTED},
		{"indexed", COPPICE__V1__WAIT_FOR__INDEXED}, {"warm", COPPICE__V1__WAIT_FOR__WARM}};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcmp(text, words[i].word) == 0) {
			rq->wait_for = words[i].value;
			return CLI_OK;
		}
	return cli_usage(rq->command, "--wait is mounted, indexed or warm, not '%s'", text);
}

static int set_owner(struct request *rq, const char *text)
{
	unsigned uid, gid;
	int end = 0;

	if (sscanf(text, "%u:%u%n", &uid, &gid, &end) != 2 || text[end])
		return cli_usage(rq->command, "--owner is uid:gid in numbers, not '%s'", text);
	rq->uid = uid;
	rq->gid = gid;
	rq->has_owner = true;
	return CLI_OK;
}

static int set_number(struct request *rq, int option, const char *text)
{
	switch (option) {
	case OPT_QUOTA_BYTES:
		rq->has_quota_bytes = true;
		return io_parse_size(text, &rq->quota_bytes)
			       ? CLI_OK
			       : cli_usage(rq->command,
					 "--quota-bytes is a size such as 10GiB, not '%s'", text);
	case OPT_QUOTA_INODES:
		rq->has_quota_inodes = true;
		return cli_parse_number(text, INT64_MAX, &rq->quota_inodes)
			       ? CLI_OK
			       : cli_usage(
					 rq->command, "--quota-inodes is a number, not '%s'", text);
	case OPT_LEASE:
		rq->has_lease = true;
		return cli_parse_seconds(text, &rq->lease_seconds)
			       ? CLI_OK
			       : cli_usage(rq->command, "--lease is a time such as 5m, not '%s'",
					 text);
	case OPT_EXPECTED_GENERATION:
		return cli_parse_number(text, INT64_MAX, &rq->expected_generation)
			       ? CLI_OK
			       : cli_usage(rq->command,
					 "--expected-generation is a number, not '%s'", text);
	case OPT_PRELOAD_DEPTH:
		return cli_parse_number(text, UINT32_MAX, &rq->preload_depth)
			       ? CLI_OK
			       : cli_usage(rq->command,
					 "--preload-depth is a number of levels, not '%s'", text);
	default:
		return cli_parse_number(text, INT64_MAX, &rq->since)
			       ? CLI_OK
			       : cli_usage(rq->command, "--since is a sequence number, not '%s'",
					 text);
	}
}

static int set_change(struct request *rq, int option, const char *text)
{
	switch (option) {
	case OPT_CHANGE_LIST:
		rq->change.commits = text;
		break;
	case OPT_CL:
		rq->change.link = text;
		break;
	case OPT_CL_PATH:
		rq->change.link_path = text;
		break;
	case OPT_PATCH:
		rq->change.patch = text;
		break;
	case OPT_TAR:
		rq->change.tar = text;
		break;
	case OPT_DELETED:
		if (rq->change.deleted_count == CHANGE_DELETED_MAX)
			return cli_usage(
				rq->command, "at most %d times --deleted", CHANGE_DELETED_MAX);
		rq->change.deleted[rq->change.deleted_count++] = text;
		break;
	default:
		return set_number(rq, option, text);
	}
	return CLI_OK;
}

static int set_word(struct request *rq, int option, const char *text)
{
	switch (option) {
	case OPT_JOB_ID:
		rq->job_id = text;
		break;
	case OPT_ORIGIN:
		rq->origin = text;
		break;
	case OPT_REVISION:
		rq->revision = text;
		break;
	case OPT_PATH:
		rq->path = text;
		break;
	case OPT_MOUNTPOINT:
		rq->mountpoint = text;
		break;
	case OPT_TENANT:
		rq->tenant = text;
		break;
	case OPT_READ_ONLY:
		rq->read_only = true;
		break;
	case OPT_LABEL:
		return add_label(rq, text);
	case OPT_STATE:
		return add_state(rq, text);
	case OPT_OWNER:
		return set_owner(rq, text);
	case OPT_WAIT:
		return set_wait(rq, text);
	default:
		return set_change(rq, option, text);
	}
	return CLI_OK;
}

int request_parse(struct request *rq, int argc, char **argv)
{
	int c, index = 0, r;

	*rq = (struct request){.command = cli_find(argv[0])};
	while ((c = getopt_long(argc, argv, "", options, &index)) != -1) {
		if (c == '?')
			return cli_usage(rq->command, "the line above names the wrong word");
		if (!accepts(rq->command, options[index].name))
			return cli_usage(rq->command, "%s does not take --%s", rq->command->name,
				options[index].name);
		r = set_word(rq, c, optarg);
		if (r != CLI_OK)
			return r;
	}
	if (argc - optind > 1)
		return cli_usage(rq->command, "one too many: '%s'", argv[optind + 1]);
	rq->name = argv[optind];
	return CLI_OK;
}

void request_fini(struct request *rq)
{
	for (size_t i = 0; i < rq->label_count; i++)
		free(rq->labels[i]);
}
