/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by git_mirror.c and git_mirror_run.c. */
#pragma once

struct gitmirror;

/* Removes what killed programs have left below a folder of the repository. Only while none runs
 * there. */
void gitmirror_clean(const struct gitmirror *m, const char *below);
