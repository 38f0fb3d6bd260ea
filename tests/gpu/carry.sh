#!/bin/bash
# carry.sh BUILD TO: copies what runs of a build folder, for a GPU machine without the packages to build it. Put TO where it has
# the same way to the source tree as BUILD, e.g. beside it; the tests read golden files and data from the tree. quickstart.sh uses a
# carried build/ (or a link of that name) as it is.
set -eu
build=$1
to=$2
rm -rf "$to"
mkdir -p "$to/tests"
cp -a "$build"/moejit "$build"/moejit-worker "$build"/moejit-compile "$build"/moejit-hiprtc "$build"/bench_* "$build"/lib*.so* "$to/"
cp -a "$build"/tests/list.txt "$build"/tests/lib*.so "$to/tests/"
while read -r name; do
    cp -a "$build/tests/$name" "$to/tests/"
done <"$build/tests/list.txt"
find "$to" -type f -perm -u+x -exec strip --strip-unneeded {} +
git rev-parse --short HEAD >"$to/carried" 2>/dev/null || echo unknown >"$to/carried"
du -sh "$to"
