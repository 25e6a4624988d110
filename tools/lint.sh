#!/bin/sh
# lint.sh [make's options]: all checks of the source that need no run. Goes on after a failure; fails
# at the end if one of them did. `make lint` runs it, in the project's root.
set -u

PATH=$PATH:${HOME:-/root}/.luarocks/bin
LUA=${FOUND_LUA:-lua5.4}
build=${BUILD:-build}/lint
failures=""

step() {
    name=$1
    shift
    echo "== $name"
    "$@" || { echo "$name: FAILED" >&2; failures="$failures $name"; }
}

c_files=$(find csrc bench -name '*.[ch]' -not -path '*/vendor/*')
core_files=$(echo "$c_files" | grep -v -e '^csrc/tests/' -e '^bench/')

lua_files() {
    for path in lua spec examples bench tools docs/config.ld rockspec/*.rockspec; do
        [ ! -e "$path" ] || echo "$path"
    done
}

# Warnings are errors with each compiler that is here.
warnings() {
    for compiler in ${FOUND_CC:-cc} clang; do
        command -v "$compiler" >/dev/null || continue
        case "$compiler $(${FOUND_CC:-cc} --version)" in "clang "*clang*) continue ;; esac
        "${MAKE:-make}" --no-print-directory -s "$@" BUILD="$build/$compiler" CC="$compiler" \
            CFLAGS="-O2 -Werror" all tests || return 1
    done
}

# The library shows Lua one function, needs none that ends or prints, and leaves none of its own out.
symbols() {
    library=$build/${FOUND_CC:-cc}/siamese/core.so
    shown=$(nm -D --defined-only "$library" | awk '{ print $NF }')
    wrong=$(nm -D -u "$library" | awk '{ sub(/@.*/, "", $NF); print $NF }' | grep -E \
        '^(l?sm_.*|abort|_?exit|_Exit|quick_exit|v?f?printf|__(v?f?)printf_chk|puts|perror|__assert_fail)$')
    [ "$shown" = luaopen_siamese_core ] && [ -z "$wrong" ] && return 0
    echo "exported, should be luaopen_siamese_core alone:" $shown >&2
    [ -z "$wrong" ] || echo "used, should not be:" $wrong >&2
    return 1
}

# Nothing outside of the files named *_avx*.c has more than plain x86-64.
plain_code() {
    command -v objdump >/dev/null || return 0
    wide=$(find "$build/${FOUND_CC:-cc}/obj" -name '*.o' -not -name '*_avx*.o' \
        -exec sh -c 'objdump -d "$1" | grep -q "%[yz]mm" && echo "$1"' sh {} \;)
    [ -z "$wide" ] || { echo "vector code beyond plain x86-64 in" $wide >&2; return 1; }
}

step luacheck luacheck -q $(lua_files)
step clang-format clang-format --dry-run -Werror $c_files
step layering "$LUA" tools/layering.lua $core_files
step warnings warnings "$@"
step symbols symbols
step plain-code plain_code
if command -v shellcheck >/dev/null; then
    step shellcheck shellcheck -e SC1091,SC2016,SC2046,SC2086 tools/*.sh .ci/run
else
    echo "== shellcheck is not installed, left out"
fi

[ -z "$failures" ] || { echo "lint: FAILED:$failures" >&2; exit 1; }
echo "lint: all is well"
