# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034 # used by the checks that source this file
# What the checks share. A check is called with SOURCE and BUILD folders (defaults: this tree, its release build), prints
# one line "file: what is wrong" per finding and ends with 1 if there was any.
set -uo pipefail

source_dir=$(cd "${1:-$(dirname "${BASH_SOURCE[0]}")/../..}" && pwd) || exit 2
build_dir=${2:-$source_dir/build/release}
cd "$source_dir" || exit 2

floors=(base storage fuse service api)
debts=tests/lint/debts.txt
problems=0

problem() {
	echo "$*"
	problems=$((problems + 1))
}

# done_with_lint: the verdict.
done_with_lint() {
	[ "$problems" -eq 0 ] && exit 0
	echo "$problems found"
	exit 1
}

# in_debts KIND NAME: is it an agreed exception?
in_debts() {
	grep -qE "^$1 +$2( |\$)" "$debts"
}

# sources GLOB...: files of the product and its tests with such a name, sorted.
sources() {
	local names=() glob
	for glob in "$@"; do
		names+=(-o -name "$glob")
	done
	find "${floors[@]}" tests deploy -type f \( "${names[@]:1}" \) | LC_ALL=C sort
}
