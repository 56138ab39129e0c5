#!/usr/bin/env bash
# kvlab from outside: its words, its errors, a small run with a report, Ctrl-C, a member that dies. Prints TAP.
set -u
cd "$(dirname "$0")/../.." || exit 2
B=${KVD_BUILD:-build}
KVLAB=$B/kvlab
dir=$(mktemp -d "${TMPDIR:-/tmp}/kvlab-test.XXXXXX")
failures=0
trap 'rm -rf "$dir"' EXIT
pass() { echo "ok - $1"; }
fail() { echo "not ok - $1"; failures=$((failures + 1)); }
holds() { if grep -qE -- "$3" <<<"$2"; then pass "$1"; else fail "$1"; printf '%s\n' "no match for: $3" "$2" | head -20 | sed 's/^/#   /'; fi; }
same() { if [ "$2" = "$3" ]; then pass "$1"; else fail "$1"; printf '%s\n' "got: $2" "wanted: $3" | sed 's/^/#   /'; fi; }
# refused NAME STATUS REGEX WORD...: one line on stderr, nothing on stdout
refused() {
    local name=$1 status=$2 regex=$3 out; shift 3
    out=$("$KVLAB" "$@" 2>"$dir/err"); local code=$?
    same "$name: exit status" "$code" "$status"
    same "$name: one line" "$(wc -l <"$dir/err")$out" 1
    holds "$name: the line" "$(cat "$dir/err")" "$regex"
}

list=$("$KVLAB" list)
for e in replication preemption watch etcd kube defer allocator steal gc leak all; do holds "list explains $e" "$list" "^$e +.{20}"; done
refused "a wrong experiment" 2 'no experiment "replicaton"; did you mean replication\?' replicaton
refused "a wrong option" 2 'did you mean --trials\?' etcd --trails 3
refused "an unreachable endpoint" 1 'cannot reach 127\.0\.0\.1:1: connection refused' watch --endpoints 127.0.0.1:1 --out "$dir/none"
refused "a folder that cannot be written" 1 'cannot write results to /proc/kvlab' watch --out /proc/kvlab
touch "$dir/something"
refused "a folder whose parent is not there" 1 'cannot write results to .*: no such file or directory' watch --out "$dir/no/such/folder"
refused "a folder that is not empty" 1 'is not empty' watch --out "$dir"

if ! command -v gnuplot >/dev/null; then
    echo "ok - kvlab runs # SKIP gnuplot is not installed (deploy/deps.sh experiments)"
    [ "$failures" -eq 0 ]; exit
fi
mkdir "$dir/bin" # a PATH with all that is needed but gnuplot
for t in df etcd; do command -v $t >/dev/null && ln -s "$(command -v $t)" "$dir/bin/$t"; done
out=$(PATH=$dir/bin "$KVLAB" watch --out "$dir/nognuplot" 2>&1); code=$?
same "without gnuplot: exit status" "$code" 1
holds "without gnuplot: the line" "$out" 'gnuplot.*install'
[ -e "$dir/nognuplot" ] && fail "without gnuplot no folder is left" || pass "without gnuplot no folder is left"

out=$("$KVLAB" watch --quick --streams 200 --trials 1 --trial-length 500ms --out "$dir/watch" 2>"$dir/err"); code=$?
same "a small watch run ends well" "$code" 0
holds "every stream had every event" "$out" 'holds: Every stream got every event once and in order: [0-9]+ puts, 200 streams'
holds "progress is told in lines where no terminal is" "$(cat "$dir/err")" '^ +[0-9]+ % \([0-9]+:[0-9]+ left\) watch'
for f in report.html run.json tables/watch.csv plots/watch-cdf.svg plots/watch-cdf.png members/watch/m1.log; do
    [ -s "$dir/watch/$f" ] && pass "the folder has $f" || fail "the folder has $f"
done
[ -e "$dir/watch/members/watch/m1" ] && fail "members' data is removed" || pass "members' data is removed"
python3 -c 'import json,sys; r=json.load(open(sys.argv[1])); assert r["experiments"][0]["state"]=="done" and r["quick"] and r["seed"]==1 and r["clusters"][0]["knobs"]["max-inflight-msgs"]=="512", r' "$dir/watch/run.json" &&
    pass "run.json is JSON and has the knobs in force" || fail "run.json is JSON and has the knobs in force"
if grep -qE 'src=|href="[^#]|url\(|<script' "$dir/watch/report.html"; then fail "the page needs nothing but itself"; else pass "the page needs nothing but itself"; fi

