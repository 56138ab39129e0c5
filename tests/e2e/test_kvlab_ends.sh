#!/usr/bin/env bash
# How kvlab ends: asked once and twice, by each signal, on a cluster that is not its own, with a gnuplot that
# refuses; and what its folder says then. Prints TAP.
set -u
cd "$(dirname "$0")/../.." || exit 2
B=${KVD_BUILD:-build}
KVLAB=$B/kvlab
dir=$(mktemp -d "${TMPDIR:-/tmp}/kvlab-ends.XXXXXX")
failures=0 lab='' server=''
cleanup() { for p in $lab $server; do kill -KILL "$p" 2>/dev/null; done; wait 2>/dev/null; rm -rf "$dir"; }
trap cleanup EXIT
pass() { echo "ok - $1"; }
fail() { echo "not ok - $1"; failures=$((failures + 1)); }
holds() { if grep -qE -- "$3" <<<"$2"; then pass "$1"; else fail "$1"; printf '%s\n' "no match for: $3" "$2" | head -20 | sed 's/^/#   /'; fi; }
same() { if [ "$2" = "$3" ]; then pass "$1"; else fail "$1"; printf '%s\n' "got: $2" "wanted: $3" | sed 's/^/#   /'; fi; }
await() { for _ in $(seq 600); do grep -qE -- "$2" "$1" 2>/dev/null && return; sleep 0.1; done; fail "\"$2\" comes in time"; }
none_left() { for _ in $(seq 100); do pgrep -f -- "--data-dir $1" >/dev/null || { pass "$2"; return; }; sleep 0.1; done; fail "$2"; }

if ! command -v gnuplot >/dev/null; then
    echo "ok - kvlab ends # SKIP gnuplot is not installed (deploy/deps.sh experiments)"
    exit 0
fi
long=(watch --streams 50 --trials 100 --trial-length 600s)

for signal in INT TERM HUP; do # once, in the middle of a trial that would last ten minutes
    "$KVLAB" "${long[@]}" --out "$dir/$signal" >"$dir/$signal.out" 2>"$dir/$signal.err" &
    lab="$lab $!"
done
set -- $lab
for signal in INT TERM HUP; do
    await "$dir/$signal.err" 'watch: low load, 1 of'
    kill -$signal "$1"; wait "$1"
    same "SIG$signal: exit status" $? 130
    holds "SIG$signal: the report is there and says that it is partial" "$(cat "$dir/$signal/report.html" 2>&1)" 'The run was stopped early'
    none_left "$dir/$signal" "SIG$signal: no member is left"
    shift
done

# Twice, while the member answers nothing, so that there is time for the second.
"$KVLAB" "${long[@]}" --out "$dir/own" >"$dir/out" 2>"$dir/err" &
lab=$!
await "$dir/err" 'watch: low load, 1 of'
pkill -STOP -f -- "--data-dir $dir/own"
kill -INT $lab; await "$dir/err" 'again: stop at once'; kill -TERM $lab; wait $lab
same "a second signal: exit status" $? 130
none_left "$dir/own" "a second signal: no member is left"

ports=$(python3 -c 'import socket
s = [socket.socket() for _ in range(2)]
[x.bind(("127.0.0.1", 0)) for x in s]
print(*[x.getsockname()[1] for x in s])')
read -r client peer <<<"$ports"
"$B/kvd" --name m1 --data-dir "$dir/m1" --listen-client-urls "http://127.0.0.1:$client" --advertise-client-urls "http://127.0.0.1:$client" \
    --listen-peer-urls "http://127.0.0.1:$peer" --initial-advertise-peer-urls "http://127.0.0.1:$peer" \
    --initial-cluster "m1=http://127.0.0.1:$peer" >"$dir/m1.log" 2>&1 &
server=$!
for _ in $(seq 300); do "$B/kvctl" --endpoints "127.0.0.1:$client" get x >/dev/null 2>&1 && break; sleep 0.1; done

# Twice on a cluster that stays: what was changed is told.
"$KVLAB" replication --quick --endpoints "127.0.0.1:$client" --rate 50 --trial-length 2s --out "$dir/twice" >"$dir/out" 2>"$dir/err" &
lab=$!
await "$dir/err" 'replication: window 1, 1 of' # the first setting has turned both knobs
kill -STOP $server
kill -INT $lab; await "$dir/err" 'again: stop at once'; kill -HUP $lab; wait $lab
same "a second signal on another's cluster: exit status" $? 130
kill -CONT $server
holds "... the knobs that stay are told, with the way back" "$(cat "$dir/err")" "not put back: max-inflight-msgs of 127.0.0.1:$client was 512 \(kvctl knob set max-inflight-msgs 512 --endpoints 127.0.0.1:$client\)"
holds "... the keys, too" "$(cat "$dir/err")" 'kvctl del --prefix kvlab/'

out=$("$KVLAB" etcd --endpoints "127.0.0.1:$client" --out "$dir/etcd" 2>&1); code=$?
same "etcd on a cluster that is not ours is skipped" "$code" 0
holds "... with one line" "$out" 'etcd: skipped: both servers must stand on one disk'

# Every put of the low load is due before the trial's last second: the rate is of the whole trial.
"$KVLAB" watch --endpoints "127.0.0.1:$client" --streams 50 --rate 10 --trials 1 --trial-length 3s --out "$dir/rate" >"$dir/out" 2>&1
same "a run on a cluster that is not ours ends well" $? 0
holds "... the events of three puts in three seconds are at most 50 a second" "$(cat "$dir/rate/tables/watch.csv" 2>&1)" '^low,1,([0-4]?[0-9](\.[0-9]+)?|50),'
python3 - "$dir/rate/run.json" "127.0.0.1:$client" <<'P' && pass "... run.json has its version, the load and the trials" || fail "... run.json has its version, the load and the trials"
import json, sys
r = json.load(open(sys.argv[1]))
assert [s["endpoint"] for s in r["servers"]] == [sys.argv[2]] and r["servers"][0]["version"].count(".") == 2, r["servers"]
low, high = r["settings"]
assert (low["setting"], low["trials"], low["load"]["rate"], low["load"]["length_s"]) == ("low", 1, 1, 3), low
assert high["load"]["rate"] == 10 and high["load"]["streams"] == 50, high
assert "kernel" in r["kvlab_machine"], r
P
ls "$dir"/rate/raw/watch-{low,high}-1.csv >/dev/null && pass "... every trial's histogram is there" || fail "... every trial's histogram is there"

# A gnuplot that says its version and draws nothing.
mkdir "$dir/bin"
printf '#!/bin/sh\n[ "$1" = --version ] && echo "gnuplot 0" && exit\necho "no terminal today" >&2; exit 3\n' >"$dir/bin/gnuplot"
chmod +x "$dir/bin/gnuplot"
PATH=$dir/bin:$PATH "$KVLAB" watch --streams 20 --trials 1 --trial-length 300ms --out "$dir/refused" >"$dir/out" 2>"$dir/err"
same "a gnuplot that refuses: exit status" $? 1
holds "... with its words" "$(cat "$dir/err")" 'gnuplot refuses .*: no terminal today'
holds "... the report is there without the plot" "$(cat "$dir/refused/report.html" 2>&1)" 'Events delivered later than a time.* is missing'
holds "... run.json, too" "$(cat "$dir/refused/run.json" 2>&1)" '"missing_plots": \["watch-cdf"\]'
[ -s "$dir/refused/tables/watch.csv" ] && pass "... the tables, too" || fail "... the tables, too"
[ "$failures" -eq 0 ]
