#!/usr/bin/env bash
# The leader's disk does not give back a part of the log that a follower needs: the leader stops and says what
# it could not read, the others go on, and the follower catches up with one whose log is whole.
source "$(dirname "$0")/../support/cluster.sh"
kvd_flags=(--heartbeat-interval 50 --election-timeout 500 --wal-segment-bytes 16777216)
start_cluster
l=$(wait_leader) || exit 1
away=$((l % 3 + 1))
kill_member "$away"
head -c 1200000 /dev/zero | tr '\0' v >"$dir/value"
for n in $(seq 70); do # more than the cache of entries in memory
    "$KVCTL" --endpoints "$(endpoint "$l")" put "key$((n % 4))" <"$dir/value" >/dev/null || { fail "put $n"; break; }
done
"$KVCTL" --endpoints "$(endpoint "$l")" put last one >/dev/null
oldest=$(find "$dir/m$l" -name '*.seg' | sort | head -n 1)
holds "the leader has its log in segments" "$oldest" '\.seg$'
mv "$oldest" "$dir/taken"
start_member "$away"
for _ in $(seq 600); do kill -0 "${pid[$l]}" 2>/dev/null || break; sleep 0.05; done
if kill -0 "${pid[$l]}" 2>/dev/null; then fail "the leader stops"; else pass "the leader stops"; unset "pid[$l]"; fi
holds "its last words name the file and the error" "$(grep -aE 'cannot (read|open) .*seg' "$dir/m$l.log")" "${oldest##*/}.*no such file"
wait_healthy
same "the one that was away has all after it caught up with another" \
    "$("$KVCTL" --endpoints "$(endpoint "$away")" --command-timeout 30s get last --print-value-only)" "one"
