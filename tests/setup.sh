# setup.sh: what quickstart.sh and test.sh share; sourced by both. Installs distribution packages and nothing else
# system-wide; does nothing, and needs no network, where all is there.

say() {
    printf '== %s\n' "$*"
}

# have_package NAME: is what we need from that package there, wherever it came from?
have_package() {
    case $1 in
        gcc | make | lua5.4 | python3) command -v "$1" >/dev/null ;;
        cmake) command -v cmake >/dev/null && ! cmake_is_old ;;
        libc6-dev) have_header stdio.h ;;
        liblua5.4-dev) have_header lua5.4/lua.h && have_library liblua5.4.a && have_library liblua5.4.so ;;
        libcjson-dev) have_header cjson/cJSON.h && have_library libcjson.so ;;
        pkg-config) command -v pkg-config >/dev/null ;;
        clang) echo 'int LLVMFuzzerTestOneInput(const unsigned char *d, unsigned long n) { return !d && n; }' |
            clang -x c -fsanitize=fuzzer,address -o /dev/null - 2>/dev/null ;;
        *) return 1 ;;
    esac
}

# Where there is no gcc to ask, the usual folders answer: what is named as missing is missing.
have_header() {
    if command -v gcc >/dev/null; then
        echo "#include <$1>" | gcc -E - >/dev/null 2>&1
    else
        ls /usr/include/"$1" /usr/local/include/"$1" 2>/dev/null | grep -q .
    fi
}

have_library() {
    if command -v gcc >/dev/null; then
        [ "$(gcc -print-file-name="$1")" != "$1" ]
    else
        ls /usr/lib/"$1" /usr/lib/*/"$1" /usr/lib64/"$1" /usr/local/lib/"$1" 2>/dev/null | grep -q .
    fi
}

cmake_version() {
    cmake --version 2>/dev/null | sed -n '1s/.*version //p'
}

cmake_is_old() {
    [ "$(printf '%s\n' 3.19 "$(cmake_version)" | sort -V | head -n 1)" != 3.19 ]
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        echo "neither root nor sudo: run this as root: $*" >&2
        return 1
    fi
}

# need_packages NAME...: installs those that are missing. Returns 1, saying what is missing, if it cannot.
need_packages() {
    missing=
    for package in "$@"; do
        have_package "$package" || missing="$missing $package"
    done
    [ -z "$missing" ] && return 0
    if command -v cmake >/dev/null && cmake_is_old; then
        echo "cmake $(cmake_version) is too old, 3.19 is needed: Debian 12 and Ubuntu 22.04 have it, and 'pip install cmake'" >&2
        return 1
    fi
    if ! command -v apt-get >/dev/null; then
        echo "missing:$missing (Debian's names; no apt-get here, please install them with your system's tool)" >&2
        return 1
    fi
    if [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null; then
        echo "missing:$missing; neither root nor sudo here: please run, as root: apt-get install$missing" >&2
        return 1
    fi
    say "installing from the distribution:$missing"
    # A stale or absent package list is the usual reason for a failed install: refresh it once.
    # shellcheck disable=SC2086
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y install $missing >/dev/null 2>&1 || {
        as_root apt-get -q update >/dev/null &&
            as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y install $missing >/dev/null
    } || {
        echo "could not install:$missing" >&2
        return 1
    }
    for package in $missing; do
        have_package "$package" || {
            echo "$package was installed, but what it should bring is not found" >&2
            return 1
        }
    done
}

# build FOLDER [cmake option...]: configures and builds; the log of a failed build is shown whole.
build() {
    folder=$1
    shift
    mkdir -p "$folder" || return 1
    if ! cmake -S . -B "$folder" "$@" >"$folder/configure.log" 2>&1; then
        cat "$folder/configure.log"
        return 1
    fi
    if ! cmake --build "$folder" -j "$(nproc)" >"$folder/build.log" 2>&1; then
        grep -v '^\[' "$folder/build.log"
        return 1
    fi
}

# nvrtc_knows_hopper LIBRARY: loads, and compiles for sm_90a. Uses the probe that `build_nvrtc_probe` made.
build_nvrtc_probe() {
    mkdir -p "$1" && gcc -O1 -o "$1/nvrtc_probe" tests/nvrtc_probe.c -ldl
}

# setup_nvrtc FOLDER: exports MOEJIT_NVRTC for the tests. An NVRTC of the machine is preferred; else NVIDIA's wheel is
# unpacked into FOLDER, nothing is installed. Returns 1 if there is none in the end.
setup_nvrtc() {
    folder=$1
    build_nvrtc_probe "$folder" || return 1
    for library in ${MOEJIT_NVRTC:-} ${CUDA_HOME:+"$CUDA_HOME"/lib64/libnvrtc.so*} /usr/local/cuda*/lib64/libnvrtc.so* \
        libnvrtc.so.13 libnvrtc.so.12 "$folder"/nvidia/*/lib/libnvrtc.so.*; do
        if version=$("$folder/nvrtc_probe" "$library" 2>/dev/null); then
            use_nvrtc "$library" "$version"
            return 0
        fi
    done
    say "no NVRTC that knows sm_90a: fetching NVIDIA's wheel into $folder (nothing is installed)"
    command -v python3 >/dev/null && python3 -m pip --version >/dev/null 2>&1 || need_pip || return 1
    python3 -m pip download -q --no-deps --only-binary :all: -d "$folder" nvidia-cuda-nvrtc-cu12 || return 1
    python3 -m zipfile -e "$folder"/nvidia_cuda_nvrtc*.whl "$folder" || return 1
    rm -f "$folder"/*.whl
    for library in "$folder"/nvidia/*/lib/libnvrtc.so.*; do
        if version=$("$folder/nvrtc_probe" "$library"); then
            use_nvrtc "$library" "$version"
            return 0
        fi
    done
    return 1
}

use_nvrtc() {
    say "NVRTC $2: $1"
    case $1 in
        */*) MOEJIT_NVRTC=$(realpath "$1") ;;
        *) MOEJIT_NVRTC=$1 ;; # a bare name is the loader's to find
    esac
    export MOEJIT_NVRTC
}

need_pip() {
    say "installing from the distribution: python3-pip"
    as_root apt-get -q update >/dev/null &&
        as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends python3 python3-pip >/dev/null
}
