--- Operations of ONNX for ours: convolutions, norms, pooling, padding, recurrent layers.
-- @module siamese.onnx.ops_layers
local core = require "siamese.core"

local M = {}

--- Padding of two axes as ONNX has it: all beginnings, then all ends.
local function pads_of(before, after)
   return { before[1], before[2], after[1], after[2] }
end

-- Convolution

local function conv_attributes(p, weight_shape)
   return { kernel_shape = { weight_shape[3], weight_shape[4] }, strides = p.stride, dilations = p.dilation,
      group = p.groups, pads = pads_of(p.padding, p.padding) }
end

function M.conv2d(g, c)
   local y = g:node("Conv", { c:input(1), c:input(2), c:input(3) }, conv_attributes(c.params, c:shape(2)))
   return g:limits(y, c.params.low, c.params.high)
end

function M.conv_transpose2d(g, c)
   local attributes = conv_attributes(c.params, c:shape(2))
   attributes.output_padding = c.params.output_padding
   return g:node("ConvTranspose", { c:input(1), c:input(2), c:input(3) }, attributes)
end

-- Norms

--- Operand i, or as many of a number as there are channels.
local function per_channel(g, c, i, count, value)
   return c.inputs[i] and c:input(i) or g:constant(core.full({ count }, value))
end

function M.batch_norm(g, c)
   if c.params.training then
      g:refuse("with the statistics of the batch itself (track_running_stats = false)")
   end
   local count = c:shape(1)[2]
   local y = g:node("BatchNormalization", { c:input(1), per_channel(g, c, 4, count, 1),
      per_channel(g, c, 5, count, 0), c:input(2), c:input(3) }, { epsilon = c.params.eps })
   if c.inputs[6] then
      y = g:node("Add", { y, c:input(6) })
   end
   return g:limits(y, c.params.low, c.params.high)
end

