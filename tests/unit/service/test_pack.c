/* SPDX-License-Identifier: Apache-2.0 */
/* pack.c: what goes into a pack comes out of it, for us while it grows and for Git when it is
 * sealed. */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on

#include "tmpdir.h"
#include "workflow/pack.h"
#include "workflow/pack_read.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MANY 3000u

struct world {
	struct tmpdir dir;
	int fd;
	struct wf_pack *pack;
};

static void shell(const struct world *w, const char *command)
{
	char text[1024];

	(void)snprintf(text, sizeof(text), "cd '%s' && %s", w->dir.path, command);
	assert_int_equal(system(text), 0);
}

static void begin(struct world *w)
{
	tmpdir_init(&w->dir);
	shell(w, "git init -q --bare .");
	w->fd = open(w->dir.path, O_RDONLY | O_DIRECTORY);
	assert_true(w->fd >= 0);
	assert_int_equal(wf_pack_new(w->fd, &w->pack), 0);
}

static void end(struct world *w)
{
	assert_null(wf_pack_free(w->pack));
	(void)close(w->fd);
	tmpdir_fini(&w->dir);
}

static struct oid blob_id(const void *data, size_t len)
{
	struct oid oid;

	assert_int_equal(digest_object(DIGEST_SHA1, OBJECT_BLOB, data, len, &oid), 0);
	return oid;
}

static void put(struct world *w, const void *data, size_t len)
{
	const struct oid oid = blob_id(data, len);

	assert_int_equal(wf_pack_add(w->pack, &oid, WF_BLOB, data, len), 0);
}

/* Content of any length, which does not compress. */
static void fill(uint8_t *data, size_t len, uint32_t seed)
{
	for (size_t i = 0; i < len; i++) {
		seed = seed * 1664525u + 1013904223u;
		data[i] = (uint8_t)(seed >> 24);
	}
}

static void check_read(struct world *w, const void *data, size_t len)
{
	const struct oid oid = blob_id(data, len);
	uint64_t size = UINT64_MAX;
	size_t read_len;
	void *read;

	assert_true(wf_pack_has(w->pack, &oid, &size));
	assert_int_equal(size, len);
	assert_int_equal(wf_pack_read(w->pack, &oid, WF_BLOB, &read, &read_len), 0);
	assert_int_equal(read_len, len);
	assert_memory_equal(read, data, len);
	free(read);
}

static unsigned files_in_pack_dir(const struct world *w)
{
	char path[400];
	unsigned count = 0;
	struct dirent *entry;
	DIR *d;

	(void)snprintf(path, sizeof(path), "%s/objects/pack", w->dir.path);
	d = opendir(path);
	assert_non_null(d);
	while ((entry = readdir(d)))
		count += entry->d_name[0] != '.';
	(void)closedir(d);
	return count;
}

static void test_objects_can_be_read_while_the_pack_grows(void **state)
{
	static const size_t sizes[] = {0, 1, 15, 16, 2047, 2048, 300000};
	static uint8_t data[300000];
	const struct oid none = {.len = 20};
	struct world w;
	uint64_t size;
	size_t len;
	void *read;

	(void)state;
	begin(&w);
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		fill(data, sizes[i], i);
		put(&w, data, sizes[i]);
	}
	for (unsigned i = sizeof(sizes) / sizeof(sizes[0]); i-- > 0;) {
		fill(data, sizes[i], i);
		check_read(&w, data, sizes[i]);
	}
	assert_false(wf_pack_has(w.pack, &none, &size));
	assert_int_equal(wf_pack_read(w.pack, &none, WF_BLOB, &read, &len), -ENOENT);
	end(&w);
}

static void test_git_reads_a_sealed_pack(void **state)
{
	struct world w;
	char text[32];

	(void)state;
	begin(&w);
	for (unsigned i = 0; i < MANY; i++)
		put(&w, text, (size_t)snprintf(text, sizeof(text), "number %u\n", i));
	put(&w, "", 0);
	assert_int_equal(wf_pack_seal(w.pack, true), 0);
	shell(&w,
		"git fsck --strict --no-dangling && git index-pack --verify objects/pack/*.pack && "
		"test $(git cat-file --batch-all-objects --batch-check | wc -l) = 3001 && "
		"test \"$(git cat-file blob $(echo number 77 | git hash-object --stdin))\" = "
		"'number 77'");
	end(&w);
}

static void test_a_pack_that_was_not_sealed_leaves_nothing(void **state)
{
	static uint8_t data[1 << 20];
	struct world w;

	(void)state;
	begin(&w);
	fill(data, sizeof(data), 1); /* some of it is written already */
	put(&w, data, sizeof(data));
	assert_int_equal(files_in_pack_dir(&w), 0);
	w.pack = wf_pack_free(w.pack);
	assert_int_equal(files_in_pack_dir(&w), 0);
	end(&w);
}

static void test_the_pack_of_a_verb_that_died_before_its_index_is_replaced(void **state)
{
	struct world w;

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		if (i == 0)
			begin(&w);
		else
			assert_int_equal(wf_pack_new(w.fd, &w.pack), 0);
		put(&w, "content", 7);
		assert_int_equal(wf_pack_seal(w.pack, false), 0);
		w.pack = wf_pack_free(w.pack);
		assert_int_equal(files_in_pack_dir(&w), 2);
		if (i == 0)
			shell(&w, "rm -f objects/pack/*.idx && for f in objects/pack/*.pack; do "
				  "chmod u+w $f && : >$f; done");
	}
	shell(&w, "test \"$(git cat-file blob $(printf content | git hash-object --stdin))\" = "
		  "content");
	end(&w);
}

