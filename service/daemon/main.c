/* SPDX-License-Identifier: Apache-2.0 */
/*
 * coppiced: the node service. Parses arguments, loads the configuration, runs until it is told to
 * stop. Exit codes: 0 stopped as asked, 1 could not start or run, 2 wrong usage or configuration.
 * Nothing is printed to stdout but what was asked for.
 */
#include "sd.h"
#include "signals.h"
#include "wiring.h"

#include <base/buf.h>
#include <base/cleanup.h>
#include <base/err.h>
#include <base/log.h>
#include <errno.h>
#include <getopt.h>
#include <service/config.h>
#include <service/formats.h>
#include <service/node.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define OVERRIDES_MAX 64
#define PULSES        4 /* in the time after which we are taken for dead */

enum { EXIT_RUNTIME = 1, EXIT_USAGE = 2, EXIT_HANDED_OVER = 85 /* see the keeper */ };

struct arguments {
	const char *config;
	bool check, self_check;
	char *const *argv;
	struct cfg_override overrides[OVERRIDES_MAX];
	unsigned override_count;
};

static const char usage[] =
	"Usage: coppiced [OPTION]...\n"
	"Serves the repositories of a configuration as file systems to build jobs.\n\n"
	"  --config FILE     configuration (default: $COPPICE_CONFIG, else "
	"/etc/coppice/coppice.yaml if it exists)\n"
	"  --data-dir DIR    where index, caches and workspaces are kept (default: "
	"/var/lib/coppice)\n"
	"  --run-dir DIR     where sockets and mounts are (default: /run/coppice)\n"
	"  --set KEY=VALUE   override one setting, as in --set cache.disk=5GiB; may be repeated\n"
	"  --check           check the configuration, print it as it would be used, and exit\n"
	"  --self-check      check that this program could take over here, and exit\n"
	"  --version         print the version and exit\n"
	"  --help            print this and exit\n\n"
	"Signals: TERM and INT stop (twice: without drain.timeout), HUP reads token files and the "
	"log level again,\n"
	"USR2 hands over to the program that now has this name, under coppice-keeper "
	"or systemd.\n"
	"Exit status: 0 stopped as asked, 1 could not start or run, 2 usage or configuration.\n";

static int wrong_usage(const char *what, const char *argument)
{
	(void)fprintf(stderr, "coppiced: %s%s%s\nTry: coppiced --help\n", what, argument ? " " : "",
		argument ? argument : "");
	return -EXIT_USAGE;
}

static int add_override(struct arguments *args, const char *key, const char *value)
{
	if (args->override_count == OVERRIDES_MAX)
		return wrong_usage("too many settings on the command line", NULL);
	args->overrides[args->override_count++] = (struct cfg_override){key, value};
	return 0;
}

static int add_setting(struct arguments *args, char *setting)
{
	char *equals = strchr(setting, '=');

	if (!equals || equals == setting)
		return wrong_usage("--set needs KEY=VALUE, not", setting);
	*equals = '\0';
	return add_override(args, setting, equals + 1);
}

