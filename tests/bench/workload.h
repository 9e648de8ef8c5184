/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The workloads of tests/bench: what a job does to its files, in C so that the measurement is of
 * the filesystem. Each is one function over the rest of the command line; all but rows that say so
 * have one thread.
 */
#pragma once
#include <stddef.h>

struct workload {
	const char *name;
	const char *usage;
	int args; /* that `run` needs */
	/* 0 or negative errno; says itself what failed. */
	int (*run)(char **args);
};

/* each ends with an empty row */
extern const struct workload workload_reads[], workload_writes[], workload_floor[],
	workload_nullfs[];

/* Paths of a list file, one per line, relative to `dir`, which becomes the working directory. */
struct path_list {
	char *text;
	char **path;
	size_t count;
};

int path_list_load(struct path_list *l, const char *dir, const char *file);
void path_list_fini(struct path_list *l);

/* Prints "bench_workload: WHAT: reason" and returns -error. */
int workload_failed(int error, const char *what);
/* A decimal argument; ends the program if it is none. */
unsigned long workload_number(const char *text);
/* For this process and what it starts. Negative errno. */
int workload_stay_on_this_cpu(void);
