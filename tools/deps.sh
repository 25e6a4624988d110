#!/bin/sh
# deps.sh SET...: installs what is missing of the sets build, run, test, lint and docs with the system's
# package manager (apt, dnf, apk, pacman or brew) and says so. Where all is there it calls none. Where
# it may not install it prints the one command to run, and fails.
#
# `make` runs it and says in FOUND_* where it looked. "deps.sh --check SET..." only checks.
set -eu

have() { command -v "$1" >/dev/null 2>&1; }

CC=${FOUND_CC:-cc}
LUA=${FOUND_LUA:-lua5.4}
PATH=$PATH:${HOME:-/root}/.luarocks/bin

# ---- what is missing: the things of a set, each with a check that tries it ----
compiles() { printf '%b' "$1" | $CC -x c ${2:-} -E - >/dev/null 2>&1; }
links() { printf 'int main(void) { return 0; }' | $CC -x c - -o /dev/null $1 >/dev/null 2>&1; }
is_lua54() { have "$1" && [ "$("$1" -e 'io.write(_VERSION)' 2>/dev/null)" = "Lua 5.4" ]; }

ok_compiler() { have "${CC%% *}" && compiles '#include <stdio.h>\n'; }
ok_pkg_config() { have pkg-config; }
ok_lua_headers() {
    compiles '#include <lua.h>\n#if LUA_VERSION_NUM != 504\n#error\n#endif\n' "-I${FOUND_LUA_INCDIR:-/usr/include/lua5.4}"
}
ok_openblas() {
    compiles '#include <cblas.h>\n' "${FOUND_BLAS_CFLAGS:-}" && links "${FOUND_BLAS_LIBS:--lopenblas}"
}
ok_lua() { is_lua54 "$LUA"; }
ok_busted() { is_lua54 "$LUA" && "$LUA" tools/busted.lua --version >/dev/null 2>&1; }
ok_luacheck() { have luacheck; }
ok_clang_format() { have clang-format; }
ok_ldoc() { have ldoc; }

things() {
    case $1 in
    build) echo "compiler pkg_config lua_headers openblas" ;;
    run) echo "lua" ;;
    test) echo "lua busted" ;;
    lint) echo "luacheck clang_format" ;;
    docs) echo "ldoc" ;;
    *) echo "deps.sh: no set named $1" >&2 && return 1 ;;
    esac
}

find_missing() {
    missing=""
    for set in "$@"; do
        for thing in $(things "$set"); do
            case "$missing " in
            *" $thing "*) ;;
            *) "ok_$thing" || missing="$missing $thing" ;;
            esac
        done
    done
}

# ---- who has it: a thing's packages under each manager; "rock" where only LuaRocks has it ----
packages() {
    case $manager:$1 in
    apt:compiler) echo gcc libc6-dev ;;
    apt:pkg_config) echo pkg-config ;;
    apt:lua) echo lua5.4 ;;
    apt:lua_headers) echo liblua5.4-dev ;;
    apt:openblas) echo libopenblas-dev ;;
    apt:stb) echo libstb-dev ;;
    apt:busted) echo lua-busted ;;
    apt:luacheck) echo lua-check ;;
    apt:ldoc) echo lua-ldoc ;;

    dnf:compiler) echo gcc glibc-devel ;;
    dnf:pkg_config) echo pkgconf-pkg-config ;;
    dnf:lua) echo lua ;;
    dnf:lua_headers) echo lua-devel ;;
    dnf:openblas) echo openblas-devel ;;
    dnf:stb) echo stb_image-devel stb_image_write-devel ;;
    dnf:clang_format) echo clang-tools-extra ;;

    apk:compiler) echo gcc musl-dev ;;
    apk:pkg_config) echo pkgconf ;;
    apk:lua) echo lua5.4 ;;
    apk:lua_headers) echo lua5.4-dev ;;
    apk:openblas) echo openblas-dev ;;
    apk:clang_format) echo clang-extra-tools ;;

    pacman:compiler) echo gcc ;;
    pacman:pkg_config) echo pkgconf ;;
    pacman:lua | pacman:lua_headers) echo lua54 ;;
    pacman:stb) echo stb ;;
    pacman:luacheck) echo luacheck ;;
    pacman:clang_format) echo clang ;;

    brew:compiler) echo gcc ;;
    brew:pkg_config) echo pkgconf ;;
    brew:lua | brew:lua_headers) echo lua@5.4 ;;
    brew:luacheck) echo luacheck ;;

    *:openblas) echo openblas ;;
    *:clang_format) echo clang-format ;;
    *:stb) ;;
    apk:busted | apk:luacheck | apk:ldoc) echo luarocks5.4 ;;
    *:busted | *:luacheck | *:ldoc) echo luarocks ;;
    esac
}

find_manager() {
    for pair in apt-get:apt dnf:dnf apk:apk pacman:pacman brew:brew; do
        if have "${pair%%:*}"; then
            echo "${pair##*:}"
            return
        fi
    done
}

install_command() {
    case $manager in
    apt) echo apt-get install -y --no-install-recommends ;;
    dnf) echo dnf install -y ;;
    apk) echo apk add ;;
    pacman) echo pacman -S --needed --noconfirm ;;
    brew) echo brew install ;;
    esac
}

# What the packages did not bring and LuaRocks has.
install_rocks() {
    for found in lua5.4 lua-5.4 lua54 lua; do ok_lua || LUA=$found; done
    for thing in $missing; do
        case $thing in busted | luacheck | ldoc) "ok_$thing" && continue ;; *) continue ;; esac
        for rocks in luarocks-5.4 luarocks5.4 luarocks; do
            have $rocks || continue
            echo "== $rocks --lua-version 5.4 install --local $thing"
            $rocks --lua-version 5.4 install --local "$thing" && break
        done
    done
}

if [ "$1" = --check ]; then
    shift
    find_missing "$@"
    [ -z "$missing" ] || { echo "Still missing:$(echo "$missing" | tr _ -)" >&2 && exit 1; }
    exit 0
fi
find_missing "$@"
[ -n "$missing" ] || exit 0
echo "== missing:$(echo "$missing" | tr _ -)"

manager=$(find_manager)
if [ -z "$manager" ]; then
    echo "There is no apt, dnf, apk, pacman or brew here to install it with; please install it." >&2
    exit 1
fi
list=""
# stb_image comes along where it is packaged; alone it is not missed, the tree has a copy.
case " $* " in *" build "*) wanted="$missing stb" ;; *) wanted=$missing ;; esac
for thing in $wanted; do
    names=$(packages "$thing")
    list="$list${names:+ $names}"
done
command="$(install_command)$list"

as_root=""
if [ "$manager" != brew ] && [ "$(id -u)" != 0 ]; then
    if have sudo && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
        as_root=sudo
    else
        echo "Neither root nor sudo, so nothing was installed. Please run this as root, then make again:" >&2
        [ "$manager" = apt ] && command="apt-get update && $command"
        echo "    $command" >&2
        exit 1
    fi
fi
if [ "$manager" = apt ]; then
    echo "== ${as_root:+sudo }apt-get update"
    $as_root apt-get update -qq || echo "== (some package lists could not be fetched)"
    as_root="${as_root:+sudo }env DEBIAN_FRONTEND=noninteractive"
fi
echo "== $command"
log=$(mktemp)
if ! $as_root $command </dev/null >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    rm -f "$log"
    echo "These packages could not be installed:$list" >&2
    exit 1
fi
rm -f "$log"
install_rocks
# Through make, which now finds what it could not find before.
"${MAKE:-make}" --no-print-directory -s deps-check SETS="$*"
