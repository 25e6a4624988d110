#!/bin/sh
# luarocks-test.sh: `luarocks make` into a tree of its own, then require "siamese" from another folder.
set -eu

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# A copy: LuaRocks builds in the folder that it is started in.
mkdir "$work/source" "$work/elsewhere"
tar -c --exclude=./build --exclude=./.git . | tar -x -C "$work/source"

echo "== luarocks --lua-version 5.4 make"
cd "$work/source"
luarocks --lua-version 5.4 make --tree "$work/tree" rockspec/siamese-scm-1.rockspec >"$work/log" 2>&1 ||
    { cat "$work/log" >&2; exit 1; }

echo "== require \"siamese\" from elsewhere"
cd "$work/elsewhere"
eval "$(luarocks --lua-version 5.4 --tree "$work/tree" path)"
cat >try.lua <<'END'
local siamese = require "siamese"
local core = package.searchpath("siamese.core", package.cpath)
assert(core:find(arg[1], 1, true), core .. " was loaded")
assert(siamese.ones(2, 3):sum():item() == 6)
print(siamese.ones(2, 3))
END
${LUA:-lua5.4} try.lua "$work/tree"
