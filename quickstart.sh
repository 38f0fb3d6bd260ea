#!/bin/bash
# quickstart.sh: from a fresh clone to a tuned layer. Installs what is missing, builds into build/, and tunes one
# Mixtral-8x7B layer (tensor parallel over 2) on the best device there is. Further words go to `moejit tune`.
set -eu
cd "$(dirname "$0")"
. tests/setup.sh

if [ -e build/carried ]; then # by tests/gpu/carry.sh: this machine need not be able to build
    say "build/ was carried here, from $(cat build/carried)"
else
    need_packages gcc libc6-dev make cmake liblua5.4-dev libcjson-dev || exit 1
    say "building into build/"
    build build -DCMAKE_BUILD_TYPE=Release -DMOEJIT_TESTS=OFF || exit 1
fi
set -- build/moejit tune --model mixtral-8x7b --tp 2 "$@"
say "$*"
exec "$@"
