--- Runs busted under the interpreter that runs this file, whatever interpreter the packaged `busted`
-- command is bound to (Debian's is bound to its oldest Lua).
--
--    lua5.4 tools/busted.lua [busted's options] spec
package.path = package.path .. ";/usr/share/lua/5.4/?.lua;/usr/share/lua/5.4/?/init.lua"
local ok, runner = pcall(require, "busted.runner")
if not ok then
   io.stderr:write("busted is not installed for ", _VERSION, ": ", runner, "\n")
   os.exit(1)
end
runner({ standalone = false })
