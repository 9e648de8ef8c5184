/* SPDX-License-Identifier: Apache-2.0 */
/*
 * YAML into a structure, by the schema table. The only door to libyaml, the parser beneath
 * libcyaml: libcyaml stops at the first mistake and drops the line numbers, and every mistake is to
 * be named with line and field. One thread.
 *
 * The file is an administrator's, but it may be anything: its size, the number of values (aliases
 * can multiply them) and, through the schema, the depth are bounded.
 */
#include "config_internal.h"

#include <base/cleanup.h>
#include <base/io.h>
#include <errno.h>
#include <fcntl.h>
#include <yaml.h>

#define FILE_MAX_BYTES (1u << 20)
#define VALUES_MAX     20000

struct loader {
	yaml_document_t doc;
	struct cfg_report *report;
	unsigned values;
};

static void load_map(struct loader *l, const yaml_node_t *node, const struct cfg_field *fields,
	void *object, const char *path);

static unsigned line_of(const yaml_node_t *node)
{
	return (unsigned)node->start_mark.line + 1;
}

/* `key:` with nothing behind it, or null. */
static bool is_null(const yaml_node_t *node)
{
	const char *text = (const char *)node->data.scalar.value;

	return node->type == YAML_SCALAR_NODE &&
	       node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
	       (!text[0] || strcmp(text, "~") == 0 || strcmp(text, "null") == 0);
}

static const char *kind_of(const yaml_node_t *node)
{
	return node->type == YAML_MAPPING_NODE    ? "a mapping"
	       : node->type == YAML_SEQUENCE_NODE ? "a list"
						  : "a scalar";
}

static void load_scalar(struct loader *l, const yaml_node_t *node, const struct cfg_type *type,
	void *value, const char *path)
{
	const char *text;

	if (node->type != YAML_SCALAR_NODE) {
		cfg_mistake(l->report, path, "is %s, but must be %s", kind_of(node), type->expects);
		return;
	}
	text = (const char *)node->data.scalar.value;
	if (strlen(text) != node->data.scalar.length)
		cfg_mistake(l->report, path, "contains a NUL byte");
	else if (!type->parse(text, value))
		cfg_mistake(l->report, path, "\"%.60s\" is not %s", text, type->expects);
}

static void load_list(struct loader *l, const yaml_node_t *node, const struct cfg_field *field,
	void *object, const char *path)
{
	unsigned index = 0;

	if (is_null(node))
		return;
	if (node->type != YAML_SEQUENCE_NODE) {
		cfg_mistake(l->report, path, "is %s, but must be a list", kind_of(node));
		return;
	}
	for (const yaml_node_item_t *it = node->data.sequence.items.start;
		it < node->data.sequence.items.top; it++, index++) {
		const yaml_node_t *item = yaml_document_get_node(&l->doc, *it);
		char item_path[96];
		void *element;

		if (++l->values > VALUES_MAX) {
			cfg_mistake(l->report, path, "more than %d values in one file", VALUES_MAX);
			return;
		}
		(void)snprintf(item_path, sizeof(item_path), "%s[%u]", path, index);
		cfg_report_place(l->report, item_path, line_of(item), "");
		element = cfg_list_add(object, field);
		if (!element) {
			l->report->out_of_memory = true;
			return;
		}
		if (field->type) {
			load_scalar(l, item, field->type, element, item_path);
			continue;
		}
		load_map(l, item, field->fields, element, item_path);
		if (field->one_key && item->type == YAML_MAPPING_NODE &&
			item->data.mapping.pairs.top - item->data.mapping.pairs.start != 1)
			cfg_mistake(l->report, item_path, "must have exactly one key");
	}
}

static const struct cfg_field *find_field(const struct cfg_field *fields, const char *key)
{
	for (; fields->key; fields++)
		if (strcmp(fields->key, key) == 0)
			return fields;
	return NULL;
}

static void report_unknown(
	struct loader *l, const yaml_node_t *key, const struct cfg_field *fields, const char *path)
{
	char field[96], known[160] = "";
	size_t used = 0;

	for (const struct cfg_field *f = fields; f->key && used < sizeof(known); f++)
		used += (size_t)snprintf(
			known + used, sizeof(known) - used, "%s%s", used ? ", " : "", f->key);
	(void)snprintf(field, sizeof(field), "%s%s%.40s", path, path[0] ? "." : "",
		key->type == YAML_SCALAR_NODE ? (const char *)key->data.scalar.value : "(key)");
	cfg_report_place(l->report, field, line_of(key), "");
	cfg_mistake(l->report, field, "unknown key; known here: %s", known);
}

