/* SPDX-License-Identifier: Apache-2.0 */
/* See state.h. */
#include "workflow/state.h"

#include <base/buf.h>
#include <base/cleanup.h>
#include <base/io.h>
#include <base/path.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define STATE_MAX 1024u
#define MAGIC     "coppice-git 1\n"

/* The value of a line "<key> <value>\n" at *at, which moves behind it. */
static bool take_line(const char **at, const char *key, char *value, size_t cap)
{
	size_t key_len = strlen(key), len;
	const char *end;

	if (strncmp(*at, key, key_len) != 0 || (*at)[key_len] != ' ')
		return false;
	*at += key_len + 1;
	end = strchr(*at, '\n');
	len = end ? (size_t)(end - *at) : cap;
	if (len == 0 || len >= cap)
		return false;
	memcpy(value, *at, len);
	value[len] = '\0';
	*at = end + 1;
	return true;
}

static bool take_oid(const char **at, const char *key, bool may_be_none, struct oid *ret_oid)
{
	char value[OID_HEX_MAX];

	if (!take_line(at, key, value, sizeof(value)))
		return false;
	if (may_be_none && strcmp(value, "-") == 0) {
		*ret_oid = (struct oid){0};
		return true;
	}
	return oid_parse(value, ret_oid) == 0;
}

static bool take_number(const char **at, const char *key, uint64_t *ret_number)
{
	char value[24], *end;

	if (!take_line(at, key, value, sizeof(value)) || value[0] < '0' || value[0] > '9')
		return false;
	errno = 0;
	*ret_number = strtoull(value, &end, 10);
	return !errno && !*end;
}

int wf_state_decode(const char *text, size_t len, struct wf_state *ret_state)
{
	char copy[STATE_MAX + 1];
	const char *at = copy + strlen(MAGIC);
	struct wf_state s = {0};

	if (len > STATE_MAX || memchr(text, '\0', len))
		return -EBADMSG;
	memcpy(copy, text, len);
	copy[len] = '\0';
	if (strncmp(copy, MAGIC, strlen(MAGIC)) != 0)
		return -EBADMSG;
	if (!take_oid(&at, "head", false, &s.head) || !take_oid(&at, "tree", true, &s.tree) ||
		!take_oid(&at, "index", true, &s.index) || !take_number(&at, "bytes", &s.bytes) ||
		*at)
		return -EBADMSG;
	*ret_state = s;
	return 0;
}

int wf_state_read(int dirfd, struct wf_state *ret_state)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r = io_read_file(dirfd, "state", STATE_MAX, &text, &len);

	if (r < 0)
		return r == -EFBIG ? -EBADMSG : r;
	return wf_state_decode(text, len, ret_state);
}

static void put_oid(struct buf *b, const char *key, const struct oid *oid)
{
	char hex[OID_HEX_MAX];

	(void)buf_printf(b, "%s %s\n", key, oid_is_none(oid) ? "-" : oid_hex(oid, hex));
}

static int write_as(int dirfd, const char *name, const struct wf_state *state)
{
	struct buf b;
	int r;

	buf_init(&b, STATE_MAX);
	(void)buf_puts(&b, MAGIC); /* the buffer remembers a failure */
	put_oid(&b, "head", &state->head);
	put_oid(&b, "tree", &state->tree);
	put_oid(&b, "index", &state->index);
	(void)buf_printf(&b, "bytes %" PRIu64 "\n", state->bytes);
	r = buf_error(&b);
	if (r == 0)
		r = io_write_file(dirfd, name, b.data, b.len, 0600, true);
	buf_fini(&b);
	return r;
}

int wf_state_write(int dirfd, const struct wf_state *state)
{
	return write_as(dirfd, "state", state);
}

/* ---- of a switch ---- */

#define NEXT_NAME "state.next"

int wf_state_write_next(int dirfd, const struct wf_state *state)
{
	return write_as(dirfd, NEXT_NAME, state);
}

void wf_state_remove_next(int dirfd)
{
	(void)unlinkat(dirfd, NEXT_NAME, 0); /* replaced by the next one otherwise */
}

/* -ENOENT: the workspace has no Git state. */
static int open_git(const char *workspace_dir)
{
	_cleanup_free_ char *dir = path_join(workspace_dir, "git");
	int fd;

	if (!dir)
		return -ENOMEM;
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int wf_state_take_next(const char *workspace_dir)
{
	_cleanup_close_ int fd = open_git(workspace_dir);

	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	if (renameat(fd, NEXT_NAME, fd, "state") < 0)
		return errno == ENOENT ? 0 : -errno;
	return fsync(fd) < 0 ? -errno : 0;
}

void wf_state_drop_next(const char *workspace_dir)
{
	_cleanup_close_ int fd = open_git(workspace_dir);

	if (fd >= 0)
		wf_state_remove_next(fd);
}

int wf_state_charged(const char *workspace_dir, uint64_t *ret_bytes)
{
	_cleanup_close_ int fd = open_git(workspace_dir);
	struct wf_state state = {0};
	int r = fd < 0 ? fd : wf_state_read(fd, &state);

	if (r < 0 && r != -ENOENT)
		return r;
	*ret_bytes = state.bytes;
	return 0;
}
