#!/bin/bash
# test.sh [--full] [PASS...]: sets up, builds into build-test/ and runs the tests. Passes, all by default:
#   unit     the tests, as shipped             asan     the same under address and undefined-behaviour sanitizers
#   nogen    MOEJIT_GENERATOR=OFF: its tests, and that it holds no Lua
#   fuzz     every fuzz target, 12 or 30 s     tidy     the rules of the source tree
#   install  cmake --install, from outside     readme   the README's commands and tables, Python's view, the set-up's words
# --full also runs the long cases. The last line is "N passed, N failed, N skipped".
set -u
cd "$(dirname "$0")"
. tests/setup.sh
. tests/setup_hiprtc.sh
full=0
passes=
for word in "$@"; do
    case $word in
        --full) full=1 ;;
        unit | asan | nogen | fuzz | tidy | install | readme) passes="$passes $word" ;;
        *)
            sed -n '2,7s/^# \{0,1\}//p' "$0"
            exit 2
            ;;
    esac
done
all_passes="unit asan nogen fuzz tidy install readme"
passes=${passes:-$all_passes}
out=build-test
results=$out/results.txt
mkdir -p $out
: >$results

# shellcheck disable=SC2317
record() { # ok|FAIL|SKIP pass name [text]
    echo "$1 $2 $3${4:+: $4}" >>$results
    [ "$1" = ok ] || echo "   $1 $3${4:+: $4}"
}

# The lines that tests print, from a test that is a script: run_script pass name command...
run_script() {
    local pass=$1 name=$2 log=$out/$2.log
    shift 2
    local code=0
    "$@" >"$log" 2>&1 || code=$?
    sed -nE "s#^(ok|FAIL|SKIP) ([^ ]+)#\1 $pass $name/\2#p" "$log" >>$results
    grep '^FAIL ' "$log" | sed 's/^/   /'
    if [ $code -ne 0 ] && ! grep -q '^FAIL ' "$log"; then
        record FAIL "$pass" "$name" "ended with code $code: $(tail -n 3 "$log" | tr '\n' ' ')"
    elif ! grep -qE '^(ok|FAIL|SKIP) ' "$log"; then
        record FAIL "$pass" "$name" "ran no case"
    fi
}

build_and_run() { # pass folder [cmake option...]
    local pass=$1 folder=$2
    shift 2
    if ! build "$folder" -DMOEJIT_TESTS=ON -DMOEJIT_WERROR=ON "$@"; then
        record FAIL "$pass" build "see above"
        return 1
    fi
    tests/run.sh "$folder" "$pass"
    cat "$folder/tests/results.txt" >>$results
}

pass_unit() {
    build_and_run unit $out/release -DCMAKE_BUILD_TYPE=Release || return
    run_script unit carry_test tests/carry_test.sh $out/release
    run_script unit estimate_test tests/estimate_test.sh $out/release
    run_script unit gpu_scripts_test tests/gpu_scripts_test.sh $out/release
}

pass_asan() {
    # Leak reports of a vendor's library are not ours; everything else stays on. gcc 12's leak checker guesses where a loaded
    # library keeps its thread-local variables, sometimes wrongly, and then dies (sanitizer_tls_get_addr.cpp): it need not know.
    # gcc 13.2's frames that detect use after return do not keep an alignment of 64 bytes, which tensor maps have.
    local asan=detect_leaks=1:allocator_may_return_null=1:intercept_tls_get_addr=0:detect_stack_use_after_return=0
    ASAN_OPTIONS=$asan UBSAN_OPTIONS=print_stacktrace=1 \
        LSAN_OPTIONS=suppressions=$PWD/tests/lsan.txt:print_suppressions=0 \
        build_and_run asan $out/asan -DCMAKE_BUILD_TYPE=RelWithDebInfo -DMOEJIT_SANITIZE=ON
}

pass_nogen() {
    build_and_run nogen $out/nogen -DCMAKE_BUILD_TYPE=Release -DMOEJIT_GENERATOR=OFF || return
    run_script nogen nogen_test tests/nogen_test.sh $out/nogen
    need_release nogen && run_script nogen emit_test tests/emit_test.sh $out/release $out/nogen
}

pass_fuzz() {
    if ! have_package clang; then
        record SKIP fuzz fuzz/all "no clang with libFuzzer"
        return
    fi
    if ! CC=clang build $out/fuzz -DCMAKE_BUILD_TYPE=RelWithDebInfo -DMOEJIT_FUZZ=ON -DMOEJIT_SANITIZE=ON \
        -DMOEJIT_TESTS=ON -DMOEJIT_WERROR=ON; then
        record FAIL fuzz build "see above"
        return
    fi
    run_script fuzz fuzz tests/fuzz/run.sh $out/fuzz "$([ $full = 1 ] && echo 300)"
    grep -h executions $out/fuzz.log | sed 's/^/   /'
}

pass_tidy() {
    run_script tidy tidy lua5.4 tests/tidy.lua
}

need_release() {
    [ -x $out/release/moejit ] || build $out/release -DCMAKE_BUILD_TYPE=Release -DMOEJIT_TESTS=ON -DMOEJIT_WERROR=ON || {
        record FAIL "$1" build "see above"
        return 1
    }
}

pass_install() {
    need_release install && run_script install install_test tests/install_test.sh $out/release
}

pass_readme() {
    run_script readme setup_test tests/setup_test.sh
    need_release readme || return
    run_script readme readme_test lua5.4 tests/readme_test.lua $out/release
    run_script readme ctypes_test python3 tests/bench/ctypes_test.py $out/release
}

# ---- Set-up: a failure is fatal in CI, else the tests that need the missing thing say so ----
packages="gcc libc6-dev make cmake lua5.4 liblua5.4-dev libcjson-dev pkg-config python3"
need_packages $packages || exit 1
need_packages clang || { [ "${CI:-}" = true ] && exit 1; }
if ! setup_nvrtc $out/nvrtc; then
    say "no NVRTC that knows sm_90a could be set up"
    [ "${CI:-}" = true ] && exit 1
fi
if ! setup_hiprtc; then
    say "no hipRTC that knows every target could be set up"
    [ "${CI:-}" = true ] && exit 1
fi
export MOEJIT_TEST_FULL=$full

for pass in $passes; do
    start=$SECONDS
    say "$pass"
    "pass_$pass"
    say "$pass took $((SECONDS - start)) s"
done

# ---- Skips against the committed list, then the counts ----
if [ "$passes" = "$all_passes" ]; then
    tests/check_skips.sh $results "$full" >$out/skips.log
    cat $out/skips.log >>$results
    grep '^FAIL' $out/skips.log
fi
count() {
    grep -c "^$1 " $results
}
failed=$(count FAIL)
[ "$failed" -eq 0 ] || {
    say "failed:"
    grep '^FAIL ' $results
}
echo "$(count ok) passed, $failed failed, $(count SKIP) skipped"
[ "$failed" -eq 0 ]
