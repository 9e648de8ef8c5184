/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The farm: builds one of everything and takes it down in the opposite order. Threads are made here
 * and nowhere else: workers (read and serve), two answerers (parked requests), one control thread,
 * two notify threads. The number does not depend on the number of sessions.
 */
#include "session/control.h"
#include "session/fusectl.h"
#include "session/notify.h"
#include "session/park.h"
#include "session/session_internal.h"
#include "session/slots.h"

#include <base/clock.h>
#include <base/err.h>
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#define PARKED_LABEL         "scope=\"farm\""
#define PARKED_MAX           16384u
#define PARKED_BYTES_MAX     (64ull << 20)
#define READ_DEADLINE_NS     (60 * NS_PER_S)
#define METADATA_DEADLINE_NS (20 * NS_PER_S)

static unsigned cpu_count(void)
{
	cpu_set_t set;
	int n = sched_getaffinity(0, sizeof(set), &set) < 0 ? 1 : CPU_COUNT(&set);

	return n > 0 ? (unsigned)n : 1;
}

static unsigned clamp(unsigned n, unsigned low, unsigned high)
{
	return n < low ? low : n > high ? high : n;
}

static void register_metrics(struct sess_farm *farm)
{
	struct sess_farm_metrics *m = &farm->m;
	struct metrics *all = farm->metrics;
	char labels[64];

	for (unsigned i = 0; i < SESS_OPCODES; i++) {
		const char *name = sess_opcode_name(i);

		(void)snprintf(labels, sizeof(labels), "op=\"%s\"",
			name ? name : "OTHER"); /* short names: fits */
		m->requests[i] = metrics_counter(all, "coppice_fuse_requests_total",
			"FUSE requests read, by operation.", labels);
	}
	m->replies_lost = metrics_counter(all, "coppice_fuse_replies_lost_total",
		"Replies the kernel no longer wanted: the caller was interrupted or killed.", "");
	m->stale_events = metrics_counter(
		all, "coppice_fuse_stale_events_total", "Events of sessions closed meanwhile.", "");
	m->spurious = metrics_counter(
		all, "coppice_fuse_spurious_wakes_total", "Reads that found nothing.", "");
	m->spin_hits = metrics_counter(
		all, "coppice_fuse_spins_total", "Short waits without sleeping.", "result=\"hit\"");
	m->spin_misses = metrics_counter(all, "coppice_fuse_spins_total",
		"Short waits without sleeping.", "result=\"miss\"");
	m->followed = metrics_counter(all, "coppice_fuse_follows_total",
		"How often a worker went to the CPU of the one process that asked.", "");
	m->followed_requests = metrics_counter(all, "coppice_fuse_followed_requests_total",
		"Requests served on the CPU of the one process that asked.", "");
	m->follow_starved = metrics_counter(all, "coppice_fuse_follows_starved_total",
		"How often a worker that followed did not get that CPU, and was called back.", "");
	m->forced_aborts = metrics_counter(all, "coppice_fuse_forced_aborts_total",
		"Connections that did not end by themselves when their session was closed.", "");
	m->resent = metrics_counter(all, "coppice_takeover_requests_total",
		"Requests the kernel sent again after a takeover.", "kind=\"resent\"");
	m->resent_done = metrics_counter(all, "coppice_takeover_requests_total",
		"Requests the kernel sent again after a takeover.", "kind=\"done_before\"");
	m->leaked = metrics_counter(all, "coppice_fuse_sessions_leaked_total",
		"Sessions that could not be freed because a request never ended.", "");
}

static void register_park_metrics(struct sess_farm *farm)
{
	static const char name[] = "coppice_fuse_parked_total",
			  help[] = "Requests that waited, by how.";
	struct sess_farm_metrics *m = &farm->m;
	struct metrics *all = farm->metrics;

	m->parked = metrics_counter(all, name, help, "event=\"parked\"");
	m->park_refused = metrics_counter(all, name, help, "event=\"refused\"");
	m->park_interrupted = metrics_counter(all, name, help, "event=\"interrupted\"");
	m->park_timed_out = metrics_counter(all, name, help, "event=\"timed_out\"");
	m->park_wait = metrics_histogram(
		all, "coppice_fuse_park_wait_seconds", "How long parked requests waited.", "");
}

static uint64_t parked_now(void *arg)
{
	struct park_stats stats;

	park_stats(arg, &stats);
	return stats.now;
}

