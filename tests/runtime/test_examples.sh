#!/usr/bin/env bash
# The examples of runtime/README.md run and do what it says of them.
set -u
cd "$(dirname "$0")/../.." || exit 2
B=${KVD_BUILD:-build}
examples=$B/runtime/examples
dir=$(mktemp -d)
failed=0 server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null; rm -rf "$dir"' EXIT
holds() { if grep -qE -- "$3" <<<"$2"; then echo "ok - $1"; else echo "not ok - $1"; printf '%s\n' "no match for: $3" "$2" | sed 's/^/#   /'; failed=1; fi; }
yes() { if [ "$2" = 1 ]; then echo "ok - $1"; else echo "not ok - $1"; printf '%s\n' "$3" | sed 's/^/#   /'; failed=1; fi; }
run() { timeout 200 "$examples/$1" 2>&1; echo "status $?"; }

out=$(run hello)
holds "hello adds up a hundred goroutines" "$out" '^hello from 100 goroutines on [0-9]+ Ps$'
out=$(run pipeline)
holds "pipeline squares a million numbers" "$out" '^1000000 squares, sum 333333833333500000 '
# The sleeper's moment and the loop's length come from the same clock: if it ran after the loop, it is seen.
out=$(run preemption)
case $B in
*tsan*) echo "ok - preemption lets the sleeper run inside the loop # SKIP ThreadSanitizer holds signals back" ;;
*) yes "preemption lets the sleeper run inside the loop" "$(awk '/ran on at/ {for (i = 1; i <= NF; i++) {if ($i == "at") ran = $(i + 1); if ($i == "took") took = $(i + 1)}; n += ran + 0 < took + 0} END {print n == 2}' <<<"$out")" "$out" ;;
esac
out=$(run leak)
holds "leak finds the goroutine that waits for a dead backend" "$out" '^\+[0-9]+ \(0 -> [0-9]+\) backend-call: .*ask_backend'
holds "leak names where it was started" "$out" '^  created at serve_requests\+0x'
holds "leak ends well" "$out" '^status 0$'

port=$((12000 + $$ % 18000))
"$examples/echo" serve "127.0.0.1:$port" >"$dir/server" 2>&1 &
server=$!
out=
for _ in $(seq 100); do
    out=$(timeout 100 "$examples/echo" load "127.0.0.1:$port" 10 1 2>&1) && break
    kill -0 "$server" 2>/dev/null || break
    sleep 0.1
done
holds "echo answers ten connections" "$out" '^[1-9][0-9]* answers a second, .*, 0 connections failed$'
for e in hello pipeline echo preemption leak; do
    yes "the essay teaches with the example $e" "$(grep -c "^### .*examples/$e\.c" runtime/README.md)" "no heading of runtime/README.md names examples/$e.c"
done
exit $failed
