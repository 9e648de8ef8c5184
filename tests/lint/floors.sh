#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A floor includes only itself and floors below it; nothing reaches out of its folder by a relative path. CMake enforces most of
# this with include paths; here it is said in one place, also for the programs in service/.
# shellcheck source=tests/lint/lint.sh
. "$(dirname "$0")/lint.sh"

# folder (the longest one that fits counts)   floors whose headers it may include, and single headers
# The command line client is no part of the service, but `config` and `doctor` run the daemon's own parser.
may='
base             base
storage          base|storage
fuse             base|storage|fuse
service          base|storage|fuse|service
api              base|storage|fuse|service|api
service/daemon   base|storage|fuse|service|api
service/keeper   base|fuse
service/cli      base|service/config\.h
'

allowed_for() {
	local folder floors best=''
	while read -r folder floors; do
		[ -n "$folder" ] && [ "${1#"$folder"/}" != "$1" ] && [ "${#folder}" -gt "${#best}" ] &&
			best=$folder && answer=$floors
	done <<<"$may"
}

last='' answer=''
while IFS=: read -r file header; do
	[ "$file" = "$last" ] || allowed_for "$file"
	last=$file
	case $header in
	../* | */../*) problem "$file: includes \"$header\": no relative paths" ;;
	*) [[ $header =~ ^($answer)(/|$) ]] || problem "$file: includes \"$header\" of a floor above it" ;;
	esac
done < <(grep -rEo --include='*.c' --include='*.h' '^[[:space:]]*#[[:space:]]*include[[:space:]]*[<"]((base|storage|fuse|service|api)/|[^">]*\.\./)[^">]*' "${floors[@]}" |
	sed -E 's/:[[:space:]]*#[[:space:]]*include[[:space:]]*[<"]/:/')

while read -r file; do
	problem "$file: includes by a relative path"
done < <(grep -rlE --include='*.c' --include='*.h' '^[[:space:]]*#[[:space:]]*include[[:space:]]*"\.\./' tests)
done_with_lint
