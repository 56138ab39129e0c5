#!/usr/bin/env bash
# The unit tests and a short cluster test in a build with sanitizers: sanitized.sh asan|tsan.
# TSan delivers no signal to a loop without calls, so those builds preempt only at runtime calls.
set -u
cd "$(dirname "$0")/../.." || exit 2
kind=${1:?usage: sanitized.sh asan|tsan}
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_stack_use_after_return=0:strict_string_checks=1:abort_on_error=1}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
export TSAN_OPTIONS=${TSAN_OPTIONS:-halt_on_error=1:second_deadlock_stack=1}
export KVD_BUILD=build/$kind KVD_TEST_TIMEOUT_S=${KVD_TEST_TIMEOUT_S:-900} KVD_KILLS=${KVD_KILLS:-2}
make --no-print-directory VARIANT="$kind" tests-built || exit 1
units=$(find tests -name 'test_*.c' | sed "s|^|build/$kind/|; s|\.c$||" | sort)
# shellcheck disable=SC2086
exec tests/support/run.sh $units tests/e2e/test_etcdctl.sh tests/fault/test_kills.sh
