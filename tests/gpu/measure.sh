#!/bin/bash
# measure.sh BUILD OUT [SECONDS [FROM]]: what has to be measured on a GPU, the most valuable first, in about SECONDS (540).
#
#     tests/gpu/measure.sh build-test/carried out                     all parts in turn, as far as the time goes
#     tests/gpu/measure.sh build-test/carried out2 540 out            goes on from where the run that wrote `out` stopped
#     MOEJIT_PARTS="peers estimate" tests/gpu/measure.sh ...          only these
#     MOEJIT_BATCH="64 4096" MOEJIT_SCHEMES=bf16 ...                  tune and peers: only these batch sizes, formats
#
# Parts, each with its share of the time, and what takes one up again by hand (after `tar xzf OUT/state.tar.gz -C STATE`, with
# XDG_DATA_HOME=STATE/data XDG_STATE_HOME=STATE/state MOEJIT_CACHE_DIR=STATE/cache):
#     check       kernels and layers of every family are right here     tests/gpu/run.sh BUILD test_gpu
#     tune        the layers of tests/bench/peers.py, four formats      moejit tune --problem ... again: finished rows are skipped
#     peers       beside Triton and PyTorch                             tests/bench/peers.py --resume --out OUT/peers.jsonl
#     sanitizer   compute-sanitizer over a handful of kernels           tests/gpu/sanitizer.sh BUILD
#     quickstart  README's first command, whole                         ./quickstart.sh --json: finished rows are skipped
#     estimate    how well it ranks                                     moejit run tests/bench/estimate.lua out=OUT: goes on by itself
#     tests       every test executable, and the host's costs           tests/gpu/run.sh BUILD
# OUT gets summary.txt, peers.jsonl, peers.json, tune.jsonl, quickstart.json, estimate.json, logs.tar.gz and state.tar.gz (store,
# journal, what is done). PYTHON: one with PyTorch and Triton. BUILD/peers-baseline.json, if it is there: an earlier run of the peers to
# compare theirs with. peers waits for tune, so that no row rests on an estimate. MOEJIT_DEVICE=cpu: a rehearsal with tiny layers.
set -u
cd "$(dirname "$0")/../.."
build=$(realpath "$1")
out=$2
seconds=${3:-540}
from=${4:-}
device=${MOEJIT_DEVICE:-cuda:0}
python=${PYTHON:-python3}
parts=${MOEJIT_PARTS:-check tune peers sanitizer quickstart estimate tests}
batch=${MOEJIT_BATCH:-64 1 4096 256 16 1024}
schemes=${MOEJIT_SCHEMES:-bf16 fp8_w8a8 fp8_w8a8_block fp8_w8a8_channel}
mkdir -p "$out"
out=$(realpath "$out")
work=$build/measure
logs=$work/logs
state=$work/keep
rm -rf "$work"
mkdir -p "$logs" "$state"
if [ -n "$from" ]; then
    cp "$from"/*.json "$from"/*.jsonl "$out/" 2>/dev/null
    chmod -R u+w "$out"
    tar xzf "$from/state.tar.gz" -C "$state" || echo "no state in $from: everything is measured anew"
fi
touch "$state/done"
cp "$out/estimate.json" "$state/" 2>/dev/null
unset MOEJIT_STORE_DIR
export XDG_DATA_HOME=$state/data XDG_STATE_HOME=$state/state MOEJIT_CACHE_DIR=$work/cache
if [ -z "${MOEJIT_NVRTC:-}" ]; then
    nvrtc=$(ls /usr/local/cuda*/lib64/libnvrtc.so.[0-9]* 2>/dev/null | sort -V | tail -1)
    [ -z "$nvrtc" ] || export MOEJIT_NVRTC="$nvrtc"
fi
left() {
    echo $((seconds - SECONDS))
}

# least SHARE LIMIT: the seconds a part may take: at most SHARE percent of all, LIMIT and what is left.
least() {
    local most=$((seconds * $1 / 100))
    [ "$most" -le "$2" ] || most=$2
    [ "$most" -le "$(left)" ] || most=$(left)
    echo "$most"
}

# Output to a log; the code of a command that ran out of its time is 124.
run() { # log seconds command...
    local log=$logs/$1.log limit=$2
    shift 2
    timeout -k 10 -s INT "$limit" "$@" >>"$log" 2>&1
}

layers() { # name problem-without-scheme
    if [ "$device" = cpu ]; then
        echo "smoke E=4/4,topk=2,H=256,N=128"
        return
    fi
    echo "mixtral-8x7b-tp2 E=8/8,topk=2,H=4096,N=7168"
    echo "deepseek-v3-tp8 E=256/256,topk=8,H=7168,N=256"
    echo "qwen3-30b-a3b-tp1 E=128/128,topk=8,H=2048,N=768"
}

part_check() {
    MOEJIT_TEST_SECONDS=$(least 45 250) run check "$(least 50 260)" tests/gpu/run.sh "$build" "${MOEJIT_TEST_FILTER:-test_gpu}"
    local code=$?
    grep -E '^(FAIL|SKIP)|passed|^   # ' "$logs/check.log"
    return $code
}

