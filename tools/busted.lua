--- Runs busted under the interpreter that runs this file, whatever interpreter the packaged `busted`
-- command is bound to (Debian's is bound to its oldest Lua). Finds what LuaRocks installed, too.
--
--    lua5.4 tools/busted.lua [busted's options] spec
local version = _VERSION:match("%d+%.%d+")

for _, root in ipairs{ os.getenv("HOME") and os.getenv("HOME") .. "/.luarocks", "/usr/local", "/usr" } do
   local share = root .. "/share/lua/" .. version
   package.path = ("%s;%s/?.lua;%s/?/init.lua"):format(package.path, share, share)
   package.cpath = ("%s;%s/lib/lua/%s/?.so"):format(package.cpath, root, version)
end

local ok, runner = pcall(require, "busted.runner")
if not ok then
   io.stderr:write("busted is not installed for ", _VERSION, ": ", runner, "\n")
   os.exit(1)
end
runner{ standalone = false }
