--- Modules that hold a list of modules. Their children are named "0", "1", ... in state dictionaries, as
-- PyTorch's are, so that weights go back and forth; in Lua they are seq[1], seq[2], ...
-- @module siamese.nn.container
local Module = require "siamese.nn.module"

local M = {}

local function list_class(name)
   local class = Module:extend(name)

   function class:init(list)
      if type(list) ~= "table" or Module.is_module(list) then
         error(("nn.%s: expected a table of modules"):format(name), 3)
      end
      for i, module in ipairs(list) do
         if not Module.is_module(module) then
            error(("nn.%s: element %d is a %s, expected a module"):format(name, i, type(module)), 3)
         end
         self:register_module(tostring(i - 1), module)
      end
      if #list == 0 and next(list) ~= nil then
         error(("nn.%s: expected a list of modules"):format(name), 3)
      end
   end

   --- The number of modules.
   function class:__length()
      return #self:children()
   end

   --- Adds a module at the end; returns the container.
   function class:append(module)
      self:register_module(tostring(#self:children()), module)
      return self
   end

   -- seq[1] is the child named "0", seq[-1] the last.
   local lookup = class.__instance.__index
   class.__instance.__index = function(self, key)
      if math.type(key) == "integer" then
         key = tostring(key > 0 and key - 1 or #lookup(self, "children")(self) + key)
      end
      return lookup(self, key)
   end
   local assign = class.__instance.__newindex
   class.__instance.__newindex = function(self, key, value)
      assign(self, math.type(key) == "integer" and tostring(key - 1) or key, value)
   end
   return class
end

--- Runs its modules one after another.
-- @function Sequential
-- @usage nn.Sequential{ nn.Linear{ in_features = 4, out_features = 2 }, nn.ReLU{} }
M.Sequential = list_class("Sequential")

--- Runs the children in order. A layer that can do the ReLU behind it in the same pass (`fuses_relu`)
-- does.
function M.Sequential:forward(...)
   local children = self:children()
   local traced, i, results = Module.is_traced(), 1, table.pack(...)
   while children[i] do
      local module, behind = children[i][2], children[i + 1]
      if not traced and module.fuses_relu and behind and behind[2].is_relu then
         results = table.pack(module:forward(results[1], true))
         i = i + 2
      else
         results = table.pack(module(table.unpack(results, 1, results.n)))
         i = i + 1
      end
   end
   return table.unpack(results, 1, results.n)
end

--- A list of modules without a forward of its own.
-- @function ModuleList
M.ModuleList = list_class("ModuleList")

return M
