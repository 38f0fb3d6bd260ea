#!/bin/bash
# gpu_scripts_test.sh BUILD: the scripts for GPU machines where they can be tried without one: what sanitizer.sh makes of the tool's
# words (a stand-in says them), and that measure.sh goes on where an earlier call stopped.
set -u
build=$(realpath "$1")
cd "$(dirname "$0")/.." || exit 1
work=$(mktemp -d)
trap 'rm -rf "$work"; rm -f "$build"/tests/sanitizer_*.log' EXIT
mkdir "$work/bin"

check() { # name, what is wrong
    if [ -z "$2" ]; then
        echo "ok $1"
    else
        echo "FAIL $1: $(echo "$2" | head -n 3 | tr '\n' ' ')"
    fi
}

# Called as: --tool TOOL --error-exitcode 99 --print-limit 5 PROGRAM CASE
cat >"$work/bin/compute-sanitizer" <<'STANDIN'
#!/bin/bash
case $2-$8 in
    memcheck-handful_of_wgmma_bf16) echo "========= Invalid __global__ write of size 4"; echo "========= ERROR SUMMARY: 1 error"; exit 99 ;;
    racecheck-handful_of_mma) echo "ok handful"; echo "========= RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)" ;;
    racecheck-handful_of_wgmma_fp8) echo "========= COMPUTE-SANITIZER"; sleep 60 ;;
    racecheck-handful_of_wgmma_blocks | synccheck-handful_of_mma) echo "========= ERROR SUMMARY: 0 errors" ;;
    synccheck-handful_of_wgmma_int4) echo "SKIP handful: no CUDA device" ;;
    *) echo "ok handful"; echo "========= ERROR SUMMARY: 0 errors" ;;
esac
STANDIN
chmod +x "$work/bin/compute-sanitizer"

words_are_read() {
    PATH=$work/bin:$PATH tests/gpu/sanitizer.sh "$build" 4 | sort >"$work/got"
    cat >"$work/want" <<'WANT'
FAIL memcheck_wgmma_bf16: code 99: ========= Invalid __global__ write of size 4 ========= ERROR SUMMARY: 1 error
FAIL racecheck_wgmma_blocks: code 0: ========= ERROR SUMMARY: 0 errors
FAIL synccheck_mma: code 0: ========= ERROR SUMMARY: 0 errors
SKIP racecheck_wgmma_fp8: nothing found in 4 s, and not finished
SKIP synccheck_wgmma_int4: no CUDA device
ok memcheck_mma
ok memcheck_wgmma_blocks
ok memcheck_wgmma_fp8
ok memcheck_wgmma_int4
ok racecheck_mma
ok racecheck_wgmma_bf16
ok racecheck_wgmma_int4
ok synccheck_wgmma_bf16
ok synccheck_wgmma_blocks
ok synccheck_wgmma_fp8
WANT
    diff -Z "$work/got" "$work/want"
}

measure() { # out seconds [from]
    MOEJIT_DEVICE=cpu MOEJIT_PARTS="tune peers estimate sanitizer" PYTHON=false tests/gpu/measure.sh "$build" "$@" >"$work/said" 2>&1
}

# No time for anything; then a failing part is told and left open, one that is done is not done again.
measure_goes_on() {
    measure "$work/out" 1
    grep -q '^peers: waits for tune' "$work/said" && echo "waits without time"
    grep -q 'done: *$' "$work/said" || tail -n 1 "$work/said"
    mkdir -p "$work/out/state" && echo tune >"$work/out/state/done"
    tar czf "$work/out/state.tar.gz" -C "$work/out/state" . && rm -r "$work/out/state"
    MOEJIT_PARTS="tune peers" MOEJIT_DEVICE=cpu PYTHON=false tests/gpu/measure.sh "$build" "$work/out2" 60 "$work/out" >"$work/said" 2>&1
    grep -q '^peers: ended with code 1, see logs.tar.gz: peers.log' "$work/said" || cat "$work/said"
    grep -q '^tune:' "$work/said" && echo "tune was done"
    grep -q 'done: tune *$' "$work/said" || tail -n 1 "$work/said"
    [ "$(find "$work/out2" -type f | wc -l)" -le 8 ] || ls "$work/out2"
}

check words_are_read "$(words_are_read)"
check measure_goes_on "$(measure_goes_on)"
rm -rf "$build/measure"
