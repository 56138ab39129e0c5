#!/usr/bin/env bash
# Unmodified etcdctl against three members: what an operator does on the first day.
source "$(dirname "$0")/../support/cluster.sh"
if ! command -v etcdctl >/dev/null; then echo "ok - etcdctl # SKIP etcdctl is not installed"; exit 0; fi
export ETCDCTL_API=3
e() { etcdctl --endpoints "$(endpoints)" "$@" 2>&1; }
start_cluster

same "put answers OK" "$(e put k1 v1)" "OK"
same "get prints key and value" "$(e get k1)" $'k1\nv1'
rev=$(e get k1 -w json | jq .header.revision)
e put k1 v2 >/dev/null; e put k2 w >/dev/null; e put other x >/dev/null
same "get --prefix lists keys in order" "$(e get --prefix k)" $'k1\nv2\nk2\nw'
same "get --rev reads the past" "$(e get k1 --rev "$rev")" $'k1\nv1'
same "get --keys-only hides values" "$(e get --prefix k --keys-only)" $'k1\n\nk2'
same "get --limit cuts" "$(e get --prefix k --limit 1)" $'k1\nv2'
same "get --order DESCEND turns the order" "$(e get --prefix k --order DESCEND --sort-by KEY --print-value-only)" $'w\nv2'
same "put --prev-kv prints what was there" "$(e put k2 w2 --prev-kv)" $'OK\nk2\nw'
same "serializable reads work" "$(e get k2 --consistency s --print-value-only)" "w2"
same "a txn with a true compare takes the success branch" \
    "$(printf 'value("k1") = "v2"\n\nput k1 v3\nget k2\n\nput k1 never\n\n' | e txn)" $'SUCCESS\n\nOK\n\nk2\nw2'
same "a txn with a false compare takes the failure branch" \
    "$(printf 'mod("k1") = "1"\n\nput k1 never\n\nget k1\n\n' | e txn)" $'FAILURE\n\nk1\nv3'
same "del --prefix counts what it removed" "$(e del --prefix k)" "2"
same "what was deleted is gone" "$(e get --prefix k)" ""

# The watch starts in the past, so it sees what was before it and what comes.
timeout 20 etcdctl --endpoints "$(endpoints)" watch --prefix k --rev "$rev" >"$dir/watch" 2>&1 &
watcher=$!
e put k9 new >/dev/null
for _ in $(seq 100); do grep -q k9 "$dir/watch" && break; sleep 0.05; done
kill $watcher 2>/dev/null; wait $watcher 2>/dev/null
same "watch --prefix --rev replays every event in order" "$(cat "$dir/watch")" \
    $'PUT\nk1\nv1\nPUT\nk1\nv2\nPUT\nk2\nw\nPUT\nk2\nw2\nPUT\nk1\nv3\nDELETE\nk1\n\nDELETE\nk2\n\nPUT\nk9\nnew'

now=$(e get k9 -w json | jq .header.revision)
same "compaction answers the revision" "$(e compaction "$now")" "compacted revision $now"
holds "reading below the compaction is refused in etcd's words" "$(e get k1 --rev "$rev")" "etcdserver: mvcc: required revision has been compacted"
holds "reading the future is refused in etcd's words" "$(e get k1 --rev 999999)" "etcdserver: mvcc: required revision is a future revision"
holds "watching below the compaction is cancelled" "$(timeout 10 etcdctl --endpoints "$(endpoints)" watch k1 --rev "$rev" 2>&1)" "required revision has been compacted"

lease=$(e lease grant 3 | awk '{print $2}')
holds "lease grant prints an id" "$lease" '^[0-9a-f]+$'
same "put --lease attaches" "$(e put leased v --lease "$lease")" "OK"
holds "lease timetolive --keys shows the key" "$(e lease timetolive "$lease" --keys)" "granted with TTL\(3s\), remaining\([0-3]s\), attached keys\(\[leased\]\)"
holds "lease keep-alive --once renews" "$(e lease keep-alive --once "$lease")" "keepalived with TTL\(3\)"
holds "lease list shows it" "$(e lease list)" "$lease"
for _ in $(seq 200); do [ -z "$(e get leased)" ] && break; sleep 0.1; done
same "an expired lease takes its keys along" "$(e get leased)" ""
holds "an expired lease is gone" "$(e lease timetolive "$lease")" "already expired"
other=$(e lease grant 100 | awk '{print $2}')
e put leased2 v --lease "$other" >/dev/null
same "lease revoke answers" "$(e lease revoke "$other")" "lease $other revoked"
same "revoking removes the keys" "$(e get leased2)" ""
holds "revoking again is refused in etcd's words" "$(e lease revoke "$other")" "etcdserver: requested lease not found"
holds "putting with an unknown lease is refused" "$(e put x y --lease 1234)" "etcdserver: requested lease not found"

holds "endpoint health is well" "$(e endpoint health)" "is healthy: successfully committed proposal"
same "endpoint status shows three members" "$(e endpoint status -w table | grep -c 127.0.0.1)" "3"
same "exactly one of them leads" "$(e endpoint status -w json | jq '[.[] | select(.Status.header.member_id == .Status.leader)] | length')" "1"
same "member list shows three started members" "$(e member list | grep -c started)" "3"
same "HashKV is equal on all members" "$(e endpoint hashkv | awk -F', ' '{print $2}' | sort -u | wc -l)" "1"
urls=$(endpoints | sed 's|[^,]*://||g; s|[^,]*|http://&|g')
same "endpoints that are URLs have a status, too" "$(etcdctl --endpoints "$urls" endpoint status -w json 2>&1 | jq length)" "3"
same "... and a hash" "$(etcdctl --endpoints "$urls" endpoint hashkv -w json 2>&1 | jq length)" "3"
same "alarm list is empty" "$(e alarm list)" ""
holds "an unbuilt method is refused, not hung" "$(e user add someone:pw)" "unknown method UserAdd|Unimplemented"
