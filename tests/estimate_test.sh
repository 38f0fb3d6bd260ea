#!/bin/bash
# estimate_test.sh BUILD: tests/bench/estimate.lua on the cpu device, tiny cells: killed in the middle it goes on from the journal, and
# a whole cell is never measured twice.
set -u
build=$(realpath "$1")
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export HOME=$work XDG_CACHE_HOME=$work/cache XDG_DATA_HOME=$work/data XDG_STATE_HOME=$work/state

sweep() { # log
    exec "$build/moejit" run -q tests/bench/estimate.lua out="$work" device=cpu cells=smoke limit=4 >"$work/$1" 2>&1
}

check() { # name, what is wrong
    if [ -z "$2" ]; then
        echo "ok $1"
    else
        echo "FAIL $1: $(echo "$2" | head -n 3 | tr '\n' ' ')"
    fi
}

records() {
    cat "$work"/state/moejit/*.jsonl 2>/dev/null | grep -c '"what"'
}

# Dead after the second measurement of the first cell.
killed() {
    sweep killed &
    local parent=$! tries=0
    while [ "$(records)" -lt 2 ] && [ $tries -lt 1200 ] && kill -0 $parent 2>/dev/null; do
        sleep 0.05
        tries=$((tries + 1))
    done
    kill -9 $parent 2>/dev/null
    wait $parent 2>/dev/null
    [ "$(records)" -ge 2 ] || cat "$work/killed"
    [ ! -e "$work/estimate.json" ] || echo "the cell was finished before it was killed"
}

resumed() {
    (sweep again) || cat "$work/again"
    grep -qE '^2 of 2 cells; [2-8] measurements taken from the journal' "$work/again" || tail -n 1 "$work/again"
    grep -q '| tiny gemm2 M=3 *| no | [0-9]* | 4 | 0 |' "$work/again" || grep gemm2 "$work/again"
}

# Nothing is left to measure: the same table, and no journal is read.
finished_cells_are_kept() {
    (sweep last) || cat "$work/last"
    [ "$(grep '^| tiny' "$work/last")" = "$(grep '^| tiny' "$work/again")" ] || grep '^| tiny' "$work/last"
    grep -q '; 0 measurements taken from the journal' "$work/last" || tail -n 1 "$work/last"
}

bad_words_are_said() {
    ! "$build/moejit" run -q tests/bench/estimate.lua nonsense 2>"$work/bad" || echo "ended with 0"
    grep -q "what is 'nonsense'?" "$work/bad" || cat "$work/bad"
}

check killed_in_a_cell "$(killed 2>/dev/null)"
check goes_on_from_the_journal "$(resumed)"
check finished_cells_are_kept "$(finished_cells_are_kept)"
check bad_words_are_said "$(bad_words_are_said)"
