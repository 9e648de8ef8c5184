/* SPDX-License-Identifier: Apache-2.0 */
/* See git_fault.h. The first row whose words occur decides, so the more special ones come first. */
#include "origin/git_fault.h"

#include "base/err.h"
#include "origin/git_pkt.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define AUTH   "ORIGIN_AUTH_FAILED"
#define ABSENT "ORIGIN_NOT_FOUND"
#define FAR    "ORIGIN_UNREACHABLE"
#define TLS    "ORIGIN_TLS_FAILED"

#define AUTH_HELP   "the server refuses our credentials; check the origin's auth settings"
#define ABSENT_HELP "the server has no such repository, or hides it from us; check the url"
#define DNS_HELP    "the server's name is not known; check the url and the name service"
#define FAR_HELP    "the server cannot be reached"
#define TLS_HELP    "no trusted connection; check the server's certificate and tls.ca"
#define CUT_HELP    "the server broke off"

static const struct {
	const char *words;
	int code;
	const char *reason, *help;
} rows[] = {
	{"not our ref", -ENXIO, "OBJECT_NOT_FOUND", "the server does not have it"},
	{"No space left on device", -ENOSPC, NULL, "the local disk is full"},
	{"Could not resolve host", -EHOSTUNREACH, FAR, DNS_HELP},
	{"Could not resolve proxy", -EHOSTUNREACH, FAR, "the proxy's name is not known"},
	{"Name or service not known", -EHOSTUNREACH, FAR, DNS_HELP},
	{"name resolution", -EHOSTUNREACH, FAR, DNS_HELP},
	{"unable to look up", -EHOSTUNREACH, FAR, DNS_HELP},
	{"Host key verification failed", -EACCES, AUTH,
		"the server's host key is not known; add it to the known_hosts of the service's "
		"user"},
	{"Authentication failed", -EACCES, AUTH, AUTH_HELP},
	{"could not read Username", -EACCES, AUTH, AUTH_HELP},
	{"could not read Password", -EACCES, AUTH, AUTH_HELP},
	{"Permission denied", -EACCES, AUTH, AUTH_HELP},
	{"error: 401", -EACCES, AUTH, AUTH_HELP},
	{"error: 403", -EACCES, AUTH, AUTH_HELP},
	{"error: 407", -EACCES, AUTH, "the proxy refuses us"},
	{"error: 404", -ENOENT, ABSENT, ABSENT_HELP},
	{"error: 410", -ENOENT, ABSENT, ABSENT_HELP},
	{"repository not exported", -ENOENT, ABSENT, ABSENT_HELP},
	{"does not appear to be a git repository", -ENOENT, ABSENT, ABSENT_HELP},
	{"/' not found", -ENOENT, ABSENT, ABSENT_HELP},
	{"not a git repository", -ENOENT, ABSENT, ABSENT_HELP},
	{"epository not found", -ENOENT, ABSENT, ABSENT_HELP},
	{"timed out", -ETIMEDOUT, FAR, "the server does not answer"},
	{"Timeout was reached", -ETIMEDOUT, FAR, "the server does not answer"},
	{"Operation too slow", -ETIMEDOUT, FAR, "the server sends nothing"},
	{"certificate", -EHOSTUNREACH, TLS, TLS_HELP},
	{"gnutls", -EHOSTUNREACH, TLS, TLS_HELP},
	{"SSL", -EHOSTUNREACH, TLS, TLS_HELP},
	{"TLS", -EHOSTUNREACH, TLS, TLS_HELP},
	{"unable to connect", -EHOSTUNREACH, FAR, FAR_HELP},
	{"Connection refused", -EHOSTUNREACH, FAR, FAR_HELP},
	{"connect to", -EHOSTUNREACH, FAR, FAR_HELP},
	{"No route to host", -EHOSTUNREACH, FAR, FAR_HELP},
	{"Network is unreachable", -EHOSTUNREACH, FAR, FAR_HELP},
	{"error: 429", -EHOSTUNREACH, FAR, "the server wants fewer requests"},
	{"error: 5", -EHOSTUNREACH, FAR, "the server is out of order"},
	{"RPC failed", -EHOSTUNREACH, FAR, CUT_HELP},
	{"unable to access", -EHOSTUNREACH, FAR, FAR_HELP},
	{"early EOF", -EHOSTUNREACH, FAR, CUT_HELP},
	{"unexpected disconnect", -EHOSTUNREACH, FAR, CUT_HELP},
	{"hung up", -EHOSTUNREACH, FAR, CUT_HELP},
	{"Connection reset", -EHOSTUNREACH, FAR, CUT_HELP},
	{"Connection closed", -EHOSTUNREACH, FAR, CUT_HELP},
};

int gitfault_of(const char *words, struct err *e)
{
	char text[256];
	size_t len = strlen(words);

	/* the end is where the reason is */
	(void)snprintf(text, sizeof(text), "%s",
		len >= sizeof(text) ? words + len - sizeof(text) + 1 : words);
	gitpkt_clean_text(text);
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (strstr(words, rows[i].words))
			return err_set(
				e, rows[i].code, rows[i].reason, "%s: %s", rows[i].help, text);
	if (!*text)
		return err_set(e, -EHOSTUNREACH, FAR, CUT_HELP);
	return err_set(e, -EIO, NULL, "%s", text);
}

bool gitfault_passing(int r)
{
	return r == -EHOSTUNREACH || r == -EPIPE || r == -EIO;
}
