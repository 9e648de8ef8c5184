#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Each header compiles alone: who includes it needs to include nothing before it. Public headers see the public headers of their
# own floor and those below, private ones also their floor's folder.
# shellcheck source=tests/lint/lint.sh
. "$(dirname "$0")/lint.sh"

flags=(-std=gnu11 -D_GNU_SOURCE -fsyntax-only -Wall -Wextra -Werror -x c -include base/include/base/banned.h)
includes=()
for floor in "${floors[@]}"; do
	includes+=(-I "$floor/include")
	while read -r header; do
		extra=()
		case $header in
		"$floor"/include/*) ;;
		service/daemon/*) extra=(-I "$(dirname "$header")" -I api/include) ;;
		*) extra=(-I "$(dirname "$header")" -I "$floor" -isystem "$build_dir/api/gen") ;;
		esac
		output=$(printf '#include "%s"\n' "$PWD/$header" |
			gcc "${flags[@]}" "${includes[@]}" "${extra[@]}" - 2>&1) && continue
		problem "$header: does not compile alone"
		head -n 5 <<<"$output"
	done < <(find "$floor" -name '*.h' | LC_ALL=C sort)
done
done_with_lint
