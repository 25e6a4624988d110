--- Saving and loading: tensors, tables of tensors and modules, in the safetensors format, which Python's
-- safetensors reads and writes too; and checkpoints of PyTorch, which are read. Files hold data only;
-- loading executes nothing.
-- @module siamese.io
local core = require "siamese.core"
local Module = require "siamese.nn.module"
local metadata = require "siamese.metadata"
local options = require "siamese.options"
local record = require "siamese.record"
local weights = require "siamese.weights"

local M = {}

local SINGLE = "siamese.tensor" -- the name of a tensor saved by itself

local function check_path(name, path)
   if type(path) ~= "string" or path == "" or path:find("\0", 1, true) then
      core.raise(("%s: path must be the name of a file, got %s"):format(name,
         type(path) == "string" and ("%q"):format(path) or type(path)))
   end
end

local function check_text(what, text)
   if type(text) ~= "string" then
      core.raise(("siamese.save: %s must be a string, got %s"):format(what, options.text(text)))
   elseif text:find("\0", 1, true) or not utf8.len(text) then
      core.raise(("siamese.save: %s must be UTF-8 without zero bytes, got %q"):format(what, text))
   end
end

--- What is to be saved as a table of tensors by name.
local function as_state(what)
   if Module.is_module(what) then
      return what:state_dict()
   elseif core.is_tensor(what) then
      return { [SINGLE] = what }
   elseif type(what) ~= "table" then
      core.raise("siamese.save: expected a tensor, a table of tensors or a module, got " .. type(what))
   end
   return what
end

--- Names and tensors as two lists: in the order of `pairs` where the table has one, else sorted.
local function as_lists(state)
   local names, tensors = {}, {}
   for name, tensor in pairs(state) do
      check_text("a name", name)
      if name == "__metadata__" then
         core.raise("siamese.save: the format keeps the name '__metadata__' for itself")
      elseif not core.is_tensor(tensor) then
         core.raise(("siamese.save: '%s' is a %s, expected a tensor"):format(name, type(tensor)))
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

--- What the user says of the file, and what there is to say of the module.
local function all_metadata(what, given)
   if type(given) ~= "table" then
      core.raise("siamese.save: metadata must be a table of strings, got " .. type(given))
   elseif given[metadata.KEY] ~= nil then
      core.raise(("siamese.save: the key '%s' of metadata is the module's own"):format(metadata.KEY))
   end
   local all = options.extend(given, {})
   all[metadata.KEY] = Module.is_module(what) and metadata.write(what) or nil
   return all
end

