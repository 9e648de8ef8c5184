/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The address of a Git repository, taken apart: http, https, ssh and git URLs, and the short
 * user@host:path of ssh. Nothing in it can be mistaken for an option by a program that it is given
 * to, and it holds no password. Pure.
 */
#pragma once
#include <stdbool.h>

struct err;

enum giturl_kind { GITURL_HTTP, GITURL_HTTPS, GITURL_SSH, GITURL_DAEMON };

struct giturl {
	enum giturl_kind kind;
	char *full; /* as given */
	char *user; /* of ssh; or NULL */
	char *host; /* without the brackets of an IPv6 address */
	char *port; /* or NULL */
	char *path; /* ssh and git: what the server is asked for. NULL otherwise */
	char *base; /* http: "https://host:port", what credentials are for. NULL otherwise */
};

/* Whether it is one of these, well-formed or not; otherwise it is a local path or file://. */
bool giturl_remote(const char *url);
/* -EINVAL, field "url", without repeating what may be a secret. */
int giturl_parse(struct giturl *ret_url, const char *url, struct err *e);
void giturl_fini(struct giturl *u);
