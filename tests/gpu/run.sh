#!/bin/bash
# run.sh BUILD [FILTER]: the tests on a machine with a GPU, from a build folder that may have been carried there (carry.sh).
# Needs no package that a build needs; the cpu device's tests want a C compiler. Prints failures, skips, a table of host costs,
# and "N passed, N failed, N skipped". A skip that tests/skips.txt does not expect on this machine is a failure.
# MOEJIT_SANITIZER=0 leaves compute-sanitizer out: measure.sh gives it a part of its own.
set -u
cd "$(dirname "$0")/../.."
build=$1
filter=${2:-}
results=$build/tests/gpu-results.txt
export MOEJIT_TEST_FULL=${MOEJIT_TEST_FULL:-0}

if [ -z "${MOEJIT_NVRTC:-}" ]; then # as test.sh's set-up would export it
    nvrtc=$(ls /usr/local/cuda*/lib64/libnvrtc.so.[0-9]* 2>/dev/null | sort -V | tail -1)
    [ -z "$nvrtc" ] || export MOEJIT_NVRTC="$nvrtc"
fi

# One at a time for the device's sake: times are compared in the poisoned sweep.
grep '^test_gpu' "$build/tests/list.txt" >"$build/tests/gpu-list.txt"
cp "$build/tests/list.txt" "$build/tests/all-list.txt"
trap 'cp "$build/tests/all-list.txt" "$build/tests/list.txt"' EXIT # also where its time was over
run_list() { # list jobs
    cp "$1" "$build/tests/list.txt"
    MOEJIT_TEST_JOBS=$2 tests/run.sh "$build" gpu "$filter"
    cat "$build/tests/results.txt" >>"$results"
}
: >"$results"
run_list "$build/tests/gpu-list.txt" 1
grep -v '^test_gpu' "$build/tests/all-list.txt" >"$build/tests/host-list.txt"
run_list "$build/tests/host-list.txt" "$(nproc)"
for name in $(sed 's/^/tests\//;s/$/.log/' "$build/tests/gpu-list.txt"); do
    grep '^# ' "$build/$name" 2>/dev/null | grep -E 'us$|ms$|verified$' | sed 's/^/   /'
done

# Lines for tests that are not run here say nothing about this run.
MOEJIT_SKIPS=$(grep -F -- "$filter" "$build/tests/all-list.txt" | sed 's#.*#^&/#' | grep -f - tests/skips.txt)
export MOEJIT_SKIPS
tests/check_skips.sh "$results" "$MOEJIT_TEST_FULL" >"$build/tests/gpu-skips.txt"
cat "$build/tests/gpu-skips.txt" >>"$results"
if [ -z "$filter" ]; then
    # Its skips are not in the list: whether the tool can watch the device depends on more than can be asked for.
    if [ "${MOEJIT_SANITIZER:-1}" != 0 ]; then
        tests/gpu/sanitizer.sh "$build" | sed -nE 's#^(ok|FAIL|SKIP) #\1 gpu sanitizer/#p' | tee -a "$results" | sed 's/^/   /'
    fi
    if [ -x "$build/bench_host" ]; then
        "$build/bench_host" --device cuda:0 | sed 's/^/   /'
    fi
fi
grep -E '^(FAIL|SKIP)' "$results"
count() {
    grep -c "^$1 " "$results"
}
failed=$(count FAIL)
echo "$(count ok) passed, $failed failed, $(count SKIP) skipped"
[ "$failed" -eq 0 ]
