#!/usr/bin/env bash
# A real kube-apiserver with its data in kvd: what Kubernetes asks of its store. Prints TAP.
# Settings: KVD_KUBE_APISERVER (the program; deploy/kube-apiserver.sh makes one), kubectl from the PATH.
# shellcheck source=tests/support/cluster.sh
source "$(dirname "$0")/../support/cluster.sh"
skip() { echo "ok - kube-apiserver on kvd # SKIP $1"; exit 0; }
[ -n "${KVD_KUBE_APISERVER:-}" ] || skip "KVD_KUBE_APISERVER names no kube-apiserver (make check builds one)"
for t in kubectl etcdctl jq openssl python3; do command -v $t >/dev/null || skip "$t is not installed (deploy/deps.sh kube)"; done
[ -x "$KVD_KUBE_APISERVER" ] || { fail "$KVD_KUBE_APISERVER is a program"; exit 1; }

address=127.0.0.1:$((port0 + 10))
token=$(openssl rand -hex 16)
keys=$dir/keys
mkdir "$keys"
echo "$token,tester,tester,\"system:masters\"" >"$keys/tokens.csv"
openssl ecparam -name prime256v1 -genkey -noout -out "$keys/service-account.key"
apiserver=
apiserver_code=
# Configmaps without the API server's watch cache: their watches and lists are kvd's. Secrets with it.
start_apiserver() { # start_apiserver SERVERS [FLAG...]
    local servers=$1 t; shift
    "$KVD_KUBE_APISERVER" --etcd-servers="$servers" --bind-address=127.0.0.1 --advertise-address=127.0.0.1 \
        --secure-port="${address#*:}" --cert-dir="$keys" --token-auth-file="$keys/tokens.csv" \
        --service-account-key-file="$keys/service-account.key" --service-account-signing-key-file="$keys/service-account.key" \
        --service-account-issuer=https://kubernetes.default.svc --service-cluster-ip-range=10.0.0.0/24 \
        --authorization-mode=RBAC --disable-admission-plugins=ServiceAccount --event-ttl=5s \
        --watch-cache-sizes=configmaps#0 "$@" >>"$dir/apiserver.log" 2>&1 &
    apiserver=$!
    for t in $(seq 600); do
        [ "$(api /readyz 2>/dev/null)" = ok ] && return 0
        kill -0 "$apiserver" 2>/dev/null || break
        sleep 0.1
    done
    fail "kube-apiserver is ready"
    exit 1
}
stop_apiserver() { [ -z "$apiserver" ] || { kill -"${1:-TERM}" "$apiserver" 2>/dev/null; wait "$apiserver" 2>/dev/null; apiserver_code=$?; apiserver=; }; }
trap 'code=$?; kill $(jobs -p) 2>/dev/null; stop_apiserver KILL; finish || code=1; exit $code' EXIT

