/* SPDX-License-Identifier: Apache-2.0 */
/* Facts about this node and process, read when asked for, and the id that the node keeps. Any
 * thread; blocks on local disk. */
#include <base/cleanup.h>
#include <base/clock.h>
#include <base/err.h>
#include <base/io.h>
#include <base/path.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <service/config.h>
#include <service/node.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

const char *node_version(void)
{
	return COPPICE_VERSION;
}

static uint64_t resident_bytes(void)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	unsigned long long size, resident;

	if (io_read_file(AT_FDCWD, "/proc/self/statm", 256, &text, &len))
		return 0;
	if (sscanf(text, "%llu %llu", &size, &resident) != 2)
		return 0;
	return (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t open_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	uint64_t count = 0;

	if (!dir)
		return 0;
	for (const struct dirent *entry; (entry = readdir(dir));)
		if (entry->d_name[0] != '.')
			count++;
	(void)closedir(dir);
	return count ? count - 1 : 0; /* without the one of this listing */
}

static uint64_t timeval_ns(const struct timeval *tv)
{
	return (uint64_t)tv->tv_sec * NS_PER_S + (uint64_t)tv->tv_usec * NS_PER_US;
}

void node_facts(const struct node *n, struct node_facts *ret_facts)
{
	struct node_facts facts = {0};
	struct utsname names;
	struct rusage usage;
	struct statvfs disk;

	if (uname(&names) == 0) {
		(void)snprintf(facts.hostname, sizeof(facts.hostname), "%s", names.nodename);
		(void)snprintf(
			facts.kernel, sizeof(facts.kernel), "%s %s", names.sysname, names.release);
	}
	if (statvfs(n->cfg->data_dir, &disk) == 0)
		facts.disk_free_bytes = (uint64_t)disk.f_bavail * disk.f_frsize;
	if (getrusage(RUSAGE_SELF, &usage) == 0)
		facts.cpu_time_ns = timeval_ns(&usage.ru_utime) + timeval_ns(&usage.ru_stime);
	facts.resident_bytes = resident_bytes();
	facts.open_descriptors = open_descriptors();
	*ret_facts = facts;
}

static bool is_uuid(const char *s)
{
	for (unsigned i = 0; i < 36; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;

		if (dash ? s[i] != '-'
			 : !((s[i] >= '0' && s[i] <= '9') || (s[i] >= 'a' && s[i] <= 'f')))
			return false;
	}
	return true;
}

int node_uuid(char ret_id[40])
{
	uint8_t b[16];
	int err = io_random(b, sizeof(b));

	if (err)
		return err;
	b[6] = (uint8_t)((b[6] & 0x0f) | 0x40); /* RFC 4122: version 4, */
	b[8] = (uint8_t)((b[8] & 0x3f) | 0x80); /* variant 1 */
	(void)snprintf(ret_id, 40,
		"%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1],
		b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14],
		b[15]);
	return 0;
}

int node_id_load(const char *data_dir, char ret_id[40], struct err *e)
{
	_cleanup_free_ char *path = path_join(data_dir, "node_id");
	_cleanup_free_ char *text = NULL;
	char line[42], id[40];
	size_t len;
	int err;

	if (!path)
		return err_set(e, -ENOMEM, "", "no memory");
	err = io_read_file(AT_FDCWD, path, 64, &text, &len);
	if (!err && len >= 36 && is_uuid(text)) {
		(void)snprintf(ret_id, 40, "%.36s", text);
		return 0;
	}
	if (!err)
		return err_set(e, -EINVAL, "NODE_ID_INVALID",
			"%s does not hold a UUID; remove it, and a new one is made", path);
	if (err != -ENOENT)
		return err_set(e, err, "", "cannot read %s: %s", path, strerror(-err));
	err = node_uuid(id);
	if (err)
		return err_set(e, err, "", "no random bytes for the node's id: %s", strerror(-err));
	(void)snprintf(line, sizeof(line), "%s\n", id);
	err = io_write_file(AT_FDCWD, path, line, strlen(line), 0644, true);
	if (err)
		return err_set(e, err, "", "cannot write %s: %s", path, strerror(-err));
	(void)snprintf(ret_id, 40, "%s", id);
	return 0;
}
