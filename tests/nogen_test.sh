#!/bin/bash
# nogen_test.sh BUILD: a build with MOEJIT_GENERATOR=OFF holds no Lua, no templates and no tuner.
set -u
build=$1
library=$build/libmoejit.so

check() { # name, what was found where nothing should be
    if [ -z "$2" ]; then
        echo "ok $1"
    else
        echo "FAIL $1: $(echo "$2" | head -n 3 | tr '\n' ' ')"
    fi
}

[ -e "$library" ] || {
    echo "FAIL library: $library is not there"
    exit 1
}
check no_lua_symbol "$(nm "$library" | grep -E ' (lua_|luaL_|luaopen_)')"
check no_lua_dynamic_symbol "$(nm -D "$library" | grep -E ' (lua_|luaL_|luaopen_)')"
check no_lua_library "$(readelf -d "$library" | grep NEEDED | grep -i lua)"
check no_generator_symbol "$(nm "$library" | grep -E ' mj_(spec_load|generate|expand)$')"
check no_tuner "$(ls "$build" | grep -E 'tuner|moejit$|worker|compile$')"
check no_template_text "$(grep -l 'ldmatrix' "$library")"
# The check itself must be able to find what it looks for.
other=$(dirname "$build")/release/libmoejit.so
if [ -e "$other" ]; then
    check finds_lua_where_it_is "$(nm -D "$other" | grep -q ' luaL_' || echo "no luaL_ symbol in $other")"
fi
