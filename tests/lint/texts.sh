#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Every file says its licence at its head, and no unfinished work is marked by a word: it is finished, or an issue.
# shellcheck source=tests/lint/lint.sh
. "$(dirname "$0")/lint.sh"

while read -r file; do
	head -n 12 "$file" | grep -qE 'SPDX-License-Identifier: |Licensed under the Apache License' ||
		problem "$file: no SPDX line at its head"
done < <(sources '*.c' '*.h' '*.sh' '*.py' && find api/proto -name '*.proto')

while IFS=: read -r file line _; do
	problem "$file:$line: unfinished work is an issue, not a word"
done < <(grep -rnwE --include='*.[ch]' --include='*.sh' --include='*.py' --include='*.proto' \
	'TO''DO|FIX''ME|XX''X' "${floors[@]}" tests deploy)
done_with_lint
