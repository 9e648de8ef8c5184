/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The `git` program as a client of the server: `ls-remote` to look, `push --porcelain` to push.
 * What it says is read as data: the report by its columns, progress by its shape, failures by the
 * words that git has used for years. Secrets are files that its credential helper reads; neither
 * arguments nor environment nor log carry one.
 */
#include "workflow/push.h"

#include <base/cleanup.h>
#include <errno.h>
#include <inttypes.h>
#include <service/config.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "workflow/run.h"

#define TOKEN_USER "x-access-token" /* as origins of this kind read */

/* ---- configuration ---- */

/* A value of Git's configuration, quoted. False: a byte that it cannot have. */
static bool put_value(FILE *f, const char *key, const char *value)
{
	if (strpbrk(value, "\n\r"))
		return false;
	(void)fprintf(f, "\t%s = \"", key);
	for (; *value; value++) {
		if (*value == '"' || *value == '\\')
			(void)fputc('\\', f);
		(void)fputc(*value, f);
	}
	(void)fputs("\"\n", f);
	return true;
}

static bool put_http(FILE *f, const struct cfg_origin *o)
{
	bool good = true;

	(void)fputs("[http]\n\tfollowRedirects = initial\n", f);
	if (o->tls_ca)
		good = put_value(f, "sslCAInfo", o->tls_ca);
	if (good && o->tls_cert)
		good = put_value(f, "sslCert", o->tls_cert);
	if (good && o->tls_key)
		good = put_value(f, "sslKey", o->tls_key);
	if (good && o->proxy)
		good = put_value(f, "proxy", strcmp(o->proxy, "none") == 0 ? "" : o->proxy);
	return good;
}

/* The helper reads the file each time: a rotated password needs no restart. */
static bool put_helper(FILE *f, const struct cfg_origin *o)
{
	if (!o->password_file && !o->token_file)
		return true;
	(void)fputs("[credential]\n\thelper = \"!f() { test \\\"$1\\\" = get || exit 0; "
		    "printf 'username=%s\\\\npassword=' \\\"$COPPICE_USER\\\"; "
		    "head -n 1 \\\"$COPPICE_SECRET_FILE\\\"; }; f\"\n",
		f);
	return true;
}

int wf_remote_init(struct wf_remote *r)
{
	_cleanup_free_ char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	bool good;
	int err;

	if (!f)
		return -ENOMEM;
	/* repositories of other users on this machine: who may push is decided by the grants */
	(void)fputs(
		"[safe]\n\tdirectory = *\n"
		"[protocol]\n\tallow = never\n[protocol \"file\"]\n\tallow = always\n"
		"[protocol \"http\"]\n\tallow = always\n[protocol \"https\"]\n\tallow = always\n"
		"[protocol \"ssh\"]\n\tallow = always\n[protocol \"git\"]\n\tallow = always\n",
		f);
	good = put_http(f, r->origin) && put_helper(f, r->origin);
	if (fclose(f) != 0)
		return -ENOMEM;
	if (!good)
		return err_set(r->thin->w->e, -EACCES, "PUSH_DENIED",
			"the credentials of origin %s cannot be read", r->origin->name);
	err = wf_thin_write(r->thin, "gitconfig", text);
	return err;
}

/* ---- running it ---- */

struct listener {
	struct wf_remote *r;
	bool looking;     /* at the server's references */
	struct oid found; /* of them, that of this name */
	const char *ref;
};

static const struct {
	const char *words;
	enum wf_push_phase phase;
} phases[] = {
	{"Enumerating objects: ", WF_PUSH_COUNTING},
	{"Counting objects: ", WF_PUSH_COUNTING},
	{"Compressing objects: ", WF_PUSH_COMPRESSING},
	{"Writing objects: ", WF_PUSH_WRITING},
};