part_tune() {
    local until=$((SECONDS + $(least 70 420))) words=
    [ "$device" != cpu ] || schemes=bf16 batch="1 5" words="--mem 64M"
    local all=0 code budget scheme name problem
    for scheme in $schemes; do
        while read -r name problem; do
            budget=$((until - SECONDS))
            if [ "$budget" -lt 3 ]; then
                [ $all -ne 0 ] || all=124
                continue
            fi
            # shellcheck disable=SC2086
            timeout -k 10 -s INT $((budget + 5)) "$build/moejit" tune --device "$device" --batch $batch --budget "$budget" $words \
                --json -q --problem "$problem,gated=1,act=silu,bias=0,scheme=$scheme,layout=default" \
                >"$work/tune.json" 2>>"$logs/tune.log" </dev/null
            code=$?
            case $all in # what failed is said, whatever came after it
                0 | 6 | 124 | 130) [ $code -eq 0 ] || all=$code ;;
            esac
            tr -d '\n' <"$work/tune.json" >>"$out/tune.jsonl"
            echo >>"$out/tune.jsonl"
            echo "$name $scheme: $(grep -c '"op"' "$work/tune.json") rows, $(grep -c '"mma"' "$work/tune.json") of them mma;" \
                "$(grep -oE '"(seconds|compile_seconds_median|worker_restarts)": [0-9.]*' "$work/tune.json" | tr '\n' ' ')"
        done < <(layers)
    done
    return $all
}

part_peers() {
    local budget options="--modes ${schemes//fp8_w8a8/fp8} --batch $batch"
    budget=$(least 80 400)
    [ "$device" != cpu ] || options="--modes bf16"
    [ ! -f "$build/peers-baseline.json" ] || options="$options --baseline $build/peers-baseline.json"
    # shellcheck disable=SC2086
    run peers $((budget + 30)) "$python" tests/bench/peers.py --lib "$build" --device "$device" --out "$out/peers.jsonl" --resume \
        --budget "$budget" --json "$out/peers.json" $options
    local code=$?
    grep -E '^\||^ceilings|^device|rows in|against the baseline|Error' "$logs/peers.log" | grep -v ': floor ' | tail -30
    return $code
}

part_quickstart() {
    local words=
    [ -e build ] || ln -s "$(realpath --relative-to=. "$build")" build
    [ "$device" != cpu ] || words="--batch 1 --model granite-3.0-1b-a400m --tp 1 --budget 60 --mem 512M"
    # A store of its own: as on a fresh machine, and every row of the table says what was tried.
    # shellcheck disable=SC2086
    XDG_DATA_HOME=$state/quickstart XDG_STATE_HOME=$state/quickstart \
        timeout -k 10 -s INT "$(least 40 200)" ./quickstart.sh --device "$device" --json -q $words \
        >"$work/quickstart.out" 2>>"$logs/quickstart.log"
    local code=$?
    sed -n '/^{/,$p' "$work/quickstart.out" >"$out/quickstart.json"
    sed '/^{/,$d' "$work/quickstart.out" >>"$logs/quickstart.log"
    echo "$(grep -c '"op"' "$out/quickstart.json") rows; $(grep -oE '"seconds": [0-9.]*' "$out/quickstart.json")"
    return $code
}

part_estimate() {
    local words=limit=${MOEJIT_ESTIMATE_LIMIT:-600} # 600 configs of twelve cells: some five minutes
    [ "$device" != cpu ] || words="limit=3 cells=smoke"
    # shellcheck disable=SC2086
    run estimate $(($(least 80 540) + 5)) "$build/moejit" run -q tests/bench/estimate.lua out="$state" device="$device" \
        seconds="$(least 80 535)" $words
    local code=$?
    cp "$state/estimate.json" "$out/" 2>/dev/null
    grep '^|' "$logs/estimate.log" | tail -15
    return $code
}

part_sanitizer() {
    run sanitizer "$(least 60 300)" tests/gpu/sanitizer.sh "$build" "$(($(least 60 300) - 15))"
    local code=$?
    cat "$logs/sanitizer.log"
    ! grep -q '^FAIL' "$logs/sanitizer.log" && return $code
}

part_tests() {
    MOEJIT_SANITIZER=0 MOEJIT_TEST_SECONDS=$(least 90 400) run tests "$(least 95 560)" tests/gpu/run.sh "$build" "${MOEJIT_TEST_FILTER:-}"
    local code=$?
    grep -E '^(FAIL|SKIP)|passed|   ' "$logs/tests.log" | grep -v ' ok ' | tail -60
    return $code
}

# What an interrupted call leaves behind is as good as a finished one's.
keep() {
    tar czf "$out/state.tar.gz" -C "$state" . 2>/dev/null
    cp "$build"/tests/sanitizer_*.log "$logs/" 2>/dev/null
    tar czf "$out/logs.tar.gz" -C "$work" logs 2>/dev/null
}
trap keep EXIT

: >"$out/summary.txt"
for part in $parts; do
    if grep -qx "$part" "$state/done" || [ "$(left)" -lt 15 ]; then
        continue
    fi
    if [ "$part" = peers ] && echo " $parts " | grep -q ' tune ' && ! grep -qx tune "$state/done"; then
        echo "peers: waits for tune"
        continue
    fi
    start=$SECONDS
    "part_$part" >"$work/said"
    code=$?
    case $code in
        0) what=finished ;;
        6 | 124 | 130) what="stopped by the time, goes on with FROM=$out" ;;
        *) what="ended with code $code, see logs.tar.gz: $part.log" ;;
    esac
    [ $code -ne 0 ] || echo "$part" >>"$state/done"
    {
        echo "== $part: $what ($((SECONDS - start)) s)"
        cat "$work/said"
    } >>"$out/summary.txt"
    echo "$part: $what ($((SECONDS - start)) s)"
    keep
done
echo "-- $SECONDS s; done: $(tr '\n' ' ' <"$state/done")"
cat "$out/summary.txt"
