/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The real api, with the real configuration, tenants, storage and origins, over a registry in
 * memory. Writes "port=N http=N" to stdout when it serves; SIGUSR1 drains, SIGTERM stops.
 *
 *	api_test_server CONFIG UNIX_SOCKET [stream_queue_bytes [grace_ms [tcp address]]]
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/server.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/metrics.h"
#include "fake_mounts.h"
#include "service/config.h"
#include "service/node.h"
#include "service/origins.h"
#include "service/tenants.h"
#include "storage/storage.h"

static int fail(const char *what, int r, const struct err *e)
{
	fprintf(stderr, "%s: %s (%s, %d)\n", what, err_message(e), err_reason(e), r);
	return 1;
}

static void serve(struct api_server *server)
{
	sigset_t set;
	int number = 0;

	printf("port=%u http=%u\n", api_server_port(server, 1), api_server_http_port(server));
	(void)fflush(stdout);
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGUSR1);
	while (sigwait(&set, &number) == 0 && number == SIGUSR1)
		api_server_drain(server);
}

static int run(struct node *node, char **argv, int argc)
{
	char unix_address[256];
	const char *listen[] = {unix_address, argc > 5 ? argv[5] : "127.0.0.1:0"};
	struct api_config config = {.node = node,
		.listen = listen,
		.listen_count = 2,
		.shutdown_grace_ns = argc > 4 ? strtoul(argv[4], NULL, 10) * NS_PER_MS : 0};
	struct api_server *server;
	struct err e = {0};
	int r;

	config.limits.stream_queue_bytes = argc > 3 ? strtoul(argv[3], NULL, 10) : 0;
	(void)snprintf(unix_address, sizeof(unix_address), "unix:%s", argv[2]);
	r = api_server_start(&server, &config, &e);
	if (r < 0)
		return fail("start", r, &e);
	serve(server);
	(void)api_server_stop(server);
	return 0;
}

int main(int argc, char **argv)
{
	struct cfg *cfg = NULL;
	struct storage_config storage = {.memory_bytes = 1 << 20,
		.disk_bytes = 1 << 24,
		.index_bytes = 1 << 24,
		.clock = &clock_system};
	struct node node = {.clock = &clock_system, .device_holder = "local", .workers = 2};
	struct err e = {0};
	sigset_t set;
	int r;

	if (argc < 3)
		return 2;
	(void)sigfillset(&set);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	log_setup(LOG_INFO, LOG_LOGFMT, 2);
	r = cfg_load(&cfg, argv[1], NULL, 0, &e);
	if (r < 0)
		return fail("config", r, &e);
	node.cfg = cfg;
	storage.data_dir = cfg->data_dir;
	node.metrics = storage.metrics = metrics_new();
	node.mounts = fake_mounts_new();
	r = tenants_new(&node.tenants, cfg, &e);
	if (r == 0)
		r = storage_open(&node.storage, &storage, &e);
	if (r == 0)
		r = node_id_load(cfg->data_dir, node.node_id, &e);
	if (r < 0)
		return fail("start", r, &e);
	origins_open(node.storage, cfg, node.metrics);
	r = run(&node, argv, argc);
	node.storage = storage_close(node.storage);
	node.tenants = tenants_free(node.tenants);
	node.mounts = fake_mounts_free(node.mounts);
	node.metrics = metrics_free(node.metrics);
	cfg = cfg_free(cfg);
	return r;
}
