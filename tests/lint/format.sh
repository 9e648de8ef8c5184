#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# clang-format decides layout.
# shellcheck source=tests/lint/lint.sh
. "$(dirname "$0")/lint.sh"

command -v clang-format >/dev/null || problem "clang-format is not installed"
while read -r file; do
	problem "$file: not as clang-format -i would leave it"
done < <(sources '*.c' '*.h' | xargs clang-format --dry-run --ferror-limit=1 2>&1 |
	sed -nE 's/^([^:]+):[0-9]+:[0-9]+: (warning|error): .*/\1/p' | sort -u)
done_with_lint
