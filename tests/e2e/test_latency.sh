#!/usr/bin/env bash
# kvctl latency and kvctl knob against real members: what operators and experiments see.
source "$(dirname "$0")/../support/cluster.sh"
k() { "$KVCTL" --endpoints "$(endpoints)" "$@" 2>&1; }
at() { "$KVCTL" --endpoints "$(endpoint "$1")" "${@:2}" 2>&1; }
start_cluster
l=$(wait_leader)

for i in $(seq 20); do at "$l" put "k$i" v >/dev/null; done
json=$(at "$l" latency -w json)
same "every put is counted once" "$(jq '.[0].latency.stages[] | select(.name == "total") | .count' <<<"$json")" 20
same "the stages on the path add up to the total" \
    "$(jq '[.[0].latency.stages[] | select(.on_path and .peer == null) | .path_ns // 0] | add' <<<"$json")" \
    "$(jq '.[0].latency.stages[] | select(.name == "total") | .sum_ns' <<<"$json")"
same "each follower's part is told" "$(jq '[.[0].latency.stages[] | select(.peer != null and .name == "E.sync" and .count > 0)] | length' <<<"$json")" 2
holds "the table has the stages by quantile" "$(at "$l" latency -w table)" "\| +STAGE +\|.* P99 +\|"
holds "and every member with --cluster" "$(at "$l" latency --cluster)" "m$l \(leader\)"
holds "--watch shows what came since" "$(at "$l" latency --watch --interval 200ms --rounds 2 | tail -1)" "no put was sent to these members since the last look"
holds "what was counted stands below" "$(at "$l" latency)" "^m$l \(leader\): [0-9]+ entries in [0-9]+ batches, [0-9]+ syncs, [0-9]+ overruns, [0-9]+ window stalls"
holds "... below the table, too" "$(at "$l" latency -w table | tail -1)" "^m$l \(leader\): [0-9]+ entries in .* window stalls"
looks=$("$KVCTL" --endpoints "$(endpoint "$l")" latency --watch --interval 100ms --rounds 2 -w json)
same "... and as JSON: totals first, differences then" \
    "$(jq -c '.[0].latency.stages[] | select(.name == "total" and .peer == null) | [.count // 0, (.sum_ns // 0) > 0, .path_ns // 0, (.p99_ns // 0) > 0]' <<<"$looks")" \
    "$(printf '[20,true,0,true]\n[0,false,0,false]')"
same "... of counters, too" "$(jq -c '[.[0].latency.counters[] | select(.name == "append_entries") | (.value // 0) > 0] | any' <<<"$looks")" "$(printf 'true\nfalse')"
same "... each since the look before" "$(jq -s '.[1][0].since_ns == (.[0][0].latency.now_ns | tonumber)' <<<"$looks")" true
metrics=$(curl -s "$(client_url "$l")/metrics")
same "/metrics has the stages as histograms, 50 us to 10 s" \
    "$(grep -c 'kvd_put_stage_seconds_bucket{stage="C",le="\(5e-05\|10\)"}' <<<"$metrics")" 2
same "/metrics counts the same puts" "$(grep 'kvd_put_stage_seconds_count{stage="total"}' <<<"$metrics")" 'kvd_put_stage_seconds_count{stage="total"} 20'

holds "knob list names the knobs with their ranges" "$(at "$l" knob list)" "max-inflight-msgs +512 +\(1 to 65536\)"
same "knob set changes it on every endpoint" "$(k knob set max-inflight-msgs 1 | grep -c 'max-inflight-msgs = 1 (was 512)')" 3
same "knob get tells it" "$(k knob get max-inflight-msgs | grep -c '= 1$')" 3
holds "/metrics shows it" "$(curl -s "$(client_url "$l")/metrics")" 'kvd_knob\{name="max-inflight-msgs",unit=""\} 1$'
st=$(k endpoint status -w json)
same "endpoint status shows the knobs in force, as JSON" "$(jq -c '[.[].Knobs | .["max-inflight-msgs"], .slice]' <<<"$st")" '["1","10ms","1","10ms","1","10ms"]'
holds "... on the simple line, after etcdctl's fields" "$(at "$l" endpoint status)" "^127[^,]*(, [^,]*){9}, .*max-inflight-msgs=1 .*sync-timeout=0"
holds "... as fields" "$(at "$l" endpoint status -w fields)" '^"Knob max-inflight-msgs" : "1"$'
same "... and as a table, a column a member" "$(k endpoint status -w table | grep -cE '^\| +max-inflight-msgs \|( +1 \|){3}$')" 1
same "etcdctl's endpoint status is as it ever was" \
    "$(ETCDCTL_API=3 etcdctl --endpoints "$(endpoint "$l")" endpoint status -w json | jq -c '[.[0] | keys, (.Status | has("Knobs"))]')" '[["Endpoint","Status"],false]'
holds "the log says it" "$(cat "$dir/m$l.log")" '"msg":"knob changed","knob":"max-inflight-msgs","value":"1","previous":"512"'
refusal=$(at "$l" knob set sync-timeout 1h)
holds "a value out of range is refused with the range" "$refusal" 'sync-timeout does not take "1h": it takes 0, or 100.s to 1m0s; nothing was changed'
at "$l" knob set sync-timeout 1h >/dev/null; same "and ends with 1" $? 1
holds "a wrong name is refused" "$(at "$l" knob set sync-timeuot 1s)" 'there is no knob "sync-timeuot"'
same "the refused value was not set" "$(at "$l" knob get sync-timeout)" "$(endpoint "$l"): sync-timeout = 0"

