// SPDX-License-Identifier: Apache-2.0
/*
 * Looks at an LMDB file without LMDB and without mapping it, by pread. LMDB trusts its file: a
 * missing page ends the process by SIGBUS, a page of garbage by SIGSEGV, at every start again.
 *
 * The short check reads both meta pages and compares the last page in use with the size of the
 * file; it is enough for a file that is as long as it should be. The whole check walks all pages;
 * each reference is followed only after it has been checked, so a file that passes is one that LMDB
 * can walk.
 *
 *	meta ─► free list ─► ...
 *	     └► main table ─► branch ─► leaf ─► named table ─► branch ─► leaf ─► value
 *
 * Checked is structure, not content: bounds, page numbers, kinds and depths. Of the overflow pages
 * of a large value only the first header is read. The layout is that of LMDB 0.9 on 64-bit
 * machines, in the machine's byte order. Pure but for reading `fd`; any thread.
 */
#include "base/cleanup.h"
#include "base/io.h"
#include "kv/kv_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_HEADER_BYTES 16u
#define NODE_HEADER_BYTES 8u
#define TABLE_BYTES       48u /* MDB_db */
#define DEPTH_MAX         32u /* LMDB's own limit, CURSOR_STACK */
#define NO_PAGE           UINT64_MAX
/* A meta page: a page header, then MDB_meta; its two tables at META_TABLES. */
#define META_MAGIC   0xBEEFC0DEu
#define META_VERSION 1u
#define META_BYTES   136u
#define META_TABLES  24u

enum page_flag { PAGE_BRANCH = 0x01, PAGE_LEAF = 0x02, PAGE_OVERFLOW = 0x04, PAGE_KINDS = 0x2f };
enum node_flag { NODE_BIG = 0x01, NODE_TABLE = 0x02 };

struct meta {
	uint32_t magic, version, page_bytes;
	uint64_t last_page, txn_id;
	uint8_t tables[2 * TABLE_BYTES]; /* free list, main table */
};

struct walk {
	int fd;
	uint32_t page_bytes;
	uint64_t last_page;
	uint64_t file_pages;   /* that are really there */
	unsigned tables_below; /* tables may hold tables this deep: 1 in the main table, else 0 */
	uint64_t visits_left;  /* no page is reached twice: more visits than pages mean a loop */
};

struct table {
	uint16_t depth;
	uint64_t root;
};

