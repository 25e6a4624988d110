--- `net:summary{ input = { 1, 3, 224, 224 } }`: the layers as they are called, the shapes that come out,
-- parameters, multiply-adds and memory.
--
--    local s = net:summary{ input = { 1, 3, 224, 224 } }
--    print(s)                      -- the table
--    print(s.parameters, s.multiply_adds, s.memory.total)
--
-- Nothing is computed (`siamese.shapes_only`), so that it takes as little time and memory for a large
-- network, image or batch as for a small one.
-- @module siamese.nn.summary
local core = require "siamese.core"
local Module = require "siamese.nn.module"
local options = require "siamese.options"

--- Bytes of an element.
local SIZES = { float32 = 4, int64 = 8, uint8 = 1 }

local function bytes_of(tensor)
   return tensor:numel() * SIZES[tensor.dtype]
end

local function class_name(module)
   return getmetatable(module).__name
end

local function shape_text(value)
   return core.is_tensor(value) and "[" .. table.concat(value.shape, ",") .. "]" or type(value)
end

--- Elements of the module's own parameters that were not counted before.
local function count_new(module, counted)
   local count = 0
   for _, tensor in ipairs(module:own_parameters()) do
      if not counted[tensor] then
         counted[tensor] = true
         count = count + tensor:numel()
      end
   end
   return count
end

local function new_row(name, module, depth, counted)
   return { name = name, kind = class_name(module), depth = depth, outputs = {},
      parameters = count_new(module, counted), multiply_adds = 0, bytes = 0 }
end

