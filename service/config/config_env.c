/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Settings from outside the file: flags (--set cache.disk=5GiB) and the environment
 * (COPPICE_CACHE_DISK=5GiB). The name in the environment is the dotted key in capitals with
 * underscores. Scalars and lists of scalars can be set, lists of mappings (origins, tenants)
 * cannot. One thread, before others start (getenv).
 */
#include "config_internal.h"

#include <base/cleanup.h>
#include <ctype.h>

/* The field of a dotted key; lists of mappings end the walk. NULL: none. */
static const struct cfg_field *find_by_key(const char *key, void *object, void **ret_object)
{
	const struct cfg_field *fields = cfg_schema;

	while (fields) {
		size_t len = strcspn(key, ".");
		const struct cfg_field *f = fields;

		while (f->key && (strlen(f->key) != len || strncmp(f->key, key, len) != 0))
			f++;
		if (!f->key)
			return NULL;
		if (!key[len]) {
			*ret_object = object;
			return f;
		}
		if (f->shape != CFG_MAP)
			return NULL;
		object = (char *)object + f->offset;
		fields = f->fields;
		key += len + 1;
	}
	return NULL;
}

static void set_list(
	const struct cfg_field *field, void *object, const char *value, struct cfg_report *r)
{
	_cleanup_free_ char *copy = strdup(value);
	char *rest = copy, *item;
	char **items = *(char ***)((char *)object + field->offset);
	unsigned *count = (unsigned *)((char *)object + field->count_offset);

	for (unsigned i = 0; i < *count; i++)
		free(items[i]);
	*count = 0;
	if (!copy)
		r->out_of_memory = true;
	while ((item = strsep(&rest, ","))) {
		void *element = item[0] ? cfg_list_add(object, field) : NULL;

		if (item[0] && (!element || !field->type->parse(item, element)))
			r->out_of_memory = true;
	}
}

void cfg_set(struct cfg *cfg, const char *key, const char *value, const char *origin,
	struct cfg_report *r)
{
	void *object;
	const struct cfg_field *field = find_by_key(key, cfg, &object);

	cfg_report_place(r, key, 0, origin);
	if (!field || field->shape == CFG_MAP)
		cfg_mistake(r, key, "there is no setting of this name");
	else if (field->shape == CFG_LIST && !field->type)
		cfg_mistake(r, key, "can only be set in the configuration file");
	else if (field->shape == CFG_LIST)
		set_list(field, object, value, r);
	else if (!field->type->parse(value, (char *)object + field->offset))
		cfg_mistake(r, key, "\"%.60s\" is not %s", value, field->type->expects);
}

static void set_tree(
	struct cfg *cfg, const struct cfg_field *fields, const char *prefix, struct cfg_report *r)
{
	for (const struct cfg_field *f = fields; f->key; f++) {
		char key[64], name[80] = "COPPICE_";
		const char *value;

		(void)snprintf(key, sizeof(key), "%s%s%s", prefix, prefix[0] ? "." : "", f->key);
		if (f->shape == CFG_MAP) {
			set_tree(cfg, f->fields, key, r);
			continue;
		}
		if (f->shape == CFG_LIST && !f->type)
			continue;
		for (size_t i = 0, at = strlen(name); key[i] && at + 1 < sizeof(name); i++, at++)
			name[at] = key[i] == '.' ? '_' : (char)toupper((unsigned char)key[i]);
		value = getenv(name);
		if (value)
			cfg_set(cfg, key, value, name, r);
	}
}

void cfg_set_from_environment(struct cfg *cfg, struct cfg_report *r)
{
	set_tree(cfg, cfg_schema, "", r);
}
