// SPDX-License-Identifier: Apache-2.0
/*
 * doctor: what this machine and the service look like, one line (or JSON object) per check: ok,
 * warn or FAIL, and what to do. It only looks; it never touches a mount (a dead one would hang),
 * mountinfo is enough.
 */
#include "cli.h"
#include "output.h"

#include <base/buf.h>
#include <base/cleanup.h>
#include <base/err.h>
#include <base/io.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <service/config.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#define FREE_WARN_BYTES (1ull << 30)
#define NOFILE_WARN     16384
#define MOUNTINFO_MAX   (16 << 20)

enum verdict { OK, WARN, FAIL };

struct doctor {
	struct cli *cli;
	struct cfg *cfg;
	unsigned count[3];
};

__attribute__((format(printf, 4, 5))) static void say(
	struct doctor *d, enum verdict v, const char *check, const char *fmt, ...)
{
	static const char *const words[] = {"ok", "warn", "FAIL"};
	static const char *const keys[] = {"check", "verdict", "text"};
	char text[4096];
	va_list args;

	d->count[v]++;
	va_start(args, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, args); /* a line that is too long is cut */
	va_end(args);
	if (d->cli->json) {
		(void)output_json_texts(stdout, keys, (const char *[]){check, words[v], text}, 3);
		return;
	}
	(void)printf("%-4s  %-12s ", words[v], check);
	(void)fputs(text, stdout);
	(void)putchar('\n');
}

static void check_device(struct doctor *d)
{
	_cleanup_close_ int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

	if (fd >= 0)
		say(d, OK, "/dev/fuse", "can be opened");
	else if (errno == ENOENT)
		say(d, FAIL, "/dev/fuse",
			"does not exist: load the fuse module, or give the container the device");
	else
		say(d, geteuid() == 0 ? FAIL : WARN, "/dev/fuse",
			"cannot be opened: %s. The daemon runs as root", strerror(errno));
}

static void check_kernel(struct doctor *d)
{
	unsigned major = 0, minor = 0;
	struct utsname u;

	if (uname(&u) < 0 || sscanf(u.release, "%u.%u", &major, &minor) != 2) {
		say(d, WARN, "kernel", "its version cannot be read");
		return;
	}
	if (major < 5 || (major == 5 && minor < 11))
		say(d, FAIL, "kernel", "%s is too old: 5.11 or newer is needed", u.release);
	else if (major < 6 || (major == 6 && minor < 9))
		say(d, WARN, "kernel",
			"%s works; calls that the daemon is answering when it is killed end with "
			"ECONNABORTED (on 6.9 or newer they are answered by the next one)",
			u.release);
	else
		say(d, OK, "kernel", "%s", u.release);
}

static void check_limits(struct doctor *d)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_max < NOFILE_WARN)
		say(d, WARN, "descriptors",
			"the hard limit is %llu; give the service at least %d (LimitNOFILE)",
			(unsigned long long)limit.rlim_max, NOFILE_WARN);
	else
		say(d, OK, "descriptors", "hard limit %llu", (unsigned long long)limit.rlim_max);
}

static bool check_config(struct doctor *d)
{
	struct err e = {0};

	if (cfg_load(&d->cfg, d->cli->config, NULL, 0, &e) < 0) {
		say(d, FAIL, "config", "%s", err_message(&e));
		return false;
	}
	say(d, OK, "config", "%s", d->cfg->source);
	if (d->cfg->origin_count == 0)
		say(d, WARN, "origins",
			"none is configured: no mount can be made. Add one under 'origins'");
	return true;
}

static void check_disk(struct doctor *d)
{
	char path[4096];
	struct statfs s;

	(void)snprintf(path, sizeof(path), "%s", d->cfg->data_dir);
	while (statfs(path, &s) < 0) {
		char *slash = strrchr(path, '/');

		if (errno != ENOENT || !slash || slash == path) {
			say(d, FAIL, "data_dir", "%s: %s", d->cfg->data_dir, strerror(errno));
			return;
		}
		*slash = '\0'; /* not made yet: look at what it will be made in */
	}
	uint64_t free_bytes = (uint64_t)s.f_bavail * (uint64_t)s.f_bsize;

	if (s.f_type == NFS_SUPER_MAGIC || s.f_type == FUSE_SUPER_MAGIC ||
		s.f_type == OVERLAYFS_SUPER_MAGIC)
		say(d, FAIL, "data_dir",
			"%s is on a network, FUSE or overlay file system; it needs a local one "
			"(ext4, XFS)",
			d->cfg->data_dir);
	else if (s.f_type == TMPFS_MAGIC)
		say(d, WARN, "data_dir", "%s is in memory: workspaces are gone after a reboot",
			d->cfg->data_dir);
	else if (free_bytes < FREE_WARN_BYTES)
		say(d, WARN, "data_dir", "%s has only %llu MiB free", d->cfg->data_dir,
			(unsigned long long)(free_bytes >> 20));
	else
		say(d, OK, "data_dir", "%s, %llu GiB free", d->cfg->data_dir,
			(unsigned long long)(free_bytes >> 30));
}

/* Our mounts below run_dir, and the seals beneath them (see docs/reliability.md). */
struct mounts_seen {
	unsigned mounts, seals;
};

