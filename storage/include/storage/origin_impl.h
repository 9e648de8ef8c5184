/* SPDX-License-Identifier: Apache-2.0 */
/* What a kind of origin implements. Callers use origin.h; origin.c checks arguments, counts and
 * times around these. */
#pragma once
#include "storage/origin.h"

struct origin_ops {
	const char *type;
	unsigned caps;
	/* Of several kinds with one type, the first that takes the url. NULL: any. */
	bool (*takes)(const char *url);
	/* *ret_impl is passed to all others. */
	int (*open)(void **ret_impl, const struct origin_config *config, struct err *e);
	void (*close)(void *impl);
	int (*resolve)(void *impl, const char *revision, uint64_t deadline_ns,
		struct origin_revision *ret, struct err *e);
	/* See origin_refresh; NULL: nothing is remembered. Must not block. */
	void (*refresh)(void *impl);
	/* See origin_probe; NULL: resolving the default branch costs little. */
	int (*probe)(void *impl, const struct cancel *cancel, uint64_t deadline_ns);
	/* See origin_merge_base, origin_refs, origin_push, origin_find_change, origin_change_files;
	 * NULL: cannot. */
	int (*merge_base)(void *impl, const struct oid commits[2], uint64_t deadline_ns,
		struct oid *ret_base, struct err *e);
	int (*refs)(
		void *impl, const char *path, uint64_t deadline_ns, origin_ref_fn fn, void *arg);
	int (*push)(void *impl, const struct origin_push *push, char *ret_why, size_t cap);
	int (*find_change)(void *impl, const char *link, const char *path, uint64_t deadline_ns,
		struct origin_change *ret_change);
	int (*change_files)(void *impl, const char *link, uint64_t deadline_ns,
		origin_change_file_fn fn, void *arg);
	int (*read_tree)(void *impl, const struct oid *tree, struct tree_builder *builder,
		const struct cancel *cancel, uint64_t deadline_ns);
	/* See origin_read_raw; NULL: cannot. */
	int (*read_raw)(
		void *impl, const struct origin_raw_request *rq, void **ret_data, size_t *ret_len);
	int (*read_blob)(void *impl, const struct oid *blob, struct blob_sink *sink,
		const struct cancel *cancel, uint64_t deadline_ns);
	/* See origin_learn_tree and origin_roots; both NULL: everything can be asked by id. */
	int (*learn_tree)(void *impl, const struct oid *tree, const struct tree_view *view);
	int (*roots)(void *impl, struct oid *ret_roots, unsigned cap, unsigned *ret_count);
	/* See origin_has_blob and origin_set_peers; NULL: never, and it asks for nothing that
	 * nobody wants. */
	bool (*has_blob)(void *impl, const struct oid *blob);
	void (*set_peers)(void *impl, const struct origin_peers *peers);
	/* NULL unless ORIGIN_CAP_BATCH. `count` is not 0. */
	int (*prepare_blobs)(void *impl, const struct oid *blobs, size_t count,
		const struct cancel *cancel, uint64_t deadline_ns);
};

extern const struct origin_ops origin_gitremote_ops;
extern const struct origin_ops origin_git_ops;
extern const struct origin_ops origin_mega_ops;

/* An origin over hooks that are not in the registry; takes over `impl` on success. Name, url and
 * metrics as in the config. */
int origin_new(struct origin **ret_origin, const struct origin_ops *ops, void *impl,
	const struct origin_config *config);

/* Wrap an origin so that calls can be delayed, failed or corrupted by script; for tests of
 * everything above. The wrapper takes a reference of its own on `inner`; the plan must outlive it.
 */
struct origin_fault_plan {
	_Atomic int tree_error; /* returned by the next calls instead of an answer; 0 = none */
	_Atomic int blob_error;
	_Atomic int resolve_error;
	_Atomic uint64_t delay_ns; /* every call sleeps (interruptible by cancel and deadline) */
	_Atomic bool hang;         /* wait until the deadline or cancel */
	_Atomic bool corrupt;      /* flip a byte of every blob */
	_Atomic uint64_t calls;
};
int origin_wrap_fault(
	struct origin **ret_origin, struct origin *inner, struct origin_fault_plan *plan);
