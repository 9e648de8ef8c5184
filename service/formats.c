/* SPDX-License-Identifier: Apache-2.0 */
/* See formats.h. One table; the text is read with suspicion, because another version wrote it. */
#include <service/formats.h>

#include "mount/mount_codec.h"
#include "mount/mount_journal.h"

#include <base/buf.h>
#include <base/cleanup.h>
#include <base/err.h>
#include <base/io.h>
#include <base/path.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse/session.h>
#include <stdio.h>
#include <string.h>

#define FORMATS_MAX 4096

static const struct format {
	const char *name;
	unsigned oldest, newest; /* that can be read */
	unsigned written;        /* 0: told by the caller */
} formats[] = {
	{"journal", MOUNT_JOURNAL_FORMAT, MOUNT_JOURNAL_FORMAT, MOUNT_JOURNAL_FORMAT},
	{"mount", MOUNT_RECORD_FIRST, MOUNT_RECORD_FORMAT, 0},
	{"overlay", OVL_FORMAT, OVL_FORMAT, OVL_FORMAT},
	{"session", SESS_STATE_FORMAT, SESS_STATE_FORMAT, SESS_STATE_FORMAT},
};

static int refuse(const char *data_dir, const char *what, unsigned number, struct err *e)
{
	return err_set(e, -EPROTO, "STATE_VERSION",
		"%s has %s of format %u, which this version cannot read: use the version that "
		"wrote it, or one between",
		data_dir, what, number);
}

static int check_line(const char *data_dir, const char *line, struct err *e)
{
	char name[32];
	unsigned number;

	if (sscanf(line, "%31s %u", name, &number) != 2)
		return err_set(e, -EPROTO, "STATE_VERSION", "%s/formats cannot be read", data_dir);
	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
		if (strcmp(formats[i].name, name) == 0)
			return number >= formats[i].oldest && number <= formats[i].newest
				       ? 0
				       : refuse(data_dir, name, number, e);
	return refuse(data_dir, name, number, e);
}

int formats_check(const char *data_dir, struct err *e)
{
	_cleanup_free_ char *path = path_join(data_dir, "formats");
	_cleanup_free_ char *text = NULL;
	char *rest, *line;
	size_t len;
	int r;

	if (!path)
		return err_set(e, -ENOMEM, "", "no memory");
	r = io_read_file(AT_FDCWD, path, FORMATS_MAX, &text, &len);
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return err_wrap(e, r, "read %s", path);
	rest = text;
	while (r == 0 && (line = strsep(&rest, "\n")))
		if (*line)
			r = check_line(data_dir, line, e);
	return r;
}

unsigned formats_of_mounts(const char *data_dir)
{
	_cleanup_free_ char *path = path_join(data_dir, "formats");
	_cleanup_free_ char *text = NULL;
	unsigned number = MOUNT_RECORD_FIRST;
	const char *line;
	size_t len;

	if (!path || io_read_file(AT_FDCWD, path, FORMATS_MAX, &text, &len) < 0)
		return MOUNT_RECORD_FIRST;
	line = strstr(text, "mount ");
	if (line)
		(void)sscanf(line, "mount %u", &number);
	return number;
}

static bool is_there(const char *path, const struct buf *text)
{
	_cleanup_free_ char *there = NULL;
	size_t len;

	return io_read_file(AT_FDCWD, path, FORMATS_MAX, &there, &len) == 0 && len == text->len &&
	       memcmp(there, text->data, len) == 0;
}

int formats_write(const char *data_dir, unsigned mount, struct err *e)
{
	_cleanup_free_ char *path = path_join(data_dir, "formats");
	struct buf text;
	int r;

	if (!path)
		return err_set(e, -ENOMEM, "", "no memory");
	buf_init(&text, FORMATS_MAX);
	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
		(void)buf_printf(&text, "%s %u\n", formats[i].name,
			formats[i].written ? formats[i].written : mount);
	r = buf_error(&text);
	if (r == 0 && !is_there(path, &text)) /* a sync costs a takeover more than all the rest */
		r = io_write_file(AT_FDCWD, path, text.data, text.len, 0644, true);
	buf_fini(&text);
	return r < 0 ? err_wrap(e, r, "write %s", path) : 0;
}
