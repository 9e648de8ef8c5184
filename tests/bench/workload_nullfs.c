// SPDX-License-Identifier: Apache-2.0
/*
 * What the kernel makes a request to a filesystem in another process cost: a server that answers
 * at once from constants, on the CPU of its client, without a library. With the means of
 * /dev/fuse no filesystem's request can cost less. It mounts at a directory of its own, as root.
 *
 * Source: Documentation/filesystems/fuse.rst and include/uapi/linux/fuse.h of the kernel.
 */
#include "workload.h"

#include "base/cleanup.h"
#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define REQUEST_MAX ((1u << 20) + 4096u)
#define FOREVER     (1u << 30) /* seconds that the kernel may keep what it was told */
#define FILE_BYTES  4096u
#define FEATURES                                                                     \
	(FUSE_ASYNC_READ | FUSE_BIG_WRITES | FUSE_MAX_PAGES | FUSE_PARALLEL_DIROPS | \
		FUSE_NO_OPEN_SUPPORT | FUSE_HANDLE_KILLPRIV_V2)

struct server {
	int fd;
	uint64_t last_node;
	uint8_t request[REQUEST_MAX];
};

static int answer(const struct server *s, int error, const void *data, size_t len)
{
	const struct fuse_in_header *in = (const void *)s->request;
	struct fuse_out_header out = {
		.len = (uint32_t)(sizeof(out) + len), .error = -error, .unique = in->unique};
	const struct iovec iov[] = {{&out, sizeof(out)}, {(void *)data, len}};

	return writev(s->fd, iov, len ? 2 : 1) < 0 && errno != ENOENT ? -errno : 0;
}

static struct fuse_attr attr_of(uint64_t node)
{
	return (struct fuse_attr){.ino = node,
		.mode = node == FUSE_ROOT_ID ? S_IFDIR | 0755 : S_IFREG | 0644,
		.size = FILE_BYTES,
		.nlink = 1,
		.blksize = 4096};
}

static int answer_init(const struct server *s)
{
	const struct fuse_init_out out = {.major = FUSE_KERNEL_VERSION,
		.minor = FUSE_KERNEL_MINOR_VERSION,
		.max_readahead = 1u << 20,
		.flags = FEATURES,
		.max_background = 64,
		.congestion_threshold = 48,
		.max_write = 1u << 20,
		.time_gran = 1,
		.max_pages = 256};

	return answer(s, 0, &out, sizeof(out));
}

/* Names that begin with "no" do not exist; every other one is a file of its own. */
static int answer_lookup(struct server *s)
{
	const char *name = (const char *)s->request + sizeof(struct fuse_in_header);
	struct fuse_entry_out out = {.entry_valid = FOREVER, .attr_valid = FOREVER};

	if (strncmp(name, "no", 2) != 0) {
		out.nodeid = ++s->last_node;
		out.attr = attr_of(out.nodeid);
	}
	return answer(s, 0, &out, sizeof(out));
}

static int answer_create(struct server *s)
{
	struct {
		struct fuse_entry_out entry;
		struct fuse_open_out open;
	} out = {.entry = {.entry_valid = FOREVER, .attr_valid = FOREVER}};

	out.entry.nodeid = ++s->last_node;
	out.entry.attr = attr_of(out.entry.nodeid);
	return answer(s, 0, &out, sizeof(out));
}

static int answer_attr(const struct server *s)
{
	const struct fuse_in_header *in = (const void *)s->request;
	const struct fuse_attr_out out = {.attr_valid = FOREVER, .attr = attr_of(in->nodeid)};

	return answer(s, 0, &out, sizeof(out));
}

static int answer_write(const struct server *s)
{
	const struct fuse_write_in *in = (const void *)(s->request + sizeof(struct fuse_in_header));
	const struct fuse_write_out out = {.size = in->size};

	return answer(s, 0, &out, sizeof(out));
}

static int answer_read(const struct server *s)
{
	static const uint8_t content[FILE_BYTES];
	const struct fuse_read_in *in = (const void *)(s->request + sizeof(struct fuse_in_header));
	size_t left = in->offset < FILE_BYTES ? FILE_BYTES - in->offset : 0;

	return answer(s, 0, content, left < in->size ? left : in->size);
}

static int answer_one(struct server *s)
{
	const struct fuse_in_header *in = (const void *)s->request;

	switch (in->opcode) {
	case FUSE_INIT:
		return answer_init(s);
	case FUSE_LOOKUP:
		return answer_lookup(s);
	case FUSE_CREATE:
		return answer_create(s);
	case FUSE_GETATTR:
	case FUSE_SETATTR:
		return answer_attr(s);
	case FUSE_WRITE:
		return answer_write(s);
	case FUSE_READ:
		return answer_read(s);
	case FUSE_UNLINK:
	case FUSE_RELEASE:
		return answer(s, 0, NULL, 0);
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_INTERRUPT:
		return 0;
	default:
		return answer(s, ENOSYS, NULL, 0);
	}
}

