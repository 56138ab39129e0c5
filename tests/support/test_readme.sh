#!/usr/bin/env bash
# What README.md says is there: every `file:function` of the life of a put, every link, every make target,
# every flag.
set -u
cd "$(dirname "$0")/../.." || exit 2
B=${KVD_BUILD:-build}
failed=0
verdict() { if [ -z "$2" ]; then echo "ok - $1"; else echo "not ok - $1"; printf '%s\n' "$2" | sed 's/^/#   /'; failed=1; fi; }

verdict "every file:function of the life of a put exists" "$(grep -oE '`[a-z0-9_/]+\.c:[a-z0-9_]+`' README.md | tr -d '`' | while IFS=: read -r file function; do
    grep -qE "(^|[ *])$function\(" "$file" 2>/dev/null || echo "$file:$function"
done)"
for page in README.md deploy/README.md */README.md kv/*/README.md cmd/*/README.md; do
    [ -f "$page" ] || continue
    verdict "every link of $page leads somewhere" "$(grep -oE '\]\([^)#]+' "$page" | cut -c3- | grep -v '://' | while read -r link; do
        [ -e "$(dirname "$page")/$link" ] || echo "$link"
    done)"
done
verdict "every make target that README names exists" "$(grep -oE '`make [a-z-]+' README.md | awk '{print $2}' | sort -u | while read -r target; do
    grep -qE "^$target:" Makefile || echo "$target"
done)"
help=$("$B/kvd" --help)
verdict "every flag that README names exists" "$(grep -oE '`--[a-z-]+' README.md deploy/README.md | grep -oE '\-\-[a-z-]+' | sort -u | while read -r flag; do
    grep -qE -- "^ *$flag( |$)" <<<"$help" || echo "$flag"
done)"
exit $failed
