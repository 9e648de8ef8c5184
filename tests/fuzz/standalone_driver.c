// SPDX-License-Identifier: Apache-2.0
/*
 * Runs a fuzz target without libFuzzer: over every file of the corpus folders given, and over a
 * number of mutations of each (bytes changed, cut, doubled), from a fixed seed. So every decoder is
 * tried by every compiler and sanitizer, on every run of the tests.
 *
 *	fuzz_x [-n MUTATIONS] CORPUS...
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define INPUT_MAX ((size_t)1 << 16)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A copy of exact size, so that a sanitizer sees every byte read beyond it. */
static void run(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size ? size : 1);

	if (!copy)
		exit(2);
	memcpy(copy, data, size);
	(void)LLVMFuzzerTestOneInput(copy, size); /* by its contract always 0 */
	free(copy);
}

static void mutate(const uint8_t *data, size_t size, unsigned *seed)
{
	uint8_t out[2 * INPUT_MAX];
	size_t len = size;

	memcpy(out, data, size);
	for (unsigned i = (unsigned)rand_r(seed) % 4 + 1; i && len; i--)
		out[(unsigned)rand_r(seed) % len] = (uint8_t)rand_r(seed);
	if (len && rand_r(seed) % 4 == 0)
		len = (unsigned)rand_r(seed) % len;
	if (rand_r(seed) % 8 == 0) {
		memcpy(out + len, data, size);
		len += size;
	}
	run(out, len);
}

static int run_file(const char *folder, const char *name, unsigned mutations)
{
	char path[4096];
	uint8_t data[INPUT_MAX];
	unsigned seed = 1;
	size_t size;
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/%s", folder, name);
	f = fopen(path, "rbe");
	if (!f) {
		perror(path);
		return 1;
	}
	size = fread(data, 1, sizeof(data), f);
	(void)fclose(f);
	run(data, size);
	for (unsigned i = 0; i < mutations; i++)
		mutate(data, size, &seed);
	return 0;
}

static int run_folder(const char *folder, unsigned mutations, unsigned *files)
{
	DIR *dir = opendir(folder);
	struct dirent *entry;
	int r = 0;

	if (!dir)
		return 0; /* a target without a corpus yet */
	while (r == 0 && (entry = readdir(dir)))
		if (entry->d_name[0] != '.') {
			r = run_file(folder, entry->d_name, mutations);
			(*files)++;
		}
	(void)closedir(dir);
	return r;
}

/* Without any corpus: noise of every length. */
static void run_noise(unsigned mutations)
{
	unsigned seed = 2;

	for (unsigned i = 0; i < mutations; i++) {
		uint8_t data[512];
		size_t len = i % sizeof(data);

		for (size_t k = 0; k < len; k++)
			data[k] = (uint8_t)rand_r(&seed);
		run(data, len);
	}
}

int main(int argc, char **argv)
{
	unsigned mutations = 2000, files = 0;
	int option, r = 0;

	while ((option = getopt(argc, argv, "n:")) == 'n')
		mutations = (unsigned)strtoul(optarg, NULL, 10);
	if (option != -1)
		return 2;
	for (int i = optind; i < argc && r == 0; i++)
		r = run_folder(argv[i], mutations, &files);
	run_noise(mutations);
	printf("%u corpus files, %u mutations of each\n", files, mutations);
	return r;
}
