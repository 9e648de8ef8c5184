/* SPDX-License-Identifier: Apache-2.0 */
/* The files of a hard reset. */
#pragma once
#include "workflow/wf.h"

/* What the job sees becomes `tree`, but for what is neither tracked nor in it. Where the base has
 * the same content, the job's copy goes and its quota is given back. */
int wf_reset_files(struct wf *w, const struct oid *tree, struct wf_reset_result *result);
