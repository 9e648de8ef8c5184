// SPDX-License-Identifier: Apache-2.0
/* list and show: workspaces as a table, or one in full. */
#include "output.h"
#include "request.h"

#include <base/clock.h>
#include <stdio.h>
#include <string.h>

#define MOUNT_SERVICE "/coppice.v1.MountService/"

static const char *lease_text(const Coppice__V1__Mount *m, char *buf, unsigned cap)
{
	int64_t left;

	if (!m->lease_expires_at)
		return "-";
	left = m->lease_expires_at->seconds - (int64_t)(clock_wall_ns(&clock_system) / NS_PER_S);
	(void)snprintf(buf, cap, "%llds", (long long)(left > 0 ? left : 0));
	return buf;
}

static int add_row(struct table *t, const Coppice__V1__Mount *m)
{
	char used[24], lease[32], commit[16];
	const char *cells[7];

	(void)snprintf(commit, sizeof(commit), "%.12s", m->commit);
	cells[0] = m->tenant;
	cells[1] = m->job_id;
	cells[2] = cli_state_name(m->state);
	cells[3] = m->origin;
	cells[4] = commit;
	cells[5] = lease_text(m, lease, sizeof(lease));
	cells[6] = output_bytes(m->usage ? m->usage->bytes : 0, used, sizeof(used));
	return table_row(t, cells);
}

/* All pages. Each answer is one line of JSON, or adds its rows to `t`. */
static int list_pages(struct cli *cli, Coppice__V1__ListMountsRequest *m, struct table *t)
{
	char token[128] = "";
	struct client_status st;

	for (;;) {
		m->page_token = token;
		Coppice__V1__ListMountsResponse *answer =
			(Coppice__V1__ListMountsResponse *)client_call(cli->client,
				MOUNT_SERVICE "ListMounts", &m->base,
				&coppice__v1__list_mounts_response__descriptor, true, &st);

		if (!answer)
			return cli_fail(&st);
		for (size_t i = 0; i < answer->n_mounts; i++) {
			int r = cli->json ? output_json(stdout, &answer->mounts[i]->base)
					  : add_row(t, answer->mounts[i]);

			if (r < 0)
				return CLI_FAILED;
		}
		(void)snprintf(token, sizeof(token), "%s", answer->next_page_token);
		coppice__v1__list_mounts_response__free_unpacked(answer, NULL);
		if (!*token)
			return CLI_OK;
	}
}

int cmd_list(struct cli *cli, int argc, char **argv)
{
	static const char *const header[] = {
		"TENANT", "JOB", "STATE", "ORIGIN", "COMMIT", "LEASE", "USED"};
	Coppice__V1__ListMountsRequest m = COPPICE__V1__LIST_MOUNTS_REQUEST__INIT;
	struct table *t = NULL;
	struct request rq;
	int r = request_parse(&rq, argc, argv);

	if (r == CLI_OK && rq.name)
		r = cli_usage(
			rq.command, "list takes no name; 'coppice show %s' shows one", rq.name);
	if (r != CLI_OK)
		goto out;
	r = CLI_FAILED;
	t = table_new(header, sizeof(header) / sizeof(header[0]));
	if (!t)
		goto out;
	r = cli_connect(cli);
	if (r != CLI_OK)
		goto out;
	m.tenant = (char *)(rq.tenant ? rq.tenant : "");
	m.origin = (char *)(rq.origin ? rq.origin : "");
	m.labels = rq.labels;
	m.n_labels = rq.label_count;
	m.states = rq.states;
	m.n_states = rq.state_count;
	r = list_pages(cli, &m, t);
	if (r == CLI_OK && !cli->json)
		table_print(t, stdout);
out:
	table_free(t);
	request_fini(&rq);
	return r;
}

static void show_line(const char *name, const char *value)
{
	if (!value || !*value)
		return;
	(void)printf("%-14s ", name);
	output_safe(stdout, value);
	(void)putchar('\n');
}

