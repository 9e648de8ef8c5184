/* SPDX-License-Identifier: Apache-2.0 */
/* Everything the api serves from, put together by service/daemon/wiring.c, and the node's own
 * facts. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct cfg;
struct clock;
struct err;
struct health;
struct metrics;
struct mounts;
struct sess_farm;
struct storage;
struct tenants;

struct node {
	const struct cfg *cfg;
	const struct clock *clock;
	struct metrics *metrics;
	struct health *health;
	struct storage *storage;
	struct tenants *tenants;
	struct sess_farm *farm;
	struct mounts *mounts;
	char node_id[40];
	uint64_t started_wall_ns;
	const char *device_holder; /* "local", "keeper" or "systemd" */
	unsigned workers;
	/* Look at the program that would follow, and begin to hand over to it. NULL: cannot.
	 * Blocks. -EOPNOTSUPP reason NOT_KEPT, -ENOEXEC reason SELF_CHECK_FAILED. */
	int (*upgrade)(struct node *n, struct err *e);
	_Atomic bool draining; /* no new mounts; health says so */
	_Atomic bool stopping; /* the process ends when it has drained: no way back */
};

struct node_facts {
	char hostname[256], kernel[256];
	uint64_t resident_bytes, open_descriptors, disk_free_bytes, cpu_time_ns;
};
void node_facts(const struct node *n, struct node_facts *ret_facts);
const char *node_version(void);
/* A random UUID, as text. */
int node_uuid(char ret_id[40]);
/* The id kept in data_dir/node_id, made at the first start. */
int node_id_load(const char *data_dir, char ret_id[40], struct err *e);
