#!/bin/bash
# setup_hiprtc.sh [FOLDER]: AMD's run-time compiler in private folders, for the tests of code for AMD's GPUs. Run by hand it
# prints the variables to export; test.sh sources it and calls setup_hiprtc. Nothing is installed: Debian's packages are
# unpacked below FOLDER (.cache/hiprtc by default; 400 MB), and what is there already is used without a network.
#
#   FOLDER/current   the newest suite's: knows all targets. It brings its own C library; moejit runs it with that
#   FOLDER/own       the one of this distribution's release: gfx90a and older
#
#   MOEJIT_HIPRTC        := FOLDER/current, unless it is set: then that one is used and must know every target
#   MOEJIT_TEST_HIPRTC   := FOLDER/own
#   MOEJIT_TEST_OBJDUMP  := a disassembler of the same age as FOLDER/current's compiler
#
# Suites move, so packages are found by pattern; the versions are printed.
hiprtc_targets="gfx90a gfx942 gfx950 gfx1100 gfx1151 gfx1200 gfx1201"
hiprtc_suites="testing sid" # the first that has hipRTC and compiles for every target

hiprtc_say() {
    printf '== %s\n' "$*" >&2
}

# apt's state is private too: no root, no lock, no change to the machine
hiprtc_apt() { # tool root argument...
    local tool=$1 root=$2
    shift 2
    "$tool" -q -o Dir::Etc::SourceList="$root/apt/sources.list" -o Dir::Etc::SourceParts=- -o Dir::Etc::Preferences=- \
        -o Dir::Etc::PreferencesParts=- -o Dir::State="$root/apt" -o Dir::State::Lists="$root/apt/lists" \
        -o Dir::State::status="$root/apt/status" -o Dir::Cache="$root/apt/cache" -o APT::Install-Recommends=false \
        -o Acquire::Languages=none -o APT::Sandbox::User="$(id -un)" -o Debug::NoLocking=1 "$@"
}

# hiprtc_newest ROOT PATTERN: the package whose name matches, the highest number first.
hiprtc_newest() {
    hiprtc_apt apt-cache "$1" search --names-only "$2" 2>/dev/null | cut -d' ' -f1 | sort -V | tail -n 1
}

# hiprtc_keyring ROOT: where Debian's keys lie: on Debian installed, elsewhere in a package of the distribution.
hiprtc_keyring() {
    local keyring=usr/share/keyrings/debian-archive-keyring.gpg
    if [ ! -e "/$keyring" ]; then
        (cd "$1/apt" && apt-get -q download debian-archive-keyring && dpkg-deb -x debian-archive-keyring_*.deb .) >>"$1/log" 2>&1 ||
            return 1
        echo "$1/apt/$keyring"
    else
        echo "/$keyring"
    fi
}

hiprtc_fetch() { # root suite
    local root=$1 suite=$2 mirror keyring compiler comgr llvm deb
    rm -rf "$root" && mkdir -p "$root/apt/lists/partial" "$root/apt/cache/archives/partial" || return 1
    : >"$root/apt/status"
    mirror=$(sed -n 's/^URIs: *\(.*debian\.org\/debian\).*/\1/p' /etc/apt/sources.list.d/debian.sources 2>/dev/null | head -n 1)
    keyring=$(hiprtc_keyring "$root") || return 1
    echo "deb [signed-by=$keyring] ${mirror:-http://deb.debian.org/debian} $suite main" \
        >"$root/apt/sources.list"
    hiprtc_apt apt-get "$root" update >"$root/log" 2>&1 || return 1
    compiler=$(hiprtc_newest "$root" '^libhiprtc[0-9]+$')
    if [ -n "$compiler" ]; then # it opens its builtins and comgr at run time: they must be named
        compiler="$compiler $(hiprtc_newest "$root" '^libhiprtc-builtins[0-9]+$')"
    else
        compiler=$(hiprtc_newest "$root" '^libamdhip64-[0-9]+$') # before ROCm 6 it was a part of the runtime
    fi
    comgr=$(hiprtc_newest "$root" '^libamd-comgr[0-9]+$')
    if [ -z "$compiler" ] || [ -z "$comgr" ]; then
        echo "$suite has no hipRTC" >>"$root/log"
        return 1
    fi
    # shellcheck disable=SC2086
    hiprtc_apt apt-get "$root" -y --download-only install $compiler $comgr >>"$root/log" 2>&1 || return 1
    llvm=$(find "$root/apt/cache/archives" -name 'libllvm[0-9]*' | sed 's/.*libllvm\([0-9]*\).*/\1/' | sort -n | tail -n 1)
    if [ "${root##*/}" = current ]; then
        hiprtc_apt apt-get "$root" -y --download-only install "llvm-$llvm" >>"$root/log" 2>&1 || return 1
    fi
    for deb in "$root"/apt/cache/archives/*.deb; do
        dpkg-deb --fsys-tarfile "$deb" | tar -C "$root" -x --no-same-owner --keep-directory-symlink || return 1
    done
    (cd "$root/apt/cache/archives" && ls libhiprtc[0-9]* libamdhip64* libamd-comgr* libllvm* 2>/dev/null) |
        sed 's/_[^_]*$//; s/_/ /; s/%3a/:/' >"$root/versions"
    rm -rf "${root:?}"/apt "${root:?}"/usr/share "${root:?}"/usr/include
}

# hiprtc_run ROOT PROGRAM ARGUMENT...: as the library does it (runtime/hiprtc.c)
hiprtc_run() {
    local root=$1 loader folder
    shift
    folder=$(dirname "$(hiprtc_library "$root")")
    loader=$(find "$folder" -maxdepth 1 -name 'ld-linux*.so.*' | head -n 1)
    if [ -n "$loader" ]; then
        AMD_COMGR_CACHE=0 "$loader" --library-path "$folder" "$@"
    else
        AMD_COMGR_CACHE=0 LD_LIBRARY_PATH=$folder "$@"
    fi
}

hiprtc_library() {
    find "$1"/usr/lib "$1"/lib -maxdepth 2 \( -name 'libhiprtc.so.[0-9]' -o -name 'libamdhip64.so.[0-9]' \) 2>/dev/null | sort | tail -n 1
}

# hiprtc_try ROOT TARGET...: does its compiler make a trivial kernel for each?
hiprtc_try() {
    local root=$1 target library
    shift
    library=$(hiprtc_library "$root")
    [ -n "$library" ] || return 1
    echo 'extern "C" __global__ void probe(int *out) { out[threadIdx.x] = 1; }' >"$hiprtc_folder/probe.hip"
    for target in "$@"; do
        hiprtc_run "$root" "$hiprtc_folder/moejit-hiprtc" "$library" "$hiprtc_folder/probe.hip" "$hiprtc_folder/probe.co" \
            --offload-arch="$target" >/dev/null 2>"$hiprtc_folder/probe.log" || {
            hiprtc_say "$root does not compile for $target: $(tail -n 1 "$hiprtc_folder/probe.log")"
            return 1
        }
    done
    hiprtc_run "$root" "$hiprtc_folder/moejit-hiprtc" "$library" >"$root/identity"
}

# The disassembler runs with its root's C library as well: a command of its own keeps that out of the tests.
hiprtc_objdump() {
    local root=$1 loader program
    program=$(find "$root/usr/lib" -path '*/bin/llvm-objdump' | sort -V | tail -n 1)
    loader=$(find "$root/usr/lib" -maxdepth 2 -name 'ld-linux*.so.*' | head -n 1)
    [ -n "$program" ] && [ -n "$loader" ] || return 1
    printf '#!/bin/sh\nexec %q --library-path %q:%q %q "$@"\n' "$loader" "$(dirname "$loader")" \
        "$(dirname "$(dirname "$program")")/lib" "$program" >"$root/llvm-objdump"
    chmod +x "$root/llvm-objdump" && "$root/llvm-objdump" --version >/dev/null
}