static void show_change_list(const Coppice__V1__Mount *m)
{
	const Coppice__V1__ChangeList *list = m->change_list;
	char text[600], paths[24];

	if (!list)
		return;
	switch (list->source_case) {
	case COPPICE__V1__CHANGE_LIST__SOURCE_LINK:
		(void)snprintf(text, sizeof(text), "%s of /%s", list->link, list->path);
		break;
	case COPPICE__V1__CHANGE_LIST__SOURCE_REF:
		(void)snprintf(text, sizeof(text), "%s", list->ref);
		break;
	case COPPICE__V1__CHANGE_LIST__SOURCE_RANGE:
		(void)snprintf(text, sizeof(text), "%s", list->range);
		break;
	default:
		(void)snprintf(text, sizeof(text), "%s, sha256 %s",
			list->source_case == COPPICE__V1__CHANGE_LIST__SOURCE_PATCH ? "a patch"
										    : "files",
			list->digest);
	}
	(void)snprintf(paths, sizeof(paths), "%llu", (unsigned long long)m->change_list_paths);
	show_line("change list", text);
	show_line("its commit", m->change_list_commit);
	show_line("its paths", paths);
}

static void show_quota(const Coppice__V1__Mount *m)
{
	char used[24], limit[24];
	uint64_t bytes = m->quota ? m->quota->bytes : 0, inodes = m->quota ? m->quota->inodes : 0;

	(void)printf("%-14s %s of %s\n", "bytes",
		output_bytes(m->usage ? m->usage->bytes : 0, used, sizeof(used)),
		bytes ? output_bytes(bytes, limit, sizeof(limit)) : "unlimited");
	(void)printf(
		"%-14s %llu of ", "inodes", (unsigned long long)(m->usage ? m->usage->inodes : 0));
	if (inodes)
		(void)printf("%llu\n", (unsigned long long)inodes);
	else
		(void)printf("unlimited\n");
}

int cli_print_mount(struct cli *cli, Coppice__V1__Mount *m)
{
	char lease[32], when[40];
	int r = 0;

	if (cli->json) {
		r = output_json(stdout, &m->base);
		coppice__v1__mount__free_unpacked(m, NULL);
		return r < 0 ? CLI_FAILED : CLI_OK;
	}
	show_line("mount id", m->mount_id);
	show_line("job", m->job_id);
	show_line("tenant", m->tenant);
	show_line("state", cli_state_name(m->state));
	show_line("reason", m->reason);
	show_line("directory", m->root);
	show_line("mountpoint", m->mountpoint);
	show_line("origin", m->origin);
	show_line("path", m->path);
	show_line("revision", m->revision);
	show_line("commit", m->commit);
	show_line("root tree", m->root_tree);
	show_change_list(m);
	show_quota(m);
	show_line("lease", lease_text(m, lease, sizeof(lease)));
	if (m->created_at)
		show_line("created", clock_rfc3339((uint64_t)m->created_at->seconds * NS_PER_S +
							   (uint64_t)m->created_at->nanos,
					     when, sizeof(when)));
	if (m->read_only)
		show_line("read only", "yes");
	for (size_t i = 0; i < m->n_labels; i++) {
		char label[512];

		(void)snprintf(
			label, sizeof(label), "%s=%s", m->labels[i]->key, m->labels[i]->value);
		show_line("label", label);
	}
	if (m->fetch)
		(void)printf("%-14s %llu directories, %llu files, %llu bytes, %llu errors\n",
			"fetched", (unsigned long long)m->fetch->trees_fetched,
			(unsigned long long)m->fetch->blobs_fetched,
			(unsigned long long)m->fetch->bytes_fetched,
			(unsigned long long)m->fetch->fetch_errors);
	coppice__v1__mount__free_unpacked(m, NULL);
	return CLI_OK;
}

int cmd_show(struct cli *cli, int argc, char **argv)
{
	Coppice__V1__GetMountRequest m = COPPICE__V1__GET_MOUNT_REQUEST__INIT;
	Coppice__V1__Mount *mount;
	struct client_status st;
	struct request rq;
	int r = request_parse(&rq, argc, argv);

	request_fini(&rq);
	if (r != CLI_OK)
		return r;
	if (!rq.name)
		return cli_usage(rq.command, "which one? Give its job id or mount id");
	r = cli_connect(cli);
	if (r != CLI_OK)
		return r;
	*(cli_is_mount_id(rq.name) ? &m.mount_id : &m.job_id) = (char *)rq.name;
	m.tenant = (char *)(rq.tenant ? rq.tenant : "");
	mount = (Coppice__V1__Mount *)client_call(cli->client, MOUNT_SERVICE "GetMount", &m.base,
		&coppice__v1__mount__descriptor, true, &st);
	return mount ? cli_print_mount(cli, mount) : cli_fail(&st);
}