/* 0 to go on, 1 when there is nothing more to do, or a negative exit code. */
static int parse(int argc, char **argv, struct arguments *args)
{
	static const struct option options[] = {
		{"config", required_argument, NULL, 'c'},
		{"data-dir", required_argument, NULL, 'd'},
		{"run-dir", required_argument, NULL, 'r'},
		{"set", required_argument, NULL, 's'},
		{"check", no_argument, NULL, 'k'},
		{"self-check", no_argument, NULL, 'f'},
		{"version", no_argument, NULL, 'v'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	int err = 0;

	for (int option; !err && (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		if (option == 'c')
			args->config = optarg;
		else if (option == 'd')
			err = add_override(args, "data_dir", optarg);
		else if (option == 'r')
			err = add_override(args, "run_dir", optarg);
		else if (option == 's')
			err = add_setting(args, optarg);
		else if (option == 'k')
			args->check = true;
		else if (option == 'f')
			args->self_check = true;
		else if (option == 'v')
			return printf("coppiced %s\n", node_version()) < 0 ? -EXIT_RUNTIME : 1;
		else if (option == 'h')
			return fputs(usage, stdout) < 0 ? -EXIT_RUNTIME : 1;
		else
			return -EXIT_USAGE; /* getopt has said what is wrong */
	}
	if (!err && optind < argc)
		return wrong_usage("unexpected argument", argv[optind]);
	return err;
}

static int print_config(const struct cfg *cfg)
{
	struct buf text;
	int result;

	buf_init(&text, 4u << 20);
	result = cfg_render(cfg, &text);
	if (result || fputs(buf_cstr(&text), stdout) < 0 || fflush(stdout) != 0)
		result = EXIT_RUNTIME;
	buf_fini(&text);
	return result;
}

static int load(const struct arguments *args, struct cfg **ret_cfg)
{
	struct err e = {0};
	int err = cfg_load(ret_cfg, args->config, args->overrides, args->override_count, &e);

	if (err)
		(void)fprintf(stderr, "coppiced: %s\n", err_message(&e));
	return err;
}

/* Many mounts, blobs and calls need many descriptors; going without is possible, so a failure is
 * only told. */
static void raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		log_warn("descriptor_limit", LOG_E(-errno));
}

/* Tokens and log level; the rest of a changed file takes effect at the next start. */
static void reload(struct daemon *d, const struct arguments *args)
{
	struct cfg *cfg = NULL;
	struct err e = {0};
	int err = cfg_load(&cfg, args->config, args->overrides, args->override_count, &e);

	if (!err)
		err = daemon_reload(d, &e);
	if (err) {
		log_error("reload_failed", LOG_S("message", err_message(&e)));
	} else {
		log_set_level(cfg->log_level);
		log_info("reloaded",
			LOG_S("note", "tokens and log level; other settings need a restart"));
	}
	cfg_free(cfg);
}

static void log_ready(const struct cfg *cfg)
{
	struct buf sockets;

	buf_init(&sockets, 4096);
	for (unsigned i = 0; i < cfg->grpc_listen_count; i++)
		(void)buf_printf(&sockets, "%s%s", i ? " " : "", cfg->grpc_listen[i]);
	log_info("ready", LOG_S("version", node_version()), LOG_S("grpc", buf_cstr(&sockets)),
		LOG_S("http", cfg->http_listen), LOG_S("data_dir", cfg->data_dir),
		LOG_S("run_dir", cfg->run_dir), LOG_S("config", cfg->source));
	buf_fini(&sockets);
}

/* Returns only if there is no successor that would run. */
static void upgrade(struct daemon *d)
{
	struct err e = {0};

	if (!daemon_successor_checked(d) && daemon_check_successor(d, &e) < 0) {
		log_error("upgrade_refused", LOG_S("reason", err_reason(&e)),
			LOG_S("message", err_message(&e)));
		return;
	}
	log_info("handing_over");
	daemon_hand_over(d);
	log_info("handed_over");
	/* Nothing is freed: what would be undone by that is the successor's. */
	_exit(EXIT_HANDED_OVER);
}

/* Of a program that is to follow another: could it run here? Touches nothing. */
static int self_check(const struct cfg *cfg)
{
	struct err e = {0};

	if (formats_check(cfg->data_dir, &e) == 0)
		return EXIT_SUCCESS;
	(void)fprintf(stderr, "coppiced: %s\n", err_message(&e));
	return EXIT_RUNTIME;
}

/* As signals_wait; meanwhile the keeper or the service manager hears that we live, as long as we
 * do. */
static int wait_for_signal(struct daemon *d, int signals)
{
	uint64_t watchdog_ns = daemon_feel_pulse(d);
	int r;

	if (!watchdog_ns)
		return signals_wait(signals);
	while ((r = signals_wait_for(signals, watchdog_ns / PULSES)) == 0)
		(void)daemon_feel_pulse(d);
	return r;
}

static int run(const struct arguments *args, const struct cfg *cfg)
{
	_cleanup_close_ int signals = -1;
	struct daemon *d = NULL;
	struct err e = {0};
	int err = signals_open(&signals);

	if (err)
		(void)err_set(&e, err, "", "cannot set up signals: %s", strerror(-err));
	else
		err = daemon_start(&d, cfg, args->argv, &e);
	if (err) {
		log_error("start_failed", LOG_S("reason", err_reason(&e)),
			LOG_S("message", err_message(&e)));
		return EXIT_RUNTIME;
	}
	log_ready(cfg);
	sd_tell_ready();
	while ((err = wait_for_signal(d, signals)) == SIGNAL_RELOAD || err == SIGNAL_UPGRADE) {
		if (err == SIGNAL_RELOAD)
			reload(d, args);
		else
			upgrade(d);
	}
	log_info("stopping");
	sd_tell_stopping();
	if (err > 0)
		err = daemon_drain(d, signals);
	daemon_stop(d);
	if (err < 0)
		log_error("signals_failed", LOG_E(err));
	log_info("stopped");
	return err < 0 ? EXIT_RUNTIME : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	struct arguments args = {.argv = argv};
	struct cfg *cfg = NULL;
	int result = parse(argc, argv, &args);

	if (result)
		return result < 0 ? -result : EXIT_SUCCESS;
	if (load(&args, &cfg))
		return EXIT_USAGE;
	if (args.check) {
		result = print_config(cfg);
	} else if (args.self_check) {
		result = self_check(cfg);
	} else {
		(void)umask(022); /* returns the old one, cannot fail */
		log_setup(cfg->log_level, cfg->log_format, STDERR_FILENO);
		raise_descriptor_limit();
		result = run(&args, cfg);
	}
	cfg_free(cfg);
	return result;
}
