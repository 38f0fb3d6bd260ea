#!/bin/bash
# run.sh BUILD [SECONDS]: runs every fuzz target of BUILD/fuzz, two at a time, and prints its executions. SECONDS: for each of them;
# "" or left out: 30 for those of `longer`, 12 for the others.
# Seeds: tests/fuzz/corpus_<target without fuzz_>/, where there are any; a folder of no target's name is a FAIL line. Finds stay in
# BUILD/fuzz/<target>.found/.
set -u
build=$1
seconds_each=${2:-}
longer=$'fuzz_config_json\nfuzz_expand\nfuzz_protocol\nfuzz_spec\nfuzz_store'

fuzz_one() {
    local name=$1 seconds=$2 log=$build/fuzz/$1.log code=0
    local corpus=$build/fuzz/$name.corpus found=$build/fuzz/$name.found seeds=tests/fuzz/corpus_${name#fuzz_}
    if [ ! -x "$build/fuzz/$name" ]; then
        echo "FAIL $name: was not built"
        return
    fi
    mkdir -p "$corpus" "$found"
    [ -d "$seeds" ] || seeds=
    # shellcheck disable=SC2086
    HOME=$found TMPDIR=$found timeout $((seconds + 120)) "$build/fuzz/$name" -max_total_time="$seconds" -rss_limit_mb=2048 \
        -timeout=10 -print_final_stats=1 -artifact_prefix="$found/" "$corpus" $seeds >"$log" 2>&1 || code=$?
    local count
    count=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log" | tail -1)
    if [ $code -ne 0 ]; then
        echo "FAIL $name: $(grep -E 'ERROR|runtime error|SUMMARY|ALARM' "$log" | head -n 2 | tr '\n' ' ') input in $found"
    elif [ "${count:-0}" -lt 1000 ]; then
        echo "FAIL $name: only ${count:-0} executions in $seconds s"
    else
        echo "ok $name"
        echo "   $name: $count executions in $seconds s"
    fi
}

cd "$(dirname "$0")/../.." || exit 1
# Two at a time. fuzz_all SECONDS NAMES, one a line
fuzz_all() {
    local seconds=${seconds_each:-$1} name
    for name in $2; do
        while [ "$(jobs -rp | wc -l)" -ge 2 ]; do
            wait -n
        done
        fuzz_one "$name" "$seconds" &
    done
}

for folder in tests/fuzz/*/; do
    name=$(basename "$folder")
    { [ "$name" != "${name#corpus_}" ] && [ -f "tests/fuzz/fuzz_${name#corpus_}.c" ]; } ||
        echo "FAIL fuzz: tests/fuzz/$name belongs to no target"
done
others=$(find "$build/fuzz" -maxdepth 1 -name 'fuzz_*' -type f -executable -printf '%f\n' | grep -vxF "$longer" | sort)
[ -n "$others" ] || echo "FAIL fuzz: none of the other targets was built"
fuzz_all 30 "$longer"
fuzz_all 12 "$others"
wait
