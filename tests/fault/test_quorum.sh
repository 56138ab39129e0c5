#!/usr/bin/env bash
# Two of three members gone: writes and linearizable reads end with a clear error, local reads go on, and
# everything goes on by itself once a second member is back.
source "$(dirname "$0")/../support/cluster.sh"
start_cluster
k() { "$KVCTL" --endpoints "$(endpoint 1)" --command-timeout 15s "$@" 2>&1; }
same "a put is acknowledged while all are there" "$(k put key before)" "OK"
kill_member 2; kill_member 3
holds "a put without quorum ends with etcd's words" "$(k put key during)" "^Error: etcdserver: (request timed out|no leader|leader changed)"
holds "so does a linearizable read" "$(k get key)" "^Error: etcdserver: (request timed out|no leader|leader changed)"
same "a serializable read is answered" "$(k get key --consistency s --print-value-only)" "before"
holds "/health says why" "$(curl -s "$(client_url 1)/health")" '"health":"false","reason":"RAFT NO LEADER"'
holds "endpoint health tells it by its exit status" "$(k endpoint health; echo "status $?")" "status 1"
start_member 2
for _ in $(seq 200); do k put key after >/dev/null && break; sleep 0.05; done
same "with a second member back, writes go on" "$(k get key --print-value-only)" "after"
