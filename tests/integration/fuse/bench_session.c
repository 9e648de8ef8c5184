/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a request costs in the session alone, over the mini overlay: GETATTR (statx with FORCE_SYNC
 * on an open file: one request each) and LOOKUP (names below the root, which are never cached),
 * with 1, 2 and 8 client threads. Server CPU is this process's minus the clients' threads. JSON
 * lines on stdout; rounds interleaved, best of them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mini_world.h"

#include <base/clock.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS      5u
#define ROUND_NS    (400 * NS_PER_MS)
#define CLIENTS_MAX 8u

enum work { WORK_GETATTR, WORK_LOOKUP };

struct client {
	pthread_t thread;
	enum work work;
	char path[512],
		name[24]; /* a name each: the kernel asks for one name only once at a time */
	uint64_t done, cpu_ns;
};

struct result {
	double per_second, server_us, client_us, requests;
};

static uint64_t cpu_ns(clockid_t clock)
{
	struct timespec ts;

	(void)clock_gettime(clock, &ts); /* a clock of our own */
	return clock_from_timespec(&ts);
}

static void *client_main(void *arg)
{
	struct client *c = arg;
	uint64_t end = clock_after(&clock_system, ROUND_NS),
		 start = cpu_ns(CLOCK_THREAD_CPUTIME_ID);
	int fd = open(c->path, c->work == WORK_LOOKUP ? O_PATH | O_DIRECTORY : O_RDWR);
	struct statx stx;

	assert_true(fd >= 0);
	while (clock_mono_ns(&clock_system) < end)
		for (unsigned i = 0; i < 16; i++, c->done++) {
			if (c->work == WORK_GETATTR)
				(void)statx(fd, "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC, STATX_SIZE,
					&stx);
			else
				(void)faccessat(fd, "absent", F_OK,
					0); /* ENOENT, not cached below the root */
		}
	(void)close(fd); /* nothing was written */
	c->cpu_ns = cpu_ns(CLOCK_THREAD_CPUTIME_ID) - start;
	return NULL;
}

static struct result run_round(struct mini_world *w, enum work work, unsigned clients)
{
	struct client client[CLIENTS_MAX] = {0};
	uint64_t start = clock_mono_ns(&clock_system), cpu = cpu_ns(CLOCK_PROCESS_CPUTIME_ID),
		 done = 0, client_cpu = 0;
	struct sess_stats before, after;
	double wall_s;

	sess_stats(w->s, &before);

	for (unsigned i = 0; i < clients; i++) {
		client[i].work = work;
		(void)snprintf(client[i].name, sizeof(client[i].name), "absent%u",
			i % CLIENTS_MAX); /* fits */
		(void)snprintf(client[i].path, sizeof(client[i].path), "%s",
			mini_world_at(w, work == WORK_LOOKUP ? "" : "ws/hello")); /* fits */
		assert_int_equal(
			pthread_create(&client[i].thread, NULL, client_main, &client[i]), 0);
	}
	for (unsigned i = 0; i < clients; i++) {
		assert_int_equal(pthread_join(client[i].thread, NULL), 0);
		done += client[i].done;
		client_cpu += client[i].cpu_ns;
	}
	wall_s = (double)(clock_mono_ns(&clock_system) - start) / 1e9;
	cpu = cpu_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu;
	sess_stats(w->s, &after);
	return (struct result){
		.per_second = (double)done / wall_s,
		.server_us = (double)(cpu - client_cpu) / 1e3 / (double)done,
		.client_us = (double)client_cpu / 1e3 / (double)done,
		.requests = (double)(after.replies - before.replies) / (double)done,
	};
}

static void keep_best(struct result *best, struct result r)
{
	if (r.per_second > best->per_second)
		best->per_second = r.per_second;
	if (best->server_us <= 0 || r.server_us < best->server_us)
		best->server_us = r.server_us;
	best->requests = r.requests;
	if (best->client_us <= 0 || r.client_us < best->client_us)
		best->client_us = r.client_us;
}

static void print_result(unsigned work, unsigned clients, const struct result *r)
{
	printf("{\"op\":\"%s\",\"clients\":%u,\"per_second\":%.0f,\"requests_per_op\":%.2f,",
		work == WORK_GETATTR ? "GETATTR" : "LOOKUP", clients, r->per_second, r->requests);
	printf("\"server_us\":%.2f,\"client_us\":%.2f}\n", r->server_us, r->client_us);
}

static void bench(void **state)
{
	static const unsigned clients[] = {1, 2, 8};
	struct result best[2][3] = {0};
	struct mini_world *w = *state;

	for (unsigned round = 0; round < ROUNDS; round++)
		for (unsigned work = 0; work < 2; work++)
			for (unsigned c = 0; c < 3; c++)
				keep_best(
					&best[work][c], run_round(w, (enum work)work, clients[c]));
	for (unsigned work = 0; work < 2; work++)
		for (unsigned c = 0; c < 3; c++)
			print_result(work, clients[c], &best[work][c]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(bench, mini_world_setup, mini_world_teardown),
	};

	return cmocka_run_group_tests_name("session bench", tests, NULL, NULL);
}
