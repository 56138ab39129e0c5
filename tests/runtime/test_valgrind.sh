#!/usr/bin/env bash
# Under valgrind goroutines are seen as what they are: whoever switches stacks without a word to it is told
# of thousands of errors.
set -u
cd "$(dirname "$0")/../.." || exit 2
B=${KVD_BUILD:-build}
skip() { echo "ok - valgrind finds nothing in the examples # SKIP $1"; exit 0; }
case $B in *asan* | *tsan*) skip "not applicable: a sanitizer's programs do not run under valgrind" ;; esac
command -v valgrind >/dev/null || skip "valgrind is not installed"
# The first two of what valgrind's requests are made of: instructions that do nothing else.
objdump -d --no-show-raw-insn "$B/runtime/sched/stack.c.o" | grep -qE 'rol +\$0x3,%rdi' || skip "this build did not see valgrind's header"
out=$(mktemp)
trap 'rm -f "$out"' EXIT
failed=0
finds_nothing() { # finds_nothing PROGRAM [ARGUMENT...]
    timeout 250 valgrind --error-exitcode=9 -q "$B/runtime/examples/$1" "${@:2}" >"$out" 2>&1
    local status=$?
    if [ $status -eq 0 ] && ! grep -q '^==' "$out"; then
        echo "ok - valgrind finds nothing in $1"
    else
        echo "not ok - valgrind finds nothing in $1"
        { echo "status $status"; head -40 "$out"; } | sed 's/^/#   /'
        failed=1
    fi
}
finds_nothing hello
finds_nothing pipeline 20000
exit $failed