function M.layer_norm(g, c)
   local shape, dims = c:shape(1), c.params.dims
   local scale = c.inputs[2] and c:input(2)
      or g:constant(core.ones(table.move(shape, #shape - dims + 1, #shape, 1, {})))
   return g:node("LayerNormalization", { c:input(1), scale, c:input(3) },
      { axis = -dims, epsilon = c.params.eps })
end

--- [1,C,1,...] of operand i.
local function along_channels(g, c, i)
   local shape = {}
   for d, size in ipairs(c:shape(1)) do
      shape[d] = d == 2 and size or 1
   end
   local values = c:constant(i)
   return values and g:constant(values:reshape(shape)) or g:node("Reshape", { c:input(i), g:integers(shape) })
end

--- Groups are the channels of an instance norm.
function M.group_norm(g, c)
   local groups, shape = c.params.groups, c:shape(1)
   local flat = g:node("Reshape", { c:input(1), g:integers{ 0, groups, -1 } })
   local y = g:node("InstanceNormalization", { flat, g:constant(core.ones(groups)),
      g:constant(core.zeros(groups)) }, { epsilon = c.params.eps })
   y = g:reshape(y, shape, c:again(1))
   y = c.inputs[4] and g:node("Mul", { y, along_channels(g, c, 4) }) or y
   return c.inputs[5] and g:node("Add", { y, along_channels(g, c, 5) }) or y
end

function M.instance_norm(g, c)
   local count = c:shape(1)[2]
   return g:node("InstanceNormalization", { c:input(1), per_channel(g, c, 4, count, 1),
      per_channel(g, c, 5, count, 0) }, { epsilon = c.params.eps })
end

--- ONNX's takes one channel more above than below where the size is even, ours below: means over windows of
-- channels then.
function M.local_response_norm(g, c)
   local p, x = c.params, c:input(1)
   if p.size % 2 == 1 then
      return g:node("LRN", { x }, { size = p.size, alpha = p.alpha, beta = p.beta, bias = p.k })
   end
   local shape, again = c:shape(1), c:again(1)
   local square = g:node("Mul", { x, x })
   local rows = g:node("Reshape", { square, g:integers{ 0, 1, shape[2], -1 } })
   local padded = g:node("Pad", { rows, g:integers{ 0, 0, p.size // 2, 0, 0, 0, (p.size - 1) // 2, 0 } })
   local mean = g:node("AveragePool", { padded }, { kernel_shape = { p.size, 1 } })
   local scale = g:node("Add", { g:node("Mul", { g:reshape(mean, shape, again), g:number(p.alpha) }),
      g:number(p.k) })
   return g:node("Div", { x, g:node("Pow", { scale, g:number(p.beta) }) })
end

-- Pooling

--- How much has to lie behind each axis so that the windows that are wanted fit, whatever `ceil_mode` said.
local function behind(c)
   local p, list, more = c.params, {}, false
   for axis = 1, 2 do
      local span = p.dilation[axis] * (p.kernel[axis] - 1) + 1
      local size, count = c:shape(1)[axis + 2], c:shape_out(1)[axis + 2]
      list[axis] = math.max(p.padding[axis],
         (count - 1) * p.stride[axis] + span - size - p.padding[axis])
      more = more or list[axis] > p.padding[axis]
   end
   return list, more
end

function M.max_pool2d(g, c)
   local p = c.params
   return g:node("MaxPool", { c:input(1) }, { kernel_shape = p.kernel, strides = p.stride,
      dilations = p.dilation, pads = pads_of(p.padding, behind(c)) })
end

--- Padding counts in means where it is said to, what lies behind for the last windows never does: zeros ahead
-- of the pooling for the one, padding of the pooling for the other.
function M.avg_pool2d(g, c)
   local p, x = c.params, c:input(1)
   local after, more = behind(c)
   local before, counts = p.padding, p.count_include_pad
   if counts and more and (before[1] > 0 or before[2] > 0) then
      x = g:node("Pad", { x, g:integers{ 0, 0, before[1], before[2], 0, 0, before[1], before[2] } })
      after = { after[1] - before[1], after[2] - before[2] }
      before = { 0, 0 }
   end
   return g:node("AveragePool", { x }, { kernel_shape = p.kernel, strides = p.stride,
      pads = pads_of(before, after), count_include_pad = counts and not more and 1 or 0 })
end

--- Bin i of n covers floor(i size / n) up to ceil((i + 1) size / n), counted from 0.
local function bin(i, size, n)
   return i * size // n, -(-(i + 1) * size // n)
end

--- The sizes of the image and of the result, and whether the bins are alike and touch.
local function adaptive(c)
   local x, y = c:shape(1), c:shape_out(1)
   local size, bins = { x[3], x[4] }, { y[3], y[4] }
   return size, bins, size[1] % bins[1] == 0 and size[2] % bins[2] == 0
end

local function even_pool(g, c, size, bins, kind)
   if bins[1] == 1 and bins[2] == 1 then
      return g:node("Global" .. kind, { c:input(1) })
   end
   local window = { size[1] // bins[1], size[2] // bins[2] }
   return g:node(kind, { c:input(1) }, { kernel_shape = window, strides = window })
end

--- [bins,size]: what each pixel counts for in the mean of each bin.
local function bin_weights(size, bins)
   local rows = {}
   for i = 0, bins - 1 do
      local first, past = bin(i, size, bins)
      local row = {}
      for k = 0, size - 1 do
         row[k + 1] = k >= first and k < past and 1 / (past - first) or 0
      end
      rows[i + 1] = row
   end
   return core.tensor(rows)
end

--- Bins that overlap are a product with a matrix from each side.
function M.adaptive_avg_pool2d(g, c)
   local size, bins, even = adaptive(c)
   if even then
      return even_pool(g, c, size, bins, "AveragePool")
   end
   local y = g:node("MatMul", { g:constant(bin_weights(size[1], bins[1])), c:input(1) })
   return g:node("MatMul", { y, g:constant(bin_weights(size[2], bins[2]):t()) })
end

local function maxima(g, x, axis, size, bins)
   local parts = {}
   for i = 0, bins - 1 do
      local first, past = bin(i, size, bins)
      local part = g:node("Slice", { x, g:integers{ first }, g:integers{ past }, g:integers{ axis } })
      parts[i + 1] = g:node("ReduceMax", { part }, { axes = { axis }, keepdims = 1 })
   end
   return g:node("Concat", parts, { axis = axis })
end

function M.adaptive_max_pool2d(g, c)
   local size, bins, even = adaptive(c)
   if even then
      return even_pool(g, c, size, bins, "MaxPool")
   end
   return maxima(g, maxima(g, c:input(1), 2, size[1], bins[1]), 3, size[2], bins[2])
end

-- Padding

local PAD_MODES = { [0] = "constant", "reflect", "edge" } -- sm_pad_mode; the next is circular

local function circular(g, x, axis, size, before, after)
   local parts = { x }
   if before < 0 or after < 0 then
      g:refuse("circular with negative sizes")
   elseif before > 0 then
      table.insert(parts, 1, g:node("Slice", { x, g:integers{ size - before }, g:integers{ size },
         g:integers{ axis } }))
   end
   if after > 0 then
      parts[#parts + 1] = g:node("Slice", { x, g:integers{ 0 }, g:integers{ after }, g:integers{ axis } })
   end
   return #parts > 1 and g:node("Concat", parts, { axis = axis }) or x
end

function M.pad(g, c)
   local p, x, shape = c.params, c:input(1), c:shape(1)
   local mode, count = PAD_MODES[p.mode], #shape
   local pads = {}
   for d = 1, count do
      local own = d - (count - p.dims)
      pads[d], pads[count + d] = own > 0 and p.before[own] or 0, own > 0 and p.after[own] or 0
      if not mode then
         x = circular(g, x, d - 1, shape[d], pads[d], pads[count + d])
      elseif mode ~= "constant" and (pads[d] < 0 or pads[count + d] < 0) then
         g:refuse("of mode '%s' with negative sizes", mode)
      end
   end
   if not mode then
      return x
   end
   local value = mode == "constant" and core.tensor(p.value, { dtype = c:dtype(1) })
   return g:node("Pad", { x, g:integers(pads), value and g:constant(value) or "" }, { mode = mode })
end

-- Recurrent layers

-- By sm_recurrent_kind: ONNX's name, its activation where there is a choice, and its order of our gates.
local CELLS = { [0] = { "RNN", activation = "Tanh", gates = { 1 } },
   { "RNN", activation = "Relu", gates = { 1 } },
   { "LSTM", gates = { 1, 4, 2, 3 } }, -- i, o, f, c of our i, f, g, o
   { "GRU", gates = { 2, 1, 3 } } } -- z, r, h of our r, z, n

--- Rows of gates in ONNX's order.
local function reordered(tensor, gates)
   local parts, rows = {}, tensor:size(1) // #gates
   for i, gate in ipairs(gates) do
      parts[i] = tensor:narrow(1, (gate - 1) * rows + 1, rows)
   end
   return core.cat(parts, 1)
end

--- Operand i with its gates in ONNX's order.
local function weights(g, c, i, gates)
   return reordered(c:constant(i) or g:refuse("with weights that depend on the input"), gates)
end

local function biases(g, c, gates)
   if not c.inputs[6] and not c.inputs[7] then
      return ""
   end
   local both = {}
   for k = 1, 2 do
      both[k] = c.inputs[5 + k] and weights(g, c, 5 + k, gates) or core.zeros(c:shape(2)[1])
   end
   return g:constant(core.cat(both, 1):unsqueeze(1))
end

local function first_state(g, c, i)
   return c.inputs[i] and g:node("Unsqueeze", { c:input(i), g:integers{ 0 } }) or ""
end

local function recurrent(g, c)
   local p = c.params
   local cell = CELLS[p.kind]
   local x = p.batch_first and g:node("Transpose", { c:input(1) }, { perm = { 1, 0, 2 } }) or c:input(1)
   local lengths = c.inputs[8] and g:cast(c:input(8), "int64", "int32") or ""
   local attributes = { hidden_size = c:shape(3)[2], direction = p.reverse and "reverse" or "forward" }
   if cell[1] == "GRU" then
      attributes.linear_before_reset = 1
   end
   attributes.activations = cell.activation and { cell.activation } or nil
   local outputs = table.pack(g:node(cell[1], { x, g:constant(weights(g, c, 2, cell.gates):unsqueeze(1)),
      g:constant(weights(g, c, 3, cell.gates):unsqueeze(1)), biases(g, c, cell.gates), lengths,
      first_state(g, c, 4), first_state(g, c, 5) }, attributes, cell[1] == "LSTM" and 3 or 2))
   local y = g:node("Squeeze", { outputs[1], g:integers{ 1 } })
   for k = 2, outputs.n do
      outputs[k] = g:node("Squeeze", { outputs[k], g:integers{ 0 } })
   end
   return p.batch_first and g:node("Transpose", { y }, { perm = { 1, 0, 2 } }) or y,
      table.unpack(outputs, 2)
end

M.rnn, M.lstm, M.gru = recurrent, recurrent, recurrent

return M