same "slow-request-threshold is set" "$(at "$l" knob set slow-request-threshold 1ms | grep -c '= 1ms')" 1
same "debug-fsync-delay is set" "$(k knob set debug-fsync-delay 20ms | grep -c '= 20ms')" 3
at "$l" put slow v >/dev/null
holds "a slow request is logged with its stages and the one that cost most" "$(grep 'slow request' "$dir/m$l.log" | tail -1)" \
    '"request":"put","took":"[0-9.]+m?s","longest":"[A-Za-z]+".*"apply"'
holds "C took at least the delay" "$(jq '[.[0].latency.stages[] | select(.name == "C" and .peer == null)][0].max_ns >= 20000000' <<<"$(at "$l" latency -w json)")" true
k knob set debug-fsync-delay 0 >/dev/null

"$KVCTL" --endpoints "$(endpoint "$l")" latency --watch --interval 100ms -w json >"$dir/looks" 2>"$dir/looks.err" &
watching=$!
lines() { local t; for t in $(seq 300); do [ "$(wc -l <"$dir/looks")" -ge "$1" ] && return; sleep 0.1; done; fail "the watch looks again"; }
lines 2; stop_member "$l"
for _ in $(seq 300); do [ -s "$dir/looks.err" ] && break; sleep 0.1; done
start_member "$l"; wait_healthy
for _ in $(seq 300); do grep -q anew "$dir/looks.err" && break; sleep 0.1; done
lines $(($(wc -l <"$dir/looks") + 1)); kill "$watching"; wait "$watching" 2>/dev/null
holds "a member that was started anew is said to be" "$(cat "$dir/looks.err")" "^$(endpoint "$l") was started anew: its figures are since then$"
l=$(wait_leader)

f=1; [ "$l" = 1 ] && f=2
holds "preempt can be turned off, and on" "$(at "$f" knob set preempt off; at "$f" knob set preempt on)" "preempt = on \(was off\)"
holds "debug-burn burns" "$(at "$f" knob set debug-burn 20ms)" "debug-burn = 20ms"
at "$f" put warm v >/dev/null; for _ in $(seq 100); do
    n=$(at "$f" latency -w json | jq '[.[0].latency.counters[] | select(.name == "sched_preempted_slice") | .value // 0] | add'); [ "${n:-0}" -gt 0 ] && break; sleep 0.1; done
holds "and is preempted" "$n" '^[1-9]'
at "$f" knob set debug-burn 0 >/dev/null

at "$f" knob set sync-timeout 5ms --persist >/dev/null
holds "what is persisted is called so while it is in force" "$(at "$f" knob set sync-timeout 9ms; at "$f" knob list; at "$f" knob set sync-timeout 5ms; at "$f" knob list)" \
    "sync-timeout +5ms +\([^)]*\) persisted;"
at "$f" knob set slice 20ms >/dev/null
stop_member "$f"; start_member "$f"; wait_healthy
same "what was persisted is there after a restart" "$(at "$f" knob get sync-timeout)" "$(endpoint "$f"): sync-timeout = 5ms"
same "what was not is not" "$(at "$f" knob get slice)" "$(endpoint "$f"): slice = 10ms"
same "the default, persisted, is no longer persisted" "$(at "$f" knob set sync-timeout default --persist)" "$(endpoint "$f"): sync-timeout = 0 (was 5ms), no longer persisted"
same "... and its line is gone" "$(grep -c sync-timeout "$(find "$dir/m$f" -name knobs)")" 0
at "$f" knob set sync-timeout 5ms --persist >/dev/null
stop_member "$f"
file=$(find "$dir/m$f" -name knobs)
sed -i 's/5ms/7ms/' "$file"
"$KVD" --name "m$f" --data-dir "$dir/m$f" --listen-client-urls "$(client_url "$f")" --advertise-client-urls "$(client_url "$f")" \
    --listen-peer-urls "$(peer_url "$f")" --initial-advertise-peer-urls "$(peer_url "$f")" --initial-cluster "$(initial_cluster)" \
    --initial-cluster-token "test-$$" >"$dir/wrong" 2>&1
same "a changed file is refused" $? 1
holds "with one line that names it" "$(cat "$dir/wrong")" "knobs.*remove the file to start with the command line's knobs"
rm "$file"; start_member "$f"; wait_healthy
same "without it the member starts as told" "$(at "$f" knob get sync-timeout)" "$(endpoint "$f"): sync-timeout = 0"

l=$(wait_leader)
for i in $(seq "$members"); do [ "$i" = "$l" ] || kill_member "$i"; done
at "$l" --command-timeout 1s put nobody hears >/dev/null; same "a put without a quorum fails" $((1 - ($? == 0))) 1
line=
for _ in $(seq 300); do line=$(grep 'slow request' "$dir/m$l.log" | grep '"failed":true' | tail -1); [ -n "$line" ] && break; sleep 0.1; done
holds "its line in the log says where it hung" "$line" '"failed":true,"unfinished":"(E|queued)","longest":"(E|queued)"'
same "... and blames no answer" "$(grep -c '"answer"' <<<"$line")" 0
