#!/bin/sh
# Install what is missing: deps.sh build (to build and run), deps.sh test (also clients and tools that the
# tests talk to), deps.sh bench (etcd and its load), deps.sh bench-runtime (Go and the allocators to compare
# with), deps.sh experiments (gnuplot, and etcd to compare with), deps.sh kube (what deploy/kube-apiserver.sh and
# tests/e2e/test_kube.sh need). Asks for sudo only when not root. Never starts a service.
set -eu
build="gcc make git pkg-config liburing-dev liblmdb-dev libprotobuf-c-dev protobuf-c-compiler libnghttp2-dev libssl-dev"
test="libcmocka-dev clang etcd-client python3-etcd3 curl jq procps iproute2 binutils universal-ctags gdb valgrind"
bench="etcd-server nghttp2-client"
runtime="golang-go libmimalloc2.0 libjemalloc2 util-linux"
experiments="gnuplot-nox etcd-server libmimalloc2.0 libjemalloc2"
kube="golang-go patch xz-utils openssl"
command -v kubectl >/dev/null || kube="$kube kubernetes-client" # others' packages have that program, too
case ${1:-build} in
build) want=$build ;;
test) want="$build $test" ;;
bench) want="$build $test $bench" ;;
bench-runtime) want="$build $runtime" ;;
experiments) want="$build $experiments" ;;
kube) want="$build $test $kube" ;;
*) echo "usage: deps.sh build|test|bench|bench-runtime|experiments|kube" >&2; exit 2 ;;
esac
missing=
for p in $want; do
    status=$(dpkg-query -W -f '${Status}' "$p" 2>/dev/null || true)
    [ "$status" = "install ok installed" ] || missing="$missing $p"
done
[ -n "$missing" ] || exit 0
if ! command -v apt-get >/dev/null; then
    echo "deps.sh: these packages are needed and this system has no apt-get:$missing" >&2
    exit 1
fi
sudo=
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "deps.sh: run as root, or install sudo; needed:$missing" >&2; exit 1; }
    sudo=sudo
fi
echo "installing:$missing"
# A policy that refuses service starts, for as long as we install: etcd's package would start etcd.
policy=/usr/sbin/policy-rc.d
made=
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | $sudo tee "$policy" >/dev/null
    $sudo chmod 755 "$policy"
    made=1
fi
trap '[ -z "$made" ] || $sudo rm -f "$policy"' EXIT
$sudo apt-get update -qq
# shellcheck disable=SC2086
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