static int start_park(struct sess_farm *farm, const struct sess_farm_config *config)
{
	unsigned max = config->parked_max ? config->parked_max : PARKED_MAX;
	const struct park_config park = {
		.records_max = max,
		/* One session must not take all places: a quarter, but enough for one build. */
		.per_session_max = clamp(max / 4, max < 512 ? max : 512, max),
		.bytes_max = PARKED_BYTES_MAX,
		.read_deadline_ns =
			config->read_deadline_ns ? config->read_deadline_ns : READ_DEADLINE_NS,
		.metadata_deadline_ns = config->metadata_deadline_ns ? config->metadata_deadline_ns
								     : METADATA_DEADLINE_NS,
		.clock = farm->clock,
	};
	int r = park_new(&farm->park, &park);

	if (r < 0)
		return r;
	return metrics_callback(farm->metrics, "coppice_fuse_parked",
		"Requests that wait for a fetch.", PARKED_LABEL, parked_now, farm->park);
}

static void *answerer_main(void *arg)
{
	struct sess_thread *t = arg;

	sess_thread_enter(t);
	park_answer(t->farm->park, t);
	return NULL;
}

static int start_answerers(struct sess_farm *farm)
{
	for (; farm->answerers_started < SESS_ANSWERERS; farm->answerers_started++) {
		struct sess_thread *t = &farm->answerers[farm->answerers_started];
		int r = sess_thread_init(t, farm, false);

		if (r < 0)
			return r;
		r = sess_thread_start(&t->thread, "fuse-answer", answerer_main, t);
		if (r < 0) {
			sess_thread_fini(t);
			return r;
		}
	}
	return 0;
}

void sess_answerers_stop(struct sess_farm *farm)
{
	if (farm->park)
		park_stop(farm->park);
	for (unsigned i = 0; i < farm->answerers_started; i++) {
		(void)pthread_join(farm->answerers[i].thread, NULL); /* ours, joined once */
		sess_thread_fini(&farm->answerers[i]);
	}
	farm->answerers_started = 0;
}

static int start_all(struct sess_farm *farm, const struct sess_farm_config *config)
{
	int r;

	if (farm->mounter->begin) {
		r = farm->mounter->begin(farm->mounter);
		if (r < 0)
			return r;
	}
	if (!farm->metrics)
		farm->metrics = farm->own_metrics = metrics_new();
	farm->slots = slots_new();
	if (!farm->metrics || !farm->slots)
		return -ENOMEM;
	register_metrics(farm);
	register_park_metrics(farm);
	(void)fusectl_open(&farm->fusectl_fd); /* without it the last resort is missing */
	r = start_park(farm, config);
	if (r == 0)
		r = control_new(&farm->control, farm);
	if (r == 0)
		r = notify_new(&farm->notify);
	if (r == 0)
		r = start_answerers(farm);
	/* Without it everything works, only dearer. */
	if (r == 0 && farm->spin && follow_new(&farm->follow, farm) < 0)
		farm->follow = NULL;
	if (r == 0)
		r = sess_workers_start(farm);
	return r;
}

int sess_farm_new(struct sess_farm **ret_farm, const struct sess_farm_config *config, struct err *e)
{
	struct sess_farm *farm = calloc(1, sizeof(*farm));
	int r;

	if (!farm)
		return err_wrap(e, -ENOMEM, "start the FUSE workers");
	farm->cpus = cpu_count();
	farm->mounter = config->mounter;
	farm->clock = config->clock ? config->clock : &clock_system;
	farm->metrics = config->metrics;
	farm->worker_count = config->workers ? config->workers : clamp(farm->cpus, 2, 8);
	farm->spin = config->spin && farm->cpus > 1;
	farm->epoll_fd = farm->stop_fd = farm->fusectl_fd = -1;
	lock_init(&farm->lock, LOCK_RANK_SESSIONS);
	list_init(&farm->sessions);
	r = start_all(farm, config);
	if (r < 0) {
		(void)sess_farm_free(farm); /* returns NULL always */
		return err_wrap(e, r, "start the FUSE workers");
	}
	*ret_farm = farm;
	return 0;
}

struct sess_farm *sess_farm_free(struct sess_farm *farm)
{
	if (!farm)
		return NULL;
	follow_stop(farm->follow);
	sess_workers_stop(farm);
	farm->follow = follow_free(farm->follow);
	sess_answerers_stop(farm);
	farm->notify = notify_free(farm->notify);
	farm->control = control_free(farm->control);
	if (farm->metrics)
		metrics_drop(farm->metrics, PARKED_LABEL); /* the callback's argument goes */
	farm->park = park_unref(farm->park);
	farm->slots = slots_free(farm->slots);
	if (farm->fusectl_fd >= 0)
		(void)close(farm->fusectl_fd); /* a directory */
	lock_fini(&farm->lock);
	farm->own_metrics = metrics_free(farm->own_metrics);
	free(farm);
	return NULL;
}
