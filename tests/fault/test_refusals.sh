#!/usr/bin/env bash
# What must be refused, and in which words: flags, ports, directories; each with a status of its own.
source "$(dirname "$0")/../support/cluster.sh"
members=1
refused() { # refused NAME STATUS REGEX COMMAND...
    local name=$1 status=$2 regex=$3 out code; shift 3
    out=$(timeout 20 "$@" 2>&1); code=$?
    if [ $code -eq "$status" ] && grep -qE -- "$regex" <<<"$out"; then pass "$name"; else fail "$name"; printf '%s\n' "status $code, wanted $status; no match for: $regex" "$out" | tail -8 | sed 's/^/#   /'; fi
}
free=$((port0 + 18))
one() { echo "$KVD" --data-dir "$dir/$1" --listen-client-urls "http://127.0.0.1:$free" --advertise-client-urls "http://127.0.0.1:$free" --listen-peer-urls "http://127.0.0.1:$((free + 1))" --initial-advertise-peer-urls "http://127.0.0.1:$((free + 1))" --initial-cluster "default=http://127.0.0.1:$((free + 1))"; }

refused "an unknown flag names the nearest" 2 "did you mean --data-dir" "$KVD" --data-dri x
refused "a number out of range says the range" 2 "from 1 to 65536" "$KVD" --max-inflight-msgs 0
refused "a word for a number is refused" 2 "not a whole number" "$KVD" --snapshot-count many
refused "a word for a duration is refused" 2 "not a duration" "$KVD" --sync-timeout 5
refused "an election timeout under five heartbeats is refused" 2 "at least 5 times" "$KVD" --election-timeout 200
refused "a TLS flag says that it is not built" 2 "TLS is not built yet" "$KVD" --cert-file x
refused "a flag that is also in the environment is refused" 2 "conflicting environment variable \"ETCD_NAME\"" env ETCD_NAME=x "$KVD" --name y
refused "an environment value is checked, too" 2 "KVD_WAL_IO" env KVD_WAL_IO=magic "$KVD"
refused "listening without advertising is refused" 1 "advertise-client-urls" "$KVD" --data-dir "$dir/x1" --listen-client-urls http://127.0.0.1:$free
refused "an https URL says that TLS is not built" 1 "TLS is not built yet" "$KVD" --data-dir "$dir/x2" --listen-client-urls https://127.0.0.1:$free --advertise-client-urls https://127.0.0.1:$free
holds "--version prints a version" "$("$KVD" --version)" "^kvd Version: [0-9]"
holds "--help lists flags with their defaults" "$("$KVD" --help)" "--max-inflight-msgs .*default 512"

start_cluster
# shellcheck disable=SC2046
refused "a port in use is named" 1 "$(endpoint 1).*in use" "$KVD" --data-dir "$dir/x3" --listen-client-urls "$(client_url 1)" --advertise-client-urls "$(client_url 1)" --listen-peer-urls "http://127.0.0.1:$((free + 1))"
refused "a data directory in use is refused" 1 "in use" $(one m1 | sed 's/--data-dir/--name m1 --data-dir/; s/default=/m1=/')
stop_member 1
refused "a data directory of another member is refused" 1 "belongs to member m1" $(one m1 | sed 's/--data-dir/--name other --data-dir/; s/default=/other=/')
refused "a data directory of another cluster is refused" 1 "belongs to the cluster" $(one m1) --initial-cluster-token other
cp -r "$dir/m1" "$dir/newer"
start_member 1; wait_healthy
same "the refused attempts changed nothing" "$("$KVCTL" --endpoints "$(endpoint 1)" put after refusals)" "OK"

