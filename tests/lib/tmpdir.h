/* SPDX-License-Identifier: Apache-2.0 */
/* A temporary directory that removes itself with everything in it. */
#pragma once

struct tmpdir {
	char path[256]; /* absolute, without a slash at the end */
};

/* Made below $TMPDIR, or /tmp. Fails the test if it cannot. */
void tmpdir_init(struct tmpdir *t);
/* Removes it; a zeroed one is fine. */
void tmpdir_fini(struct tmpdir *t);
/* "<tmpdir>/<name>" in `buf` of `cap` bytes; returns buf. Fails the test if it does not fit. */
const char *tmpdir_path(const struct tmpdir *t, const char *name, char *buf, unsigned cap);
