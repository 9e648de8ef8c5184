/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mistakes in the configuration: all of them in one message, each with file, line and dotted field.
 * Loading records where every value came from, so that a check that runs later can still name the
 * line. One thread.
 */
#include "config_internal.h"

#include <errno.h>

#define PLACES_MAX   100000
#define MISTAKES_MAX 50 /* more than a message holds: the rest is only counted */

void cfg_report_fini(struct cfg_report *r)
{
	free(r->places);
	*r = (struct cfg_report){0};
}

void cfg_report_place(struct cfg_report *r, const char *field, unsigned line, const char *origin)
{
	struct cfg_place *place;

	if (r->place_count == r->place_cap) {
		unsigned cap = r->place_cap ? 2 * r->place_cap : 64;
		struct cfg_place *grown =
			cap <= PLACES_MAX ? reallocarray(r->places, cap, sizeof(*grown)) : NULL;

		if (!grown) {
			r->out_of_memory = true;
			return;
		}
		r->places = grown;
		r->place_cap = cap;
	}
	place = &r->places[r->place_count++];
	*place = (struct cfg_place){.line = line};
	(void)snprintf(place->field, sizeof(place->field), "%s", field);
	(void)snprintf(place->origin, sizeof(place->origin), "%s", origin);
}

/* The newest place of the field; without one, of what it is part of. */
static const struct cfg_place *place_of(const struct cfg_report *r, const char *field)
{
	char name[sizeof(r->places->field)];

	(void)snprintf(name, sizeof(name), "%s", field);
	while (name[0]) {
		char *dot, *bracket;

		for (unsigned i = r->place_count; i-- > 0;)
			if (strcmp(r->places[i].field, name) == 0)
				return &r->places[i];
		dot = strrchr(name, '.');
		bracket = strrchr(name, '[');
		if (!dot || (bracket && bracket > dot))
			dot = bracket;
		if (!dot)
			break;
		*dot = '\0';
	}
	return NULL;
}

void cfg_mistake(struct cfg_report *r, const char *field, const char *fmt, ...)
{
	size_t used = strlen(r->text);
	const struct cfg_place *place;
	char what[256], where[128];
	va_list ap;

	if (r->mistakes >= MISTAKES_MAX) {
		r->mistakes++;
		return;
	}
	place = place_of(r, field);
	va_start(ap, fmt);
	(void)vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	if (place && place->origin[0])
		(void)snprintf(where, sizeof(where), "%s", place->origin);
	else if (place && place->line)
		(void)snprintf(where, sizeof(where), "%.100s:%u", r->source, place->line);
	else
		(void)snprintf(where, sizeof(where), "%.100s", r->source);
	if (!r->mistakes++)
		(void)snprintf(r->first_field, sizeof(r->first_field), "%s", field);
	(void)snprintf(r->text + used, sizeof(r->text) - used, "%s%s: %s%s%s", used ? "\n" : "",
		where, field, field[0] ? ": " : "", what);
}

int cfg_report_result(const struct cfg_report *r, struct err *e)
{
	if (r->out_of_memory)
		return err_set(e, -ENOMEM, "", "%s: no memory (or far too many values)", r->source);
	if (!r->mistakes)
		return 0;
	(void)err_set(e, -EINVAL, "CONFIG_INVALID", "%s", r->text);
	if (e)
		(void)snprintf(e->field, sizeof(e->field), "%s", r->first_field);
	return -EINVAL;
}
