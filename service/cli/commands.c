// SPDX-License-Identifier: Apache-2.0
/* The table of commands: the help, the completion and the dispatch are all made from it. */
#include "cli.h"
#include "workspace.h"

#include <string.h>

const struct cli_command cli_commands[] = {
	{"mount", "--job-id JOB [--origin NAME] [--revision REV] [--path DIR] [...]",
		"make a workspace and print its directory", "",
		"--job-id --origin --revision --change-list --cl --cl-path --patch --tar "
		"--deleted --path --mountpoint --quota-bytes --quota-inodes "
		"--lease --label --read-only --owner --wait --preload-depth --tenant",
		cmd_mount},
	{"umount", "JOB|MOUNT_ID [--tenant T]", "remove a workspace and everything written in it",
		"", "--tenant", cmd_umount},
	{"list", "[--tenant T] [--origin NAME] [--state STATE] [--label K=V]", "list workspaces",
		"", "--tenant --origin --state --label", cmd_list},
	{"show", "JOB|MOUNT_ID [--tenant T]", "show one workspace", "", "--tenant", cmd_show},
	{"watch", "[JOB|MOUNT_ID] [--since SEQUENCE] [--tenant T]", "print changes as they happen",
		"", "--since --tenant", cmd_watch},
	{"renew", "JOB|MOUNT_ID [--lease TIME] [--tenant T]", "push the end of a lease", "",
		"--lease --tenant", cmd_renew},
	{"update", "JOB|MOUNT_ID [--quota-bytes N] [--quota-inodes N] [--lease TIME] [--label K=V]",
		"change quota, lease or labels", "",
		"--quota-bytes --quota-inodes --lease --label --tenant", cmd_update},
	{"prefetch", "JOB|MOUNT_ID [PATH...] [--depth N] [--bytes N] [--directories] [--tenant T]",
		"make files local before they are used; PATH may hold *, ? and **", "",
		"--depth --bytes --directories --tenant", cmd_prefetch},
	{"node", "[drain [--wait] [--stop] | undrain | upgrade]",
		"show this node: version, limits, requests; let it take no new mounts; hand over "
		"to "
		"the program that is installed now",
		"drain undrain upgrade", "--wait --stop", cmd_node},
	{"add", "JOB|MOUNT_ID [-A|-u|PATH...] [--force]", "stage changes", "",
		"--all --update --force --tenant --expected-generation --expected-head", cmd_add},
	{"commit", "JOB|MOUNT_ID -m MESSAGE [--author 'NAME <EMAIL>'] [--date SECONDS] [...]",
		"commit what is staged", "",
		"--message --author --date --committer --committer-date --allow-empty --tenant "
		"--expected-generation --expected-head",
		cmd_commit},
	{"reset", "JOB|MOUNT_ID [--soft|--mixed|--hard] [--to COMMIT] [PATH...]",
		"unstage, or go back to a commit", "",
		"--soft --mixed --hard --to --tenant --expected-generation --expected-head",
		cmd_reset},
	{"diff",
		"JOB|MOUNT_ID [--staged | --from COMMIT [--to COMMIT]] "
		"[--stat|--shortstat|--numstat|"
		"--name-only|--name-status] [PATH...]",
		"show changes as text", "",
		"--staged --from --to --stat --shortstat --numstat --name-only --name-status "
		"--unified "
		"--no-renames --tenant",
		cmd_diff},
	{"push", "JOB|MOUNT_ID [--ref REF] [--force-with-lease COMMIT]",
		"send the commits of a workspace to its origin", "",
		"--ref --force-with-lease --tenant --expected-generation --expected-head",
		cmd_push},
	{"cl",
		"set|clear|show JOB|MOUNT_ID [--change-list REF|A..B] [--expected-generation N] "
		"[...]",
		"lay another change list over a workspace that is in use, take it away, or list "
		"what "
		"it does",
		"set clear show",
		"--change-list --cl --cl-path --patch --tar --deleted --tenant "
		"--expected-generation",
		cmd_cl},
	{"fetch", "JOB|MOUNT_ID [--revision REV]",
		"ask the origin what the workspace's revision is by now", "", "--revision --tenant",
		cmd_fetch},
	{"rebase", "JOB|MOUNT_ID [--revision REV] [--keep-mine|--take-theirs|--merge] [...]",
		"move a workspace that is in use to another revision, its commits too", "",
		"--revision --keep-mine --take-theirs --merge --committer --committer-date "
		"--tenant --expected-generation",
		cmd_rebase},
	{"log", "JOB|MOUNT_ID [--limit N]", "list the commits of a workspace", "",
		"--limit --tenant", cmd_log},
	{"status", "JOB|MOUNT_ID [PATH...] [--untracked normal|all|no] [--ignored] [--no-renames]",
		"show what changed", "", "--untracked --ignored --no-renames --tenant", cmd_status},
	{"cache", "", "show the caches: hits, misses, sizes", "", "", cmd_cache},
	{"doctor", "", "check this machine and the service, and say what to do", "", "",
		cmd_doctor},
	{"config", "check|show [--config FILE]",
		"check the configuration, or show the effective one", "check show", "--config",
		cmd_config},
	{"completion", "bash|zsh|fish", "print a completion script", "bash zsh fish", "",
		cmd_completion},
	{"help", "[COMMAND]", "explain the commands", "", "", cmd_help},
	{"version", "", "print the version", "", "", cmd_version},
	{0},
};

const struct cli_command *cli_find(const char *name)
{
	for (const struct cli_command *c = cli_commands; c->name; c++)
		if (strcmp(c->name, name) == 0)
			return c;
	return NULL;
}