/* Until it is unmounted. */
static int serve(int fd)
{
	static struct server s;
	int r = 0;

	s.fd = fd;
	s.last_node = FUSE_ROOT_ID;
	while (r == 0) {
		ssize_t n = read(fd, s.request, sizeof(s.request));

		if (n < 0 && errno == ENODEV)
			return 0;
		if (n < 0 && (errno == EINTR || errno == ENOENT))
			continue;
		r = n < 0 ? -errno : answer_one(&s);
	}
	return r;
}

static int look_up(int dirfd, const char *kind, unsigned long count)
{
	char name[32];
	struct stat st;

	for (unsigned long i = 0; i < count; i++) {
		(void)snprintf(name, sizeof(name), "%s%08lu", kind, i);
		if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 && errno != ENOENT)
			return -errno;
	}
	return 0;
}

static int read_each(int dirfd, unsigned long count)
{
	char name[32], data[FILE_BYTES];

	for (unsigned long i = 0; i < count; i++) {
		(void)snprintf(name, sizeof(name), "is%08lu", i);
		_cleanup_close_ int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC);
		int r = fd < 0 ? -errno : io_read_full(fd, data, sizeof(data));

		if (r < 0)
			return r;
	}
	return 0;
}

static int create(int dirfd, unsigned long count)
{
	char name[32];

	for (unsigned long i = 0; i < count; i++) {
		(void)snprintf(name, sizeof(name), "no%08lu", i);
		int fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

		if (fd < 0 || close(fd) < 0)
			return -errno;
	}
	return 0;
}

static int remove_all(int dirfd, unsigned long count)
{
	char name[32];

	for (unsigned long i = 0; i < count; i++) {
		(void)snprintf(name, sizeof(name), "is%08lu", i);
		if (unlinkat(dirfd, name, 0) < 0)
			return -errno;
	}
	return 0;
}

static int change_modes(int dirfd, unsigned long count)
{
	for (unsigned long i = 0; i < count; i++)
		if (fchmodat(dirfd, "a", i % 2 ? 0600 : 0644, 0) < 0)
			return -errno;
	return 0;
}

static int write_pieces(int dirfd, size_t size, int flags, unsigned long count)
{
	_cleanup_close_ int fd = openat(dirfd, "a", O_WRONLY | O_CLOEXEC | flags);
	char data[4096] = "";
	int r = fd < 0 ? -errno : 0;

	for (unsigned long i = 0; r == 0 && i < count; i++)
		r = io_pwrite_full(fd, data, size, i * size);
	return r;
}

static int work(const char *dir, const char *what, unsigned long count)
{
	_cleanup_close_ int dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int first = dirfd < 0 ? -1 : openat(dirfd, "first", O_RDONLY | O_CLOEXEC);

	if (dirfd < 0 || first < 0) /* from now on the kernel opens and closes by itself */
		return -errno;
	if (strcmp(what, "lookup") == 0)
		return look_up(dirfd, "is", count);
	if (strcmp(what, "negative") == 0)
		return look_up(dirfd, "no", count);
	if (strcmp(what, "read") == 0)
		return read_each(dirfd, count);
	if (strcmp(what, "create") == 0)
		return create(dirfd, count);
	if (strcmp(what, "unlink") == 0)
		return remove_all(dirfd, count);
	if (strcmp(what, "setattr") == 0)
		return change_modes(dirfd, count);
	if (strcmp(what, "append") == 0)
		return write_pieces(dirfd, 300, O_APPEND, count);
	if (strcmp(what, "write") == 0)
		return write_pieces(dirfd, 4096, 0, count);
	return -EINVAL;
}

static int start_server(const char *dir, pid_t *ret_child)
{
	_cleanup_close_ int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	char options[80];

	if (fd < 0)
		return -errno;
	(void)snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0", fd);
	if (mount("nullfs", dir, "fuse", MS_NOSUID | MS_NODEV, options) < 0)
		return -errno;
	*ret_child = fork();
	if (*ret_child < 0)
		return -errno;
	if (*ret_child == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(serve(fd) == 0 ? 0 : 1);
	}
	return 0;
}

static int run_nullfs(char **args)
{
	char dir[] = "/tmp/bench-nullfs-XXXXXX";
	pid_t child = -1;
	int status = 0, r = workload_stay_on_this_cpu();

	if (r < 0)
		return workload_failed(-r, "sched_setaffinity");
	if (!mkdtemp(dir))
		return workload_failed(errno, dir);
	r = start_server(dir, &child);
	if (r == 0)
		r = work(dir, args[0], workload_number(args[1]));
	(void)umount2(dir, MNT_DETACH); /* not mounted, if that has failed */
	if (child > 0 && waitpid(child, &status, 0) < 0)
		status = -1;
	(void)rmdir(dir);
	return r < 0 || status != 0 ? workload_failed(r < 0 ? -r : EIO, args[0]) : 0;
}

const struct workload workload_nullfs[] = {
	{"nullfs", "lookup|negative|read|create|unlink|setattr|append|write COUNT", 2, run_nullfs},
	{0},
};