huge=$(head -c 1600000 /dev/zero | tr '\0' x)
holds "a request over max-request-bytes is refused in etcd's words" "$(printf %s "$huge" | "$KVCTL" --endpoints "$(endpoint 1)" put big 2>&1)" "etcdserver: request is too large"
holds "a put without a key is refused in etcd's words" "$("$KVCTL" --endpoints "$(endpoint 1)" put "" v 2>&1)" "etcdserver: key is not provided"
ops=$(for i in $(seq 130); do echo "put k$i v"; done)
holds "too many operations are refused in etcd's words" "$(printf '\n%s\n\n\n' "$ops" | "$KVCTL" --endpoints "$(endpoint 1)" txn 2>&1)" "etcdserver: too many operations in txn request"
holds "a key put twice is refused in etcd's words" "$(printf '\nput k v\nput k w\n\n\n' | "$KVCTL" --endpoints "$(endpoint 1)" txn 2>&1)" "etcdserver: duplicate key given in txn request"
# Nested a thousand deep: TxnRequest{success: RequestOp{request_txn: ...}}; and bytes that are no message at all.
deep=$(python3 - <<'P'
def ld(n, b):
    out, l = bytes([n << 3 | 2]), len(b)
    while l > 127: out += bytes([l & 127 | 128]); l >>= 7
    return out + bytes([l]) + b
m = b""
for _ in range(1000): m = ld(2, ld(4, m))
print((b"\0" + len(m).to_bytes(4, "big") + m).hex())
P
)
# An answer may come before the request has been sent, with a reset that says "enough"; curl takes that for an
# error now and then, so it is asked again.
grpc() {
    local out
    for _ in $(seq 20); do
        out=$(printf '%s' "$2" | python3 -c 'import sys; sys.stdout.buffer.write(bytes.fromhex(sys.stdin.read()))' | curl -s -m 10 --http2-prior-knowledge -D - -o /dev/null -H 'content-type: application/grpc' -H 'te: trailers' --data-binary @- "$(client_url 1)$1")
        [ -z "$out" ] || break
    done
    echo "$out"
}
holds "a transaction nested a thousand deep is refused" "$(grpc /etcdserverpb.KV/Txn "$deep")" "grpc-status: *(3|13)"
holds "bytes that are no message are refused" "$(grpc /etcdserverpb.KV/Put 0000000003ffffff)" "grpc-status: *13"
holds "an unknown method is refused" "$(grpc /etcdserverpb.KV/Nonsense 0000000000)" "grpc-status: *12"
holds "an unknown service is refused" "$(grpc /nobody.Nothing/Nonsense 0000000000)" "grpc-message: *unknown service nobody.Nothing"
head -c 100000 /dev/urandom | timeout 5 bash -c "cat >/dev/tcp/127.0.0.1/$((port0 + 2))" 2>/dev/null
head -c 100000 /dev/urandom | timeout 5 bash -c "cat >/dev/tcp/127.0.0.1/$((port0 + 3))" 2>/dev/null
{ printf 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'; head -c 10000 /dev/urandom; } | timeout 5 bash -c "cat >/dev/tcp/127.0.0.1/$((port0 + 2))" 2>/dev/null
same "after garbage on both ports the member serves on" "$("$KVCTL" --endpoints "$(endpoint 1)" put after garbage)" "OK"

holds "/health answers" "$(curl -s "$(client_url 1)/health")" '"health":"true"'
holds "/version answers" "$(curl -s "$(client_url 1)/version")" '"etcdserver":"3\.'
holds "/metrics answers" "$(curl -s "$(client_url 1)/metrics")" '^etcd_server_has_leader 1'
holds "the goroutine dump is not on the client port" "$(curl -s "$(client_url 1)/debug/goroutines")" "404"

kill -TERM "${pid[1]}"; from=$SECONDS; wait "${pid[1]}"; code=$?
same "SIGTERM ends it by that signal" $code 143
[ $((SECONDS - from)) -le 8 ] && pass "within 8 s" || fail "within 8 s"
unset "pid[1]"
holds "and it says so" "$(tail -5 "$dir/m1.log")" "closed kvd server"
