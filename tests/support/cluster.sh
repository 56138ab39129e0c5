# tests/support/cluster.sh: real kvd members for shell tests; source it. Ports come from KVD_TEST_PORT
# (default: taken from the process id), data from a temporary folder that goes away at the end.
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 2
B=${KVD_BUILD:-build}
KVD=$B/kvd
KVCTL=$B/kvctl
# Three clusters of a run never share ports: a block of 20 below the ephemeral range.
port0=${KVD_TEST_PORT:-$((12000 + $$ % 900 * 20))}
dir=$(mktemp -d "${TMPDIR:-/tmp}/kvd-test.XXXXXX")
declare -A pid
failures=0
members=3
kvd_flags=()
mounts=() # unmounted at the end

client_url() { echo "http://127.0.0.1:$((port0 + $1 * 2))"; }
peer_url() { echo "http://127.0.0.1:$((port0 + $1 * 2 + 1))"; }
endpoint() { echo "127.0.0.1:$((port0 + $1 * 2))"; }
# KVD_TEST_ENDPOINTS: talk to a cluster that runs already; nothing is started or killed then.
endpoints() { local i s=${KVD_TEST_ENDPOINTS:-}; [ -n "$s" ] || for i in $(seq "$members"); do s+="${s:+,}$(endpoint "$i")"; done; echo "$s"; }
initial_cluster() { local i s=; for i in $(seq "$members"); do s+="${s:+,}m$i=$(peer_url "$i")"; done; echo "$s"; }

pass() { echo "ok - $1"; }
fail() { echo "not ok - $1"; failures=$((failures + 1)); }
# same NAME GOT WANTED
same() { if [ "$2" = "$3" ]; then pass "$1"; else fail "$1"; printf '%s\n' "got:" "$2" "wanted:" "$3" | sed 's/^/#   /'; fi; }
# holds NAME TEXT REGEX
holds() { if grep -qE -- "$3" <<<"$2"; then pass "$1"; else fail "$1"; printf '%s\n' "no match for: $3" "$2" | sed 's/^/#   /'; fi; }

start_member() { # start_member I [FLAG...]
    local i=$1; shift
    "$KVD" --name "m$i" --data-dir "$dir/m$i" \
        --listen-client-urls "$(client_url "$i")" --advertise-client-urls "$(client_url "$i")" \
        --listen-peer-urls "$(peer_url "$i")" --initial-advertise-peer-urls "$(peer_url "$i")" \
        --initial-cluster "$(initial_cluster)" --initial-cluster-token "test-$$" \
        "${kvd_flags[@]}" "$@" >>"$dir/m$i.log" 2>&1 &
    pid[$i]=$!
}
start_cluster() { local i; [ -z "${KVD_TEST_ENDPOINTS:-}" ] || return 0; for i in $(seq "$members"); do start_member "$i"; done; wait_healthy; }
# Until every running member answers a linearizable read; the logs are shown when that takes too long.
wait_healthy() {
    local i tries
    for i in "${!pid[@]}"; do
        for tries in $(seq 600); do
            if "$KVCTL" --endpoints "$(endpoint "$i")" endpoint health >/dev/null 2>&1; then continue 2; fi
            kill -0 "${pid[$i]}" 2>/dev/null || break
            sleep 0.05
        done
        echo "not ok - member $i is healthy"
        tail -n 30 "$dir/m$i.log" | sed 's/^/#   /'
        exit 1
    done
}
kill_member() { kill -KILL "${pid[$1]}" 2>/dev/null; wait "${pid[$1]}" 2>/dev/null; unset "pid[$1]"; }
stop_member() { kill -TERM "${pid[$1]}" 2>/dev/null; wait "${pid[$1]}" 2>/dev/null; unset "pid[$1]"; }
# The number of the member that leads, or nothing.
leader() {
    local i
    for i in "${!pid[@]}"; do
        if "$KVCTL" --endpoints "$(endpoint "$i")" endpoint status -w json 2>/dev/null |
            jq -e '.[0].Status | .header.member_id == .leader' >/dev/null 2>&1; then echo "$i"; return 0; fi
    done
    return 1
}
wait_leader() { local t; for t in $(seq 400); do leader && return 0; sleep 0.05; done; fail "a leader is elected"; return 1; }
finish() {
    local i
    for i in "${!pid[@]}"; do kill -KILL "${pid[$i]}" 2>/dev/null; wait "${pid[$i]}" 2>/dev/null; done
    if [ -n "${KVD_TEST_KEEP:-}" ] || [ "$failures" -gt 0 ]; then
        for i in "$dir"/*.log; do [ -f "$i" ] && { echo "# the end of ${i##*/}:"; tail -n 8 "$i" | cut -c1-300 | sed 's/^/#   /'; }; done
    fi
    for i in "${mounts[@]}"; do umount -l "$i"; done
    [ -n "${KVD_TEST_KEEP:-}" ] || rm -rf "$dir"
    [ "$failures" -eq 0 ]
}
trap 'code=$?; finish || code=1; exit $code' EXIT
