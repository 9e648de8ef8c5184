/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by git_mirror.c, git_mirror_run.c and git_incoming.c. */
#pragma once
#include <stddef.h>
#include <stdint.h>

struct err;
struct gitrun;
struct gitrun_wait;

struct gitmirror;

/* Removes what killed programs have left below a folder of the repository. Only while none runs
 * there. */
void gitmirror_clean(const struct gitmirror *m, const char *below);
/* Everything a program writes (at most `cap` - 1 bytes are kept, as a string), and its end. */
int gitmirror_run_to_end(
	struct gitrun *run, char *out, size_t cap, const struct gitrun_wait *wait, struct err *e);
/* One more pack is there: enough of them are put together. */
void gitmirror_count_pack(struct gitmirror *m);
/* Packs are put together, or removed beyond the budget; later, by the tidier. */
void gitmirror_tidy(struct gitmirror *m);
/* Bytes of all packs, shown in the metric. */
uint64_t gitmirror_measure(struct gitmirror *m);
/* Removes the oldest packs, down to half of the budget; not while somebody builds on what is here:
 * the end of that tidies again. */
void gitmirror_trim(struct gitmirror *m);
/* Removes what has not come in before the daemon ended. */
void gitmirror_clean_incoming(const struct gitmirror *m);
