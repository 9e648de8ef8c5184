#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A file fits a head and a function fits a screen: a .c over 800 lines fails, and a function over 100 that is not a named debt.
# Functions are found by the layout of clang-format: a brace in the first column opens and closes one.
# shellcheck source=tests/lint/lint.sh
. "$(dirname "$0")/lint.sh"

while read -r file; do
	lines=$(wc -l <"$file")
	[ "$lines" -le 800 ] || problem "$file: $lines lines, at most 800"
done < <(sources '*.c')

# FILE:FUNCTION:LINES of every function over 100 lines; the name is the last word before a "(" in the first column.
long_functions() {
	# shellcheck disable=SC2016 # $0 is awk's
	sources '*.c' | xargs awk '
		FNR == 1 { inside = 0; name = "" }
		/^[{]/ { inside = 1; start = FNR; next }
		/^[}]/ && inside {
			inside = 0
			if (FNR - start - 1 > 100)
				print FILENAME ":" name ":" FNR - start - 1
		}
		!inside && /^[A-Za-z_]/ && match($0, /[A-Za-z_][A-Za-z_0-9]*[(]/) {
			name = substr($0, RSTART, RLENGTH - 1)
		}'
}

while IFS=: read -r file name lines; do
	in_debts function "$file:$name" || problem "$file: $name has $lines lines, at most 100"
done < <(long_functions)

# A debt that is paid leaves the list.
while read -r _ name _; do
	file=${name%%:*}
	grep -qsE "(^|[ *])${name##*:}\(" "$file" || problem "$debts: $name does not exist any more"
done < <(grep '^function ' "$debts")
done_with_lint