out=$("$KVLAB" kube --out "$dir/kube" 2>&1); code=$?
same "kube without a binary is skipped, not failed" "$code" 0
holds "... with one line" "$out" 'kube: skipped: no kube-apiserver is given'

refused_run() { # refused_run NAME REGEX WORD...: an experiment that fails, with one line that says why
    local name=$1 regex=$2; shift 2
    "$KVLAB" "$@" >"$dir/out" 2>"$dir/err"; same "$name: exit status" $? 1
    holds "$name: the line" "$(grep -v '^ *[0-9]* %' "$dir/err")" "$regex"
}
refused_run "a kube-apiserver that is not there" '--kube-apiserver: .*no/such' kube --kube-apiserver "$dir/no/such" --out "$dir/kube-none"
refused_run "a kube-apiserver that is none" 'is it kube-apiserver' kube --kube-apiserver /bin/false --out "$dir/kube-false"
if /usr/bin/python3 -c 'import etcd3' 2>/dev/null && command -v openssl >/dev/null; then
    # A stand-in, since there is no kube-apiserver here: what is seen is that it is started, trusted, asked and counted.
    stand_in=(kube --kube-apiserver tests/support/kube_stand_in.py --etcd "$dir/no/etcd" --rate 40 --clients 4 --trials 1 --trial-length 1s)
    out=$("$KVLAB" "${stand_in[@]}" --out "$dir/kube-run" 2>&1); code=$?
    same "kube through a stand-in ends well" "$code" 0
    holds "... every LIST answered" "$out" 'On kvd [0-9]+ of 40 requests a second were answered.*; an answer had 1\.[0-9] KiB'
    holds "... with the histogram" "$(cat "$dir/kube-run/tables/kube-histogram-kvd.csv" 2>&1)" '^500 ms,[0-9]'
    [ -e "$dir/kube-run/members/kube-kvd/apiserver" ] && fail "... its key and token are removed" || pass "... its key and token are removed"
    STAND_IN_FAULT=loses refused_run "a LIST that lacks a pod" 'a LIST answered 9 pods of 10' "${stand_in[@]}" --out "$dir/kube-loses"
    STAND_IN_FAULT=dies refused_run "an API server that dies" 'kube-apiserver ended with status 3; the end of' "${stand_in[@]}" --out "$dir/kube-dies"
    same "no API server is left" "$(pgrep -fc "kube_stand_in.py.*$dir")" 0
else
    echo "ok - kube through a stand-in # SKIP python3-etcd3 or openssl is not installed"
fi

out=$("$KVLAB" leak --soak 6s --out "$dir/leak" 2>&1); code=$?
same "a short soak ends well" "$code" 0
same "... and nothing stayed behind on any member" "$(grep -cE 'holds: When the streams have gone m[123] has [0-9]+ goroutines' <<<"$out")" 3
holds "... as the members' own detectors say" "$out" "holds: No member.s detector reports a leak"
same "... which looked at all three, twice" "$(grep -cE '^(at rest|watch streams come and go),"?m[123].*,[0-9]+,[0-9]+,0,' "$dir/leak/tables/leak-detector.csv")" 6

# Two loads in their shortest form: what is said needs no pairs, what is checked must hold.
out=$("$KVLAB" replication --quick --trials 1 --trial-length 200ms --rate 1000 --out "$dir/replication" 2>&1); code=$?
same "a short replication run ends well" "$code" 0
tables=$dir/replication/tables
holds "... with the article's figures beside ours" "$(cat "$tables/replication-article.csv" 2>&1)" '^P50,2\.1,3\.8,'
holds "... and the stages that the article says grow" "$(cat "$tables/replication-article.csv" 2>&1)" '^"E, waited for by the mean put",,,grows,[0-9.]+,'
holds "... with the client's part beside the stages" "$(cat "$tables/replication-stages.csv" 2>&1)" '^client and network,[0-9.]+,'
holds "... with pairs on slower disks" "$(cat "$tables/replication-disks.csv" 2>&1)" '^20,[0-9.]+,'
holds "... with stages that add up" "$out" 'holds: window 1, sync 5ms: the stages on the critical path add up'
holds "... with the delays as lower bounds" "$out" 'holds: debug-fsync-delay 20ms: E\.sync of follower [0-9a-f]+ took at least that every time'
holds "... calling nothing a difference" "$out" '1 pairs are too few'
holds "... and the stages of every trial kept" "$(cat "$dir/replication/raw/replication-both-1-stages.csv" 2>&1)" '^C,0,path_ns,,,[0-9]+$'
out=$("$KVLAB" preemption --trials 1 --trial-length 500ms --out "$dir/preemption" 2>&1); code=$?
same "a short preemption run ends well" "$code" 0
holds "... telling nothing of the tail by one pair" "$out" 'is not told by 1 and 1 pairs'
holds "... with preemptions as a spread" "$(cat "$dir/preemption/tables/preemption.csv" 2>&1)" 'preemptions low \(a second\)'
holds "... saying what P99 is of few puts" "$out$(cat "$dir/preemption/report.html" 2>&1)" 'A trial had as few as [0-9]+ samples'