static void test_sealed_packs_are_read(void **state)
{
	static const size_t sizes[] = {0, 1, 15, 16, 2047, 2048, 70000, 300000};
	static uint8_t data[300000];
	struct wf_packs *packs;
	struct world w;

	(void)state;
	begin(&w);
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		fill(data, sizes[i], i);
		put(&w, data, sizes[i]);
		if (i % 3 == 2) { /* some packs */
			assert_int_equal(wf_pack_seal(w.pack, false), 0);
			w.pack = wf_pack_free(w.pack);
			assert_int_equal(wf_pack_new(w.fd, &w.pack), 0);
		}
	}
	assert_int_equal(wf_pack_seal(w.pack, false), 0);
	assert_int_equal(wf_packs_open(w.fd, &packs), 0);
	assert_int_equal(wf_packs_count(packs), 3);
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct oid oid;
		uint64_t size;
		size_t len;
		void *read;

		fill(data, sizes[i], i);
		oid = blob_id(data, sizes[i]);
		assert_true(wf_packs_has(packs, &oid));
		assert_int_equal(wf_packs_size(packs, &oid, &size), 0);
		assert_int_equal(size, sizes[i]);
		assert_int_equal(wf_packs_read(packs, &oid, WF_TREE, &read, &len), -EIO);
		assert_int_equal(wf_packs_read(packs, &oid, WF_BLOB, &read, &len), 0);
		assert_int_equal(len, sizes[i]);
		assert_memory_equal(read, data, len);
		free(read);
		oid.bytes[19] ^= 1;
		assert_false(wf_packs_has(packs, &oid));
		assert_int_equal(wf_packs_read(packs, &oid, WF_BLOB, &read, &len), -ENOENT);
	}
	assert_null(wf_packs_free(packs));
	end(&w);
}

static char *find_file(const struct world *w, const char *end_of_name)
{
	char dir[400], *found = NULL;
	struct dirent *entry;
	DIR *d;

	(void)snprintf(dir, sizeof(dir), "%s/objects/pack", w->dir.path);
	d = opendir(dir);
	assert_non_null(d);
	while (!found && (entry = readdir(d)))
		if (strstr(entry->d_name, end_of_name))
			assert_true(asprintf(&found, "%s/%s", dir, entry->d_name) > 0);
	(void)closedir(d);
	assert_non_null(found);
	return found;
}

/* What a damaged pack answers: the content or an error, never anything else. */
static void read_damaged(const struct world *w, const char *content)
{
	const struct oid oid = blob_id(content, strlen(content));
	struct wf_packs *packs;
	uint64_t size;
	size_t len;
	void *read;
	int r = wf_packs_open(w->fd, &packs);

	if (r < 0) {
		assert_int_equal(r, -EIO);
		return;
	}
	(void)wf_packs_size(packs, &oid, &size);
	r = wf_packs_read(packs, &oid, WF_BLOB, &read, &len);
	if (r == 0) {
		assert_int_equal(len, strlen(content));
		assert_memory_equal(read, content, len);
		free(read);
	} else {
		assert_true(r == -EIO || r == -ENOENT);
	}
	assert_null(wf_packs_free(packs));
}

static void damage(const struct world *w, const char *end_of_name, const char *content)
{
	char *path = find_file(w, end_of_name);
	int fd = open(path, O_RDWR);
	off_t size;
	uint8_t byte, other;

	assert_true(fd >= 0);
	size = lseek(fd, 0, SEEK_END);
	for (off_t at = 0; at < size; at++) {
		assert_int_equal(pread(fd, &byte, 1, at), 1);
		other = byte ^ (uint8_t)(at % 2 ? 0x80 : 0xff);
		assert_int_equal(pwrite(fd, &other, 1, at), 1);
		read_damaged(w, content);
		assert_int_equal(pwrite(fd, &byte, 1, at), 1);
	}
	read_damaged(w, content);
	for (off_t len = size; len-- > 0;) {
		assert_int_equal(ftruncate(fd, len), 0);
		read_damaged(w, content);
	}
	(void)close(fd);
	free(path);
}

static void test_a_damaged_pack_is_an_error(void **state)
{
	static const char content[] = "content that is longer than its head, and then some";
	struct world w;

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		begin(&w);
		put(&w, content, strlen(content));
		put(&w, "another", 7);
		assert_int_equal(wf_pack_seal(w.pack, false), 0);
		damage(&w, i ? ".idx" : ".pack", content);
		end(&w);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_objects_can_be_read_while_the_pack_grows),
		cmocka_unit_test(test_git_reads_a_sealed_pack),
		cmocka_unit_test(test_sealed_packs_are_read),
		cmocka_unit_test(test_a_damaged_pack_is_an_error),
		cmocka_unit_test(test_a_pack_that_was_not_sealed_leaves_nothing),
		cmocka_unit_test(test_the_pack_of_a_verb_that_died_before_its_index_is_replaced),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
