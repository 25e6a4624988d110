--- Modules that hold a list of modules. Their children are named "0", "1", ... in state dictionaries, as
-- PyTorch's are, so that weights go back and forth; in Lua they are seq[1], seq[2], ... and seq[-1] is the
-- last.
-- @module siamese.nn.container
local core = require "siamese.core"
local Module = require "siamese.nn.module"
local fusion = require "siamese.nn.fusion"

local M = {}

local function kind_text(value)
   local meta = type(value) == "table" and getmetatable(value)
   if meta and meta.__name and not Module.is_module(value) then
      return ("the class %s itself (write %s{...})"):format(meta.__name, meta.__name)
   end
   return "a " .. type(value)
end

local function list_class(name)
   local class = Module:extend(name)

   function class:init(list)
      if type(list) ~= "table" or Module.is_module(list) then
         core.raise(("nn.%s: expected a table of modules, got %s"):format(name,
            Module.is_module(list) and "a module" or type(list)))
      end
      local count = 0
      for key in pairs(list) do
         count = count + 1
         if math.type(key) ~= "integer" then
            core.raise(("nn.%s: expected a list of modules, got the key '%s'"):format(name, tostring(key)))
         end
      end
      for i = 1, count do
         if not Module.is_module(list[i]) then
            core.raise(("nn.%s: element %d is %s, expected a module"):format(name, i, kind_text(list[i])))
         end
         self:register_module(tostring(i - 1), list[i])
      end
   end

   --- The number of modules.
   function class:__length()
      return #self:children()
   end

   --- The field of the i-th child.
   function class:__position(i)
      return tostring(i > 0 and i - 1 or #self:children() + i)
   end

   --- The field to assign the i-th child to: there are no gaps.
   function class:__place(i, value)
      local count = #self
      if i < 0 then
         i = count + 1 + i
      end
      if i < 1 or i > count + 1 or (value == nil and i ~= count) then
         core.raise(value == nil and ("nn.%s: only the last module can be taken out"):format(name)
            or ("nn.%s: there is no place %d among %d modules"):format(name, i, count))
      end
      return tostring(i - 1)
   end

   --- Adds a module at the end; returns the container.
   function class:append(module)
      if not Module.is_module(module) then
         core.raise(("nn.%s:append: got %s, expected a module"):format(name, kind_text(module)))
      end
      self:register_module(tostring(#self:children()), module)
      return self
   end
   return class
end

--- Runs its modules one after another; what several values one gives, the next one takes.
-- @function Sequential
-- @tparam {Module,...} list
-- @usage nn.Sequential{ nn.Linear{ in_features = 4, out_features = 2 }, nn.ReLU{} }
M.Sequential = list_class("Sequential")

function M.Sequential:forward(...)
   return fusion.run(self:children(), ...)
end
M.Sequential.is_sequence = M.Sequential.forward

--- A list of modules without a forward of its own. `for i = 1, #list do x = list[i](x) end`
-- @function ModuleList
-- @tparam {Module,...} list
M.ModuleList = list_class("ModuleList")

return M