static void load_field(struct loader *l, const yaml_node_t *node, const struct cfg_field *field,
	void *object, const char *path)
{
	if (field->shape == CFG_LIST)
		load_list(l, node, field, object, path);
	else if (field->shape == CFG_SCALAR)
		load_scalar(l, node, field->type, (char *)object + field->offset, path);
	else if (!is_null(node))
		load_map(l, node, field->fields, (char *)object + field->offset, path);
}

static void load_map(struct loader *l, const yaml_node_t *node, const struct cfg_field *fields,
	void *object, const char *path)
{
	uint32_t seen = 0;

	if (node->type != YAML_MAPPING_NODE) {
		if (!path[0])
			cfg_report_place(l->report, path = "yaml", line_of(node), "");
		cfg_mistake(l->report, path, "is %s, but must be a mapping of keys to values",
			kind_of(node));
		return;
	}
	for (const yaml_node_pair_t *it = node->data.mapping.pairs.start;
		it < node->data.mapping.pairs.top; it++) {
		const yaml_node_t *key = yaml_document_get_node(&l->doc, it->key);
		const yaml_node_t *value = yaml_document_get_node(&l->doc, it->value);
		const struct cfg_field *field =
			key->type == YAML_SCALAR_NODE
				? find_field(fields, (const char *)key->data.scalar.value)
				: NULL;
		char field_path[96];

		if (++l->values > VALUES_MAX) {
			cfg_mistake(l->report, path, "more than %d values in one file", VALUES_MAX);
			return;
		}
		if (!field) {
			report_unknown(l, key, fields, path);
			continue;
		}
		(void)snprintf(field_path, sizeof(field_path), "%s%s%s", path, path[0] ? "." : "",
			field->key);
		cfg_report_place(l->report, field_path, line_of(key), "");
		if (seen & 1u << (field - fields)) {
			cfg_mistake(l->report, field_path, "given twice");
			continue;
		}
		seen |= 1u << (field - fields);
		load_field(l, value, field, object, field_path);
	}
	for (const struct cfg_field *field = fields; field->key; field++) {
		char field_path[96];

		(void)snprintf(field_path, sizeof(field_path), "%s%s%s", path, path[0] ? "." : "",
			field->key);
		if (field->required && !(seen & 1u << (field - fields)))
			cfg_mistake(l->report, field_path, "is missing");
	}
}

static void report_syntax(const yaml_parser_t *parser, struct cfg_report *r)
{
	if (parser->error == YAML_MEMORY_ERROR) {
		r->out_of_memory = true;
		return;
	}
	cfg_report_place(r, "yaml", (unsigned)parser->problem_mark.line + 1, "");
	cfg_mistake(r, "yaml", "%s%s%s", parser->problem ? parser->problem : "cannot be parsed",
		parser->context ? " " : "", parser->context ? parser->context : "");
}

/* A second document in the file would be silently ignored otherwise. */
static void check_single(yaml_parser_t *parser, struct cfg_report *r)
{
	yaml_document_t second;

	if (!yaml_parser_load(parser, &second)) {
		report_syntax(parser, r);
		return;
	}
	if (yaml_document_get_root_node(&second)) {
		cfg_report_place(r, "yaml", line_of(yaml_document_get_root_node(&second)), "");
		cfg_mistake(r, "yaml", "a second document in one file");
	}
	yaml_document_delete(&second);
}

void cfg_load_text(struct cfg *cfg, const char *text, size_t len, struct cfg_report *r)
{
	struct loader l = {.report = r};
	yaml_parser_t parser;

	if (!yaml_parser_initialize(&parser)) {
		r->out_of_memory = true;
		return;
	}
	yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
	if (!yaml_parser_load(&parser, &l.doc)) {
		report_syntax(&parser, r);
	} else {
		const yaml_node_t *root = yaml_document_get_root_node(&l.doc);

		if (root) { /* an empty file is fine: all defaults */
			if (!is_null(root))
				load_map(&l, root, cfg_schema, cfg, "");
			check_single(&parser, r);
		}
		yaml_document_delete(&l.doc);
	}
	yaml_parser_delete(&parser);
}

int cfg_load_file(struct cfg *cfg, const char *path, struct cfg_report *r, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int err = io_read_file(AT_FDCWD, path, FILE_MAX_BYTES, &text, &len);

	if (err == -EFBIG)
		return err_set(e, err, "CONFIG_UNREADABLE",
			"%s: larger than %u bytes; is this the right file?", path, FILE_MAX_BYTES);
	if (err)
		return err_set(e, err, "CONFIG_UNREADABLE", "cannot read the configuration %s: %s",
			path, strerror(-err));
	cfg_load_text(cfg, text, len, r);
	return 0;
}
