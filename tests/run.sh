#!/bin/bash
# run.sh BUILD PASS [FILTER]: runs the test executables of BUILD/tests/list.txt, two at a time, and adds their lines to
# BUILD/tests/results.txt as "ok|FAIL|SKIP PASS EXECUTABLE/CASE: text". FILTER: only executables whose name contains it.
# A test that ends with an error but no FAIL line (a crash, a sanitizer's report, a time-out) becomes one.
set -u
build=$(realpath "$1") # a home must be absolute
pass=$2
filter=${3:-}
jobs=${MOEJIT_TEST_JOBS:-$(nproc)}
limit_seconds=${MOEJIT_TEST_SECONDS:-900}
TIMEFORMAT='%U %S'

# The compiler of the kernels for the CPU keeps what it made (tests/kept/cc), for the other tests and for the other builds' passes.
MOEJIT_TEST_CC=$(command -v cc)
cc_identity() { # its version, and what it makes of this CPU: a kept library may come to another machine
    "${MOEJIT_TEST_CC:-true}" --version
    "${MOEJIT_TEST_CC:-true}" -march=native -dM -E -x c /dev/null
}
MOEJIT_TEST_KEPT=$(dirname "$build")/kept/$(cc_identity | sha256sum | cut -c 1-16)
export MOEJIT_TEST_CC MOEJIT_TEST_KEPT
if [ -n "$MOEJIT_TEST_CC" ] && mkdir -p "$MOEJIT_TEST_KEPT"; then
    find "$MOEJIT_TEST_KEPT" -type f -mtime +1 -delete
    PATH=$(realpath "$(dirname "$0")")/kept:$PATH
fi

run_one() { # executable
    local log=$build/tests/$1.log code=0 start=$SECONDS
    # A home of its own: no test reads or leaves state in the user's.
    local home=$build/tests/$1.home
    rm -rf "$home" && mkdir -p "$home"
    {
        time HOME=$home XDG_CACHE_HOME=$home/cache XDG_DATA_HOME=$home/data XDG_STATE_HOME=$home/state TMPDIR=$home \
            timeout -k 10 "$limit_seconds" "$build/tests/$1" >"$log" 2>&1 </dev/null || code=$?
    } 2>"$log.time"
    if [ $code -ne 0 ] && ! grep -q '^FAIL ' "$log"; then
        echo "FAIL $1: ended with code $code: $(tail -n 3 "$log" | tr '\n' ' ')" >>"$log"
    elif ! grep -qE '^(ok|FAIL|SKIP) ' "$log"; then
        echo "FAIL $1: ran no case" >>"$log"
    fi
    sed -nE "s#^(ok|FAIL|SKIP) ([^ ]+)#\1 $pass $1/\2#p" "$log" >"$log.lines"
    printf '   %-28s %4d ok  %3ds, %s of CPU%s\n' "$1" "$(grep -c '^ok ' "$log")" $((SECONDS - start)) \
        "$(awk '{ printf "%.0fs", $1 + $2 }' "$log.time")" \
        "$(grep -qE '^FAIL ' "$log" && echo '  FAILED')"
    grep '^FAIL ' "$log" | sed 's/^/      /' | head -20
    rm -rf "$home" 2>/dev/null || { sleep 2; rm -rf "$home"; } # a killed tune's last compiler may still write there
}

# The longest first: what ends last would have one core busy.
long="test_golden test_cli_tune test_amd test_cli_examples test_estimate test_wgmma test_wgmma_mutants test_amd_mutants test_legal
    test_full_disk test_tune test_wgmma_weights4 test_schemes test_gpu_poison test_mutants test_plan_schemes test_codes test_gpu_kernels
    test_cli test_plan test_plan_codes test_gpu test_cpu_family test_script test_host_hopper test_memory_need"
# shellcheck disable=SC2086
names=$(printf '%s\n' $long "$(cat "$build/tests/list.txt")" | grep -Fx -f "$build/tests/list.txt" |
    grep -F -- "$filter" | awk '!seen[$0]++')
: >"$build/tests/results.txt"
running=0
for name in $names; do
    run_one "$name" &
    running=$((running + 1))
    if [ $running -ge "$jobs" ]; then
        wait -n
        running=$((running - 1))
    fi
done
wait
for name in $names; do
    cat "$build/tests/$name.log.lines"
done >"$build/tests/results.txt"
! grep -q '^FAIL' "$build/tests/results.txt"
