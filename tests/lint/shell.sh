#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Shell scripts pass shellcheck.
# shellcheck source=tests/lint/lint.sh
. "$(dirname "$0")/lint.sh"

command -v shellcheck >/dev/null || problem "shellcheck is not installed"
while read -r file; do
	shellcheck -x -P SCRIPTDIR/../.. -P SCRIPTDIR -P SCRIPTDIR/.. "$file" || problem "$file: shellcheck"
done < <(sources '*.sh' && find .ci -type f)
done_with_lint
