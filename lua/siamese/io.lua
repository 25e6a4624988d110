--- Saving and loading: tensors, tables of tensors and modules, in the safetensors format, which Python's
-- safetensors reads and writes too. Files hold data only; loading executes nothing.
-- @module siamese.io
local core = require "siamese.core"
local Module = require "siamese.nn.module"
local options = require "siamese.options"

local M = {}

local SINGLE = "siamese.tensor" -- the name of a tensor saved by itself

--- Writes tensors to a file: into a temporary file beside it, made durable, then renamed.
-- @tparam string path
-- @tparam tensor|table|Module what a tensor, a table of tensors by name, or a module (its state_dict)
-- @tparam[opt] table opts `metadata`: a table of strings by string
-- @treturn[1] boolean true
-- @treturn[2] nil
-- @treturn[2] string message with the file's name
-- @usage assert(siamese.save("twin.safetensors", twin))
function M.save(path, what, opts)
   local o = options.check("siamese.save", opts, { metadata = {} })
   if type(path) ~= "string" then
      error("siamese.save: path must be a string, got " .. type(path), 2)
   end
   if Module.is_module(what) then
      what = what:state_dict()
   elseif core.is_tensor(what) then
      what = { [SINGLE] = what }
   elseif type(what) ~= "table" then
      error("siamese.save: expected a tensor, a table of tensors or a module, got " .. type(what), 2)
   end
   local names, tensors, keys, values = {}, {}, {}, {}
   for name, tensor in pairs(what) do
      if type(name) ~= "string" or not core.is_tensor(tensor) then
         error(("siamese.save: entry '%s' is a %s, expected tensors by name"):format(tostring(name),
            type(tensor)), 2)
      end
      names[#names + 1], tensors[#tensors + 1] = name, tensor
   end
   if not (getmetatable(what) and getmetatable(what).__pairs) then
      table.sort(names)
      for i, name in ipairs(names) do
         tensors[i] = what[name]
      end
   end
   for key, value in pairs(o.metadata) do
      keys[#keys + 1] = key
      values[#values + 1] = value
   end
   return core.save_tensors(path, names, tensors, keys, values)
end

--- Reads a file. Floats of any size become float32, signed integers int64, bytes and booleans uint8.
-- @tparam string path
-- @treturn[1] table tensors by name (`pairs` goes in the file's order), or the tensor if one was saved
--   by itself
-- @treturn[1] table metadata
-- @treturn[2] nil
-- @treturn[2] string message with the file's name
-- @usage local state = assert(siamese.load("twin.safetensors")); twin:load_state_dict(state)
function M.load(path)
   if type(path) ~= "string" then
      error("siamese.load: path must be a string, got " .. type(path), 2)
   end
   local names, tensors, metadata = core.load_tensors(path)
   if not names then
      return nil, tensors
   end
   if #names == 1 and names[1] == SINGLE then
      return tensors[SINGLE], metadata
   end
   return Module.ordered(names, tensors), metadata
end

return M
