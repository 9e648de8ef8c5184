/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See git_env.h. Git's own settings travel as GIT_CONFIG_COUNT, _KEY_n and _VALUE_n
 * (git-config(1)).
 *
 * The credential helper is bound to the configured server (credential.<url>.helper): a redirect to
 * another host is not given them. Git over HTTP knows no bearer tokens in this form, but every
 * server takes one as a password, whatever the user name.
 */
#include "origin/git_env.h"

#include "base/clock.h"
#include "origin/git_url.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define ENV_MAX    96
#define TOKEN_USER "x-access-token"

/* Run by sh; the names come as variables, so nothing has to be quoted. */
#define HELPER                                                                                     \
	"!f() { test \"$1\" = get || exit 0; printf 'username=%s\\npassword=' \"$COPPICE_USER\"; " \
	"head -n 1 -- \"$COPPICE_SECRET_FILE\"; }; f"

struct env {
	char **vars;
	unsigned count, settings;
	bool failed;
};

static void add(struct env *env, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void add(struct env *env, const char *fmt, ...)
{
	char *text = NULL;
	va_list args;
	int n;

	va_start(args, fmt);
	n = vasprintf(&text, fmt, args);
	va_end(args);
	if (n < 0 || env->count >= ENV_MAX) {
		if (n >= 0)
			free(text);
		env->failed = true;
		return;
	}
	env->vars[env->count++] = text;
}

/* A variable of our own environment, passed on. */
static void pass(struct env *env, const char *name, const char *otherwise)
{
	const char *value = getenv(name); /* the daemon never changes its environment */

	if (value || otherwise)
		add(env, "%s=%s", name, value ? value : otherwise);
}

static void set(struct env *env, const char *key, const char *value)
{
	add(env, "GIT_CONFIG_KEY_%u=%s", env->settings, key);
	add(env, "GIT_CONFIG_VALUE_%u=%s", env->settings, value);
	env->settings++;
}

static void add_base(struct env *env, const struct giturl *url, const char *dir)
{
	static const char *const protocols[] = {
		[GITURL_HTTP] = "http",
		[GITURL_HTTPS] = "https",
		[GITURL_SSH] = "ssh",
		[GITURL_DAEMON] = "git",
	};

	pass(env, "PATH", "/usr/local/bin:/usr/bin:/bin");
	pass(env, "HOME", "/nonexistent"); /* of ssh: keys and known hosts */
	add(env, "LC_ALL=C");              /* messages are understood by their words */
	add(env, "GIT_DIR=%s", dir);
	add(env, "GIT_CONFIG_NOSYSTEM=1");
	add(env, "GIT_CONFIG_GLOBAL=/dev/null");
	add(env, "GIT_ATTR_NOSYSTEM=1");
	add(env, "GIT_TERMINAL_PROMPT=0");
	add(env, "GIT_ASKPASS=true"); /* answers with nothing */
	add(env, "SSH_ASKPASS=true");
	add(env, "GIT_PROTOCOL=version=2");
	add(env, "GIT_ALLOW_PROTOCOL=%s", protocols[url->kind]);
	set(env, "protocol.version", "2");
	set(env, "core.hooksPath", "/dev/null");
	set(env, "safe.directory", "*");
	set(env, "gc.auto", "0");
	set(env, "maintenance.auto", "false");
	set(env, "core.multiPackIndex", "false");
	set(env, "pack.window", "0");
	set(env, "credential.helper", "");
}

/* Git runs this by a shell; the names come as variables, so nothing has to be quoted. */
static void add_ssh(struct env *env, const struct origin_net *net)
{
	add(env, "GIT_SSH_COMMAND=ssh -oBatchMode=yes -oConnectTimeout=10%s%s",
		net->ssh_key_file ? " -oIdentitiesOnly=yes -i \"$COPPICE_SSH_KEY\"" : "",
		net->ssh_known_hosts_file ? " -oUserKnownHostsFile=\"$COPPICE_SSH_HOSTS\"" : "");
	if (net->ssh_key_file)
		add(env, "COPPICE_SSH_KEY=%s", net->ssh_key_file);
	if (net->ssh_known_hosts_file)
		add(env, "COPPICE_SSH_HOSTS=%s", net->ssh_known_hosts_file);
}

static void add_credentials(struct env *env, const struct giturl *url, const struct origin_net *net)
{
	char key[4200];

	if (!net->password_file && !net->token_file)
		return;
	(void)snprintf(key, sizeof(key), "credential.%s.helper", url->base);
	set(env, key, HELPER);
	add(env, "COPPICE_USER=%s", net->token_file ? TOKEN_USER : net->username);
	add(env, "COPPICE_SECRET_FILE=%s", net->token_file ? net->token_file : net->password_file);
}

static void add_http(struct env *env, const struct giturl *url, const struct origin_net *net)
{
	static const char *const proxies[] = {"http_proxy", "https_proxy", "all_proxy", "no_proxy",
		"HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"};
	char seconds[32];

	for (unsigned i = 0; !net->proxy && i < sizeof(proxies) / sizeof(proxies[0]); i++)
		pass(env, proxies[i], NULL);
	if (net->proxy)
		set(env, "http.proxy", strcmp(net->proxy, "none") == 0 ? "" : net->proxy);
	if (net->ca_file)
		set(env, "http.sslCAInfo", net->ca_file);
	if (net->cert_file) {
		set(env, "http.sslCert", net->cert_file);
		set(env, "http.sslKey", net->key_file);
	}
	(void)snprintf(seconds, sizeof(seconds), "%llu",
		(unsigned long long)(net->timeout_ns / NS_PER_S + 1));
	set(env, "http.lowSpeedLimit", "1");
	set(env, "http.lowSpeedTime", seconds);
	set(env, "http.postBuffer", "8388608"); /* beyond it, requests are sent in chunks */
	add_credentials(env, url, net);
}

int gitenv_new(
	char ***ret_env, const struct giturl *url, const struct origin_net *net, const char *dir)
{
	struct env env = {.vars = calloc(ENV_MAX + 1, sizeof(char *))};

	if (!env.vars)
		return -ENOMEM;
	add_base(&env, url, dir);
	if (url->kind == GITURL_HTTP || url->kind == GITURL_HTTPS)
		add_http(&env, url, net);
	else if (url->kind == GITURL_SSH)
		add_ssh(&env, net);
	add(&env, "GIT_CONFIG_COUNT=%u", env.settings);
	if (env.failed) {
		gitenv_free(env.vars);
		return -ENOMEM;
	}
	*ret_env = env.vars;
	return 0;
}

char **gitenv_free(char **env)
{
	for (char **var = env; var && *var; var++)
		free(*var);
	free(env);
	return NULL;
}
