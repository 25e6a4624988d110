--- Saving and loading: tensors, tables of tensors and modules, in the safetensors format, which Python's
-- safetensors reads and writes too. Files hold data only; loading executes nothing.
-- @module siamese.io
local core = require "siamese.core"
local Module = require "siamese.nn.module"
local options = require "siamese.options"

local M = {}

local SINGLE = "siamese.tensor" -- the name of a tensor saved by itself

local function check_path(name, path)
   if type(path) ~= "string" or path == "" or path:find("\0", 1, true) then
      error(("%s: path must be the name of a file, got %s"):format(name,
         type(path) == "string" and ("%q"):format(path) or type(path)), 3)
   end
end

local function check_text(what, text)
   if type(text) ~= "string" then
      error(("siamese.save: %s must be strings, got a %s"):format(what, type(text)), 3)
   elseif text:find("\0", 1, true) or not utf8.len(text) then
      error(("siamese.save: %s must be UTF-8 without zero bytes, got %q"):format(what, text), 3)
   end
end

--- What is to be saved as a table of tensors by name.
local function as_state(what)
   if Module.is_module(what) then
      return what:state_dict()
   elseif core.is_tensor(what) then
      return { [SINGLE] = what }
   elseif type(what) ~= "table" then
      error("siamese.save: expected a tensor, a table of tensors or a module, got " .. type(what), 3)
   end
   return what
end

--- Names and tensors as two lists: in the order of `pairs` where the table has one, else sorted.
local function as_lists(state)
   local names, tensors = {}, {}
   for name, tensor in pairs(state) do
      check_text("names", name)
      if name == "__metadata__" then
         error("siamese.save: the format keeps the name '__metadata__' for itself", 3)
      elseif not core.is_tensor(tensor) then
         error(("siamese.save: '%s' is a %s, expected a tensor"):format(name, type(tensor)), 3)
      end
      names[#names + 1] = name
   end
   local meta = getmetatable(state)
   if not (meta and meta.__pairs) then
      table.sort(names)
   end
   for i, name in ipairs(names) do
      tensors[i] = state[name]
   end
   return names, tensors
end

local function metadata_lists(metadata)
   if type(metadata) ~= "table" then
      error("siamese.save: metadata must be a table of strings, got " .. type(metadata), 3)
   end
   local keys, values = {}, {}
   for key in pairs(metadata) do
      check_text("keys of metadata", key)
      keys[#keys + 1] = key
   end
   table.sort(keys)
   for i, key in ipairs(keys) do
      check_text("values of metadata", metadata[key])
      values[i] = metadata[key]
   end
   return keys, values
end

--- Writes tensors to a file: into a temporary file beside it, made durable, then renamed, so that the
-- file is there whole or not at all. Float32, int64 and uint8 tensors are written as they are; views are
-- written as what they show.
-- @tparam string path
-- @tparam tensor|table|Module what a tensor, a table of tensors by name, or a module (its state_dict)
-- @tparam[opt] table opts `metadata`: a table of strings by string
-- @treturn[1] boolean true
-- @treturn[2] nil
-- @treturn[2] string message with the file's name
-- @usage assert(siamese.save("twin.safetensors", twin, { metadata = { epoch = "12" } }))
function M.save(path, what, opts)
   local o = options.check("siamese.save", opts, { metadata = {} })
   check_path("siamese.save", path)
   local names, tensors = as_lists(as_state(what))
   return core.save_tensors(path, names, tensors, metadata_lists(o.metadata))
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
   check_path("siamese.load", path)
   local names, tensors, metadata = core.load_tensors(path)
   if not names then
      return nil, tensors
   end
   if #names == 1 and names[1] == SINGLE then
      return tensors[SINGLE], metadata
   end
   return Module.ordered(names, tensors), metadata
end

--- Writes the module's state_dict to a file; as `siamese.save`.
-- @function Module:save
-- @usage assert(net:save("net.safetensors"))
function Module:save(path, opts)
   return M.save(path, self, opts)
end

--- Reads a file of weights into the module. Nothing is changed unless everything fits.
-- @function Module:load
-- @tparam string path
-- @tparam[opt] table opts `strict` (true): names that are missing or unexpected are a failure, too
-- @treturn[1] Module itself
-- @treturn[2] nil
-- @treturn[2] string message with the file's name: what is wrong with it, or what does not fit
-- @usage assert(net:load("net.safetensors"))
function Module:load(path, opts)
   local o = options.check("load", opts, { strict = true })
   options.check_boolean("load", o, "strict")
   check_path("load", path)
   local state, message = M.load(path)
   if not state then
      return nil, message
   elseif core.is_tensor(state) then
      return nil, path .. ": holds a single tensor, not the state of a module"
   end
   local ok, misfit = pcall(self.load_state_dict, self, state, o)
   if not ok then
      return nil, path .. ": " .. misfit
   end
   return self
end

return M
