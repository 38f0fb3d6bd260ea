#!/bin/bash
# sanitizer.sh BUILD: a handful of mma kernels under compute-sanitizer's memcheck and racecheck. Skips where the tool is
# absent or cannot watch the device.
set -u
build=$(realpath "$1")
tool=$(command -v compute-sanitizer || ls /usr/local/cuda*/bin/compute-sanitizer 2>/dev/null | tail -1)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

check() { # tool name
    local log=$scratch/$1.log code=0
    if [ -z "$tool" ]; then
        echo "SKIP $1: no compute-sanitizer"
        return
    fi
    TMPDIR=$scratch timeout -k 10 240 "$tool" --tool "$1" --error-exitcode 99 --print-limit 5 \
        "$build/tests/test_gpu_kernels" handful_of_mma >"$log" 2>&1 || code=$?
    if grep -qiE 'device not supported|not supported on this|failed to initialize|Unable to (find|launch)' "$log"; then
        echo "SKIP $1: compute-sanitizer cannot watch this device: $(grep -iE 'not supported|failed|Unable' "$log" | head -1)"
    elif grep -q '^SKIP ' "$log"; then
        echo "SKIP $1: $(sed -n 's/^SKIP [^ ]* //p' "$log" | head -1)"
    elif [ $code -eq 0 ] && grep -q '^ok handful' "$log" && grep -qE 'ERROR SUMMARY: 0 errors|RACECHECK SUMMARY: 0 hazards' "$log"; then
        echo "ok $1"
    else
        echo "FAIL $1: code $code: $(grep -E '^=========|^FAIL' "$log" | head -4 | tr '\n' ' ')"
    fi
}

check memcheck
check racecheck
