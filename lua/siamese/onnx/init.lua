--- Export to ONNX (Open Neural Network Exchange), which other runtimes, languages and devices read.
--
--    assert(siamese.onnx.export("encoder.onnx", twin, { input = { 1, 3, 224, 224 } }))
--
--    >>> session = onnxruntime.InferenceSession("encoder.onnx")             # in Python
--    >>> embeddings, = session.run(None, {"input": pictures})               # [N,3,224,224], any N
--
-- What is exported is what the module's forward does in evaluation, whatever it is made of: the forward runs
-- twice, on batches of one and two, and the operations on the input become nodes (opset 17, IR version 8).
-- Modules of one's own, sums, concatenations and views are followed like layers; parameters keep their names.
-- Of a twin it is the encoder; the distance of embeddings is a line in any language.
--
-- Nodes take pictures of the size that was given and any number of them. What cannot be followed is refused
-- by name: operations without a counterpart, values that forward reads into Lua to decide by, changes in
-- place, random numbers. Indices count from 1 in the exported graph, too (for `nn.Embedding`), and masks are
-- uint8. Sequences are whole: NaN behind their ends is not looked for.
--
-- tools/onnx_check.py compares all of `siamese.models` and the layers with ONNX Runtime.
-- @module siamese.onnx
local core = require "siamese.core"
local json = require "siamese.json"
local Module = require "siamese.nn.module"
local Preprocess = require "siamese.preprocess"
local model = require "siamese.onnx.model"
local ops = require "siamese.onnx.ops"
local options = require "siamese.options"
local trace = require "siamese.onnx.trace"

local M = {}

local NAME = "siamese.onnx.export"
local OPSET = 17
local LARGEST = (1 << 31) - 1 -- bytes of a message of protocol buffers

local SPEC = { input = options.required, input_names = options.optional, output_names = options.optional,
   dynamic_batch = true, batch_dim = 1, metadata = {} }

--- The key of the preprocessing record among `metadata_props`.
M.PREPROCESS = "siamese.preprocess"

-- Options

local function check_path(path)
   if type(path) ~= "string" or path == "" or path:find("\0", 1, true) then
      core.raise(("%s: path must be the name of a file, got %s"):format(NAME,
         type(path) == "string" and ("%q"):format(path) or type(path)))
   end
end

