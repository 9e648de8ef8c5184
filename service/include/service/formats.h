/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The formats of what outlives a process: which ones this program writes, and which it can read.
 * data_dir/formats says what is there, one "name number" per line.
 *
 * A format changes over two releases: the first reads the new number and writes the old one, the
 * second writes it. So the release before can always read what this one wrote. A mount's record is
 * written in the oldest format that says all of it: so the release before can read it as long as
 * nothing newer is used.
 */
#pragma once
struct err;

/* Can this program read what is there? -EPROTO, reason STATE_VERSION, naming what it cannot. No
 * file: yes, there is nothing yet, or it is of the first version. */
int formats_check(const char *data_dir, struct err *e);
/* Say what this program writes; `mount`: the newest format of the mounts' records that are there.
 */
int formats_write(const char *data_dir, unsigned mount, struct err *e);
/* What is said of the mounts' records; the first format if nothing is. */
unsigned formats_of_mounts(const char *data_dir);
