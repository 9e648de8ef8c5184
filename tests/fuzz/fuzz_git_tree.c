/* SPDX-License-Identifier: Apache-2.0 */
/* A tree object and a commit object from anywhere: what parses is in order, and its entries make a
 * tree that parses to the same. */
#include "workflow/commits.h"
#include "workflow/git_tree.h"

#include <base/buf.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *copy(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);

	if (text) {
		if (size)
			memcpy(text, data, size);
		text[size] = '\0';
	}
	return text;
}

static void check_tree(const uint8_t *data, size_t size)
{
	struct wf_dir dir, again;
	struct buf b;
	char *text = copy(data, size);

	if (!text || wf_dir_parse(text, size, &dir))
		return;
	buf_init(&b, 64u << 20);
	for (size_t i = 0; i < dir.count; i++) {
		const struct wf_dirent *d = &dir.entries[i];

		if (i && wf_git_order(d[-1].name, d[-1].len, false, d->name, d->len, false) >= 0)
			abort();
		if (wf_dir_find(&dir, d->name, d->len) != d)
			abort();
		if (wf_tree_append(&b, d->name, d->len, &d->node))
			abort();
	}
	text = copy((const uint8_t *)(b.data ? b.data : ""), b.len);
	if (text && (wf_dir_parse(text, b.len, &again) || again.count != dir.count))
		abort();
	if (text)
		wf_dir_fini(&again);
	buf_fini(&b);
	wf_dir_fini(&dir);
}

static void check_commit(const uint8_t *data, size_t size)
{
	struct wf_parsed_commit c;
	struct wf_signature s;
	char *text = copy(data, size), *memory;

	if (!text || wf_commit_parse(text, size, &c))
		return;
	if (wf_signature_parse(c.author, &s, &memory) == 0) {
		if (strchr(s.name, '\n') || strchr(s.email, '\n'))
			abort();
		free(memory);
	}
	wf_parsed_commit_fini(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	check_tree(data, size);
	check_commit(data, size);
	return 0;
}
