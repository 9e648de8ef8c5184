#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What the documents call a test is there: `tests/a/b.py` is a file, and `tests/a/b.py::name` is a test in it.
# shellcheck source=tests/lint/lint.sh
. "$(dirname "$0")/lint.sh"

while IFS=: read -r document path _ test; do
	if [ ! -e "$path" ]; then
		problem "$document: $path is not there"
	elif [ -n "$test" ] && ! grep -qE "(def |\()$test\(?" "$path"; then
		problem "$document: $path has no $test"
	fi
done < <(grep -sroE --include='*.md' '\btests/[A-Za-z0-9_/]+\.(py|c|sh)(::[A-Za-z0-9_]+)?' docs README.md CONTRIBUTING.md | sort -u)
done_with_lint
