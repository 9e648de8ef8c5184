#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# No writable globals: state hangs off an instance. Looks at what the compiler made of it: symbols of the libraries in .data and
# .bss (constants with addresses in them lie in .data.rel.ro and are fine, so are thread-locals). Exceptions are debts.
# shellcheck source=tests/lint/lint.sh
. "$(dirname "$0")/lint.sh"

seen=0
for floor in "${floors[@]}"; do
	library=$build_dir/$floor/libcoppice_$floor.a
	[ -f "$library" ] || continue
	seen=$((seen + 1))
	while read -r symbol; do
		name=${symbol%%.[0-9]*} # a static local has a number after its name
		case $name in __asan* | __odr_asan* | .* | '') continue ;; esac
		in_debts global "$name" || problem "$library: writable global $name"
	done < <(objdump -t "$library" | grep -E '^[0-9a-f]+ .{6}O \.(data|bss)' |
		grep -v '\.data\.rel\.ro' | sed 's/.*[[:space:]]//')
done
[ "$seen" -gt 0 ] || problem "$build_dir: no libraries, build first"
done_with_lint
