#!/usr/bin/env bash
# The same requests to Debian's etcd and to one kvd through etcdctl: at equal revisions HashKV is the same number,
# before and after compactions, with leases attached and revoked, and after a restart of both.
source "$(dirname "$0")/../support/cluster.sh"
if ! command -v etcd >/dev/null || ! command -v etcdctl >/dev/null; then
    echo "ok - HashKV is etcd's # SKIP etcd-server or etcd-client is not installed"
    exit 0
fi
export ETCDCTL_API=3
members=1
etcd_client=http://127.0.0.1:$((port0 + 10))
etcd_peer=http://127.0.0.1:$((port0 + 11))
start_etcd() {
    etcd --name e --data-dir "$dir/etcd" --listen-client-urls "$etcd_client" --advertise-client-urls "$etcd_client" \
        --listen-peer-urls "$etcd_peer" --initial-advertise-peer-urls "$etcd_peer" --initial-cluster "e=$etcd_peer" \
        >>"$dir/etcd.log" 2>&1 &
    pid[etcd]=$!
    for _ in $(seq 400); do etcdctl --endpoints "$etcd_client" endpoint health >/dev/null 2>&1 && return; sleep 0.05; done
    fail "etcd starts"; exit 1
}
# etcd is not one of the members that wait_healthy asks, so it is started after kvd and ended before the end
both() { # the same words to both; what they print must be the same
    local ours theirs
    ours=$(etcdctl --endpoints "$(endpoint 1)" "$@" 2>&1)
    theirs=$(etcdctl --endpoints "$etcd_client" "$@" 2>&1)
    [ "$ours" = "$theirs" ] || same "etcdctl $*" "$ours" "$theirs"
}
hash_at() { # hash_at WHEN [REVISION...]: the newest revision always
    local when=$1 rev ours theirs newest; shift
    newest=$(etcdctl --endpoints "$(endpoint 1)" get x -w json | jq .header.revision)
    for rev in "$newest" "$@"; do
        ours=$(etcdctl --endpoints "$(endpoint 1)" endpoint hashkv --rev "$rev" -w json | jq -c '.[0].HashKV | [.hash, .compact_revision, .header.revision]')
        theirs=$(etcdctl --endpoints "$etcd_client" endpoint hashkv --rev "$rev" -w json | jq -c '.[0].HashKV | [.hash, .compact_revision, .header.revision]')
        same "HashKV at revision $rev is etcd's $when" "$ours" "$theirs"
    done
}
# grant HEX-ID, on both: etcdctl cannot choose the id of a lease, the API can
grant() {
    local at
    for at in "$(endpoint 1)" "${etcd_client#http://}"; do
        PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION=python /usr/bin/python3 - "$at" "$1" <<'PY' || return 1
import sys, grpc
from etcd3.etcdrpc import rpc_pb2, rpc_pb2_grpc
rpc_pb2_grpc.LeaseStub(grpc.insecure_channel(sys.argv[1])).LeaseGrant(rpc_pb2.LeaseGrantRequest(ID=int(sys.argv[2], 16), TTL=10000), timeout=10)
PY
    done
}
start_cluster
start_etcd
for i in $(seq 20); do both put "key$((i % 7))" "value $i"; done
hash_at "after puts" 5 13
both del key3
both del --prefix key5
both del nothing
printf 'mod("key1") > "0"\n\nput key1 one\nput key8 eight\ndel key2\n\nput never x\n\n' >"$dir/txn"
for at in "$(endpoint 1)" "$etcd_client"; do etcdctl --endpoints "$at" txn <"$dir/txn" >/dev/null; done
hash_at "after deletions and transactions" 21
if grant 4d2 2>/dev/null; then
    both put --lease 4d2 leased1 a
    both put --lease 4d2 leased2 b
    both put leased2 c
    hash_at "with a lease"
    both lease revoke 4d2
    hash_at "after a revocation"
else
    echo "ok - HashKV with leases # SKIP python3-etcd3 is not usable"
fi
both compaction 10 --physical
hash_at "after a compaction" 11 15
both compaction 22 --physical
for i in $(seq 5); do both put "key$i" again; done
hash_at "after another" 23 24
both del --prefix ""
newest=$(etcdctl --endpoints "$(endpoint 1)" get x -w json | jq .header.revision)
hash_at "when nothing is left"
both put x last
both compaction "$newest" --physical
hash_at "after the compaction of all"
kill_member 1
kill -KILL "${pid[etcd]}"; wait "${pid[etcd]}" 2>/dev/null; unset "pid[etcd]"
start_member 1
wait_healthy
start_etcd
hash_at "after a crash of both"
kill -KILL "${pid[etcd]}"; wait "${pid[etcd]}" 2>/dev/null; unset "pid[etcd]"