local function is_shape(value)
   for i = 1, type(value) == "table" and math.max(#value, 1) or 1 do
      if type(value) ~= "table" or math.type(value[i]) ~= "integer" or value[i] < 1 then
         return false
      end
   end
   return true
end

--- The inputs as a list of shapes and tensors.
local function check_input(o)
   local list = o.input
   if core.is_tensor(list) or is_shape(list) then
      list = { list }
   end
   local fits = type(list) == "table" and not Module.is_module(list) and #list > 0
   for _, item in ipairs(fits and list or {}) do
      fits = fits and (is_shape(item) or core.is_tensor(item) and item:numel() > 0)
   end
   if not fits then
      core.raise(("%s: input must be a shape such as {1, 3, 224, 224}, a tensor, or a list of such, got %s")
         :format(NAME, options.text(o.input)))
   end
   for _, item in ipairs(list) do
      local shape = core.is_tensor(item) and item.shape or item
      if o.dynamic_batch and #shape < o.batch_dim then
         core.raise(("%s: batch_dim is %d, and an input has the shape {%s}"):format(NAME, o.batch_dim,
            table.concat(shape, ", ")))
      end
   end
   return list
end

local function check_text(what, text)
   if type(text) ~= "string" or not utf8.len(text) then
      core.raise(("%s: %s must be strings of UTF-8, got %s"):format(NAME, what,
         type(text) == "string" and ("%q"):format(text) or type(text)))
   end
end

--- As many names as there are values: those given, or one for the first and numbers for others.
local function check_names(o, key, first, count)
   local list, seen = o[key] or {}, {}
   if type(list) ~= "table" or o[key] and #list ~= count then
      core.raise(("%s: %s must be a list of %d name%s, got %s"):format(NAME, key, count,
         count == 1 and "" or "s", options.text(list)))
   end
   local names = {}
   for i = 1, count do
      names[i] = o[key] and list[i] or i == 1 and first or ("%s_%d"):format(first, i)
      check_text(key, names[i])
      if seen[names[i]] or names[i] == "" then
         core.raise(("%s: %s must be different names, got %s"):format(NAME, key, options.text(list)))
      end
      seen[names[i]] = true
   end
   return names
end

local function check_metadata(o)
   if type(o.metadata) ~= "table" then
      core.raise(("%s: metadata must be a table of strings, got %s"):format(NAME, type(o.metadata)))
   end
   for key, value in pairs(o.metadata) do
      check_text("keys of metadata", key)
      check_text("values of metadata", value)
   end
end

-- Inputs of the two runs

--- Random values of a shape, whatever the state of the generator, which stays as it is.
local function random(shape, seed)
   local state = core.get_rng_state()
   core.manual_seed(seed)
   local x = core.randn(shape)
   core.set_rng_state(state)
   return x
end

local function with_size(shape, dim, size)
   local out = table.move(shape, 1, #shape, 1, {})
   out[dim] = size
   return out
end

--- Two batches for an input, of one and two or, where the batch is fixed, both of the shape given.
local function batches(item, o)
   local dim = o.batch_dim
   if not core.is_tensor(item) then
      return random(o.dynamic_batch and with_size(item, dim, 1) or item, 1),
         random(o.dynamic_batch and with_size(item, dim, 2) or item, 2)
   end
   local first, other = item:detach(), item.dtype == "float32" and item * 0.5 or item
   if o.dynamic_batch then
      first = item:narrow(dim, 1, 1)
      other = core.cat({ other:narrow(dim, item:size(dim), 1), first }, dim)
   end
   return first:clone(), other:clone():detach()
end

-- The export

local function is_twin(module)
   return type(module.embed_pair) == "function" and Module.is_module(module.encoder)
end

local function check_size(size)
   if size > LARGEST then
      trace.refuse("the model takes %.2f GB, and a file of ONNX holds less than 2", size / 1e9)
   end
end

local function write_graph(encoder, o)
   local first, second, bytes = {}, {}, 0
   for _, tensor in ipairs(encoder:parameters()) do
      bytes = bytes + 4 * tensor:numel()
   end
   check_size(bytes)
   for i, item in ipairs(o.inputs) do
      first[i], second[i] = batches(item, o)
   end
   local run, other = trace.follow(encoder, first, second)
   o.output_names = check_names(o, "output_names", "embedding", #run.outputs)
   for _, name in ipairs(o.output_names) do
      for _, taken in ipairs(o.input_names) do
         if name == taken then
            core.raise(("%s: '%s' is the name of an input and of an output"):format(NAME, name))
         end
      end
   end
   local graph = ops.graph(run, other, o)
   graph.name, graph.metadata = getmetatable(encoder).__name, o.metadata
   return graph
end

--- Writes a module's forward, in evaluation, as a model of ONNX: into a temporary file beside the file, made
-- durable, then renamed, so that it is there whole or not at all.
--
-- Raises what is wrong with the options, and, by name, what has no counterpart in ONNX: "BatchNorm2d
-- 'layer1.bn'". A model beyond 2 GB, the limit of the format, is refused.
-- @function export
-- @tparam string path
-- @tparam Module module a twin stands for its encoder
-- @tparam table opts `input`: the shape of the input, such as {1, 3, 224, 224}, or a tensor (of indices, for
--   instance); a list of such for several. `input_names` ({"input"}), `output_names` ({"embedding"}):
--   further ones are "input_2" and so on. `dynamic_batch` (true): any number of samples, whatever number
--   `input` has; else that number. `batch_dim` (1): the dimension of the batch (2 for [T,N,I]). `metadata`: a
--   table of strings by string, kept as `metadata_props`; the preprocessing record of a module that has one
--   (see `siamese.Preprocess`) goes with them as JSON under "siamese.preprocess"
-- @treturn[1] boolean true
-- @treturn[2] nil
-- @treturn[2] string message with the file's name, where it cannot be written
-- @usage assert(siamese.onnx.export("net.onnx", net, { input = { 1, 1, 28, 28 }, dynamic_batch = false }))
function M.export(path, module, opts)
   local o = options.check(NAME, opts, SPEC)
   check_path(path)
   if not Module.is_module(module) then
      core.raise(("%s: expected a module, got %s"):format(NAME, type(module)))
   end
   options.check_boolean(NAME, o, "dynamic_batch")
   options.check_count(NAME, o, "batch_dim", 1)
   check_metadata(o)
   o.inputs = check_input(o)
   o.input_names = check_names(o, "input_names", "input", #o.inputs)
   local preprocess = Preprocess.of(module)
   o.metadata = options.extend(o.metadata, {})
   if preprocess then
      o.metadata[M.PREPROCESS] = json.encode(preprocess:options())
   end
   local message = model.write(write_graph(is_twin(module) and module.encoder or module, o), OPSET)
   check_size(message.size)
   return core.write_file(path, message:flat())
end

return M
