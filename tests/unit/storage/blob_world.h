/* SPDX-License-Identifier: Apache-2.0 */
/* A blob store in a temporary directory, contents made by number, and a source that counts. Include
 * after cmocka.h. */
#pragma once
#include "base/clock.h"
#include "base/err.h"
#include "storage/blob.h"
#include "tmpdir.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct blob_world {
	struct tmpdir tmp;
	struct clock_virtual clock;
	struct blob_config config;
	struct blob_store *bs;
};

static inline void blob_world_open(struct blob_world *w)
{
	struct err e = {0};

	if (blob_store_open(&w->bs, &w->config, &e) < 0)
		fail_msg("%s", err_message(&e));
}

static inline void blob_world_reopen(struct blob_world *w)
{
	w->bs = blob_store_close(w->bs);
	blob_world_open(w);
}

static inline void blob_world_init(struct blob_world *w, uint64_t memory_bytes, uint64_t disk_bytes)
{
	*w = (struct blob_world){0};
	tmpdir_init(&w->tmp);
	clock_virtual_init(&w->clock, NS_PER_S, NS_PER_S);
	w->config = (struct blob_config){
		.dir = w->tmp.path,
		.memory_bytes = memory_bytes,
		.disk_bytes = disk_bytes,
		.clock = &w->clock.clock,
	};
	blob_world_open(w);
}

static inline void blob_world_fini(struct blob_world *w)
{
	w->bs = blob_store_close(w->bs);
	tmpdir_fini(&w->tmp);
}

/* Content number `n` of `size` bytes, and its name. */
struct content {
	struct oid oid;
	size_t size;
	uint8_t *data;
};

static inline struct content content_make(uint32_t n, size_t size)
{
	struct content c = {.size = size, .data = malloc(size + 1)};
	uint32_t x = n * 2654435761u + 1;

	assert_non_null(c.data);
	for (size_t i = 0; i < size; i++) {
		x = x * 1664525u + 1013904223u;
		c.data[i] = (uint8_t)(x >> 24);
	}
	if (size >= sizeof(n))
		memcpy(c.data, &n, sizeof(n)); /* different numbers are different contents */
	assert_int_equal(digest_object(DIGEST_SHA1, OBJECT_BLOB, c.data, size, &c.oid), 0);
	return c;
}

static inline void content_free(struct content *c)
{
	free(c->data);
	c->data = NULL;
}

static inline int world_put(struct blob_world *w, uint32_t n, size_t size)
{
	struct content c = content_make(n, size);
	int r = blob_put(w->bs, &c.oid, c.data, c.size);

	content_free(&c);
	return r;
}

/* Reads all of content `n`: its size, if every byte is right; the error otherwise. */
static inline ssize_t world_read(struct blob_world *w, uint32_t n, size_t size)
{
	struct content c = content_make(n, size);
	uint8_t *buf = malloc(size + 16);
	ssize_t got;

	assert_non_null(buf);
	got = blob_read(w->bs, &c.oid, buf, size + 16, 0);
	if (got >= 0) {
		assert_int_equal(got, size);
		assert_memory_equal(buf, c.data, size);
	}
	free(buf);
	content_free(&c);
	return got;
}

static inline bool world_has(struct blob_world *w, uint32_t n, size_t size)
{
	struct content c = content_make(n, size);
	bool has = blob_is_local(w->bs, &c.oid);

	content_free(&c);
	return has;
}

static inline struct blob_tier_stats world_disk(struct blob_world *w)
{
	struct blob_stats s;

	blob_stats(w->bs, &s);
	for (unsigned i = 0; i < s.tier_count; i++)
		if (strcmp(s.tier[i].name, "disk") == 0)
			return s.tier[i];
	fail_msg("there is no disk tier");
	return s.tier[0];
}

/* A source that serves one content, in pieces, and counts. */
struct source {
	const struct content *content;
	_Atomic unsigned calls;
	int result;              /* answered instead, if not 0 */
	size_t announce_more;    /* begin says so many bytes too many */
	bool flip;               /* the last byte is wrong */
	void (*hook)(void *arg); /* called once the bytes are under way */
	void *hook_arg;
};

static inline int source_produce(void *arg, const struct oid *oid, struct blob_sink *sink,
	const struct cancel *cancel, uint64_t deadline_ns)
{
	struct source *s = arg;
	const struct content *c = s->content;
	int r;

	(void)cancel;
	(void)deadline_ns;
	s->calls++;
	assert_true(oid_equal(oid, &c->oid));
	if (s->result)
		return s->result;
	r = sink->begin(sink, c->size + s->announce_more);
	if (s->hook)
		s->hook(s->hook_arg);
	for (size_t at = 0; r == 0 && at < c->size; at += 100000) {
		size_t n = c->size - at < 100000 ? c->size - at : 100000;

		if (s->flip && at + n == c->size) {
			uint8_t wrong = c->data[c->size - 1] ^ 1;

			r = sink->write(sink, c->data + at, n - 1);
			if (r == 0)
				r = sink->write(sink, &wrong, 1);
		} else {
			r = sink->write(sink, c->data + at, n);
		}
	}
	return r;
}

static inline int world_fetch(struct blob_world *w, struct source *s)
{
	const struct blob_source source = {.produce = source_produce, .arg = s};

	return blob_fetch(w->bs, &s->content->oid, &source, NULL, NS_NEVER);
}
