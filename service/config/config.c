/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loading the configuration: defaults, then the file, then the environment, then flags; then
 * everything is checked. The result is const for the life of the process and may be read by any
 * thread.
 */
#include "config_internal.h"

#include <base/clock.h>
#include <errno.h>
#include <unistd.h>

#define CFG_DEFAULT_FILE "/etc/coppice/coppice.yaml"

void *cfg_list_add(void *object, const struct cfg_field *field)
{
	char **elements = (char **)((char *)object + field->offset);
	unsigned *count = (unsigned *)((char *)object + field->count_offset);
	char *grown = reallocarray(*elements, *count + 1, field->element_size);
	char *element;

	if (!grown)
		return NULL;
	*elements = grown;
	element = grown + *count * field->element_size;
	for (size_t i = 0; i < field->element_size; i++)
		element[i] = 0;
	if (field->init)
		field->init(element);
	(*count)++;
	return element;
}

static void clear_list(void *object, const struct cfg_field *field)
{
	char **elements = (char **)((char *)object + field->offset);
	unsigned *count = (unsigned *)((char *)object + field->count_offset);

	for (unsigned i = 0; i < *count; i++) {
		char *element = *elements + i * field->element_size;

		if (field->type && field->type->owned)
			free(*(char **)element);
		else if (field->fields)
			cfg_clear_fields(element, field->fields);
		if (field->one_key) { /* identities: their strings belong to the kind, not to a
					 field */
			free(((struct cfg_identity *)element)->tls_cn);
			free(((struct cfg_identity *)element)->token_sha256_file);
		}
	}
	free(*elements);
	*elements = NULL;
	*count = 0;
}

void cfg_clear_fields(void *object, const struct cfg_field *fields)
{
	for (const struct cfg_field *field = fields; field->key; field++) {
		void *value = (char *)object + field->offset;

		if (field->shape == CFG_MAP) {
			cfg_clear_fields(value, field->fields);
		} else if (field->shape == CFG_LIST) {
			clear_list(object, field);
		} else if (field->type->owned) {
			free(*(char **)value);
			*(char **)value = NULL;
		}
	}
}

struct cfg *cfg_free(struct cfg *cfg)
{
	if (!cfg)
		return NULL;
	cfg_clear_fields(cfg, cfg_schema);
	free(cfg->source);
	free(cfg);
	return NULL;
}

static struct cfg *cfg_new(const char *source)
{
	struct cfg *cfg = calloc(1, sizeof(*cfg));

	if (!cfg)
		return NULL;
	cfg->data_dir = strdup("/var/lib/coppice");
	cfg->run_dir = strdup("/run/coppice");
	cfg->http_listen = strdup("127.0.0.1:7434");
	cfg->source = strdup(source);
	cfg->watchdog_stuck_ns = 120 * NS_PER_S;
	cfg->watchdog_abort_ns = 600 * NS_PER_S;
	cfg->cache_memory = UINT64_C(256) << 20;
	cfg->fetch_threads = 4;
	cfg->cache_disk = UINT64_C(20) << 30;
	cfg->cache_index = UINT64_C(16) << 30;
	cfg->cache_nodes = 100000;
	cfg->log_level = LOG_INFO;
	cfg->log_format = LOG_LOGFMT;
	if (!cfg->data_dir || !cfg->run_dir || !cfg->http_listen || !cfg->source)
		return cfg_free(cfg);
	return cfg;
}

/* The listeners, unless some were given: the socket follows run_dir, wherever that was set. */
static int default_listeners(struct cfg *cfg)
{
	char *unix_listen = NULL;
	char *tcp_listen;

	if (cfg->grpc_listen_count)
		return 0;
	free(cfg->grpc_listen);
	cfg->grpc_listen = calloc(2, sizeof(*cfg->grpc_listen));
	tcp_listen = strdup("127.0.0.1:7433");
	if (!cfg->grpc_listen || !tcp_listen ||
		asprintf(&unix_listen, "unix:%s/coppice.sock", cfg->run_dir) < 0) {
		free(tcp_listen);
		return -ENOMEM;
	}
	cfg->grpc_listen[0] = unix_listen;
	cfg->grpc_listen[1] = tcp_listen;
	cfg->grpc_listen_count = 2;
	return 0;
}

/* The file to read: named, or the usual one if it is there. NULL: none. */
static const char *choose_file(const char *path)
{
	if (path)
		return path;
	path = getenv("COPPICE_CONFIG");
	if (path)
		return path;
	/* one that is there and cannot be read must be an error, not the defaults */
	return access(CFG_DEFAULT_FILE, F_OK) == 0 || errno != ENOENT ? CFG_DEFAULT_FILE : NULL;
}

int cfg_load(struct cfg **ret_cfg, const char *path, const struct cfg_override *overrides,
	unsigned override_count, struct err *e)
{
	const char *file = choose_file(path);
	struct cfg_report report = {.source = file ? file : "(defaults)"};
	struct cfg *cfg = cfg_new(report.source);
	int err;

	if (!cfg)
		return err_set(e, -ENOMEM, "", "no memory for the configuration");
	err = file ? cfg_load_file(cfg, file, &report, e) : 0;
	if (err)
		goto out;
	cfg_set_from_environment(cfg, &report);
	for (unsigned i = 0; i < override_count; i++)
		cfg_set(cfg, overrides[i].key, overrides[i].value, "command line", &report);
	if (default_listeners(cfg))
		report.out_of_memory = true;
	if (!report.out_of_memory && !report.mistakes) /* what is checked must be complete */
		cfg_check(cfg, &report);
	err = cfg_report_result(&report, e);
	if (!err) {
		*ret_cfg = cfg;
		cfg = NULL;
	}
out:
	cfg_report_fini(&report);
	cfg_free(cfg);
	return err;
}