--- A tracer that makes a row for each call, callers above what they call. What a call takes is counted in
-- its own row alone, not in its callers'.
local function row_tracer(names, rows, called, counted)
   local open = {} -- the calls that are running, and what they took so far
   return {
      enter = function(module)
         local row = new_row(names[module] or "", module, #open, counted)
         rows[#rows + 1], called[module] = row, true
         local products, bytes = core.work()
         open[#open + 1] = { products = products, bytes = bytes, inner_products = 0, inner_bytes = 0 }
         return row
      end,
      leave = function(_, row, outputs)
         local call = table.remove(open)
         local caller = open[#open]
         local products, bytes = core.work()
         products, bytes = products - call.products, bytes - call.bytes
         row.multiply_adds, row.bytes = products - call.inner_products, bytes - call.inner_bytes
         if caller then
            caller.inner_products = caller.inner_products + products
            caller.inner_bytes = caller.inner_bytes + bytes
         end
         for i = 1, outputs.n do
            row.outputs[i] = shape_text(outputs[i])
         end
      end,
   }
end

--- What to call the network with: zeros of the shapes, made without memory, or the tensors given.
local function example_inputs(input)
   local list = {}
   if core.is_tensor(input) or type(input[1]) == "number" then
      input = { input }
   end
   for i, item in ipairs(input) do
      list[i] = core.is_tensor(item) and item or core.zeros(item)
   end
   return list
end

local function check_options(opts)
   local o = options.check("summary", opts, { input = options.required, depth = options.optional })
   if not core.is_tensor(o.input) and (type(o.input) ~= "table" or Module.is_module(o.input)) then
      core.raise("summary: input must be a shape such as {1, 1, 28, 28}, got " .. options.text(o.input))
   end
   if o.depth ~= nil then
      options.check_count("summary", o, "depth", 0)
   end
   return o
end

--- Runs the network for its shapes alone, with the tracer, in evaluation mode; returns bytes of the input.
-- Modes are as they were afterwards, whatever happens.
local function run(self, input, tracer)
   local bytes = 0
   local ok, message = pcall(self.in_mode, self, false, core.shapes_only, function()
      local inputs = example_inputs(input)
      for _, tensor in ipairs(inputs) do
         bytes = bytes + bytes_of(tensor)
      end
      Module.trace(tracer)
      core.no_grad(self, table.unpack(inputs))
   end)
   Module.trace(nil)
   if not ok then
      error(message, 0)
   end
   return bytes
end

--- Rows of what was not called but has parameters, such as auxiliary heads.
local function add_uncalled(self, rows, called, counted)
   for name, module in self:named_modules() do
      if not called[module] and #module:own_parameters() > 0 then
         local row = new_row(name, module, 1, counted)
         row.uncalled, rows[#rows + 1] = true, row
      end
   end
end

local function totals(self, rows, input_bytes)
   local s = { layers = rows, parameters = 0, trainable = 0, multiply_adds = 0,
      memory = { input = input_bytes, parameters = 0, buffers = 0, outputs = 0 } }
   for _, tensor in self:named_parameters() do
      s.parameters = s.parameters + tensor:numel()
      s.trainable = s.trainable + (tensor.requires_grad and tensor:numel() or 0)
      s.memory.parameters = s.memory.parameters + bytes_of(tensor)
   end
   for _, tensor in self:named_buffers() do
      s.memory.buffers = s.memory.buffers + bytes_of(tensor)
   end
   for _, row in ipairs(rows) do
      s.multiply_adds = s.multiply_adds + row.multiply_adds
      s.memory.outputs = s.memory.outputs + row.bytes
   end
   s.memory.total = s.memory.input + s.memory.parameters + s.memory.buffers + s.memory.outputs
   return s
end

-- How it is printed

local function with_commas(n)
   local text = tostring(n):reverse():gsub("(%d%d%d)", "%1,"):reverse()
   return (text:gsub("^,", ""))
end

local function bytes_text(n)
   for _, unit in ipairs{ { 1e9, "GB" }, { 1e6, "MB" }, { 1e3, "kB" } } do
      if n >= unit[1] then
         return ("%.1f %s"):format(n / unit[1], unit[2])
      end
   end
   return n .. " B"
end

--- Rows down to a depth; what lies deeper counts in the row above it.
local function folded(rows, deepest)
   local shown = {}
   for _, row in ipairs(rows) do
      local last = shown[#shown]
      if not deepest or row.depth <= deepest or not last then
         shown[#shown + 1] = setmetatable({}, { __index = row })
      else
         for _, key in ipairs{ "parameters", "multiply_adds", "bytes" } do
            last[key] = last[key] + row[key]
         end
      end
   end
   return shown
end

local function cells(row)
   local title = row.name == "" and row.kind or row.name .. ": " .. row.kind
   local outputs = #row.outputs > 0 and table.concat(row.outputs, " ") or "-"
   return { ("  "):rep(row.depth) .. title, row.uncalled and "(not called)" or outputs,
      with_commas(row.parameters), with_commas(row.multiply_adds), bytes_text(row.bytes) }
end

local function align(lines)
   local widths = { 24, 16, 12, 12, 10 }
   for _, line in ipairs(lines) do
      for i, text in ipairs(line) do
         widths[i] = math.max(widths[i], #text)
      end
   end
   local layout = ("%%-%ds  %%-%ds  %%%ds  %%%ds  %%%ds"):format(table.unpack(widths))
   for i, line in ipairs(lines) do
      lines[i] = layout:format(table.unpack(line))
   end
   return lines
end

local Summary = { __name = "summary" }

function Summary.__tostring(s)
   local lines = { { "layer", "output", "parameters", "multiply-adds", "memory" } }
   for _, row in ipairs(folded(s.layers, s.depth)) do
      lines[#lines + 1] = cells(row)
   end
   lines[#lines + 1] = { "total", "", with_commas(s.parameters), with_commas(s.multiply_adds),
      bytes_text(s.memory.outputs) }
   align(lines)
   lines[#lines + 1] = ("%s parameters can be trained. Memory: input %s, parameters %s, buffers %s, "
      .. "outputs %s, together %s."):format(with_commas(s.trainable), bytes_text(s.memory.input),
      bytes_text(s.memory.parameters), bytes_text(s.memory.buffers), bytes_text(s.memory.outputs),
      bytes_text(s.memory.total))
   return table.concat(lines, "\n")
end

--- The layers of a network in evaluation, for inputs of these shapes. A module that is called twice is
-- listed twice, its parameters the first time. Multiply-adds are those of convolutions and of products of
-- matrices, as papers give them ("FLOPs" in most); biases, norms and activations are not among them.
-- Memory is what comes out of the layers' operations one by one: what a training step keeps, about, and
-- more than evaluation ever holds.
-- @function Module:summary
-- @tparam table opts `input`: the shape of the input, such as {1, 3, 224, 224}, or a tensor; a list of
--   such if there are several inputs. `depth`: prints the layers down to this depth (0 is the network
--   itself), with all that is in them; default all
-- @treturn table which prints as a table of layers, output shapes, parameters, multiply-adds and memory;
--   fields `parameters`, `trainable`, `multiply_adds` (integers), `memory` ({`input`, `parameters`,
--   `buffers`, `outputs`, `total`}, bytes), `layers` (list of {`name`, `kind`, `depth`, `outputs` (texts of
--   shapes), `parameters`, `multiply_adds`, `bytes`, `uncalled`}, each what is its own alone)
-- @usage print(net:summary{ input = { 1, 3, 224, 224 } })
-- @usage assert(models.resnet18{ num_classes = 1000 }:summary{ input = { 1, 3, 224, 224 } }.parameters
--   == 11689512)
function Module:summary(opts)
   local o = check_options(opts)
   local names, rows, called, counted = {}, {}, {}, {}
   for name, module in self:named_modules() do
      names[module] = name
   end
   local bytes = run(self, o.input, row_tracer(names, rows, called, counted))
   add_uncalled(self, rows, called, counted)
   local s = totals(self, rows, bytes)
   s.depth = o.depth
   return setmetatable(s, Summary)
end

return Module.summary
