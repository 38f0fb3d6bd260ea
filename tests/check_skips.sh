#!/bin/bash
# check_skips.sh RESULTS FULL: compares the skipped cases with tests/skips.txt; a new or a missing skip is a FAIL line.
# MOEJIT_SKIPS: other lines in place of that file's, for a run of fewer tests.
set -u
results=$1
full=$2

holds() { # condition: does it apply on this machine, in this run?
    case $1 in
        always) true ;;
        no-gpu) ! ls /dev/nvidia[0-9]* >/dev/null 2>&1 ;;
        gpu) ls /dev/nvidia[0-9]* >/dev/null 2>&1 ;;
        no-sm90) ! nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | grep -q '^9\.0' ;;
        quick) [ "$full" -eq 0 ] ;;
        no-hiprtc) [ -z "${MOEJIT_HIPRTC:-}" ] ;;
        no-objdump) [ -z "${MOEJIT_HIPRTC:-}" ] || [ -z "${MOEJIT_TEST_OBJDUMP:-}" ] ;;
        no-old-hiprtc) [ -z "${MOEJIT_TEST_HIPRTC:-}" ] ;;
        no-nvrtc) [ -z "${MOEJIT_NVRTC:-}" ] ;;
        no-mounts) ! unshare -m mount -t tmpfs none /tmp 2>/dev/null && ! unshare -rm mount -t tmpfs none /tmp 2>/dev/null ;;
        not-root) [ "$(id -u)" -ne 0 ] ;;
        no-avx2) ! grep -qw avx2 /proc/cpuinfo ;;
        no-avx512bf16) ! grep -qw avx512_bf16 /proc/cpuinfo ;;
        no-clang) ! command -v clang >/dev/null ;;
        *) echo "FAIL skips skips/list: unknown condition '$1' in tests/skips.txt" ;;
    esac
}

expected=$(echo "${MOEJIT_SKIPS-$(cat tests/skips.txt)}" | sed 's/#.*//' | while read -r name condition; do
    [ -n "$name" ] || continue
    message=$(holds "$condition") && echo "$name"
    [ -z "$message" ] || echo "$message" >&2
done 2>&1 | sort -u)
actual=$(sed -n 's/^SKIP [^ ]* \([^ :]*\).*/\1/p' "$results" | sort -u)
comm -13 <(echo "$expected") <(echo "$actual") |
    sed '/^$/d; s/.*/FAIL skips &: skipped, but tests\/skips.txt does not expect it here/'
comm -23 <(echo "$expected") <(echo "$actual") |
    sed '/^$/d; /^FAIL/!s/.*/FAIL skips &: tests\/skips.txt expects a skip, but it ran or is gone/'
