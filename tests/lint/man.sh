#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What the command takes is in its manual page: each command and option of service/cli/commands.c, in docs/man/coppice.1.
# shellcheck source=tests/lint/lint.sh
. "$(dirname "$0")/lint.sh"

while read -r option; do
	grep -sqE -- "[ ,]-${option#--}( |,|\$)" docs/man/coppice.1 || problem "docs/man/coppice.1: does not have $option of service/cli/commands.c"
done < <(grep -soE -- '--[a-z-]+' service/cli/commands.c | LC_ALL=C sort -u)
while read -r command; do
	grep -sqE "^\.It Cm $command( |\$)" docs/man/coppice.1 || problem "docs/man/coppice.1: does not have the command $command"
done < <(grep -soP '^\t\{"\K[a-z]+' service/cli/commands.c)
done_with_lint
