#!/usr/bin/env bash
# README's quick start, word for word, in a fresh Debian 12 root: `make run`, unmodified clients against
# it, `make test`. The machine one builds on hides missing packages; this shows them.
# Needs root and debootstrap. Settings: KVD_BARE_ROOT (keep and reuse this folder), KVD_BARE_PORT (first port, 3790).
set -eu
cd "$(dirname "$0")/../.."
[ "$(id -u)" -eq 0 ] || { echo "check-bare-root needs root (debootstrap, chroot)" >&2; exit 1; }
if ! command -v debootstrap >/dev/null; then
    apt-get update -qq && apt-get install -y -qq --no-install-recommends debootstrap >/dev/null
fi
root=${KVD_BARE_ROOT:-$(mktemp -d "${TMPDIR:-/var/tmp}/kvd-bare.XXXXXX")}
port=${KVD_BARE_PORT:-3790}
mirror=$(awk '$1 == "deb" && $2 ~ /^http/ {print $2; exit}' /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null || true)
[ -n "$mirror" ] || mirror=$(awk '$1 == "URIs:" {print $2; exit}' /etc/apt/sources.list.d/*.sources 2>/dev/null || true)
runner=
cleanup() {
    [ -z "$runner" ] || { kill -INT -- "-$runner" 2>/dev/null || true; wait "$runner" 2>/dev/null || true; }
    for m in dev/shm dev proc sys; do umount -l "$root/$m" 2>/dev/null || true; done
    [ -n "${KVD_BARE_ROOT:-}" ] || rm -rf --one-file-system "$root"
}
trap cleanup EXIT
inside() { chroot "$root" env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 KVD_RUN_PORT="$port" "$@"; }

if [ ! -e "$root/etc/debian_version" ]; then
    echo "making a bare Debian 12 in $root"
    debootstrap --variant=minbase bookworm "$root" "${mirror:-http://deb.debian.org/debian}" >"$root.log" 2>&1 ||
        { tail -5 "$root.log"; exit 1; }
    rm -f "$root.log"
fi
# The way to the packages is this machine's; nothing else of it is.
for f in /etc/apt/apt.conf.d/*proxy* /etc/apt/apt.conf /etc/resolv.conf /etc/hosts; do
    [ ! -e "$f" ] || { mkdir -p "$root$(dirname "$f")"; cp -L "$f" "$root$f"; }
done
mount -t proc proc "$root/proc"; mount --rbind /dev "$root/dev"; mount --make-rslave "$root/dev"; mount -t sysfs sys "$root/sys"
inside apt-get update -qq
inside apt-get install -y -qq --no-install-recommends git make >/dev/null # what README asks for
rm -rf "$root/kvd"
git clone -q . "$root/kvd"
inside git config --global --add safe.directory /kvd

echo "=== make run"
setsid chroot "$root" env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 KVD_RUN_PORT="$port" sh -c 'cd /kvd && exec make run' >"$root/run.log" 2>&1 &
runner=$!
for _ in $(seq 1200); do
    grep -q "three members are healthy" "$root/run.log" && break
    kill -0 "$runner" 2>/dev/null || { cat "$root/run.log"; echo "not ok - make run starts"; exit 1; }
    sleep 0.5
done
cat "$root/run.log"
grep -q "three members are healthy" "$root/run.log" || { echo "not ok - make run becomes healthy"; exit 1; }
echo "ok - make run starts three members"
if inside sh -c 'command -v etcd' >/dev/null; then echo "not ok - make run installs no etcd server"; exit 1; fi
echo "ok - make run installs no etcd server"

echo "=== unmodified clients against it, from another shell"
inside sh -c 'cd /kvd && make test-deps'
failed=0
endpoints="127.0.0.1:$port,127.0.0.1:$((port + 10000)),127.0.0.1:$((port + 20000))"
for t in tests/e2e/test_etcdctl.sh tests/e2e/test_kvctl.sh tests/e2e/test_python_etcd3.py; do
    inside env KVD_TEST_ENDPOINTS="$endpoints" sh -c "cd /kvd && $t" || failed=1
done
kill -INT -- "-$runner"; wait "$runner" 2>/dev/null || true; runner=

echo "=== make test"
inside sh -c 'cd /kvd && make test' || failed=1
exit $failed