local function metadata_lists(all)
   local keys, values = {}, {}
   for key in pairs(all) do
      check_text("a key of metadata", key)
      keys[#keys + 1] = key
   end
   table.sort(keys)
   for i, key in ipairs(keys) do
      check_text(("metadata's '%s'"):format(key), all[key])
      values[i] = all[key]
   end
   return keys, values
end

--- Writes tensors to a file: into a temporary file beside it, made durable, then renamed, so that the
-- file is there whole or not at all. Float32, int64 and uint8 tensors are written as they are; views are
-- written as what they show. With a module goes, in the metadata, how it was built (if something can build
-- it again: `siamese.models`, the layers of `siamese.nn`, twins of these), its preprocessing record, its
-- calibration, and whether it was training: what `siamese.load_model` needs.
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
   return core.save_tensors(path, names, tensors, metadata_lists(all_metadata(what, o.metadata)))
end

--- Reads a file: safetensors, or a checkpoint that torch.save wrote, today's or that of before PyTorch 1.6;
-- its content says which. Floats of any size become float32, integers int64, bytes and booleans uint8.
--
-- Of a checkpoint come tensors, numbers, strings, booleans, lists (tuples and sets, too) and tables; `pairs`
-- goes in the file's order. None is nil in tables and false in lists; whole numbers beyond 64 bits are
-- floats. Tensors of one storage share their memory here, too. A checkpoint that wants anything else is
-- refused by the name of what it wants.
-- @tparam string path
-- @tparam[opt] table opts what of it: `key` (a name in a checkpoint, such as "state_dict", or a list of
--   names, one in the other; true: wherever the state of a module is; default: all there is),
--   `strip_prefix` (what names begin with and shall not, such as "encoder."; or a list; true: what
--   nn.DataParallel ("module.") and torch.compile ("_orig_mod.") put ahead of all names; default: nothing)
-- @treturn[1] table tensors by name, the tensor if one was saved by itself, or what the checkpoint holds
-- @treturn[1] table metadata, of a safetensors file
-- @treturn[2] nil
-- @treturn[2] string message with the file's name
-- @usage local state = assert(siamese.load("twin.safetensors")); twin:load_state_dict(state)
-- @usage local epoch = assert(siamese.load("checkpoint.pth")).epoch
-- @usage local state = assert(siamese.load("checkpoint.pth", { key = true, strip_prefix = true }))
function M.load(path, opts)
   local o = options.check("siamese.load", opts, weights.OPTIONS)
   check_path("siamese.load", path)
   weights.check_options("siamese.load", o)
   local value, about = core.load_tensors(path, Module.ordered)
   if type(about) == "string" then
      return nil, about
   elseif value == nil then
      return nil, path .. ": holds None alone"
   elseif type(value) == "table" and value[SINGLE] and next(value, next(value)) == nil then
      value = value[SINGLE]
   end
   local chosen, why = weights.choose(value, o)
   if chosen == nil then
      return nil, ("%s: %s"):format(path, why)
   end
   return chosen, about
end

--- The bytes of the tensors, read or not.
local function count_bytes(state)
   local bytes = 0
   for _, tensor in pairs(state) do
      local size = tensor.dtype == "int64" and 8 or 4
      for _, n in ipairs(tensor.shape) do
         size = size * n
      end
      bytes = bytes + size
   end
   return bytes
end

--- Builds a record's module. A record that asks for far more than the file holds lies: it gets no memory
-- for that. The user's random numbers go on as if nothing had been initialised.
local function build(model, bytes)
   local memory, random = core.memory(), core.get_rng_state()
   core.set_memory_limit(math.min(memory.limit, memory.live + 3 * bytes + (16 << 20)))
   local module, why = record.build(model)
   core.set_memory_limit(memory.limit)
   core.set_rng_state(random)
   return module, why
end

--- Makes the module of a file that `siamese.save` wrote with it: the same layers, weights, preprocessing,
-- calibration and mode (training or evaluation), bit by bit. What was frozen is not kept: freeze it again to
-- train on.
-- @tparam string path
-- @treturn[1] Module
-- @treturn[1] table metadata
-- @treturn[2] nil
-- @treturn[2] string message with the file's name: what is wrong with it, or that it does not say how its
--   module was built (then build one, and use its `load`; or see siamese.record for how your own networks
--   say it)
-- @usage local twin = assert(siamese.load_model("twin.safetensors"))
function M.load_model(path)
   check_path("siamese.load_model", path)
   local state, about, file = core.load_tensors(path, Module.ordered, true)
   local closing <close> = file -- luacheck: ignore
   if type(about) == "string" then
      return nil, about
   end
   local card, why = metadata.read(about)
   if not card or not card.model then
      return nil, ("%s: %s"):format(path, why or ("does not say how its model was built%s; build one, and "
         .. "load the file into that"):format(card and card.why and " (" .. card.why .. ")" or ""))
   end
   require "siamese.models" -- what records may name
   local module
   module, why = build(card.model, count_bytes(state))
   if not module then
      return nil, ("%s: its model cannot be built: %s"):format(path, why)
   end
   local done, misfit = module:load(path, { key = false, strip_prefix = false })
   if not done then
      return nil, misfit
   end
   module:train(card.training ~= false)
   return module, about
end

--- Writes the module's state_dict to a file; as `siamese.save`.
-- @function Module:save
-- @usage assert(net:save("net.safetensors"))
function Module:save(path, opts)
   return M.save(path, self, opts)
end

return M
