/* SPDX-License-Identifier: Apache-2.0 */
/* See git_url.h. */
#include "origin/git_url.h"

#include "base/cleanup.h"
#include "base/err.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct {
	const char *prefix;
	enum giturl_kind kind;
} schemes[] = {
	{"http://", GITURL_HTTP},
	{"https://", GITURL_HTTPS},
	{"ssh://", GITURL_SSH},
	{"git://", GITURL_DAEMON},
};
#define SCHEME_COUNT (sizeof(schemes) / sizeof(schemes[0]))

/* host:path without a scheme: a colon before the first slash, as Git has it. */
static bool short_ssh(const char *url)
{
	size_t head = strcspn(url, ":/");

	return !strstr(url, "://") && head > 0 && url[head] == ':';
}

bool giturl_remote(const char *url)
{
	for (unsigned i = 0; i < SCHEME_COUNT; i++)
		if (strncasecmp(url, schemes[i].prefix, strlen(schemes[i].prefix)) == 0)
			return true;
	return short_ssh(url);
}

void giturl_fini(struct giturl *u)
{
	free(u->full);
	free(u->user);
	free(u->host);
	free(u->port);
	free(u->path);
	free(u->base);
	*u = (struct giturl){0};
}

static bool good_text(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text <= ' ' || *text == 127)
			return false;
	return true;
}

/* Names of hosts and users: nothing that a shell, an option parser or a URL takes for its own. */
static bool good_name(const char *name, size_t len, const char *more)
{
	if (len == 0 || len > 255 || name[0] == '-')
		return false;
	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)name[i]) && !strchr(more, name[i]))
			return false;
	return true;
}

static bool good_port(const char *port, size_t len)
{
	unsigned value = 0;

	if (len == 0 || len > 5)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (!isdigit((unsigned char)port[i]))
			return false;
		value = value * 10 + (unsigned)(port[i] - '0');
	}
	return value > 0 && value < 65536;
}

/* [user@]host[:port], of which `len` bytes. What is wrong with it, or NULL. */
static const char *take_authority(struct giturl *u, const char *text, size_t len)
{
	const char *at = memrchr(text, '@', len), *end = text + len, *host = at ? at + 1 : text;
	const char *close = *host == '[' ? memchr(host, ']', (size_t)(end - host)) : NULL;
	const char *colon =
		memchr(close ? close : host, ':', (size_t)(end - (close ? close : host)));
	const char *host_end = colon ? colon : end;

	if (at && u->kind != GITURL_SSH)
		return "holds a user or password; give those as auth.username and "
		       "auth.password_file";
	if (at && !good_name(text, (size_t)(at - text), "._-+"))
		return "names no good user; a password is never part of it";
	if (colon && !good_port(colon + 1, (size_t)(end - colon - 1)))
		return "has a bad port";
	if (close && close + 1 != host_end)
		return "names no good host";
	if (close ? !good_name(host + 1, (size_t)(close - host - 1), ":.%")
		  : !good_name(host, (size_t)(host_end - host), "._-"))
		return "names no good host";
	u->user = at ? strndup(text, (size_t)(at - text)) : NULL;
	u->host = close ? strndup(host + 1, (size_t)(close - host - 1))
			: strndup(host, (size_t)(host_end - host));
	u->port = colon ? strndup(colon + 1, (size_t)(end - colon - 1)) : NULL;
	return NULL;
}

/* What follows the authority. /~user/… is relative to a home, as Git has it. */
static const char *take_path(struct giturl *u, const char *path)
{
	if (u->kind == GITURL_HTTP || u->kind == GITURL_HTTPS)
		return NULL;
	if (*path == '/' && path[1] == '~' && u->kind == GITURL_SSH)
		path++;
	if (!*path || *path == '-')
		return "names no good path";
	u->path = strdup(path);
	return NULL;
}

static const char *take_apart(struct giturl *u, const char *url)
{
	const char *rest = NULL, *why;
	size_t len;

	for (unsigned i = 0; i < SCHEME_COUNT && !rest; i++)
		if (strncasecmp(url, schemes[i].prefix, strlen(schemes[i].prefix)) == 0) {
			u->kind = schemes[i].kind;
			rest = url + strlen(schemes[i].prefix);
		}
	if (!rest) {
		if (!short_ssh(url))
			return "is no address of a Git server; use https://, http://, ssh://, "
			       "git:// or user@host:path";
		u->kind = GITURL_SSH;
		len = strcspn(url, ":");
		why = take_authority(u, url, len);
		return why ? why : take_path(u, url + len + 1);
	}
	len = strcspn(rest, "/?#");
	if (rest[len] == '?' || rest[len] == '#')
		return "has no path";
	why = take_authority(u, rest, len);
	if (!why && u->kind <= GITURL_HTTPS &&
		asprintf(&u->base, "%.*s", (int)(rest - url) + (int)len, url) < 0)
		u->base = NULL;
	return why ? why : take_path(u, rest + len);
}

static bool whole(const struct giturl *u)
{
	return u->full && u->host && (u->kind <= GITURL_HTTPS ? u->base : u->path) != NULL;
}

int giturl_parse(struct giturl *ret_url, const char *url, struct err *e)
{
	struct giturl u = {.full = strdup(url)};
	const char *why = good_text(url) ? take_apart(&u, url) : "has a blank or control character";

	if (why) {
		giturl_fini(&u);
		return err_field(e, "url", "the url %s", why);
	}
	if (!whole(&u)) {
		giturl_fini(&u);
		return err_set(e, -ENOMEM, NULL, "no memory");
	}
	*ret_url = u;
	return 0;
}
