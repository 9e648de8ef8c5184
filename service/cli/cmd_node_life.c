// SPDX-License-Identifier: Apache-2.0
/* node drain, undrain: the node takes no new mounts, and is waited for. node upgrade: another
 * process takes over, and is waited for. Admins only. */
#include "cli.h"
#include "output.h"

#include <base/clock.h>
#include <getopt.h>
#include <grpc/status.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define LOOK_NS       (500 * NS_PER_MS)
#define HOLDERS_EVERY 20u /* of these looks */

struct life {
	struct cli *cli;
	bool wait, stop, undo;
};

static void print_holders(const Coppice__V1__DrainStatus *s)
{
	for (size_t i = 0; i < s->n_holders; i++)
		(void)fprintf(stderr, "coppice: %s/%s is used by process %u (%s, %s)\n",
			s->holders[i]->tenant, s->holders[i]->job_id, s->holders[i]->pid,
			s->holders[i]->command, s->holders[i]->how);
}

/* One look at how far it is. NULL after having set the exit code. */
static Coppice__V1__DrainStatus *look(
	const struct life *l, bool holders, struct client_status *st, int *ret_exit)
{
	Coppice__V1__DrainRequest m = COPPICE__V1__DRAIN_REQUEST__INIT;
	ProtobufCMessage *answer;

	m.undo = l->undo;
	m.stop = l->stop;
	m.report_holders = holders;
	answer = client_call(l->cli->client, "/coppice.v1.NodeService/Drain", &m.base,
		&coppice__v1__drain_status__descriptor, true, st);
	*ret_exit = answer ? CLI_OK : CLI_FAILED;
	return (Coppice__V1__DrainStatus *)answer;
}

static int print(const struct life *l, const Coppice__V1__DrainStatus *s)
{
	if (l->cli->json)
		return output_json(stdout, &s->base) < 0 ? CLI_FAILED : CLI_OK;
	return printf("%s, %llu mounts left\n",
		       s->stopping   ? "stopping"
		       : s->draining ? "draining"
				     : "takes new mounts",
		       (unsigned long long)s->mounts) < 0
		       ? CLI_FAILED
		       : CLI_OK;
}

static int run(const struct life *l)
{
	struct timespec pause = clock_timespec(LOOK_NS);
	struct client_status st;

	for (unsigned i = 0;; i++) {
		bool done, holders = l->wait && i % HOLDERS_EVERY == 0;
		int r;
		Coppice__V1__DrainStatus *s = look(l, holders, &st, &r);

		/* A service that was told to end has ended. */
		if (!s && l->stop && i > 0 && st.code == GRPC_STATUS_UNAVAILABLE)
			return CLI_OK;
		if (!s)
			return cli_fail(&st);
		done = !l->wait || (s->mounts == 0 && !l->stop);
		print_holders(s);
		if (done)
			r = print(l, s);
		coppice__v1__drain_status__free_unpacked(s, NULL);
		if (done)
			return r;
		(void)nanosleep(&pause, NULL); /* a signal only shortens it */
	}
}

/* ---- upgrade ---- */

#define UPGRADE_NS (60 * NS_PER_S)

static Coppice__V1__Node *get_node(struct cli *cli, struct client_status *st)
{
	Coppice__V1__GetNodeRequest m = COPPICE__V1__GET_NODE_REQUEST__INIT;

	return (Coppice__V1__Node *)client_call(cli->client, "/coppice.v1.NodeService/GetNode",
		&m.base, &coppice__v1__node__descriptor, true, st);
}

static uint64_t start_of(const Coppice__V1__Node *n)
{
	return n->started_at ? (uint64_t)n->started_at->seconds * NS_PER_S +
				       (uint64_t)n->started_at->nanos
			     : 0;
}

/* Until another process answers. */
static int wait_successor(struct cli *cli, uint64_t started, const char *version)
{
	uint64_t end_ns = clock_after(&clock_system, UPGRADE_NS);
	struct timespec pause = clock_timespec(LOOK_NS / 10);
	struct client_status st;

	while (clock_mono_ns(&clock_system) < end_ns) {
		Coppice__V1__Node *n = get_node(cli, &st);
		bool other = n && start_of(n) != started;

		if (other)
			(void)printf("coppiced %s has taken over from %s\n", n->version, version);
		if (n)
			coppice__v1__node__free_unpacked(n, NULL);
		if (other)
			return CLI_OK;
		(void)nanosleep(&pause, NULL); /* a signal only shortens it */
	}
	(void)fprintf(stderr, "coppice: no other process has taken over\n");
	return CLI_FAILED;
}

static int upgrade(struct cli *cli)
{
	Coppice__V1__UpgradeRequest m = COPPICE__V1__UPGRADE_REQUEST__INIT;
	Coppice__V1__UpgradeResponse *answer;
	struct client_status st;
	Coppice__V1__Node *n = get_node(cli, &st);
	uint64_t started = n ? start_of(n) : 0;
	int r;

	if (!n)
		return cli_fail(&st);
	coppice__v1__node__free_unpacked(n, NULL);
	answer = (Coppice__V1__UpgradeResponse *)client_call(cli->client,
		"/coppice.v1.NodeService/Upgrade", &m.base,
		&coppice__v1__upgrade_response__descriptor, false, &st);
	if (!answer)
		return cli_fail(&st);
	r = wait_successor(cli, started, answer->version);
	coppice__v1__upgrade_response__free_unpacked(answer, NULL);
	return r;
}

static int drain(struct life *l, const struct cli_command *command, const char *verb)
{
	int r;

	l->undo = strcmp(verb, "undrain") == 0;
	if ((l->undo && (l->wait || l->stop)) || (!l->undo && strcmp(verb, "drain") != 0))
		return cli_usage(
			command, "node does not take '%s'%s", verb, l->undo ? " with options" : "");
	r = cli_connect(l->cli);
	return r == CLI_OK ? run(l) : r;
}

int cmd_node_life(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = {
		{"wait", no_argument, NULL, 'w'}, {"stop", no_argument, NULL, 's'}, {0}};
	struct life l = {.cli = cli};
	int r;

	for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		if (c == '?')
			return cli_usage(cli_find(argv[0]), "the line above names the wrong word");
		*(c == 'w' ? &l.wait : &l.stop) = true;
	}
	if (argc - optind != 1)
		return cli_usage(cli_find(argv[0]), "one of drain, undrain and upgrade");
	if (strcmp(argv[optind], "upgrade") != 0 || l.wait || l.stop)
		return drain(&l, cli_find(argv[0]), argv[optind]);
	r = cli_connect(cli);
	return r == CLI_OK ? upgrade(cli) : r;
}
