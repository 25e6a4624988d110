--- How the layers of `siamese.nn` are built again: each by the options it keeps, a Sequential by its
-- modules' records. See `siamese.record`.
-- @module siamese.nn.records
local record = require "siamese.record"

local M = {}

local function options_of(layer)
   local options = layer.options
   if type(options) ~= "table" then
      return nil, ("nn.%s keeps no options"):format(layer.__name)
   end
   return options
end

local function modules_of(sequence)
   local list = {}
   for i, child in ipairs(sequence:children()) do
      local one, why = record.of(child[2])
      if not one then
         return nil, ("module %d of it: %s"):format(i, why)
      end
      list[i] = one
   end
   return list
end

local function build_sequence(class)
   return function(list)
      local modules = {}
      for i, one in ipairs(list) do
         local module, why = record.build(one)
         if not module then
            error(why, 0)
         end
         modules[i] = module
      end
      return class(modules)
   end
end

--- Registers a class of layers.
-- @tparam string name "nn.Conv2d"
-- @tparam table class
function M.add(name, class)
   if type(class) ~= "table" or not class.__instance then
      return
   elseif name == "nn.Sequential" then
      record.register_class(name, class, modules_of, build_sequence(class))
   else
      record.register_class(name, class, options_of)
   end
end

return M
