#!/usr/bin/env bash
# A member whose file system fills up refuses writes in etcd's words, goes on reading, and goes on writing
# once there is room; nothing acknowledged is lost. Needs root, for a small file system of its own.
source "$(dirname "$0")/../support/cluster.sh"
members=1
mkdir "$dir/small"
if ! mount -t tmpfs -o size=48m kvd-test "$dir/small" 2>/dev/null; then
    echo "ok - a full disk # SKIP this user may not mount a file system"; exit 0
fi
mounts+=("$dir/small")
kvd_flags=(--wal-segment-bytes 4194304 --snapshot-count 100 --snapshot-catchup-entries 100)
mkdir "$dir/small/data"; ln -s "$dir/small/data" "$dir/m1"
start_cluster
k() { "$KVCTL" --endpoints "$(endpoint 1)" --command-timeout 15s "$@" 2>&1; }
same "a put is acknowledged while there is room" "$(k put first v)" "OK"
head -c 24000000 /dev/zero >"$dir/small/ballast"
head -c 200000 /dev/zero | tr '\0' v >"$dir/value"
acked=0 answer=
for n in $(seq 300); do
    answer=$(k put "fill/$n" <"$dir/value")
    [ "$answer" = OK ] || break
    acked=$n
done
holds "a put on a full disk is refused in etcd's words" "$answer" "etcdserver: mvcc: database space exceeded|etcdserver: request timed out"
kill -0 "${pid[1]}" 2>/dev/null && pass "the member is alive" || fail "the member is alive"
same "reads go on" "$(k get first --print-value-only)" "v"
rm "$dir/small/ballast"
k alarm disarm >/dev/null
for _ in $(seq 100); do [ "$(k put last v)" = OK ] && break; sleep 0.1; k alarm disarm >/dev/null; done
same "with room again, writes go on" "$(k get last --print-value-only)" "v"
same "every acknowledged put is there" "$(k get --prefix fill/ --keys-only | grep -c fill/ | awk -v a=$acked '{print ($1 >= a)}')" 1
stop_member 1; start_member 1; wait_healthy
same "and after a restart, too" "$(k get --prefix fill/ --keys-only | grep -c fill/ | awk -v a=$acked '{print ($1 >= a)}')" 1
