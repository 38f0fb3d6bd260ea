#!/bin/bash
# carry_test.sh BUILD: the build folder can be carried to a machine without Lua and cJSON.
set -u
build=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/carried"
cp -a "$build"/moejit "$build"/moejit-worker "$build"/moejit-compile "$build"/moejit-hiprtc "$build"/lib*.so* "$work/carried/"
carried=$work/carried
binaries="moejit moejit-worker moejit-compile moejit-hiprtc libmoejit.so libmoejit_tuner.so"

check() { # name, what is wrong
    if [ -z "$2" ]; then
        echo "ok $1"
    else
        echo "FAIL $1: $(echo "$2" | head -n 3 | tr '\n' ' ')"
    fi
}

# No absolute folder, and no empty entry, which would mean the current one.
run_path_is_origin() {
    for binary in $binaries; do
        readelf -d "$carried/$binary" | grep -qF 'Library runpath: [$ORIGIN]' ||
            echo "$binary: $(readelf -d "$carried/$binary" | grep path)"
    done
}

# What is not the C library's comes from the folder itself.
copies_are_used() {
    for binary in $binaries; do
        ldd "$carried/$binary" | grep -vE 'linux-vdso|ld-linux|lib(c|m|dl|pthread|gcc_s)\.so' | grep -vF "$carried/" |
            sed "s/^/$binary: /"
    done
}

tools_link_lua_statically() {
    for binary in moejit moejit-worker moejit-compile; do
        ldd "$carried/$binary" | grep -i lua | sed "s/^/$binary: /"
    done
}

# glibc 2.35 is Ubuntu 22.04's. Built on something newer the binaries need that: no fault of ours, so compare with it.
needs_no_newer_libc() {
    local here newest
    here=$(getconf GNU_LIBC_VERSION | cut -d' ' -f2)
    newest=$(for binary in $binaries; do objdump -T "$carried/$binary"; done | grep -oE 'GLIBC_2\.[0-9]+' | sort -Vu | tail -1)
    if [ "$(printf '%s\n2.36\n' "$here" | sort -V | tail -1)" = 2.36 ] &&
        [ "$(printf '%s\nGLIBC_2.35\n' "$newest" | sort -V | tail -1)" != GLIBC_2.35 ]; then
        echo "needs $newest"
    fi
}

# The real thing: a root folder that holds a C library and nothing else.
bare_machine() {
    local bare=$work/bare library
    mkdir -p "$bare/carried" "$bare/tmp"
    cp -a "$carried"/* "$bare/carried/"
    for library in $(ldd "$carried"/moejit | grep -oE '/[^ ]+/(ld-linux-x86-64|libc|libm|libdl|libpthread)\.so[^ ]*' | sort -u); do
        mkdir -p "$bare$(dirname "$library")"
        cp -L "$library" "$bare$library"
    done
    # Without /proc the loader must be told where the binary lies.
    HOME=/tmp LD_ORIGIN_PATH=/carried chroot "$bare" /carried/moejit gen --model mixtral-8x7b --tp 2 --arch sm_90a --family reference \
        >"$work/source" 2>"$work/log" || tail -n 2 "$work/log"
    grep -q MJ_ENTRY "$work/source" || echo "no source printed"
}

check run_path_is_origin "$(run_path_is_origin)"
check copies_are_used "$(copies_are_used)"
check tools_link_lua_statically "$(tools_link_lua_statically)"
check needs_no_newer_libc "$(needs_no_newer_libc)"
if [ "$(id -u)" -eq 0 ]; then
    check bare_machine "$(bare_machine)"
else
    echo "SKIP bare_machine: chroot needs root"
fi
