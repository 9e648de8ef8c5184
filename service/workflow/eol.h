/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ends of lines, as git 2.39 cleans them on the way into an object: CRLF becomes LF in what the
 * attributes call text, or, where they leave it to Git, in what looks like text. Pure.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

struct wf_attr;

enum wf_eol { WF_EOL_KEEP, WF_EOL_TEXT, WF_EOL_AUTO };
enum wf_eol wf_eol_of(const struct wf_attr *attrs);
/* Would anything change? Of WF_EOL_AUTO only if what is staged has no CRLF: the caller asks. */
bool wf_eol_matters(enum wf_eol how, const char *data, size_t len);
/* In place; the new length. */
size_t wf_eol_clean(enum wf_eol how, char *data, size_t len);
