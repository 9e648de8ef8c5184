#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Every test of Coppice on a bare Debian 12 machine, as root: installs what is missing, builds, runs. The stages:
#   release  build with warnings as errors, all tests
#   asan     address, leak and undefined-behaviour sanitizers, all tests
#   tsan     thread sanitizer, the tests with the label `tsan`
#   lint     the rules of the house, tests/lint
# The last line is "N passed, M failed" over all stages; the exit code is 0 only if N > 0 and M = 0.
set -uo pipefail

usage() {
	cat <<'END'
usage: tests/run.sh [--quick] [--long] [--only REGEX]
  --quick       the release stage alone
  --long        also the tests with the label `long`; COPPICE_TEST_LONG=1 is set for all
  --only REGEX  only tests whose name matches, e.g. 'unit/base' or 'integration/.*rename'
END
}

quick=0 long=0 only=
while [ $# -gt 0 ]; do
	case $1 in
	--quick) quick=1 ;;
	--long) long=1 ;;
	--only)
		[ $# -ge 2 ] || { usage >&2; exit 2; }
		only=$2
		shift
		;;
	-h | --help) usage; exit 0 ;;
	*) usage >&2; exit 2 ;;
	esac
	shift
done

cd "$(dirname "$0")/.." || exit 2
# shellcheck source=deploy/packages.sh
. deploy/packages.sh

# Seconds. They end a hang; a healthy run is far below.
configure_timeout=300
build_timeout=3600
test_timeout=$((long ? 14400 : 3600))

# allocator_may_return_null: a size out of a damaged file is an allocation that fails, as malloc does.
export ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1:abort_on_error=0:${ASAN_OPTIONS:-}
export LSAN_OPTIONS=suppressions=$PWD/tests/lsan.supp:print_suppressions=0:${LSAN_OPTIONS:-}
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1:${UBSAN_OPTIONS:-}
export TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1:${TSAN_OPTIONS:-}
[ "$long" = 1 ] && export COPPICE_TEST_LONG=1

passed=0 failed=0 skipped=0

# fail TEXT: one failure that no test reports.
fail() {
	echo "FAILED: $*"
	failed=$((failed + 1))
}

finish() {
	[ "$skipped" -gt 0 ] && echo "($skipped skipped)"
	echo "$passed passed, $failed failed"
	[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
	exit
}

# count FILE: add the results of a JUnit file of ctest. A test that did not run without asking for it (no executable, a failed
# fixture) is a failure.
count() {
	local file=$1 run not_run asked
	run=$(grep -c '<testcase .*status="run"' "$file")
	not_run=$(grep -c '<testcase .*status="\(notrun\|disabled\)"' "$file")
	asked=$(grep -c '<skipped message="SKIP_' "$file")
	stage_failed=$(($(grep -c '<testcase .*status="fail"' "$file") + not_run - asked))
	passed=$((passed + run))
	skipped=$((skipped + asked))
	failed=$((failed + stage_failed))
}

# build PRESET: configure and build.
build() {
	echo "== $1: build"
	timeout -k 30 "$configure_timeout" cmake --preset "$1" >"build/$1.configure.log" 2>&1 || {
		tail -n 40 "build/$1.configure.log"
		fail "$1: configure (see build/$1.configure.log)"
		return 1
	}
	timeout -k 30 "$build_timeout" cmake --build --preset "$1" >"build/$1.build.log" 2>&1 || {
		grep -E -A 5 'FAILED|error:|undefined reference' "build/$1.build.log" | head -n 80
		fail "$1: build (see build/$1.build.log)"
		return 1
	}
}

# run_tests PRESET NAME CTEST-OPTION...: run and count. FUSE tests keep out of each other's way by RESOURCE_LOCK.
run_tests() {
	local preset=$1 name=$2 rc
	local junit=$PWD/build/$name.junit.xml
	shift 2
	[ -n "$only" ] && set -- "$@" -R "$only"
	echo "== $name: test"
	rm -f "$junit"
	timeout -k 30 "$test_timeout" ctest --test-dir "build/$preset" -j2 --output-on-failure \
		--no-tests=ignore --output-junit "$junit" "$@"
	rc=$?
	stage_failed=0
	if [ "$rc" -eq 124 ] || [ "$rc" -eq 137 ]; then
		fail "$name: stopped after $test_timeout s"
	elif [ -f "$junit" ]; then
		count "$junit"
		# ctest failed although every test passed: something is wrong with the run itself
		[ "$rc" -ne 0 ] && [ "$stage_failed" -eq 0 ] && fail "$name: ctest ended with $rc"
	else
		fail "$name: ctest ended with $rc and left no results"
	fi
	return 0
}

# shellcheck disable=SC2086 # lists of words
coppice_install $COPPICE_BUILD_PACKAGES $COPPICE_TEST_PACKAGES || { fail "packages"; finish; }
mkdir -p build || { fail "build folder"; finish; }
[ -c /dev/fuse ] || fail "/dev/fuse is missing: load the fuse module, or give the container the device and CAP_SYS_ADMIN"

excluded=lint
[ "$long" = 1 ] || excluded='lint|long'

build release && run_tests release release -LE "$excluded"
if [ "$quick" = 0 ]; then
	build asan && run_tests asan asan -LE "$excluded"
	build tsan && run_tests tsan tsan -L tsan -LE "$excluded"
	[ -f build/release/CTestTestfile.cmake ] && run_tests release lint -L lint
fi
finish