static uint16_t get16(const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static uint32_t get32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static uint64_t get64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static struct table table_at(const uint8_t *p)
{
	return (struct table){.depth = get16(p + 6), .root = get64(p + 40)};
}

/* Read `len` bytes of a page that carries its own number. */
static int read_page(struct walk *w, uint64_t number, uint8_t *buf, size_t len)
{
	int r;

	if (number < 2 || number > w->last_page || w->visits_left == 0)
		return -EBADMSG;
	w->visits_left--;
	r = io_pread_full(w->fd, buf, len, number * w->page_bytes);
	if (r < 0)
		return r == -ENODATA ? -EBADMSG : r;
	return get64(buf) == number ? 0 : -EBADMSG;
}

static int check_overflow(struct walk *w, uint64_t number, uint32_t value_bytes)
{
	uint64_t pages =
		(PAGE_HEADER_BYTES + (uint64_t)value_bytes + w->page_bytes - 1) / w->page_bytes;
	uint8_t header[PAGE_HEADER_BYTES];
	int r = read_page(w, number, header, sizeof(header));

	if (r < 0)
		return r;
	if ((get16(header + 10) & PAGE_KINDS) != PAGE_OVERFLOW || get32(header + 12) < pages)
		return -EBADMSG;
	if (pages - 1 > w->last_page - number || number + pages > w->file_pages)
		return -EBADMSG;
	return 0;
}

static int walk_tree(struct walk *w, uint64_t number, unsigned depth);

static int walk_table(struct walk *w, const struct table *t)
{
	if (t->root == NO_PAGE)
		return 0;
	return t->depth >= 1 && t->depth <= DEPTH_MAX ? walk_tree(w, t->root, t->depth) : -EBADMSG;
}

/* A node of a leaf: `room` bytes from its start to the end of the page. */
static int check_leaf_node(struct walk *w, const uint8_t *node, size_t room)
{
	uint32_t value_bytes = get16(node) | (uint32_t)get16(node + 2) << 16;
	uint16_t flags = get16(node + 4), key_bytes = get16(node + 6);
	size_t stored = flags & NODE_BIG ? sizeof(uint64_t) : value_bytes;
	const uint8_t *value = node + NODE_HEADER_BYTES + key_bytes;
	struct table t;
	int r;

	if ((flags & ~(NODE_BIG | NODE_TABLE)) || flags == (NODE_BIG | NODE_TABLE))
		return -EBADMSG;
	if ((size_t)NODE_HEADER_BYTES + key_bytes > room ||
		stored > room - NODE_HEADER_BYTES - key_bytes)
		return -EBADMSG;
	if (flags & NODE_BIG)
		return check_overflow(w, get64(value), value_bytes);
	if (!(flags & NODE_TABLE))
		return 0;
	if (value_bytes != TABLE_BYTES || w->tables_below == 0)
		return -EBADMSG;
	t = table_at(value);
	w->tables_below--;
	r = walk_table(w, &t);
	w->tables_below++;
	return r;
}

static int check_branch_node(struct walk *w, const uint8_t *node, size_t room, unsigned depth)
{
	uint64_t child =
		get16(node) | (uint64_t)get16(node + 2) << 16 | (uint64_t)get16(node + 4) << 32;

	if ((size_t)NODE_HEADER_BYTES + get16(node + 6) > room)
		return -EBADMSG;
	return walk_tree(w, child, depth - 1);
}

static int check_nodes(struct walk *w, const uint8_t *page, unsigned depth)
{
	uint32_t lower = get16(page + 12), upper = get16(page + 14);
	uint16_t kind = depth == 1 ? PAGE_LEAF : PAGE_BRANCH;
	int r = 0;

	if ((get16(page + 10) & PAGE_KINDS) != kind || lower < PAGE_HEADER_BYTES || lower > upper ||
		upper > w->page_bytes)
		return -EBADMSG;
	/* An empty page is never kept, and a branch has at least two children. */
	if ((lower - PAGE_HEADER_BYTES) / 2 < (kind == PAGE_BRANCH ? 2 : 1) || lower % 2)
		return -EBADMSG;
	for (uint32_t at = PAGE_HEADER_BYTES; r == 0 && at < lower; at += 2) {
		uint32_t offset = get16(page + at);

		if (offset < upper || offset > w->page_bytes - NODE_HEADER_BYTES)
			return -EBADMSG;
		if (kind == PAGE_LEAF)
			r = check_leaf_node(w, page + offset, w->page_bytes - offset);
		else
			r = check_branch_node(w, page + offset, w->page_bytes - offset, depth);
	}
	return r;
}

/* Recursion is as deep as the tables are: DEPTH_MAX, twice (a table in the main table). */
static int walk_tree(struct walk *w, uint64_t number, unsigned depth)
{
	_cleanup_free_ uint8_t *page = malloc(w->page_bytes);
	int r;

	if (!page)
		return -ENOMEM;
	r = read_page(w, number, page, w->page_bytes);
	return r < 0 ? r : check_nodes(w, page, depth);
}

static int meta_read(int fd, uint64_t offset, struct meta *ret_meta)
{
	uint8_t page[PAGE_HEADER_BYTES + META_BYTES];
	const uint8_t *m = page + PAGE_HEADER_BYTES;
	int r = io_pread_full(fd, page, sizeof(page), offset);

	if (r < 0)
		return r;
	*ret_meta = (struct meta){
		.magic = get32(m),
		.version = get32(m + 4),
		.page_bytes = get32(m + 24),
		.last_page = get64(m + 120),
		.txn_id = get64(m + 128),
	};
	memcpy(ret_meta->tables, m + META_TABLES, sizeof(ret_meta->tables));
	return 0;
}

static const char *meta_fault(const struct meta *m)
{
	if (m->magic != META_MAGIC)
		return "not an LMDB file";
	if (m->version != META_VERSION)
		return "written by another LMDB format";
	if (m->page_bytes < 512 || m->page_bytes > 65536 || (m->page_bytes & (m->page_bytes - 1)))
		return "meta page is damaged";
	if (m->last_page >= UINT64_MAX / m->page_bytes - 1)
		return "meta page is damaged";
	return NULL;
}

/* The finding, or NULL and the meta that LMDB will use. */
static const char *short_fault(int fd, struct meta *ret_meta)
{
	struct meta first, second;
	const char *why;

	if (meta_read(fd, 0, &first) < 0)
		return "file is truncated";
	/* The first page tells the size of pages, thus where the second is. */
	why = meta_fault(&first);
	if (why)
		return why;
	if (meta_read(fd, first.page_bytes, &second) < 0)
		return "file is truncated";
	why = meta_fault(&second);
	if (why)
		return why;
	*ret_meta = second.txn_id > first.txn_id ? second : first;
	return NULL;
}

static int walk_all(int fd, uint64_t file_bytes, const struct meta *meta)
{
	struct walk w = {
		.fd = fd,
		.page_bytes = meta->page_bytes,
		.last_page = meta->last_page,
		.file_pages = file_bytes / meta->page_bytes,
		.visits_left = meta->last_page + 1,
	};
	struct table free_list = table_at(meta->tables);
	struct table main_table = table_at(meta->tables + TABLE_BYTES);
	int r = walk_table(&w, &free_list);

	w.tables_below = 1;
	return r < 0 ? r : walk_table(&w, &main_table);
}

int kv_check_file(int fd, uint64_t file_bytes, bool whole, const char **ret_why)
{
	struct meta meta;
	const char *why = short_fault(fd, &meta);
	int r = 0;

	/*
	 * A page that a transaction took at the end and gave back is never written, so a file may
	 * be a little shorter than LMDB's last page and healthy. Only the walk tells that from a
	 * truncated one.
	 */
	if (!why && (whole || meta.last_page >= file_bytes / meta.page_bytes))
		r = walk_all(fd, file_bytes, &meta);
	if (r == -EBADMSG)
		why = "a page is damaged or missing";
	else if (r < 0)
		return r;
	if (!why)
		return 0;
	*ret_why = why;
	return -EIO;
}
