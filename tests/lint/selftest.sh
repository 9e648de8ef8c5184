#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The checks can fail: each is run on a small tree that breaks its rule, and on the same tree without the break.
set -uo pipefail

lint_dir=$(cd "$(dirname "$0")" && pwd)
tree=$(mktemp -d) || exit 2
trap 'rm -rf "$tree"' EXIT
failures=0

fresh_tree() {
	rm -rf "${tree:?}"/*
	mkdir -p "$tree"/{base,storage,fuse,service,api}/include "$tree"/api/proto "$tree"/tests/lint "$tree"/deploy \
		"$tree"/.ci "$tree"/build/base "$tree"/base/include/base
	cp "$lint_dir/debts.txt" "$tree/tests/lint/"
	sed -i '/^function /d' "$tree/tests/lint/debts.txt"
	cp "$lint_dir/../../.clang-format" "$tree/"
	cp "$lint_dir/../../base/include/base/banned.h" "$tree/base/include/base/"
	printf '/* SPDX-License-Identifier: Apache-2.0 */\nint a(void);\nint a(void)\n{\n\treturn 1;\n}\n' >"$tree/base/a.c"
}

# expect CHECK CODE WHAT: how the check must end.
expect() {
	bash "$lint_dir/$1.sh" "$tree" "$tree/build" >"$tree/out" 2>&1
	local code=$?
	[ "$code" -eq "$2" ] && return
	echo "$1: ended with $code on a tree with $3"
	cat "$tree/out"
	failures=$((failures + 1))
}

# breaks CHECK FILE TEXT: good without the text at the end of the file, a finding with it.
breaks() {
	fresh_tree
	[ "$1" = globals ] || expect "$1" 0 "nothing wrong"
	mkdir -p "$(dirname "$tree/$2")"
	[ -e "$tree/$2" ] || echo '/* SPDX-License-Identifier: Apache-2.0 */' >"$tree/$2"
	printf '%b' "$3" >>"$tree/$2"
	[ "$1" = globals ] && {
		gcc -c "$tree/base/a.c" -o "$tree/a.o" && ar rc "$tree/build/base/libcoppice_base.a" "$tree/a.o"
	}
	expect "$1" 1 "'${3:0:60}' in $2"
}

breaks doors storage/tree/x.c '#include <lmdb.h>\n'
breaks doors fuse/overlay/x.c '#  include <fuse3/fuse_lowlevel.h>\n'
breaks floors storage/x.c '#include "fuse/overlay.h"\n'
breaks floors service/cli/x.c '#include "service/mounts.h"\n'
breaks floors service/cli/x.c '#include <service/config.h>\n#include <service/mounts.h>\n'
breaks floors base/x.c '#include <storage/tree.h>\n'
breaks floors base/x.c '#include "../base/x.h"\n'
breaks sizes base/long.c "$(printf 'int x;%.0s\\n' {1..801})"
breaks sizes base/f.c "int f(int a)\n{\n$(printf '\\ta++;\\n%.0s' {1..101})}\n"
breaks sizes tests/lint/debts.txt 'function base/a.c:gone\n'
breaks texts base/x.c "/* TO""DO */\n"
breaks named docs/x.md 'tests/e2e/gone.py shows it\n'
breaks reasons api/status.c '{"NOT_TOLD", GRPC_STATUS_OK},\n'
breaks man service/cli/commands.c '\t{"mount", "--not-told"},\n'
breaks format base/x.c 'int   x ;\n'
breaks headers base/include/base/x.h 'struct x { uint64_t y; };\n'
breaks shell deploy/x.sh "echo \$1\n"
breaks globals base/a.c 'static int counter;\nint b(void)\n{\n\treturn counter++;\n}\n'
breaks globals base/a.c 'int c(void)\n{\n\tstatic int counter = 3;\n\treturn counter++;\n}\n'

fresh_tree
echo 'int x;' >"$tree/base/x.c"
expect texts 1 "a file without SPDX"
[ "$failures" -eq 0 ]
