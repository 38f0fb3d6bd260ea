#!/bin/bash
# setup_test.sh: what quickstart.sh and test.sh say where tools are missing. A folder of links stands for the machine's tools, so
# nothing is installed: apt-get is a script that notes its words.
set -u
cd "$(dirname "$0")/.."
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
all="gcc libc6-dev make cmake liblua5.4-dev libcjson-dev"

# A machine with all tools but apt-get and sudo, where nobody is root.
machine() {
    rm -rf "$scratch/bin" && mkdir "$scratch/bin"
    for folder in ${PATH//:/ }; do
        ln -s "$folder"/* "$scratch/bin/" 2>/dev/null # the first folder's come first, as on the path
    done
    rm -f "$scratch"/bin/apt* "$scratch/bin/sudo" "$scratch/bin/id"
    tool id 'echo 1000'
    rm -f "$scratch/calls"
}

tool() { # name, body of the script that stands for it
    rm -f "$scratch/bin/$1"
    printf '#!/bin/sh\n%s\n' "$2" >"$scratch/bin/$1"
    chmod +x "$scratch/bin/$1"
}

# expect NAME CODE "text": need_packages on that machine ends with CODE and one line that holds the text ("": nothing is said).
expect() {
    local said code=0 bad=
    said=$(PATH=$scratch/bin bash -c '. tests/setup.sh && need_packages '"$all" 2>&1) || code=$?
    [ $code -eq "$2" ] || bad="ended with $code, not $2"
    case $said in *"$3"*) ;; *) bad="$bad; does not say '$3'" ;; esac
    [ -n "$3" ] || [ -z "$said" ] || bad="$bad; says something"
    [ "$(printf '%s\n' "$said" | wc -l)" -le 1 ] || bad="$bad; more than a line"
    if [ -n "$bad" ]; then
        echo "FAIL $1: $bad: $said"
    else
        echo "ok $1"
    fi
}

machine
expect nothing_is_missing 0 ""

machine
rm "$scratch/bin/cmake"
expect no_apt 1 "missing: cmake (Debian's names; no apt-get here"

machine
rm "$scratch/bin/cmake" "$scratch/bin/gcc"
expect only_what_is_missing_is_named 1 "missing: gcc cmake (Debian's"

machine
rm "$scratch/bin/make"
tool apt-get 'exit 1'
expect neither_root_nor_sudo 1 "as root: apt-get install make"

machine
tool cmake 'echo "cmake version 3.18.4"'
expect an_old_cmake 1 "cmake 3.18.4 is too old, 3.19 is needed"

machine
rm "$scratch/bin/make"
tool sudo 'exec "$@"'
tool apt-get "echo \"\$*\" >>'$scratch/calls'; case \$* in *install*) ln -s '$(command -v make)' '$scratch/bin/make' ;; esac"
expect what_is_missing_is_installed 0 "installing from the distribution: make"
if [ "$(cat "$scratch/calls" 2>/dev/null)" = "-q -y install make" ]; then
    echo "ok nothing_else_is_installed"
else
    echo "FAIL nothing_else_is_installed: $(cat "$scratch/calls" 2>&1)"
fi
