#!/usr/bin/env bash
# The runtime, installed into an empty prefix, is enough to build and run a program elsewhere.
set -u
cd "$(dirname "$0")/../.." || exit 2
B=${KVD_BUILD:-build}
case $B in *asan* | *tsan*) echo "ok - a program builds against the installed runtime # SKIP one that is instrumented needs the same flags"; exit 0 ;; esac
dir=$(mktemp -d)
failed=0
trap 'rm -rf "$dir"' EXIT
verdict() { if [ "$2" -eq 0 ]; then echo "ok - $1"; else echo "not ok - $1"; sed 's/^/#   /' "$dir/out"; failed=1; fi; }

variant=${B#build}
make --no-print-directory VARIANT="${variant#/}" PREFIX="$dir/prefix" install-runtime >"$dir/out" 2>&1
verdict "the runtime installs into a prefix" $?
cp runtime/examples/hello.c runtime/examples/preemption.c "$dir"
cd "$dir" || exit 2
export PKG_CONFIG_PATH=$dir/prefix/lib/pkgconfig
cflags=$(pkg-config --cflags kvdrt 2>"$dir/out") libs=$(pkg-config --libs kvdrt) script=$(pkg-config --variable=rt_go_ld kvdrt)
verdict "pkg-config knows it" $?
build() { # build PROGRAM: as a user would, with nothing of the source tree
    # shellcheck disable=SC2086
    cc -std=gnu11 -O2 -g $cflags -c "$1.c" -o "$1.o" &&
        ld -r -T "$script" -o "$1.rt_go.o" "$1.o" && cc "$1.rt_go.o" $libs -o "$1"
}
# Every name that the linker sees is one that a header declares: else C could not compile its use.
names=$(nm -g --defined-only prefix/lib/libkvdrt.a | awk 'NF == 3 && $3 != "__assert_fail" {print $3}')
{
    for header in prefix/include/rt/*.h; do echo "#include <rt/${header##*/}>"; done
    echo "const void *const names[] = {"
    for name in $names; do echo "    (const void *)&$name,"; done
    echo "};"
} >names.c
# shellcheck disable=SC2086
[ "$(wc -w <<<"$names")" -gt 150 ] && cc -std=gnu11 $cflags -fsyntax-only names.c >"$dir/out" 2>&1
verdict "the library shows the linker its public names and no others" $?
for program in hello preemption; do
    build "$program" >"$dir/out" 2>&1
    verdict "$program builds against what was installed" $?
    timeout 200 "./$program" >"$dir/out" 2>&1
    verdict "$program runs" $?
done
grep -q "ran on at" "$dir/out"
verdict "its own code is preemptible" $?
for header in prefix/include/rt/*.h; do
    # shellcheck disable=SC2086
    echo "#include <rt/${header##*/}>" | cc -std=gnu11 -Wall -Wextra -Werror $cflags -fsyntax-only -x c - >"$dir/out" 2>&1 || { verdict "${header##*/} stands alone" 1; }
done
[ "$failed" -eq 0 ] && echo "ok - every header stands alone"
exit $failed
