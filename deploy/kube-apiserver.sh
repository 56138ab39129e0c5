#!/bin/sh
# Make kube-apiserver 1.20.2 from Debian 12's source package kubernetes, of which Debian itself builds kubectl only.
# Usage: kube-apiserver.sh FILE   Does nothing when FILE is there. Needs `deps.sh kube`, 4 GB below TMPDIR (default
# /var/tmp) for the while, and minutes. Settings: KVD_DEBIAN_MIRROR; KVD_GO_CACHE (a folder that stays, so that
# the next time takes seconds; default: one that goes with the rest).
set -eu
version=1.20.2
orig="kubernetes_1.20.5+really$version.orig.tar.gz"
orig_sha256=b83c0780efb182d928dc63d46488a847f161f04e40a94b96bf5247dd671ecdfc
debian="kubernetes_1.20.5+really$version-1.1+deb12u1.debian.tar.xz"
debian_sha256=9b6e5fd41769d2b5badf2e73b274e3bcd90f85e13d06a1a4a845ccce018127d8
mirror=${KVD_DEBIAN_MIRROR:-http://deb.debian.org/debian}

say() { echo "kube-apiserver.sh: $1" >&2; }
refuse() { say "$1"; exit 1; }
[ $# -eq 1 ] && [ -n "$1" ] || { echo "usage: kube-apiserver.sh FILE" >&2; exit 2; }
[ ! -d "$1" ] || refuse "$1 is a folder; name the file to write"
[ ! -x "$1" ] || exit 0
folder=$(dirname "$1")
[ -d "$folder" ] && [ -w "$folder" ] || refuse "cannot write into $folder"
file=$(cd "$folder" && pwd)/$(basename "$1")
for tool in go curl sha256sum tar xz patch; do
    command -v $tool >/dev/null || refuse "$tool is needed and not here: deploy/deps.sh kube installs it"
done
case $(go env GOVERSION) in
go1.18* | go1.19* | go1.2[0-3]*) ;;
*) refuse "Go 1.18 to 1.23 builds it, this is $(go env GOVERSION)" ;;
esac

tmp=$(mktemp -d "${TMPDIR:-/var/tmp}/kube-apiserver.XXXXXX") || exit 1
trap 'rm -rf "$tmp" "$file.part"' EXIT
trap 'exit 130' INT TERM HUP
fetch() { # fetch NAME SHA256
    curl -fsS --retry 2 -o "$tmp/$1" "$mirror/pool/main/k/kubernetes/$1" 2>"$tmp/log" ||
        refuse "cannot get $1 from $mirror: $(tail -n 1 "$tmp/log")"
    echo "$2  $tmp/$1" | sha256sum --check --status || refuse "$1 from $mirror is not the file whose sha256 is $2"
}
# step WORDS COMMAND...: quiet unless it fails
step() {
    words=$1; shift
    say "$words"
    "$@" >"$tmp/log" 2>&1 || { tail -n 20 "$tmp/log" >&2; refuse "this failed: $words"; }
}
say "getting the source, 33 MB"
fetch "$orig" "$orig_sha256"
fetch "$debian" "$debian_sha256"
mkdir -p "$tmp/src/.go/src/k8s.io" "$tmp/home"
cd "$tmp/src"
step "unpacking" tar xf "$tmp/$orig" --strip-components=1
step "unpacking Debian's part" tar xf "$tmp/$debian"
while read -r name; do
    step "applying $name" patch -p1 -i "debian/patches/$name"
done <debian/patches/series
# The reflect2 of this tree reads a map with an iterator as Go had it before 1.18, and crashes with a later
# one. This is what reflect2 1.0.2 does; Go's maps are other ones from 1.24 on.
cat >"$tmp/maps.patch" <<'PATCH'
--- a/vendor/github.com/modern-go/reflect2/unsafe_link.go
+++ b/vendor/github.com/modern-go/reflect2/unsafe_link.go
@@ -32 +32 @@
-func mapiterinit(rtype unsafe.Pointer, m unsafe.Pointer) *hiter
+func mapiterinit(rtype unsafe.Pointer, m unsafe.Pointer, it *hiter)
@@ -47 +47,7 @@
-	// rest fields are ignored
+	// The runtime's own; as big as its iterator.
+	t, h, buckets, bptr, overflow, oldoverflow unsafe.Pointer
+	startBucket                                uintptr
+	offset                                     uint8
+	wrapped                                    bool
+	B, i                                       uint8
+	bucket, checkBucket                        uintptr
--- a/vendor/github.com/modern-go/reflect2/unsafe_map.go
+++ b/vendor/github.com/modern-go/reflect2/unsafe_map.go
@@ -111,2 +111,4 @@
+	it := new(hiter)
+	mapiterinit(type2.rtype, *(*unsafe.Pointer)(obj), it)
 	return &UnsafeMapIterator{
-		hiter:      mapiterinit(type2.rtype, *(*unsafe.Pointer)(obj)),
+		hiter:      it,
PATCH
step "applying what Go 1.18 and later need" patch -p1 -i "$tmp/maps.patch"

# As debian/rules builds kubectl: a tree of before Go's modules. -trimpath: no path of this folder in the
# program, nor in what Go's cache is asked for.
ln -s ../../.. .go/src/k8s.io/kubernetes
export GOPATH="$tmp/src/.go" GO111MODULE=off CGO_ENABLED=0 GOFLAGS=-trimpath HOME="$tmp/home"
export GOCACHE="${KVD_GO_CACHE:-$tmp/go-cache}" GOTMPDIR="$tmp"
cd .go/src/k8s.io/kubernetes
step "building openapi-gen" go build -o "$tmp/openapi-gen" ./vendor/k8s.io/kube-openapi/cmd/openapi-gen
# The one generated file that the source package lacks; which packages it describes, they say themselves. Built
# with -trimpath the generator does not know where Go's own packages are.
grep -l -r '+k8s:openapi-gen=' --include='*.go' pkg staging/src/k8s.io |
    grep -v 'code-generator/\|sample-apiserver/\|_test\.go\|testdata\|gengo' | xargs -n 1 dirname | sort -u |
    sed 's,^staging/src/,vendor/,; s,^,k8s.io/kubernetes/,' >"$tmp/packages"
step "describing the API" env GOROOT="$(go env GOROOT)" "$tmp/openapi-gen" --go-header-file vendor/k8s.io/code-generator/hack/boilerplate.go.txt \
    -i "$(paste -sd, "$tmp/packages")" --output-file-base zz_generated.openapi \
    --output-package k8s.io/kubernetes/pkg/generated/openapi --report-filename "$tmp/violations"
flags="-s -w"
for p in component-base/version client-go/pkg/version; do
    x="-X k8s.io/kubernetes/vendor/k8s.io/$p"
    flags="$flags $x.gitVersion=v$version $x.gitMajor=1 $x.gitMinor=20"
done
step "building kube-apiserver, some minutes" \
    go build -ldflags "$flags" -o "$tmp/kube-apiserver" k8s.io/kubernetes/cmd/kube-apiserver
said=$("$tmp/kube-apiserver" --version)
[ "$said" = "Kubernetes v$version" ] || refuse "what was built says that it is \"$said\", not $version"
cp "$tmp/kube-apiserver" "$file.part"
mv "$file.part" "$file"
say "$file is there"
