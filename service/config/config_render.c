/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The effective configuration as YAML that cfg_load reads back to the same structure. Secrets are
 * named by their files. Any thread.
 */
#include "config_internal.h"

#include <base/buf.h>

static void indent(struct buf *out, unsigned depth)
{
	for (unsigned i = 0; i < depth; i++)
		(void)buf_puts(out, "  "); /* buf_error tells at the end */
}

static void render_fields(const void *object, const struct cfg_field *fields, unsigned depth,
	bool in_item, struct buf *out);

/* "- " of an element stands where its first key would be indented to. */
static void start_line(unsigned depth, bool *in_item, struct buf *out)
{
	if (!*in_item)
		indent(out, depth);
	*in_item = false;
}

static void render_list(const void *object, const struct cfg_field *field, unsigned depth,
	bool *in_item, struct buf *out)
{
	unsigned count = *(const unsigned *)((const char *)object + field->count_offset);
	const char *elements = *(const char *const *)((const char *)object + field->offset);

	if (!count)
		return;
	start_line(depth, in_item, out);
	(void)buf_printf(out, "%s:\n", field->key);
	for (unsigned i = 0; i < count; i++) {
		const void *element = elements + i * field->element_size;

		indent(out, depth + 1);
		(void)buf_puts(out, "- ");
		if (field->type) {
			(void)field->type->render(element, out);
			(void)buf_putc(out, '\n');
		} else {
			render_fields(element, field->fields, depth + 2, true, out);
		}
	}
}

static void render_scalar(const void *object, const struct cfg_field *field, unsigned depth,
	bool *in_item, struct buf *out)
{
	struct buf text;

	buf_init(&text, 64 * 1024);
	if (field->type->render((const char *)object + field->offset, &text)) {
		start_line(depth, in_item, out);
		(void)buf_printf(out, "%s: %s\n", field->key, buf_cstr(&text));
	}
	buf_fini(&text);
}

static void render_map(const void *object, const struct cfg_field *field, unsigned depth,
	bool *in_item, struct buf *out)
{
	size_t before = out->len;

	start_line(depth, in_item, out);
	(void)buf_printf(out, "%s:\n", field->key);
	size_t head = out->len;

	render_fields((const char *)object + field->offset, field->fields, depth + 1, false, out);
	if (out->len == head) /* nothing in it: not shown */
		out->len = before;
}

static void render_fields(const void *object, const struct cfg_field *fields, unsigned depth,
	bool in_item, struct buf *out)
{
	for (const struct cfg_field *field = fields; field->key; field++) {
		if (field->shape == CFG_LIST)
			render_list(object, field, depth, &in_item, out);
		else if (field->shape == CFG_SCALAR)
			render_scalar(object, field, depth, &in_item, out);
		else
			render_map(object, field, depth, &in_item, out);
	}
	if (in_item) /* an element without any key must still be one */
		(void)buf_puts(out, "{}\n");
}

int cfg_render(const struct cfg *cfg, struct buf *out)
{
	(void)buf_printf(out, "# %s\n", cfg->source);
	render_fields(cfg, cfg_schema, 0, false, out);
	return buf_error(out);
}
