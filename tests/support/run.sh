#!/usr/bin/env bash
# Run test programs and scripts, each with a time limit, and close with "N passed, N failed".
# A test speaks TAP ("ok ...", "not ok ...", "# SKIP"); one that dies without a "not ok" counts as a
# failure of its own. What a failing test printed is shown whole; a passing one is one line.
# Usage: run.sh TEST...   Settings: KVD_TEST_TIMEOUT_S (300).
set -u
cd "$(dirname "$0")/../.." || exit 2
export CMOCKA_MESSAGE_OUTPUT=tap
passed=0 failed=0 skipped=0
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
for t in "$@"; do
    log="$logs/out"
    started=$SECONDS
    timeout --kill-after=10 "${KVD_TEST_TIMEOUT_S:-300}" "$t" >"$log" 2>&1 </dev/null
    code=$?
    s=$(grep -cE '^(not )?ok .*# SKIP' "$log") # cmocka says "not ok ... # SKIP"
    p=$(grep '^ok ' "$log" | grep -vc '# SKIP')
    f=$(grep '^not ok ' "$log" | grep -vc '# SKIP')
    if [ "$code" -ne 0 ] && [ "$f" -eq 0 ]; then f=1; echo "not ok - $t ended with status $code" >>"$log"; fi
    if [ "$code" -eq 0 ] && [ $((p + f + s)) -eq 0 ]; then f=1; echo "not ok - $t ran no test" >>"$log"; fi
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
    if [ "$f" -gt 0 ]; then
        echo "FAIL  $t ($p passed, $f failed, $((SECONDS - started)) s)"
        sed 's/^/    /' "$log"
    else
        echo "ok    $t ($p passed$([ "$s" -gt 0 ] && echo ", $s skipped"), $((SECONDS - started)) s)"
        grep -E '^# ' "$log" | grep -v '^# ok - ' | sed 's/^/    /'
        grep '# SKIP' "$log" | sed 's/^/    /'
    fi
done
if [ "$skipped" -gt 0 ]; then echo "$passed passed, $failed failed, $skipped skipped"; else echo "$passed passed, $failed failed"; fi
[ "$failed" -eq 0 ]
