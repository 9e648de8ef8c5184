// SPDX-License-Identifier: Apache-2.0
/* watch: changes as they happen, one line each, flushed at once. Resumes by itself when the service
 * was restarted. */
#include "output.h"
#include "request.h"

#include <base/clock.h>
#include <grpc/status.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define RECONNECT_NS (500 * NS_PER_MS)

struct watch {
	struct cli *cli;
	uint64_t sequence;  /* last one seen */
	bool seen;          /* anything at all on this connection */
	bool broken;        /* stdout is gone */
	const char *job_id; /* only this one, NULL = all */
};

static const char *kind_name(const Coppice__V1__MountEvent *e)
{
	const ProtobufCEnumValue *v = protobuf_c_enum_descriptor_get_value(
		&coppice__v1__mount_event__kind__descriptor, (int)e->kind);

	return v ? v->name : "?";
}

static bool on_event(void *arg, const ProtobufCMessage *message)
{
	const Coppice__V1__MountEvent *e = (const Coppice__V1__MountEvent *)message;
	struct watch *w = arg;
	char when[40];

	w->seen = true;
	/* The present state is whole, and can be gone on from, only at its end. */
	if (e->sequence && e->kind != COPPICE__V1__MOUNT_EVENT__KIND__PRESENT)
		w->sequence = e->sequence;
	if (w->job_id && (!e->mount || strcmp(e->mount->job_id, w->job_id) != 0))
		return true;
	if (w->cli->json)
		w->broken = output_json(stdout, message) < 0;
	else if (e->mount)
		(void)printf("%s %llu %s %s/%s %s%s%s\n",
			e->time ? clock_rfc3339((uint64_t)e->time->seconds * NS_PER_S +
							(uint64_t)e->time->nanos,
					  when, sizeof(when))
				: "-",
			(unsigned long long)e->sequence, kind_name(e), e->mount->tenant,
			e->mount->job_id, cli_state_name(e->mount->state),
			*e->mount->reason ? " " : "", e->mount->reason);
	if (fflush(stdout) != 0)
		w->broken = true;
	return !w->broken;
}

int cmd_watch(struct cli *cli, int argc, char **argv)
{
	Coppice__V1__WatchMountsRequest m = COPPICE__V1__WATCH_MOUNTS_REQUEST__INIT;
	struct watch w = {.cli = cli};
	struct client_status st;
	struct request rq;
	int r = request_parse(&rq, argc, argv);

	request_fini(&rq);
	if (r != CLI_OK)
		return r;
	r = cli_connect(cli);
	if (r != CLI_OK)
		return r;
	if (rq.name && cli_is_mount_id(rq.name))
		m.mount_id = (char *)rq.name;
	else
		w.job_id = rq.name;
	m.tenant = (char *)(rq.tenant ? rq.tenant : "");
	w.sequence = rq.since;
	do {
		m.since_sequence = w.sequence;
		w.seen = false;
		client_stream(cli->client, "/coppice.v1.MountService/WatchMounts", &m.base,
			&coppice__v1__mount_event__descriptor, on_event, &w, &st);
		struct timespec pause = clock_timespec(RECONNECT_NS);
		if (st.code == GRPC_STATUS_UNAVAILABLE && w.seen)
			(void)nanosleep(
				&pause, NULL); /* the service restarts; go on from the last event */
	} while (w.seen && !w.broken &&
		 (st.code == GRPC_STATUS_UNAVAILABLE || st.code == GRPC_STATUS_RESOURCE_EXHAUSTED));
	if (w.broken)
		return CLI_FAILED;
	return st.code ? cli_fail(&st) : CLI_OK;
}
