// SPDX-License-Identifier: Apache-2.0
/* prefetch: makes contents local, with a bar on a terminal. ^C ends it: the service sees the
 * connection go and stops. */
#include "output.h"
#include "workspace.h"

#include <base/io.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define BAR_WIDTH 24

typedef Coppice__V1__PrefetchProgress progress_t;

struct printer {
	struct cli *cli;
	bool bar; /* stderr is a terminal */
	bool broken;
	progress_t last;
};

static void put_bar(const progress_t *p)
{
	char bar[BAR_WIDTH + 1], have[24], found[24], rate[24], eta[32] = "";
	double part = p->bytes_found ? (double)p->bytes / (double)p->bytes_found : 0;
	int full = p->indexed ? (int)(part * BAR_WIDTH) : 0;

	memset(bar, ' ', BAR_WIDTH);
	memset(bar, '#', (size_t)(full > BAR_WIDTH ? BAR_WIDTH : full));
	bar[BAR_WIDTH] = '\0';
	if (p->eta_ms)
		(void)snprintf(eta, sizeof(eta), ", %llu s left",
			(unsigned long long)((p->eta_ms + 999) / 1000));
	(void)fprintf(stderr,
		"\r[%s] %llu directories, %llu/%llu%s files, %s of %s%s, %s/s%s\033[K", bar,
		(unsigned long long)p->directories, (unsigned long long)p->blobs,
		(unsigned long long)p->blobs_found, p->indexed ? "" : "+",
		output_bytes(p->bytes, have, sizeof(have)),
		output_bytes(p->bytes_found, found, sizeof(found)), p->indexed ? "" : "+",
		output_bytes(p->bytes_per_second, rate, sizeof(rate)), eta);
}

static bool on_progress(void *arg, const ProtobufCMessage *message)
{
	const progress_t *p = (const progress_t *)message;
	struct printer *printer = arg;

	printer->last = *p;
	if (printer->cli->json)
		printer->broken = output_json(stdout, message) < 0 || fflush(stdout) != 0;
	else if (printer->bar)
		put_bar(p);
	return !printer->broken;
}

static void summary(const struct printer *printer)
{
	const progress_t *p = &printer->last;
	char bytes[24];

	if (printer->bar)
		(void)fputc('\n', stderr);
	if (printer->cli->json || !p->done)
		return;
	(void)printf("local: %llu directories, %llu files, %s%s",
		(unsigned long long)p->directories, (unsigned long long)p->blobs,
		output_bytes(p->bytes, bytes, sizeof(bytes)),
		p->stopped ? "; the limit is reached" : "");
	if (p->failed)
		(void)printf("; %llu could not be had", (unsigned long long)p->failed);
	(void)putchar('\n');
}

int cmd_prefetch(struct cli *cli, int argc, char **argv)
{
	Coppice__V1__PrefetchRequest m = COPPICE__V1__PREFETCH_REQUEST__INIT;
	const char *depth = "0", *bytes = "0";
	bool directories = false;
	const struct workspace_option options[] = {{"depth", &depth, NULL, 0},
		{"bytes", &bytes, NULL, 0}, {"directories", NULL, &directories, 0}, {0}};
	struct printer printer = {.cli = cli, .bar = isatty(STDERR_FILENO) && !cli->json};
	struct workspace_args a;
	struct client_status st;
	uint64_t levels = 0;
	int r = workspace_parse(&a, options, argc, argv);

	if (r == CLI_OK && !cli_parse_number(depth, UINT32_MAX, &levels))
		r = cli_usage(a.command, "--depth is a number of levels, not '%s'", depth);
	if (r == CLI_OK && !io_parse_size(bytes, &m.bytes))
		r = cli_usage(a.command, "--bytes is a size such as 10GiB, not '%s'", bytes);
	if (r == CLI_OK)
		r = cli_connect(cli);
	if (r == CLI_OK) {
		m.mount_id = a.ref.mount_id;
		m.job_id = a.ref.job_id;
		m.tenant = a.ref.tenant;
		m.paths = a.paths;
		m.n_paths = a.path_count;
		m.depth = (uint32_t)levels;
		m.directories_only = directories;
		client_stream(cli->client, "/coppice.v1.MountService/Prefetch", &m.base,
			&coppice__v1__prefetch_progress__descriptor, on_progress, &printer, &st);
		summary(&printer);
		r = st.code ? cli_fail(&st) : printer.broken ? CLI_FAILED : CLI_OK;
	}
	workspace_fini(&a);
	return r;
}
