/* SPDX-License-Identifier: Apache-2.0 */
/* See plan.h. The list and its file; plan_apply.c does what it says. */
#include "workflow/plan.h"

#include <base/buf.h>
#include <base/cleanup.h>
#include <base/io.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAGIC     "coppice-plan 1\n"
#define NAME      "plan"
#define PLAN_MAX  (512u << 20)
#define WORDS_MAX 5

int wf_plan_add(struct wf_plan *p, const struct wf_plan_op *op)
{
	if (p->count == WF_PLAN_MAX)
		return -EFBIG;
	if (p->count == p->cap) {
		size_t cap = p->cap ? 2 * p->cap : 64;
		struct wf_plan_op *ops = reallocarray(p->ops, cap, sizeof(*ops));

		if (!ops)
			return -ENOMEM;
		p->ops = ops;
		p->cap = cap;
	}
	p->ops[p->count] = *op;
	p->ops[p->count].path = strdup(op->path);
	return p->ops[p->count].path ? (p->count++, 0) : -ENOMEM;
}

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct wf_plan_op *)a)->path, ((const struct wf_plan_op *)b)->path);
}

void wf_plan_sort(struct wf_plan *p)
{
	if (p->count)
		qsort(p->ops, p->count, sizeof(*p->ops), by_path);
}

const struct wf_plan_op *wf_plan_find(const struct wf_plan *p, const char *path)
{
	const struct wf_plan_op key = {.path = (char *)(uintptr_t)path};

	return p->count ? bsearch(&key, p->ops, p->count, sizeof(key), by_path) : NULL;
}

void wf_plan_fini(struct wf_plan *p)
{
	for (size_t i = 0; i < p->count; i++)
		free(p->ops[i].path);
	free(p->ops);
	*p = (struct wf_plan){.ops = NULL};
}

bool wf_plan_leaves(void *plan, const char *path)
{
	const struct wf_plan_op *op = wf_plan_find(plan, path);

	return op && op->leave;
}

/* ---- the file ---- */

static bool take_node(const char *mode, const char *id, struct wf_node *ret_node)
{
	struct wf_node n = {0};
	char *end;

	n.mode = (uint32_t)strtoul(mode, &end, 8);
	if (*end || end == mode)
		return false;
	switch (n.mode) {
	case 0:
	case WF_MODE_FILE:
	case WF_MODE_EXEC:
	case WF_MODE_LINK:
	case WF_MODE_GITLINK:
		break;
	default:
		return false;
	}
	*ret_node = n;
	return strcmp(id, "-") == 0 || oid_parse(id, &ret_node->oid) == 0;
}

/* A path below the workspace, and nothing else. */
static bool is_path(const char *path)
{
	for (const char *at = path;; at++) {
		size_t len = strcspn(at, "/");

		if (!len || (len == 1 && *at == '.') || (len == 2 && memcmp(at, "..", 2) == 0))
			return false;
		at += len;
		if (!*at)
			return true;
	}
}

/* A record, cut into its words in place. */
static int take_op(struct wf_plan *p, char *text)
{
	char *words[WORDS_MAX];
	struct wf_plan_op op;

	for (unsigned i = 0; i < WORDS_MAX; i++) {
		char *end = strchr(text, ' ');

		if (!end)
			return -EBADMSG;
		*end = '\0';
		words[i] = text;
		text = end + 1;
	}
	op = (struct wf_plan_op){.path = text, .leave = strcmp(words[4], "leave") == 0};
	if ((!op.leave && strcmp(words[4], "set") != 0) || !is_path(text) ||
		!take_node(words[0], words[1], &op.from) || !take_node(words[2], words[3], &op.to))
		return -EBADMSG;
	return wf_plan_add(p, &op);
}

int wf_plan_decode(const char *text, size_t len, struct wf_plan *ret_plan)
{
	_cleanup_free_ char *copy = malloc(len + 1);
	struct wf_plan p = {.ops = NULL};
	char *at, *end;
	int r = 0;

	if (!copy)
		return -ENOMEM;
	memcpy(copy, text, len);
	copy[len] = '\0';
	end = copy + len;
	if (strncmp(copy, MAGIC, strlen(MAGIC)) != 0 || end[-1] != '\0')
		return -EBADMSG;
	at = copy + strlen(MAGIC);
	if (at == end || (*at != '-' && oid_parse(at, &p.shown) < 0))
		return -EBADMSG;
	for (at += strlen(at) + 1; r == 0 && at < end;) {
		size_t step = strlen(at) + 1;

		r = take_op(&p, at);
		at += step;
	}
	if (r < 0) {
		wf_plan_fini(&p);
		return r;
	}
	wf_plan_sort(&p);
	*ret_plan = p;
	return 0;
}

static void put_node(struct buf *b, const struct wf_node *n)
{
	char hex[OID_HEX_MAX];

	(void)buf_printf(b, "%o %s ", n->mode, oid_is_none(&n->oid) ? "-" : oid_hex(&n->oid, hex));
}

int wf_plan_write(int dirfd, const struct wf_plan *p)
{
	char hex[OID_HEX_MAX];
	struct buf b;
	int r;

	if (!p->count) {
		wf_plan_remove(dirfd);
		return 0;
	}
	buf_init(&b, PLAN_MAX);
	(void)buf_puts(&b, MAGIC); /* the buffer remembers a failure */
	(void)buf_puts(&b, oid_is_none(&p->shown) ? "-" : oid_hex(&p->shown, hex));
	(void)buf_putc(&b, '\0');
	for (size_t i = 0; i < p->count; i++) {
		const struct wf_plan_op *op = &p->ops[i];

		put_node(&b, &op->from);
		put_node(&b, &op->to);
		(void)buf_printf(&b, "%s %s", op->leave ? "leave" : "set", op->path);
		(void)buf_putc(&b, '\0');
	}
	r = buf_error(&b);
	if (r == 0)
		r = io_write_file(dirfd, NAME, b.data, b.len, 0600, true);
	buf_fini(&b);
	return r;
}

int wf_plan_read(int dirfd, struct wf_plan *ret_plan)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r = io_read_file(dirfd, NAME, PLAN_MAX, &text, &len);

	return r < 0 ? r : wf_plan_decode(text, len, ret_plan);
}

void wf_plan_remove(int dirfd)
{
	(void)unlinkat(dirfd, NAME, 0); /* it names the tree that it is for: no other minds it */
}
