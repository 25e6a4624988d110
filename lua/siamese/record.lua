--- Records: how a module was made, as data, so that a file of weights can say what to build for them.
--
-- A builder sets the record of what it returns, and is registered under the name that files use:
--
--    function M.conv4(opts)
--       local o = options.check("models.conv4", opts, { in_channels = 1, width = 64 })
--       ...
--       return record.set(nn.Sequential(layers), "models.conv4", o)
--    end
--    record.register("models.conv4", M.conv4)
--
-- `record.of(net)` is then { name = "models.conv4", options = { in_channels = 1, width = 64 } }, and
-- `record.build` makes such a network of it. A network that is changed after it was built has no record
-- any more: it would be rebuilt as another.
--
-- Classes whose instances know their own options register a function that says them
-- (`record.register_class`).
-- Nothing in a record is executed: names are looked up among what was registered, options are checked by
-- the builder as a script's would be.
-- @module siamese.record
local core = require "siamese.core"
local Module = require "siamese.nn.module"
local without_position = require("siamese.options").without_position

local M = {}

local builders = {} -- by name: function(options), raising for options that it refuses
local describers = {} -- by class: its name, and function(module) giving options; or nil, why
local records = setmetatable({}, { __mode = "k" }) -- by module: what its builder said

-- What no file needs to know: where weights came from the first time.
local NOT_KEPT = { weights = true }

local DEEPEST = 32 -- nesting, which a table that holds itself would pass

--- A copy of `value` if it is data, else nil and what is wrong.
local function copy(value, what, depth)
   local kind = type(value)
   if kind == "string" and not utf8.len(value) then
      return nil, ("%s is a string that is not UTF-8"):format(what)
   elseif kind == "number" and (value ~= value or value - value ~= 0) then
      return nil, what .. " is not a finite number"
   elseif kind == "string" or kind == "number" or kind == "boolean" then
      return value
   elseif kind ~= "table" or getmetatable(value) ~= nil then
      return nil, ("%s is a %s, which is not data"):format(what,
         Module.is_module(value) and "module" or kind)
   elseif depth > DEEPEST then
      return nil, what .. " is nested too deep"
   end
   local out, count, strings = {}, 0, 0
   for key, item in pairs(value) do
      local one, why = copy(item, ("%s.%s"):format(what, tostring(key)), depth + 1)
      out[key] = one
      if why then
         return nil, why
      end
      count, strings = count + 1, strings + (type(key) == "string" and 1 or 0)
   end
   for i = 1, strings == 0 and count or 0 do
      if out[i] == nil then
         return nil, what .. " is neither a list nor has it names"
      end
   end
   if strings > 0 and strings < count then
      return nil, what .. " is a list with names"
   end
   return out
end

--- All that a change to the network would change: its layers with what they print, and its tensors' names
-- and shapes.
local function structure(module)
   local lines = { tostring(module) }
   for name, tensor in pairs(module:state_dict()) do
      lines[#lines + 1] = name .. " " .. table.concat(tensor.shape, ",")
   end
   return table.concat(lines, "\n")
end

--- Registers what builds a module of a record's options.
-- @tparam string name as files know it ("models.conv4")
-- @tparam function builder from a table of options to a module; raises for options that it refuses
function M.register(name, builder)
   if type(name) ~= "string" or type(builder) ~= "function" then
      core.raise(("record.register: expected a name and a function, got %s and %s"):format(type(name),
         type(builder)))
   end
   builders[name] = builder
end

--- Registers a class whose instances say their own record.
-- @tparam string name as files know it ("nn.WeightedL1")
-- @tparam table class made by `Module:extend`; called with the options to build one
-- @tparam function describe from an instance to its options as data; or nil, why it has none
-- @tparam[opt] function builder instead of the class itself
function M.register_class(name, class, describe, builder)
   M.register(name, builder or function(options)
      return class(options)
   end)
   describers[class.__instance] = { name = name, describe = describe }
end

--- Has instances of a class described as those of another are, which they do the same as once they were
-- changed after a builder made them.
-- @tparam table class
-- @tparam table other one that is registered
function M.describe_as(class, other)
   describers[class.__instance] = describers[other.__instance]
end

--- Says how a module was built. For builders, which call it last.
-- @tparam Module module
-- @tparam string name the builder's, as registered
-- @tparam table options as checked, defaults filled in; `weights` is left out
-- @treturn Module the module itself
-- @usage return record.set(net, "models.resnet18", o)
function M.set(module, name, options)
   if not Module.is_module(module) then
      core.raise("record.set: expected a module, got " .. type(module))
   elseif type(name) ~= "string" or type(options) ~= "table" then
      core.raise(("record.set: expected a name and a table of options, got %s and %s"):format(type(name),
         type(options)))
   end
   local chosen = {}
   for key, value in pairs(options) do
      if not NOT_KEPT[key] then
         chosen[key] = value
      end
   end
   local kept, why = copy(chosen, name, 1)
   records[module] = { name = name, options = kept, why = why, structure = structure(module) }
   return module
end

--- How a module can be built again.
-- @tparam Module module
-- @treturn[1] table { name =, options = }, data only, the caller's own
-- @treturn[2] nil
-- @treturn[2] string why there is none
function M.of(module)
   if not Module.is_module(module) then
      core.raise("record.of: expected a module, got " .. type(module))
   end
   local known, class = records[module], describers[getmetatable(module)]
   local name, given, why
   if known and known.structure == structure(module) then
      name, given, why = known.name, known.options, known.why
   elseif class then
      name, given, why = class.name, class.describe(module)
   elseif known then
      return nil, ("it was changed after %s built it"):format(known.name)
   else
      return nil, ("nothing can build a %s again"):format(getmetatable(module).__name)
   end
   if given then
      given, why = copy(given, name, 1)
   end
   if not given then
      return nil, why
   end
   return { name = name, options = given }
end

--- Builds what a record says.
-- @tparam table record { name =, options = }, from anywhere
-- @treturn[1] Module
-- @treturn[2] nil
-- @treturn[2] string message: an unknown name, or what the builder says against the options
function M.build(record)
   if type(record) ~= "table" or type(record.name) ~= "string" or type(record.options) ~= "table" then
      return nil, "a record of a module must have a name and options"
   end
   for key in pairs(record) do
      if key ~= "name" and key ~= "options" then
         return nil, ("the record of %s has the unknown key '%s'"):format(record.name, tostring(key))
      end
   end
   local builder = builders[record.name]
   if not builder then
      return nil, ("nothing here builds '%s'"):format(record.name)
   end
   local options, why = copy(record.options, record.name, 1)
   if not options then
      return nil, why
   end
   local ok, module = pcall(builder, options)
   if not ok then
      return nil, without_position(module)
   end
   return module
end

return M