api() { local target=$1; shift; curl -sS --cacert "$keys/apiserver.crt" -H "Authorization: Bearer $token" "$@" "https://$address$target"; }
export KUBE_ADDRESS=$address KUBE_TOKEN=$token KUBE_CA=$keys/apiserver.crt
clients() { tests/support/kube_clients.py "$@"; }
export KUBECONFIG=$dir/kubeconfig
cat >"$KUBECONFIG" <<CONFIG
{"apiVersion": "v1", "kind": "Config", "current-context": "test",
 "clusters": [{"name": "test", "cluster": {"server": "https://$address", "certificate-authority": "$keys/apiserver.crt"}}],
 "users": [{"name": "test", "user": {"token": "$token"}}],
 "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}]}
CONFIG
k() { HOME=$dir kubectl "$@"; }
# until_true SECONDS COMMAND...: whether it came true; how long it took is nobody's matter
until_true() {
    local t s=$1; shift
    for t in $(seq $((s * 10))); do
        "$@" && return 0
        [ -z "$apiserver" ] || kill -0 "$apiserver" 2>/dev/null || { fail "kube-apiserver lives on"; exit 1; }
        sleep 0.1
    done
    return 1
}
code_of() { api "$@" -o "$dir/answer" -w '%{http_code}'; }

start_cluster
urls=$(for i in 1 2 3; do client_url $i; done | paste -sd,)
start_apiserver "$urls" --etcd-compaction-interval=60s
holds "kube-apiserver is ready, and so is its store" "$(api '/readyz?verbose')" '^\[\+\]etcd ok$'
echo "# $("$KVD_KUBE_APISERVER" --version), $(k version --client -o json | jq -r .clientVersion.gitVersion) of kubectl"

until_true 60 k get namespace default >/dev/null 2>&1
for n in many watched storm kill other; do k create namespace $n >/dev/null || fail "namespace $n is made"; done
same "namespaces are there" "$(k get namespaces -o name | grep -cE '/(many|watched|storm|kill|other)$')" 5
k create configmap hello -n other --from-literal=greeting='wörld' >/dev/null
same "a configmap has what was put into it" "$(k get configmap hello -n other -o 'jsonpath={.data.greeting}')" 'wörld'
for n in 1 2 3; do
    k create -f - >/dev/null <<POD
{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod-$n", "namespace": "other"}, "spec": {"containers": [{"name": "main", "image": "none"}]}}
POD
done
same "pods are there, and wait for a node" "$(k get pods -n other -o 'jsonpath={range .items[*]}{.metadata.name}={.status.phase} {end}')" "pod-1=Pending pod-2=Pending pod-3=Pending "
k create -f - >/dev/null <<CRD
{"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "widgets.kvd.test"},
 "spec": {"group": "kvd.test", "scope": "Namespaced", "names": {"plural": "widgets", "singular": "widget", "kind": "Widget"},
  "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object",
   "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}}}}}]}}
CRD
k wait --for=condition=Established --timeout=60s crd/widgets.kvd.test >/dev/null || fail "a kind of our own is established"
widget() { k create -f - >/dev/null 2>"$dir/widget.err" <<<'{"apiVersion": "kvd.test/v1", "kind": "Widget", "metadata": {"name": "w", "namespace": "other"}, "spec": {"size": 7}}'; }
until_true 60 widget || sed 's/^/#   /' "$dir/widget.err"
same "an object of a kind of our own is there" "$(k get widget w -n other -o 'jsonpath={.spec.size}')" 7

# ---- Pages ----
clients create configmaps many before 300 || fail "300 configmaps are made"
same "kubectl counts them in pages of 37" "$(k get configmaps -n many --chunk-size=37 -o name | wc -l)" 300
cms=/api/v1/namespaces/many/configmaps
api "$cms?limit=100" >"$dir/page"
same "the first page has 100 and says that 200 are left" "$(jq -c '[(.items | length), .metadata.remainingItemCount]' "$dir/page")" '[100,200]'
clients create configmaps many late 20 || fail "20 configmaps are made"
same "five are removed" "$(for n in 0001 0150 0151 0298 0299; do code_of "$cms/before-$n" -X DELETE; done)" 200200200200200
jq -r '.items[].metadata.name' "$dir/page" >"$dir/names"
while next=$(jq -r '.metadata.continue // empty' "$dir/page"); [ -n "$next" ]; do
    api "$cms?limit=100" -G --data-urlencode "continue=$next" >"$dir/page"
    jq -r '.items[].metadata.name' "$dir/page" >>"$dir/names" || break
done
same "the pages after it are of its moment: what came and went since is not seen" "$(grep -c '^before-' "$dir/names") $(wc -l <"$dir/names")" "300 300"
same "a new list sees it" "$(api "$cms" | jq '.items | length')" 315
listed_at=$(api "$cms?limit=1" | jq -r .metadata.resourceVersion)
code=$(code_of "$cms?resourceVersion=$listed_at&resourceVersionMatch=Exact&limit=1")
same "a list of an old moment is answered while that moment is there" "$code" 200

# ---- Optimistic concurrency ----
api /api/v1/namespaces/other/configmaps/hello >"$dir/old.json"
k patch configmap hello -n other -p '{"data": {"greeting": "newer"}}' >/dev/null
same "an update of a stale resourceVersion is 409" "$(code_of /api/v1/namespaces/other/configmaps/hello -X PUT -H 'Content-Type: application/json' --data-binary @"$dir/old.json") $(jq -r .reason "$dir/answer")" "409 Conflict"
holds "kubectl says so, too" "$(k replace -f "$dir/old.json" 2>&1)" 'the object has been modified'
same "and nothing was changed" "$(k get configmap hello -n other -o 'jsonpath={.data.greeting}')" newer
same "creating what is there is 409" "$(code_of /api/v1/namespaces -X POST -H 'Content-Type: application/json' -d '{"metadata": {"name": "other"}}') $(jq -r .reason "$dir/answer")" "409 AlreadyExists"

# ---- Watches ----
k create configmap seen -n watched --from-literal=n=0 >/dev/null
k create secret generic seen -n watched --from-literal=n=0 >/dev/null
watchers=()
for kind in configmaps secrets; do
    k get $kind seen -n watched --watch -o 'jsonpath={.data.n}{"\n"}' >"$dir/seen-$kind" 2>"$dir/seen-$kind.err" &
    watchers+=($!)
    until_true 60 test -s "$dir/seen-$kind" || fail "a watch of $kind begins"
done
for kind in configmaps secrets; do clients count watched seen $kind 1 200 || fail "200 updates of $kind"; done
decoded() { if [ "$1" = secrets ]; then while read -r line; do base64 -d <<<"$line"; echo; done; else cat; fi; }
for kind in configmaps secrets; do
    has_all() { [ "$(wc -l <"$dir/seen-$kind")" -ge 201 ]; }
    until_true 60 has_all
    same "kubectl get --watch sees every change of $kind, in order ($([ $kind = secrets ] && echo "through the watch cache" || echo "straight from kvd"))" \
        "$(decoded $kind <"$dir/seen-$kind" | paste -sd' ')" "$(seq -s' ' 0 200)"
done
kill "${watchers[@]}"; wait "${watchers[@]}" 2>/dev/null

# ---- A restart of the API server; from here on it compacts every 5 s ----
snapshot() { k get configmaps,secrets,pods,widgets,crds,namespaces -A -o 'jsonpath={range .items[*]}{.kind} {.metadata.namespace}/{.metadata.name} {.metadata.uid} {.metadata.resourceVersion}{"\n"}{end}' | grep -v extension-apiserver-authentication | sort; }
snapshot >"$dir/before"
stop_apiserver
same "kube-apiserver ends well on SIGTERM" "$apiserver_code" 0
start_apiserver "$urls" --etcd-compaction-interval=5s
snapshot >"$dir/after"
same "restarted, it finds everything as it was" "$(diff "$dir/before" "$dir/after" | head -n 5)" ""
same "... some hundred objects" "$(($(wc -l <"$dir/after") > 320))" 1

# ---- Storms ----
k create configmap counter -n storm --from-literal=n=0 >/dev/null
conflicts=$(clients increment storm counter 8 50) || fail "the clients of the storm end well"
same "eight clients add 50 each, and nothing is lost" "$(k get configmap counter -n storm -o 'jsonpath={.data.n}')" 400
echo "# refused as stale, and tried again: ${conflicts:-?}"

# ---- Leases ----
k create -f - >/dev/null <<EVENT
{"apiVersion": "v1", "kind": "Event", "metadata": {"name": "passing", "namespace": "other"}, "reason": "Test", "message": "soon gone", "type": "Normal",
 "involvedObject": {"kind": "ConfigMap", "namespace": "other", "name": "hello"}}
EVENT
etcdctl() { ETCDCTL_API=3 command etcdctl --endpoints "$urls" "$@"; }
lease=$(etcdctl get /registry/events/other/passing -w json | jq '.kvs[0].lease // 0')
same "an Event is kept under a lease" "$((lease != 0))" 1
event_is_gone() { [ "$(code_of /api/v1/namespaces/other/events/passing)" = 404 ]; }
if until_true 60 event_is_gone; then pass "an Event is gone after its time"; else fail "an Event is gone after its time"; fi
same "and its key is, too" "$(etcdctl get /registry/events/other/passing --keys-only)" ""

# ---- Many at once ----
same "deletecollection is answered" "$(code_of "$cms?labelSelector=made-by%3Dkube-clients" -X DELETE)" 200
same "deletecollection removed them all" "$(k get configmaps -n many -o name)" ""
same "and nothing else" "$(k get configmap hello -n other -o name)" configmap/hello

# ---- The leader dies under load ----
: >"$dir/acknowledged"
clients keep-creating secrets kill 4 "$dir/stop" >"$dir/acknowledged" 2>"$dir/retries" &
creator=$!
acknowledged() { [ "$(wc -l <"$dir/acknowledged")" -ge "$1" ] || ! kill -0 $creator 2>/dev/null; }
until_true 120 acknowledged 100
dead=$(wait_leader)
kill_member "$dead"
at=$(wc -l <"$dir/acknowledged")
until_true 120 acknowledged $((at + 200))
now=$(wc -l <"$dir/acknowledged")
start_member "$dead"
wait_healthy
until_true 120 acknowledged $((now + 50))
touch "$dir/stop"
wait $creator || { fail "the creating clients end well"; tail -n 3 "$dir/retries" | sed 's/^/#   /'; }
if kill -0 "$apiserver" 2>/dev/null; then pass "the leader was killed, and kube-apiserver goes on"; else fail "the leader was killed, and kube-apiserver goes on"; fi
same "objects were made before the kill and after it" "$((at >= 100 && now >= at + 200))" 1
api /api/v1/namespaces/kill/secrets | jq -r '.items[].metadata.name' | sort >"$dir/listed"
same "every acknowledged object is there, and no other" "$(sort "$dir/acknowledged" | diff - "$dir/listed" | head -n 5)" ""
echo "# acknowledged: $(wc -l <"$dir/acknowledged"), $at of them before the kill; tried again: $(wc -l <"$dir/retries")"
cache_has_all() { api '/api/v1/namespaces/kill/secrets?resourceVersion=0' | jq -r '.items[].metadata.name' | sort | cmp -s - "$dir/listed"; }
if until_true 60 cache_has_all; then pass "the API server's watch cache has them, too"; else fail "the API server's watch cache has them, too"; fi

# ---- What is compacted ----
is_compacted() { [ "$(code_of "$cms?resourceVersion=$listed_at&resourceVersionMatch=Exact&limit=1")" = 410 ]; }
if until_true 120 is_compacted; then pass "after compaction a list of an old moment is 410"; else fail "after compaction a list of an old moment is 410"; fi
same "because it is expired" "$(jq -r .reason "$dir/answer")" Expired
event=$(api "$cms?watch=1&resourceVersion=$listed_at&timeoutSeconds=30" | head -n 1)
same "a watch from then is told 410 Gone" "$(jq -c '[.type, .object.code, .object.reason]' <<<"$event")" '["ERROR",410,"Expired"]'

# ---- Keys ----
keys_of() { etcdctl get "/registry/$1/" --prefix --keys-only | grep . | sed "s|^/registry/$1/||"; }
for kind in configmaps secrets; do
    same "the keys in kvd are the $kind that kubectl lists" "$(keys_of $kind | sort | md5sum) $(keys_of $kind | wc -l)" \
        "$(k get $kind -A -o 'jsonpath={range .items[*]}{.metadata.namespace}/{.metadata.name}{"\n"}{end}' | tee "$dir/listed" | sort | md5sum) $(wc -l <"$dir/listed")"
done
stop_apiserver
registry() { ETCDCTL_API=3 command etcdctl --endpoints "$(client_url "$1")" get /registry --prefix --keys-only | grep . | md5sum; }
same "every member has the same keys" "$(for i in 1 2 3; do registry $i; done | uniq | wc -l)" 1
revision=$(etcdctl get x -w json | jq .header.revision)
same "HashKV is equal on all members" \
    "$("$KVCTL" --endpoints "$(endpoints)" endpoint hashkv --rev "$revision" -w json | jq -c '[.[].HashKV | [.hash, .compact_revision]] | unique | length')" 1

# ---- TLS: one member, which asks for certificates ----
name="a round over TLS with client certificates"
if ! "$KVD" --help 2>&1 | grep -q -- '--client-cert-auth'; then
    echo "ok - $name # SKIP this kvd has no TLS"
    exit
fi
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=test-ca -keyout "$keys/ca.key" -out "$keys/ca.crt" 2>/dev/null
certificate() { # certificate NAME EXTENSION
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" -keyout "$keys/$1.key" -out "$keys/$1.csr" 2>/dev/null
    openssl x509 -req -in "$keys/$1.csr" -CA "$keys/ca.crt" -CAkey "$keys/ca.key" -CAcreateserial -days 2 \
        -extfile <(printf '%s\n' "$2") -out "$keys/$1.crt" 2>/dev/null
}
certificate store "subjectAltName=IP:127.0.0.1"
certificate client "extendedKeyUsage=clientAuth"
for i in 1 2 3; do kill_member $i; done
client_url() { echo "https://127.0.0.1:$((port0 + 6 + $1 * 2))"; }
peer_url() { echo "http://127.0.0.1:$((port0 + 7 + $1 * 2))"; }
members=1
start_member 1 --data-dir "$dir/tls" --cert-file "$keys/store.crt" --key-file "$keys/store.key" --client-cert-auth --trusted-ca-file "$keys/ca.crt"
tls_etcdctl() { ETCDCTL_API=3 command etcdctl --endpoints "$(client_url 1)" --cacert "$keys/ca.crt" "$@"; }
with_certificate=(--cert "$keys/client.crt" --key "$keys/client.key")
tls_is_up() { tls_etcdctl "${with_certificate[@]}" endpoint health >/dev/null 2>&1; }
until_true 60 tls_is_up || fail "a member with TLS is healthy"
if tls_etcdctl get x >/dev/null 2>&1; then fail "who has no certificate is refused"; else pass "who has no certificate is refused"; fi
start_apiserver "$(client_url 1)" --etcd-cafile="$keys/ca.crt" --etcd-certfile="$keys/client.crt" --etcd-keyfile="$keys/client.key"
until_true 60 k get namespace default >/dev/null 2>&1
k create configmap over-tls -n default --from-literal=n=1 >/dev/null
same "$name" "$(k get configmap over-tls -n default -o 'jsonpath={.data.n}') $(tls_etcdctl "${with_certificate[@]}" get /registry/configmaps/default/over-tls --keys-only | grep .)" "1 /registry/configmaps/default/over-tls"
stop_apiserver
