#!/usr/bin/env bash
# The long form of `make test`: the whole suite over each compiler, poller and log form and on one P,
# the sanitizers, the kill tests at full length, Kubernetes' API server on top. Ends with one line a form and a verdict over all.
set -u
cd "$(dirname "$0")/../.." || exit 2
results=() failed=0
without_passed='/^  [A-Z]+ /{next} /^[^ ]/{passed = /^ok  /} !passed' # what a failing test printed is shown whole
form() { # form NAME COMMAND...
    local name=$1 log; shift
    log=$(mktemp)
    echo "=== $name"
    if "$@" 2>&1 | tee "$log" | awk "$without_passed"; [ "${PIPESTATUS[0]}" -eq 0 ]; then
        results+=("ok    $name: $(tail -n 1 "$log")")
    else
        results+=("FAIL  $name: $(tail -n 1 "$log")"); failed=1
    fi
    rm -f "$log"
}
form "gcc, io_uring, direct log" env KVD_POLLER=uring KVD_WAL_IO=direct make --no-print-directory test
form "clang, epoll, buffered log" env KVD_POLLER=epoll KVD_WAL_IO=buffered make --no-print-directory VARIANT=clang test
form "one P" env KVD_MAXPROCS=1 make --no-print-directory test
if KVD_SPILL=always timeout 300 build/tests/runtime/test_spill 2>&1 | grep -q '^# on: '; then
    form "stacks put away at every park" env KVD_SPILL=always make --no-print-directory unit-runtime
else
    results+=("skip  stacks put away at every park: this kernel cannot (Linux 6.15)")
fi
for b in build build/clang; do
    form "ten minutes of torture, $b" env KVD_TORTURE_S=600 KVD_TEST_TIMEOUT_S=1500 tests/support/run.sh $b/tests/runtime/test_torture
done
audited=$(find tests/proto tests/kv -name 'test_*.c' | sed 's|^|build/|; s|\.c$||' | sort)
# shellcheck disable=SC2086
form "a storm, and who lies below each preemption" env KVD_TORTURE=storm+audit tests/support/run.sh $audited tests/e2e/test_etcdctl.sh
form "twenty kills" env KVD_KILLS=20 KVD_TEST_TIMEOUT_S=1200 tests/support/run.sh tests/fault/test_kills.sh
make_kube_apiserver() { deploy/deps.sh kube && deploy/kube-apiserver.sh build/kube-apiserver && build/kube-apiserver --version; }
form "kube-apiserver is built from Debian's source" make_kube_apiserver
form "a real kube-apiserver on kvd" env KVD_KUBE_APISERVER=build/kube-apiserver KVD_TEST_TIMEOUT_S=900 tests/support/run.sh tests/e2e/test_kube.sh
rm -rf build/kube-check
form "LIST through a real kube-apiserver" build/kvlab kube --quick --kube-apiserver build/kube-apiserver --out build/kube-check
form "AddressSanitizer, UBSan" tests/support/sanitized.sh asan
form "ThreadSanitizer" tests/support/sanitized.sh tsan
printf '%s\n' "" "${results[@]}"
exit $failed