if [ -x "$B/tests/bench/runtime/defers" ]; then
    out=$("$KVLAB" defer --trials 2 --out "$dir/defer" 2>&1); code=$?
    same "defer ends well" "$code" 0
    holds "... with the article's figure beside ours" "$(cat "$dir/defer/tables/defer-article.csv")" '^"?1,000 defers"?,428,96,'
    same "... and every run kept" "$(grep -c '^list,[12],thousand,' "$dir/defer/raw/defer.csv")" 2
    # short NAME CSV REGEX WORD...: one round of an experiment whose programs check their own work
    short() {
        local name=$1 csv=$2 regex=$3; shift 3
        "$KVLAB" "$name" --trials 1 "$@" --out "$dir/$name" >"$dir/out" 2>"$dir/err"; same "$name ends well" $? 0
        holds "... with its table" "$(cat "$dir/$name/tables/$csv.csv" 2>&1)" "$regex"
    }
    short steal steal '^stealing on,[0-9.]+,'
    short allocator allocator-article '^16 KiB by 16 at once,124,8\.3,' --quick
    short gc gc '^stop the world,[0-9.]+,' --trial-length 1s
else
    out=$("$KVLAB" defer --out "$dir/defer" 2>&1); code=$?
    same "defer without its program is skipped, not failed" "$code" 0
    holds "... with one line" "$out" 'defer: skipped: the program tests/bench/runtime/defers is not beside kvlab'
fi

# Ctrl-C in the middle of a trial.
"$KVLAB" watch --streams 50 --trials 60 --trial-length 700ms --out "$dir/stopped" >"$dir/out" 2>"$dir/err" &
lab=$!
for _ in $(seq 600); do grep -q 'watch: high load, 2 of' "$dir/err" && break; sleep 0.1; done
kill -INT $lab; wait $lab
same "Ctrl-C: exit status" $? 130
holds "Ctrl-C: the report says that it is partial" "$(cat "$dir/stopped/report.html" 2>&1)" 'The run was stopped early'
holds "Ctrl-C: run.json, too" "$(cat "$dir/stopped/run.json" 2>&1)" '"interrupted": true'
[ -s "$dir/stopped/tables/watch.csv" ] && pass "Ctrl-C: what was measured is there" || fail "Ctrl-C: what was measured is there"
same "Ctrl-C: no member is left" "$(pgrep -f "$dir/stopped" | wc -l)" 0

# Ctrl-C in the first sweep: of those that never began there is no table with nothing in it.
"$KVLAB" replication --quick --trials 2 --trial-length 100ms --out "$dir/stopped2" >"$dir/out" 2>"$dir/err" &
lab=$!
for _ in $(seq 600); do grep -q 'sweep-window: 8, 1 of' "$dir/err" && break; sleep 0.1; done
kill -INT $lab; wait $lab
same "Ctrl-C in a sweep: exit status" $? 130
same "Ctrl-C in a sweep: no table is empty" "$(for f in "$dir"/stopped2/tables/*.csv; do [ "$(wc -l <"$f")" -gt 1 ] || echo "$f"; done)" ""

# A member that dies.
"$KVLAB" watch --streams 50 --trials 60 --trial-length 2s --out "$dir/dead" >"$dir/out" 2>"$dir/err" &
lab=$!
for _ in $(seq 600); do grep -q 'watch: high load, 1 of' "$dir/err" && break; sleep 0.1; done
kill -KILL "$(pgrep -f "kvd --name m1 --data-dir $dir/dead")"; wait $lab
same "a dead member: exit status" $? 1
holds "a dead member: its end is told" "$(cat "$dir/err")" 'member m1 of watch ended with status 137; the end of m1.log:'
holds "a dead member: with its last lines" "$(cat "$dir/err")" '"level":'
holds "a dead member: more of its log is in the report" "$(cat "$dir/dead/tables/watch-end.csv" 2>&1)" 'level'
holds "a dead member: the report says that the experiment failed" "$(cat "$dir/dead/report.html" 2>&1)" 'This experiment failed'
[ "$failures" -eq 0 ]