/* From mountinfo alone. */
static void see_mounts(const char *run_dir, struct mounts_seen *ret_seen)
{
	_cleanup_free_ char *text = NULL;
	_cleanup_free_ char *real = realpath(run_dir, NULL); /* as mountinfo tells it */
	char *line, *rest;
	size_t len;

	*ret_seen = (struct mounts_seen){0};
	if (io_read_file(AT_FDCWD, "/proc/self/mountinfo", MOUNTINFO_MAX, &text, &len) < 0)
		return;
	rest = text;
	while ((line = strsep(&rest, "\n"))) {
		char mountpoint[4096];

		if (sscanf(line, "%*s %*s %*s %*s %4095s", mountpoint) != 1 || !real ||
			strncmp(mountpoint, real, strlen(real)) != 0)
			continue;
		ret_seen->mounts += strstr(line, " - fuse.coppice ") != NULL;
		ret_seen->seals += strstr(line, " - tmpfs coppice-seal ") != NULL;
	}
}

/* Who could write where a workspace was, once its mount is dead and gone? */
static void say_seals(struct doctor *d, const struct mounts_seen *seen)
{
	if (seen->seals < seen->mounts)
		say(d, WARN, "beneath",
			"%u of %u mounts have only a directory of mode 0 beneath them, in which "
			"root "
			"can write when they are dead: the daemon may not mount a tmpfs there",
			seen->mounts - seen->seals, seen->mounts);
	else if (seen->mounts)
		say(d, OK, "beneath", "nobody can write there when a mount is dead, not even root");
}

/* The service knows best: it asks all the time, with its own files and addresses. */
static void check_shared_cache(struct doctor *d)
{
	Coppice__V1__GetCacheStatsRequest m = COPPICE__V1__GET_CACHE_STATS_REQUEST__INIT;
	struct client_status st;
	Coppice__V1__CacheStats *s = (Coppice__V1__CacheStats *)client_call(d->cli->client,
		"/coppice.v1.NodeService/GetCacheStats", &m.base,
		&coppice__v1__cache_stats__descriptor, false, &st);

	for (size_t i = 0; s && i < s->n_tiers; i++) {
		const Coppice__V1__CacheTier *tier = s->tiers[i];
		bool up = strcmp(tier->state, "up") == 0;

		if (tier->state[0])
			say(d, up ? OK : WARN, tier->name, "%s, %llu hits, %llu misses%s%s",
				tier->state, (unsigned long long)tier->hits,
				(unsigned long long)tier->misses,
				up ? "" : "; last failure: ", up ? "" : tier->reason);
	}
	if (s)
		coppice__v1__cache_stats__free_unpacked(s, NULL);
}

/* What becomes of running programs when the daemon dies or is upgraded. */
static void say_holder(struct doctor *d, const char *holder)
{
	if (strcmp(holder, "local") == 0)
		say(d, WARN, "sessions",
			"end with the daemon: run it under coppice-keeper, or by systemd with "
			"FileDescriptorStoreMax, and programs outlive its restarts");
	else
		say(d, OK, "sessions", "held by %s: programs outlive a restart of the daemon",
			holder);
}

static void check_service(struct doctor *d)
{
	Coppice__V1__GetNodeRequest m = COPPICE__V1__GET_NODE_REQUEST__INIT;
	struct mounts_seen seen = {0};
	struct client_status st;
	Coppice__V1__Node *n;

	if (d->cfg)
		see_mounts(d->cfg->run_dir, &seen);

	if (cli_connect(d->cli) != CLI_OK) {
		say(d, FAIL, "service", "not asked: the reason is above");
		return;
	}
	n = (Coppice__V1__Node *)client_call(d->cli->client, "/coppice.v1.NodeService/GetNode",
		&m.base, &coppice__v1__node__descriptor, false, &st);
	if (!n) {
		say(d, FAIL, "service", "%s (%s)", st.message, client_code_name(st.code));
		if (seen.mounts)
			say(d, WARN, "mounts",
				"%u of ours are mounted though the service does not answer; "
				"starting it cleans them up",
				seen.mounts);
		return;
	}
	say(d, n->draining ? WARN : OK, "service", "coppiced %s answers, %llu mounts ready%s",
		n->version, (unsigned long long)n->mounts,
		n->draining ? ", draining: no new mounts" : "");
	say_holder(d, n->device_holder);
	say_seals(d, &seen);
	if (n->index_set_aside)
		say(d, WARN, "index",
			"was damaged and set aside at the last start; it is rebuilt on use");
	for (size_t i = 0; i < n->n_origins; i++)
		say(d, n->origins[i]->available ? OK : FAIL, "origin", "%s %s%s%s",
			n->origins[i]->name, n->origins[i]->url,
			n->origins[i]->available ? "" : ": ",
			n->origins[i]->available ? "" : n->origins[i]->error);
	for (size_t i = 0; i < n->n_degraded; i++)
		say(d, WARN, n->degraded[i]->component, "works only in part: %s; %s",
			n->degraded[i]->reason, n->degraded[i]->advice);
	coppice__v1__node__free_unpacked(n, NULL);
	check_shared_cache(d);
}

int cmd_doctor(struct cli *cli, int argc, char **argv)
{
	struct doctor d = {.cli = cli};

	if (argc > 1)
		return cli_usage(cli_find(argv[0]), "doctor takes no '%s'", argv[1]);
	check_device(&d);
	check_kernel(&d);
	check_limits(&d);
	if (check_config(&d))
		check_disk(&d);
	check_service(&d);
	cfg_free(d.cfg);
	if (!cli->json)
		(void)printf("%u ok, %u to look at, %u wrong\n", d.count[OK], d.count[WARN],
			d.count[FAIL]);
	return d.count[FAIL] ? CLI_FAILED : CLI_OK;
}
