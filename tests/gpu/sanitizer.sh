#!/bin/bash
# sanitizer.sh BUILD [SECONDS]: a handful of mma and of wgmma kernels (by scheme; each way to load, to schedule and to share) under
# compute-sanitizer's memcheck, racecheck and synccheck, all at a time, each for SECONDS (240) at most. Skips where the tool is
# absent or cannot watch the device. What ran longer than SECONDS is a SKIP too: it has found nothing so far. BUILD/tests/ keeps the logs.
#
# racecheck gets kernels that give stages back by all lanes. As they are a warp's lane 0 does it for all, behind a __syncwarp that the
# compiler takes out where the warp is converged: an order among lanes that nobody can see in the binary. The tool then reports
# kernels in blocks that use a stage twice, with a cluster or without.
set -u
build=$(realpath "$1")
cd "$(dirname "$0")/../.."
seconds=${2:-240}
tool=$(command -v compute-sanitizer || ls /usr/local/cuda*/bin/compute-sanitizer 2>/dev/null | tail -1)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

lanes=$scratch/lanes
all_lanes() { # templates in $lanes: each lane arrives, at each block
    mkdir -p "$lanes"
    cp -r lua templates "$lanes/"
    sed -i '/^MJ_FN void mj_release/,/^}/ {
        s/if (mj_lane() == 0) {/{/
        s/if (mj_lane() < MJ_CLUSTER) {.*/for (mj_i32 block = 0; block < MJ_CLUSTER; block++) {/
        s/, mj_lane());/, block);/
    }' "$lanes/templates/wgmma_produce.tmpl"
    sed -i 's/\(MJ_SMEM_EMPTY.*MJ_CLUSTER \* MJ_GROUPS \* 4\))/\1 * MJ_WARP_SIZE)/' "$lanes/templates/wgmma.tmpl"
    if sed -n '/^MJ_FN void mj_release/,/^}/p' "$lanes/templates/wgmma_produce.tmpl" | grep -q mj_lane || # a lane is left out: a hang
        ! grep -q 'MJ_GROUPS \* 4 \* MJ_WARP_SIZE' "$lanes/templates/wgmma.tmpl"; then
        echo "FAIL racecheck: the templates give stages back in another way than this script expects"
        exit 1
    fi
}

check() { # tool family
    local name=$1_$2 code=0
    local log=$build/tests/sanitizer_$name.log
    if [ -z "$tool" ]; then
        echo "SKIP $name: no compute-sanitizer"
        return
    fi
    mkdir -p "$scratch/$name"
    [ "$1" != racecheck ] || export MOEJIT_TEST_DATA_DIR=$lanes
    TMPDIR=$scratch/$name timeout -k 10 "$seconds" "$tool" --tool "$1" --error-exitcode 99 --print-limit 5 \
        "$build/tests/test_gpu_kernels" "handful_of_$2" >"$log" 2>&1 || code=$?
    if grep -qiE 'device not supported|not supported on this|failed to initialize|Unable to (find|launch)' "$log"; then
        echo "SKIP $name: compute-sanitizer cannot watch this device: $(grep -iE 'not supported|failed|Unable' "$log" | head -1)"
    elif grep -q '^SKIP ' "$log"; then
        echo "SKIP $name: $(sed -n 's/^SKIP [^ ]* //p' "$log" | head -1)"
    elif [ $code -eq 0 ] && grep -q '^ok handful' "$log" && grep -qE 'ERROR SUMMARY: 0 errors|RACECHECK SUMMARY: 0 hazards' "$log"; then
        echo "ok $name"
    elif [ $code -eq 124 ] && ! grep -qE '^========= (Error|Invalid|Warning|Race|Potential|Barrier)|^FAIL' "$log"; then
        echo "SKIP $name: nothing found in $seconds s, and not finished"
    else
        echo "FAIL $name: code $code: $(grep -E '^=========|^FAIL' "$log" | head -4 | tr '\n' ' ')"
    fi
}

all_lanes
for kind in memcheck racecheck synccheck; do
    for family in mma wgmma_bf16 wgmma_fp8 wgmma_blocks wgmma_int4; do
        check $kind $family >"$scratch/$kind.$family" &
    done
done
wait
cat "$scratch"/*check.*
