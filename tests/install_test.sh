#!/bin/bash
# install_test.sh BUILD: installs into a folder of its own and uses it from outside: pkg-config, CMake, the tools.
set -u
build=$(realpath "$1")
root=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
prefix=$work/prefix
export HOME=$work XDG_CACHE_HOME=$work/cache XDG_DATA_HOME=$work/data XDG_STATE_HOME=$work/state

run_case() { # name command...: one ok or FAIL line
    local name=$1 output
    shift
    if output=$("$@" 2>&1); then
        echo "ok $name"
    else
        echo "FAIL $name: $(echo "$output" | tail -n 4 | tr '\n' ' ')"
    fi
}

installs() {
    cmake --install "$build" --prefix "$prefix" >/dev/null || return 1
    for file in include/moejit.h include/moejit_types.h include/moejit_tune.h bin/moejit libexec/moejit/moejit-worker \
        libexec/moejit/moejit-compile libexec/moejit/moejit-hiprtc; do
        [ -e "$prefix/$file" ] || { echo "no $file" && return 1; }
    done
    libdir=$(dirname "$(find "$prefix" -name libmoejit.so)")
}

# The headers stand alone in strict C11, and every exported symbol is declared in one of them.
headers_stand_alone() {
    for header in moejit.h moejit_types.h moejit_tune.h; do
        echo "#include <$header>" | gcc -std=c11 -pedantic -Wall -Wextra -Werror -fsyntax-only -I"$prefix/include" -x c - ||
            return 1
    done
}

exports_only_the_api() {
    local symbol
    for symbol in $(nm -D --defined-only "$libdir/libmoejit.so" "$libdir/libmoejit_tuner.so" | awk 'NF == 3 && $2 != "A" { print $3 }'); do
        symbol=${symbol%%@*}
        grep -qwh "$symbol" "$prefix"/include/*.h || { echo "exported, but in no header: $symbol" && return 1; }
    done
    for symbol in $(sed -nE 's/^MJ_API .*[ *](mj_[a-z0-9_]+)\(.*/\1/p' "$prefix"/include/*.h); do
        nm -D --defined-only "$libdir/libmoejit.so" "$libdir/libmoejit_tuner.so" | grep -qE " $symbol(@|\$)" ||
            { echo "declared, but not exported: $symbol" && return 1; }
    done
}

# A program that lies elsewhere finds the helper processes on PATH.
with_helpers() {
    PATH=$prefix/libexec/moejit:$PATH "$@"
}

with_pkg_config() {
    export PKG_CONFIG_PATH=$libdir/pkgconfig
    # shellcheck disable=SC2046
    gcc -std=c11 -o "$work/with_pkg_config" "$root/tests/examples/serve.c" $(pkg-config --cflags --libs moejit_tuner moejit) \
        -Wl,-rpath,"$libdir" -lm || return 1
    with_helpers "$work/with_pkg_config" cpu
}

with_cmake() {
    cmake -S "$root/tests/outside" -B "$work/outside" -DCMAKE_PREFIX_PATH="$prefix" \
        -DEXAMPLE="$root/tests/examples/serve.c" >"$work/log" 2>&1 &&
        cmake --build "$work/outside" >>"$work/log" 2>&1 || { cat "$work/log" && return 1; }
    with_helpers "$work/outside/outside" cpu
}

tools_run() {
    "$prefix/bin/moejit" --version && "$prefix/bin/moejit" devices
}

# Finds its helpers in libexec without help.
tool_finds_its_helpers() {
    (cd / && "$prefix/bin/moejit" verify --model "$work/config.json" --device cpu --batch 3)
}

cat >"$work/config.json" <<'JSON'
{"num_local_experts": 8, "num_experts_per_tok": 2, "hidden_size": 256, "intermediate_size": 512, "hidden_act": "silu"}
JSON

libdir=
installs >"$work/installs.log" 2>&1 && echo "ok installs" || {
    echo "FAIL installs: $(tail -n 3 "$work/installs.log")"
    exit 1
}
run_case headers_stand_alone headers_stand_alone
run_case exports_only_the_api exports_only_the_api
run_case with_pkg_config with_pkg_config
run_case with_cmake with_cmake
run_case tools_run tools_run
run_case tool_finds_its_helpers tool_finds_its_helpers
