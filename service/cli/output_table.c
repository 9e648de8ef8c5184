// SPDX-License-Identifier: Apache-2.0
/* Tables with aligned columns, and the printing of sizes and of names that come from elsewhere. */
#include "output.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct table {
	unsigned columns, rows;
	char ***row; /* row[0] is the header */
};

static char **row_new(const char *const *cells, unsigned columns)
{
	char **row = calloc(columns, sizeof(*row));

	for (unsigned i = 0; row && i < columns; i++) {
		row[i] = strdup(cells[i] ? cells[i] : "");
		if (!row[i]) {
			while (i--)
				free(row[i]);
			free(row);
			return NULL;
		}
	}
	return row;
}

int table_row(struct table *t, const char *const *cells)
{
	char ***rows = reallocarray(t->row, t->rows + 1, sizeof(*rows));

	if (!rows)
		return -ENOMEM;
	t->row = rows;
	t->row[t->rows] = row_new(cells, t->columns);
	if (!t->row[t->rows])
		return -ENOMEM;
	t->rows++;
	return 0;
}

struct table *table_new(const char *const *header, unsigned columns)
{
	struct table *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->columns = columns;
	return table_row(t, header) < 0 ? table_free(t) : t;
}

void table_print(struct table *t, FILE *out)
{
	for (unsigned r = 0; r < t->rows; r++) {
		for (unsigned c = 0; c < t->columns; c++) {
			size_t width = 0;

			output_safe(out, t->row[r][c]);
			if (c + 1 == t->columns)
				break;
			for (unsigned i = 0; i < t->rows; i++)
				if (strlen(t->row[i][c]) > width)
					width = strlen(t->row[i][c]);
			(void)fprintf(out, "%*s", (int)(width - strlen(t->row[r][c]) + 2), "");
		}
		(void)fputc('\n', out);
	}
}

struct table *table_free(struct table *t)
{
	if (!t)
		return NULL;
	for (unsigned r = 0; r < t->rows; r++) {
		for (unsigned c = 0; c < t->columns; c++)
			free(t->row[r][c]);
		free(t->row[r]);
	}
	free(t->row);
	free(t);
	return NULL;
}

const char *output_bytes(uint64_t bytes, char *buf, unsigned cap)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	double value = (double)bytes;
	unsigned unit = 0;

	while (value >= 1024 && unit + 1 < sizeof(units) / sizeof(units[0])) {
		value /= 1024;
		unit++;
	}
	(void)snprintf(buf, cap, unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
	return buf;
}

void output_safe(FILE *out, const char *text)
{
	for (const unsigned char *p = (const unsigned char *)text; *p; p++)
		if (*p < 0x20 || *p == 0x7f)
			(void)fprintf(out, "\\x%02x", *p);
		else
			(void)fputc(*p, out);
}
