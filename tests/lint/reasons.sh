#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Programs tell errors by their reasons: each that has a status of its own (api/status.c) is in the table of docs/api.md.
# shellcheck source=tests/lint/lint.sh
. "$(dirname "$0")/lint.sh"

while read -r reason; do
	grep -sqw "$reason" docs/api.md || problem "docs/api.md: does not have the reason $reason of api/status.c"
done < <(grep -soE '\{"[A-Z_]+", GRPC_STATUS' api/status.c | cut -d'"' -f2)
done_with_lint
