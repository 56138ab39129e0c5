#!/usr/bin/env bash
# kvctl against three members, and its words beside etcdctl's where the formats are shared.
source "$(dirname "$0")/../support/cluster.sh"
k() { "$KVCTL" --endpoints "$(endpoints)" "$@" 2>&1; }
start_cluster

same "put answers OK" "$(k put k1 v1)" "OK"
same "get prints key and value" "$(k get k1)" $'k1\nv1'
rev=$(k get k1 -w json | jq .header.revision)
k put k1 v2 >/dev/null
same "put takes a value from stdin" "$(printf 'from stdin' | k put stdin; k get stdin --print-value-only)" $'OK\nfrom stdin'
same "get --rev reads the past" "$(k get k1 --rev "$rev")" $'k1\nv1'
same "get -w json is JSON" "$(k get k1 -w json | jq -r '.kvs[0].value | @base64d')" "v2"
holds "get -w fields names them" "$(k get k1 -w fields)" '"Value" : "v2"'
same "get --hex escapes" "$(k get k1 --hex)" $'\\x6b\\x31\n\\x76\\x32'
same "a txn takes the branch its compares say" "$(printf 'val("k1") = "v2"\nver("none") = "0"\n\nput k2 "a b\\tc"\nget k2\n\nput k2 never\n\n' | k txn)" $'SUCCESS\n\nOK\n\nk2\na b\tc'
same "del --prev-kv prints what was there" "$(k del k2 --prev-kv)" $'1\nk2\na b\tc'
timeout 20 "$KVCTL" --endpoints "$(endpoints)" watch --prefix k --rev "$rev" >"$dir/watch" 2>&1 &
watcher=$!
k put k9 new >/dev/null
for _ in $(seq 100); do grep -q k9 "$dir/watch" && break; sleep 0.05; done
# The watch survives its member: it goes on at another, after the last revision it saw.
[ -n "${KVD_TEST_ENDPOINTS:-}" ] || { l=$(wait_leader); kill_member "$l"; }
for _ in $(seq 200); do k put k10 later >/dev/null 2>&1 && break; sleep 0.05; done
for _ in $(seq 200); do grep -q k10 "$dir/watch" && break; sleep 0.05; done
kill $watcher 2>/dev/null; wait $watcher 2>/dev/null
same "a watch sees every event once, across the loss of a member" "$(grep -v '^$' "$dir/watch" | sed '/k10/,$d')" \
    $'PUT\nk1\nv1\nPUT\nk1\nv2\nPUT\nk2\na b\tc\nDELETE\nk2\nPUT\nk9\nnew\nPUT'
[ -n "${KVD_TEST_ENDPOINTS:-}" ] || { start_member "$l"; wait_healthy; }
lease=$(k lease grant 2 | awk '{print $2}')
same "put --lease attaches" "$(k put leased v --lease "$lease")" "OK"
holds "lease keep-alive --once renews" "$(k lease keep-alive --once "$lease")" "keepalived with TTL\(2\)"
holds "lease timetolive --keys shows the key" "$(k lease timetolive "$lease" --keys)" "attached keys\(\[leased\]\)"
for _ in $(seq 200); do [ -z "$(k get leased)" ] && break; sleep 0.1; done
same "an expired lease takes its keys along" "$(k get leased)" ""
same "endpoint health is well on all" "$(k endpoint health | grep -c 'is healthy')" 3
same "endpoint status --cluster finds all" "$(k endpoint status --cluster -w json | jq length)" 3
same "member list shows three started members" "$(k member list | grep -c ', started, ')" 3
now=$(k get k9 -w json | jq .header.revision)
same "compaction answers" "$(k compaction "$now")" "compacted revision $now"
holds "reading below it is refused" "$(k get k1 --rev "$rev")" "Error: etcdserver: mvcc: required revision has been compacted"

holds "an unknown command names the nearest" "$(k geet k1)" "did you mean: kvctl get"
k geet k1 >/dev/null 2>&1; same "wrong words end with 128" $? 128
holds "a wrong format names the right ones" "$(k get k1 -w yaml)" "simple, json, fields and table"
holds "an endpoint that nobody listens on is named" "$("$KVCTL" --endpoints 127.0.0.1:1 get k 2>&1)" "127.0.0.1:1"
"$KVCTL" --endpoints 127.0.0.1:1 get k >/dev/null 2>&1; same "and ends with 1" $? 1
holds "one dead endpoint does not matter" "$("$KVCTL" --endpoints "127.0.0.1:1,$(endpoints)" get k9 2>&1)" "new"

if command -v etcdctl >/dev/null; then
    e() { ETCDCTL_API=3 etcdctl --endpoints "$(endpoints)" "$@" 2>&1; }
    alike() { same "kvctl $* prints what etcdctl prints" "$(k "$@")" "$(e "$@")"; }
    k put t/a 'quo"te' >/dev/null; printf 'bin\x01\xff' | k put t/b >/dev/null
    alike get --prefix t/
    alike get --prefix t/ --hex
    alike get --prefix t/ --keys-only
    alike get --prefix t/ --limit 1 --order DESCEND
    for w in json fields; do
        m() { sed -E 's/"(member_id|raft_term)":[0-9]+/"\1":N/g; s/"(MemberID|RaftTerm)" : [0-9]+/"\1" : N/'; }
        same "kvctl get -w $w prints what etcdctl prints" "$(k get --prefix t/ -w $w | m)" "$(e get --prefix t/ -w $w | m)"
        same "kvctl member list -w $w prints what etcdctl prints" "$(k member list -w $w | m)" "$(e member list -w $w | m)"
    done
    alike member list -w table
    alike member list
fi