# hiprtc_one NAME "SUITE..." TARGET...: FOLDER/NAME works for the targets, from what lies there or from a suite.
hiprtc_one() {
    local name=$1 suites=$2 suite
    shift 2
    if [ -f "$hiprtc_folder/$name/versions" ] && hiprtc_try "$hiprtc_folder/$name" "$@"; then
        return 0
    fi
    if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
        hiprtc_say "no apt-get here: put a hipRTC on this machine and set MOEJIT_HIPRTC"
        return 1
    fi
    for suite in $suites; do
        hiprtc_say "fetching hipRTC from Debian's $suite into $hiprtc_folder/$name (nothing is installed)"
        if hiprtc_fetch "$hiprtc_folder/$name" "$suite" && hiprtc_try "$hiprtc_folder/$name" "$@"; then
            return 0
        fi
        hiprtc_say "$suite: $(tail -n 2 "$hiprtc_folder/$name/log" | tr '\n' ' ')"
    done
    return 1
}

# setup_hiprtc [FOLDER]: exports the variables above; 1 if a compiler for every target cannot be had.
setup_hiprtc() {
    local own
    mkdir -p "${1:-.cache/hiprtc}" || return 1
    hiprtc_folder=$(cd "${1:-.cache/hiprtc}" && pwd) || return 1
    gcc -std=c11 -O1 -Iruntime -o "$hiprtc_folder/moejit-hiprtc" runtime/hiprtc_main.c -ldl || return 1
    # shellcheck disable=SC1091
    own=$(. /etc/os-release 2>/dev/null && [ "${ID:-}" = debian ] && echo "${VERSION_CODENAME:-}")
    if [ -z "${MOEJIT_HIPRTC:-}" ]; then
        # shellcheck disable=SC2086
        hiprtc_one current "$hiprtc_suites" $hiprtc_targets || return 1
        export MOEJIT_HIPRTC=$hiprtc_folder/current
        hiprtc_say "$(cat "$hiprtc_folder/current/identity"): $MOEJIT_HIPRTC ($(paste -sd, "$hiprtc_folder/current/versions"))"
        hiprtc_objdump "$hiprtc_folder/current" || {
            hiprtc_say "no llvm-objdump in $hiprtc_folder/current"
            return 1
        }
        export MOEJIT_TEST_OBJDUMP=$hiprtc_folder/current/llvm-objdump
    fi
    hiprtc_one own "${own:-bookworm}" gfx90a || return 1
    export MOEJIT_TEST_HIPRTC=$hiprtc_folder/own
    hiprtc_say "$(cat "$hiprtc_folder/own/identity"): $MOEJIT_TEST_HIPRTC ($(paste -sd, "$hiprtc_folder/own/versions"))"
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
    cd "$(dirname "$0")/.." || exit 1
    setup_hiprtc "${1:-}" || exit 1
    echo "export MOEJIT_HIPRTC=$MOEJIT_HIPRTC MOEJIT_TEST_HIPRTC=$MOEJIT_TEST_HIPRTC MOEJIT_TEST_OBJDUMP=${MOEJIT_TEST_OBJDUMP:-}"
fi
