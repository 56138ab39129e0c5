#!/usr/bin/env bash
# The gdb script lists goroutines in every state and walks their stacks, spilled ones too.
set -u
cd "$(dirname "$0")/../.." || exit 2
B=${KVD_BUILD:-build}
failed=0
skip() { echo "ok - gdb shows goroutines # SKIP $1"; exit 0; }
holds() { if grep -qE -- "$3" <<<"$2"; then echo "ok - $1"; else echo "not ok - $1"; printf '%s\n' "no match for: $3" "$2" | sed 's/^/#   /'; failed=1; fi; }
look() { # look NAME=VALUE...
    env "$@" timeout 100 gdb -q -batch -nx -iex "set debuginfod enabled off" -ex "source runtime/gdb/rt_gdb.py" \
        -ex "break everybody_is_there" -ex run -ex "info goroutines" -ex "goroutine all" -ex "goroutine 99" \
        "$B/tests/runtime/tool_gdb" 2>&1
}
case $B in *asan* | *tsan*) skip "a sanitizer does not run under a debugger" ;; esac
command -v gdb >/dev/null || skip "gdb is not installed"
gdb -q -batch -nx -ex "python import gdb" >/dev/null 2>&1 || skip "this gdb has no python"
gdb -q -batch -nx -iex "set debuginfod enabled off" -ex run --args /bin/true 2>&1 | grep -q "exited normally" || skip "this system does not let gdb trace a process"

out=$(look KVD_SPILL=)
list=$(sed -n '/^ *[0-9]\+  /p' <<<"$out")
holds "four goroutines are listed" "$out" '^4 goroutines$'
holds "one that runs, with its thread" "$list" '^ +[0-9]+  running +main +thread [0-9]+$'
holds "one that waits for a channel, and where" "$list" '^ +[0-9]+  chan recv +waiter +wait_for_the_channel \(.*tool_gdb\.c:[0-9]+\)$'
holds "one in a blocking call" "$list" '^ +[0-9]+  blocking call +blocker +thread [0-9]+$'
holds "one in a queue" "$list" '^ +[0-9]+  runnable +yielder +yield_again_and_again '
stack() { sed -n "/^goroutine [0-9]* \[.*\]: $1\$/,/^$/p" <<<"$out"; }
holds "the stack of a parked one goes from the runtime to its first function" "$(stack waiter | tr '\n' ' ')" 'in wait_for_the_channel .*in wait_in_vain .*in goroutine_main .*created at run '
holds "the stack below a blocking call is seen" "$(stack blocker)" 'in block_for_ever '
holds "the stack of one that runs is its thread's" "$(stack main)" 'everybody_is_there'
holds "a goroutine that is not there is an error" "$out" '^there is no goroutine 99; info goroutines lists them$'

out=$(look KVD_SPILL=always)
if grep -qE '^ +[0-9]+  chan recv spilled' <<<"$out"; then
    holds "the stack of a spilled one is read from its copy" "$(stack waiter | tr '\n' ' ')" 'in wait_for_the_channel .*in wait_in_vain .*in goroutine_main '
else
    echo "ok - the stack of a spilled one is read from its copy # SKIP this kernel cannot spill"
fi
exit $failed