/* "100% (3/3), 281 bytes | 281.00 KiB/s, done." or a bare "12". */
static void parse_numbers(const char *at, struct wf_push_progress *p)
{
	static const struct {
		const char *unit;
		double bytes;
	} units[] = {{"bytes", 1}, {"KiB", 1024}, {"MiB", 1 << 20}, {"GiB", 1 << 30}};
	const char *open = strchr(at, '('), *comma;
	char unit[8] = "";
	double number;

	if (!open) {
		p->objects = strtoull(at, NULL, 10);
		return;
	}
	(void)sscanf(open, "(%" SCNu64 "/%" SCNu64 ")", &p->objects, &p->total);
	comma = strstr(open, "), ");
	if (!comma || sscanf(comma + 3, "%lf %7[A-Za-z]", &number, unit) != 2 || number < 0)
		return;
	for (unsigned i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (strcmp(unit, units[i].unit) == 0 && number * units[i].bytes < 1e18)
			p->bytes = (uint64_t)(number * units[i].bytes);
}

bool wf_push_parse_progress(const char *line, struct wf_push_progress *ret_progress)
{
	for (unsigned i = 0; i < sizeof(phases) / sizeof(phases[0]); i++) {
		size_t len = strlen(phases[i].words);

		if (strncmp(line, phases[i].words, len) != 0)
			continue;
		*ret_progress = (struct wf_push_progress){.phase = phases[i].phase};
		parse_numbers(line + len, ret_progress);
		return true;
	}
	return false;
}

static void keep_words(struct wf_remote *r, const char *line)
{
	size_t len = strlen(r->said);

	if (len > sizeof(r->said) / 2) { /* the end is where the reason is */
		memmove(r->said, r->said + len / 2, len - len / 2 + 1);
		len -= len / 2;
	}
	(void)snprintf(r->said + len, sizeof(r->said) - len, "%s%s", len ? "; " : "", line);
}

static int hear_error(struct wf_remote *r, const char *line)
{
	struct wf_push_progress p = {.phase = WF_PUSH_SERVER};

	if (!wf_push_parse_progress(line, &p)) {
		if (strncmp(line, "remote: ", 8) != 0) {
			keep_words(r, line);
			return 0;
		}
		p.text = line + 8;
		keep_words(r, line);
	}
	return r->progress ? r->progress(r->arg, &p) : 0;
}

/* "<flag>\t<from>:<to>\t<summary>" */
static void hear_report(struct wf_remote *r, const char *ref, char *line)
{
	char *words = line[0] && line[1] == '\t' ? strchr(line + 2, '\t') : NULL;
	char *to;

	if (!words)
		return;
	*words = '\0';
	to = strrchr(line + 2, ':');
	if (!to || strcmp(to + 1, ref) != 0)
		return;
	r->flag = line[0];
	(void)snprintf(r->summary, sizeof(r->summary), "%s", words + 1);
}

/* "<id>\t<name>" */
static int hear_ref(struct listener *l, char *line)
{
	char *tab = strchr(line, '\t');
	struct oid oid;

	if (!tab || tab - line != 40)
		return 0;
	*tab = '\0';
	if (oid_parse(line, &oid) < 0)
		return 0;
	l->r->has_base |= oid_equal(&oid, &l->r->thin->w->use->commit);
	if (l->found.len == 0 && strcmp(tab + 1, l->ref) == 0)
		l->found = oid;
	return 0;
}

static int hear(void *arg, bool from_error, char *line)
{
	struct listener *l = arg;

	if (from_error)
		return hear_error(l->r, line);
	if (l->looking)
		return hear_ref(l, line);
	hear_report(l->r, l->ref, line);
	return 0;
}

#define ENV_MAX 16u

__attribute__((format(printf, 3, 4))) static int env_add(
	char **env, unsigned *count, const char *fmt, ...)
{
	va_list args;
	int len;

	va_start(args, fmt);
	len = *count < ENV_MAX - 1 ? vasprintf(&env[*count], fmt, args) : -1;
	va_end(args);
	if (len < 0) {
		env[*count] = NULL;
		return -ENOMEM;
	}
	++*count;
	return 0;
}

static int run(struct wf_remote *r, const char *const *argv, struct listener *l)
{
	static const char *const fixed[] = {"LC_ALL=C", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_TERMINAL_PROMPT=0", "GIT_ASKPASS=/bin/false"};
	const struct cfg_origin *o = r->origin;
	const struct wf *w = r->thin->w;
	const char *path = getenv("PATH");
	char *env[ENV_MAX] = {0};
	unsigned n = 0;
	int result;

	result = env_add(env, &n, "PATH=%s", path ? path : "/usr/bin:/bin");
	result |= env_add(env, &n, "HOME=%s", r->thin->dir);
	result |= env_add(env, &n, "GIT_DIR=%s", r->thin->dir);
	result |= env_add(env, &n, "GIT_CONFIG_GLOBAL=%s/gitconfig", r->thin->dir);
	for (unsigned i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++)
		result |= env_add(env, &n, "%s", fixed[i]);
	result |= env_add(env, &n, "COPPICE_USER=%s",
		o->token_file ? TOKEN_USER
		: o->username ? o->username
			      : "");
	if (o->token_file || o->password_file)
		result |= env_add(env, &n, "COPPICE_SECRET_FILE=%s",
			o->token_file ? o->token_file : o->password_file);
	result |= env_add(env, &n,
		"GIT_SSH_COMMAND=ssh -o BatchMode=yes -o ConnectTimeout=15%s%s%s%s",
		o->ssh_key_file ? " -o IdentitiesOnly=yes -i " : "",
		o->ssh_key_file ? o->ssh_key_file : "",
		o->ssh_known_hosts_file ? " -o StrictHostKeyChecking=yes -o UserKnownHostsFile="
					: "",
		o->ssh_known_hosts_file ? o->ssh_known_hosts_file : "");
	r->said[0] = r->summary[0] = r->flag = '\0';
	if (result < 0)
		result = -ENOMEM;
	else
		result = wf_run(&(struct wf_run){.argv = argv,
			.env = env,
			.dir = r->thin->dir,
			.cancel = w->use->cancel,
			.deadline_ns = w->use->deadline_ns,
			.line = hear,
			.arg = l});
	for (unsigned i = 0; i < n; i++)
		free(env[i]);
	return result;
}

/* ---- what went wrong ---- */

static const struct {
	const char *words;
	int error;
	const char *reason;
} failures[] = {
	{"Authentication failed", -EACCES, "PUSH_DENIED"},
	{"could not read Username", -EACCES, "PUSH_DENIED"},
	{"could not read Password", -EACCES, "PUSH_DENIED"},
	{"Permission denied", -EACCES, "PUSH_DENIED"},
	{"error: 403", -EACCES, "PUSH_DENIED"},
	{"error: 401", -EACCES, "PUSH_DENIED"},
	{"Host key verification failed", -EACCES, "PUSH_DENIED"},
	{"does not appear to be a git repository", -ENOENT, "ORIGIN_NOT_FOUND"},
	{"repository not found", -ENOENT, "ORIGIN_NOT_FOUND"},
	{"error: 404", -ENOENT, "ORIGIN_NOT_FOUND"},
	{"not found: did you run git update-server-info", -ENOENT, "ORIGIN_NOT_FOUND"},
	{"Could not resolve host", -EHOSTUNREACH, "ORIGIN_UNAVAILABLE"},
	{"Failed to connect", -EHOSTUNREACH, "ORIGIN_UNAVAILABLE"},
	{"Connection refused", -EHOSTUNREACH, "ORIGIN_UNAVAILABLE"},
	{"unable to access", -EHOSTUNREACH, "ORIGIN_UNAVAILABLE"},
};

/* A failure before anything was sent. */
static int explain(const struct wf_remote *r, const char *what)
{
	for (unsigned i = 0; i < sizeof(failures) / sizeof(failures[0]); i++)
		if (strstr(r->said, failures[i].words))
			return err_set(r->thin->w->e, failures[i].error, failures[i].reason,
				"cannot %s origin %s: %.300s", what, r->origin->name, r->said);
	return err_set(r->thin->w->e, -EHOSTUNREACH, "ORIGIN_UNAVAILABLE",
		"cannot %s origin %s: %.300s", what, r->origin->name, r->said);
}

static bool said_any(const struct wf_remote *r)
{
	for (unsigned i = 0; i < sizeof(failures) / sizeof(failures[0]); i++)
		if (strstr(r->said, failures[i].words))
			return true;
	return false;
}

/* ---- looking and pushing ---- */

int wf_remote_look(struct wf_remote *r, const char *ref, struct oid *ret_oid)
{
	/* of all: the server names them all in any case, and one of them may be the base */
	const char *const argv[] = {"git", "ls-remote", "--", r->url, NULL};
	struct listener l = {.r = r, .looking = true, .ref = ref};
	int status = run(r, argv, &l);

	if (status < 0)
		return status;
	if (status != 0)
		return explain(r, "read the references of");
	*ret_oid = l.found;
	return 0;
}

static int refused(const struct wf_remote *r, const char *ref)
{
	bool stale = strstr(r->summary, "stale info") || strstr(r->summary, "non-fast-forward") ||
		     strstr(r->summary, "fetch first") ||
		     strstr(r->summary, "failed to update ref") ||
		     strstr(r->summary, "cannot lock ref");

	if (stale)
		return err_set(r->thin->w->e, -EBUSY, "NON_FAST_FORWARD",
			"%.128s has moved on the server meanwhile: %.200s", ref, r->summary);
	if (strstr(r->said, "push negotiation failed"))
		return err_set(r->thin->w->e, -EBUSY, "PUSH_REFUSED",
			"no reference of the server is a commit that the workspace knows, and the "
			"server cannot be asked what it has (that needs version 2 of Git's "
			"protocol); push to the branch that was mounted, or mount its newest "
			"commit: %.200s",
			r->said);
	return err_set(r->thin->w->e, -EBUSY, "PUSH_REFUSED",
		"the server refused %.128s: %.128s (%.200s)", ref, r->summary, r->said);
}

int wf_remote_push(struct wf_remote *r, const struct oid *commit, const char *ref,
	const struct oid *expected, bool negotiate)
{
	_cleanup_free_ char *lease = NULL;
	_cleanup_free_ char *spec = NULL;
	char old[OID_HEX_MAX] = "", new[OID_HEX_MAX];
	struct listener l = {.r = r, .ref = ref};
	int status;

	if (!oid_is_none(expected))
		(void)oid_hex(expected, old);
	if (asprintf(&lease, "--force-with-lease=%s:%s", ref, old) < 0) {
		lease = NULL;
		return -ENOMEM;
	}
	if (asprintf(&spec, "%s:%s", oid_hex(commit, new), ref) < 0) {
		spec = NULL;
		return -ENOMEM;
	}
	const char *const argv[] = {"git", "-c",
		negotiate ? "push.negotiate=true" : "push.negotiate=false", "push", "--porcelain",
		"--progress", "--thin", "--no-verify", "--no-signed", "--recurse-submodules=no",
		lease, "--", r->url, spec, NULL};

	status = run(r, argv, &l);
	if (status < 0)
		return status;
	if (r->flag == '!')
		return strstr(r->summary, "remote failure") ? -ECONNRESET : refused(r, ref);
	if (r->flag && status == 0)
		return 0;
	return said_any(r) ? explain(r, "push to") : -ECONNRESET;
}
