#!/bin/sh
# deps.sh SET...: installs what is missing of the sets build, run, test, lint, docs with the system's
# package manager. Calls none when all is there. Without the right to install it prints the one
# command to run and stops.
set -eu

missing=""
need() { missing="$missing $1"; }
have() { command -v "$1" >/dev/null 2>&1; }

# The package of a thing under each manager: apt dnf apk pacman brew
package() {
    case "$manager:$1" in
    apt:compiler) echo "gcc libc6-dev" ;; dnf:compiler) echo "gcc glibc-devel" ;;
    apk:compiler) echo "gcc musl-dev" ;; pacman:compiler) echo "gcc" ;; brew:compiler) echo "gcc" ;;
    apt:pkg-config) echo "pkg-config" ;; dnf:pkg-config) echo "pkgconf-pkg-config" ;;
    *:pkg-config) echo "pkgconf" ;;
    apt:lua) echo "lua5.4" ;; apk:lua) echo "lua5.4" ;; *:lua) echo "lua" ;;
    apt:lua-headers) echo "liblua5.4-dev" ;; dnf:lua-headers) echo "lua-devel" ;;
    apk:lua-headers) echo "lua5.4-dev" ;; *:lua-headers) echo "lua" ;;
    apt:openblas) echo "libopenblas-dev" ;; dnf:openblas) echo "openblas-devel" ;;
    apk:openblas) echo "openblas-dev" ;; *:openblas) echo "openblas" ;;
    apt:busted) echo "lua-busted" ;; dnf:busted) echo "lua-busted" ;; apk:busted) echo "lua5.4-busted" ;;
    *:busted) echo "luarocks" ;;
    apt:luacheck) echo "lua-check" ;; *:luacheck) echo "luacheck" ;;
    dnf:clang-format) echo "clang-tools-extra" ;; apk:clang-format) echo "clang-extra-tools" ;;
    pacman:clang-format) echo "clang" ;; *:clang-format) echo "clang-format" ;;
    apt:ldoc) echo "lua-ldoc" ;; *:ldoc) echo "ldoc" ;;
    *) echo "$1" ;;
    esac
}

header() { echo "#include <$1>" | ${CC:-cc} -E ${2:-} - >/dev/null 2>&1; }

check_build() {
    have "${CC:-cc}" && header stdio.h || need compiler
    have pkg-config || need pkg-config
    [ -n "${LUA_INCDIR:-}" ] || header lua.h "-I/usr/include/lua5.4 -I/usr/include/lua" ||
        { have pkg-config && pkg-config --exists lua5.4 2>/dev/null; } || need lua-headers
    [ -n "${OPENBLAS_INCDIR:-}${OPENBLAS_DIR:-}" ] || header cblas.h \
        "$(pkg-config --cflags openblas 2>/dev/null || true)" || need openblas
}
check_run() { have lua5.4 || have lua-5.4 || have lua54 || have lua || need lua; }
check_test() {
    check_run
    have busted || need busted
}
check_lint() {
    have luacheck || need luacheck
    have clang-format || need clang-format
}
check_docs() { have ldoc || need ldoc; }

find_manager() {
    for pair in apt-get:apt dnf:dnf apk:apk pacman:pacman brew:brew; do
        if have "${pair%%:*}"; then
            echo "${pair##*:}"
            return
        fi
    done
}

install_command() {
    case "$manager" in
    apt) echo "apt-get install -y --no-install-recommends$1" ;;
    dnf) echo "dnf install -y$1" ;;
    apk) echo "apk add$1" ;;
    pacman) echo "pacman -S --needed --noconfirm$1" ;;
    brew) echo "brew install$1" ;;
    esac
}

for set in "$@"; do "check_$set"; done
[ -n "$missing" ] || exit 0

echo "== missing:$missing"
manager=$(find_manager)
if [ -z "$manager" ]; then
    echo "No known package manager (apt, dnf, apk, pacman, brew) here; please install:$missing" >&2
    exit 1
fi
packages=""
for thing in $missing; do packages="$packages $(package "$thing")"; done
# stb_image is used from the system where it is packaged; the tree has a copy otherwise.
command=$(install_command "$packages")
prefix=""
if [ "$manager" != brew ] && [ "$(id -u)" != 0 ]; then
    if have sudo && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
        prefix="sudo "
    else
        echo "Not root and no sudo: please run this once, then make again:" >&2
        echo "  $command" >&2
        exit 1
    fi
fi
if [ "$manager" = apt ]; then
    echo "== ${prefix}apt-get update"
    ${prefix}apt-get update -qq
    DEBIAN_FRONTEND=noninteractive
    export DEBIAN_FRONTEND
fi
echo "== $prefix$command"
# shellcheck disable=SC2086
${prefix}$command >/dev/null
if [ "$manager" = pacman ] || [ "$manager" = brew ]; then
    have busted || case " $* " in *" test "*) luarocks --lua-version 5.4 install --local busted ;; esac
fi
