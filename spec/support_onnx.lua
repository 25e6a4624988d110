--- Reading ONNX models back, and running those of a few operations by siamese's own.
local siamese = require "siamese"

local F = siamese.nn.functional
local M = {}

-- Protocol buffers: fields in order, {number, value}

local function varint(bytes, at)
   local value, shift = 0, 0
   while true do
      local byte = bytes:byte(at)
      value, at, shift = value | (byte & 127) << shift, at + 1, shift + 7
      if byte < 128 then
         return value, at
      end
   end
end

local function fields(bytes)
   local list, at = {}, 1
   while at <= #bytes do
      local key, value
      key, at = varint(bytes, at)
      if key & 7 == 0 then
         value, at = varint(bytes, at)
      elseif key & 7 == 2 then
         value, at = varint(bytes, at)
         value, at = bytes:sub(at, at + value - 1), at + value
      elseif key & 7 == 5 then
         value, at = ("<f"):unpack(bytes, at)
      else
         error("wire type " .. (key & 7))
      end
      list[#list + 1] = { key >> 3, value }
   end
   assert(at == #bytes + 1, "the last field is cut off")
   return list
end

--- All values of one field.
local function all(list, number, read)
   local out = {}
   for _, field in ipairs(list) do
      if field[1] == number then
         out[#out + 1] = read and read(field[2]) or field[2]
      end
   end
   return out
end

local function one(list, number)
   local found = all(list, number)
   assert(#found <= 1, "field " .. number .. " comes twice")
   return found[1]
end

-- onnx.proto

local ATTRIBUTES = { [1] = 2, [2] = 3, [3] = 4, [7] = 8 } -- by type: the field that holds it

local function attribute(bytes)
   local f = fields(bytes)
   local kind = one(f, 20)
   return { one(f, 1), kind == 7 and all(f, 8) or one(f, ATTRIBUTES[kind]) }
end

local function node(bytes)
   local f = fields(bytes)
   local n = { op = one(f, 4), name = one(f, 3), inputs = all(f, 1), outputs = all(f, 2), attributes = {} }
   for _, item in ipairs(all(f, 5, attribute)) do
      n.attributes[item[1]] = item[2]
   end
   return n
end

local TYPES = { [1] = { "float32", "<f" }, [2] = { "uint8", "B" }, [7] = { "int64", "<i8" } }

local function tensor(bytes)
   local f = fields(bytes)
   local kind, raw, values = TYPES[one(f, 2)], one(f, 9), {}
   for at = 1, #raw, kind[2]:packsize() do
      values[#values + 1] = kind[2]:unpack(raw, at)
   end
   return { name = one(f, 8), value = siamese.tensor(values, { dtype = kind[1] }):reshape(all(f, 1)) }
end

local function value(bytes)
   local f = fields(bytes)
   local of = fields(one(fields(one(f, 2)), 1))
   local shape = all(fields(one(of, 2)), 1, function(dim)
      local d = fields(dim)
      return one(d, 1) or one(d, 2) or "?"
   end)
   return { name = one(f, 1), dtype = TYPES[one(of, 1)][1], shape = shape }
end

local function pair(bytes)
   local f = fields(bytes)
   return { one(f, 1), one(f, 2) }
end

--- Everything in a model.
function M.read(path)
   local file <close> = assert(io.open(path, "rb"))
   local f = fields(file:read("a"))
   local g = fields(one(f, 7))
   local model = { ir_version = one(f, 1), producer = one(f, 2), opset = pair(one(f, 8)), metadata = {},
      name = one(g, 2), nodes = all(g, 1, node), inputs = all(g, 11, value), outputs = all(g, 12, value),
      initializers = {} }
   for _, item in ipairs(all(f, 14, pair)) do
      model.metadata[item[1]] = item[2]
   end
   for _, item in ipairs(all(g, 5, tensor)) do
      assert(not model.initializers[item.name], "two initializers of one name")
      model.initializers[item.name] = item.value
   end
   return model
end

--- The operations of a model in order.
function M.ops(model)
   local list = {}
   for i, item in ipairs(model.nodes) do
      list[i] = item.op
   end
   return list
end

-- Running

local function padded(x, pads, worth)
   return F.pad(x, { pads[2], pads[4], pads[1], pads[3] }, "constant", worth)
end

local RUN = {
   Conv = function(a, x, w, b)
      return F.conv2d(padded(x, a.pads, 0), w, b, { stride = a.strides, dilation = a.dilations,
         groups = a.group })
   end,
   MaxPool = function(a, x)
      return F.max_pool2d(padded(x, a.pads, -math.huge), { kernel_size = a.kernel_shape,
         stride = a.strides, dilation = a.dilations })
   end,
   AveragePool = function(a, x)
      assert(table.concat(a.pads) == "0000")
      return F.avg_pool2d(x, { kernel_size = a.kernel_shape, stride = a.strides })
   end,
   GlobalAveragePool = function(_, x)
      return x:mean({ 3, 4 }, true)
   end,
   BatchNormalization = function(a, x, w, b, mean, var)
      return F.batch_norm(x, mean, var, w, b, { eps = a.epsilon })
   end,
   Gemm = function(a, x, w, b)
      assert(a.transB == 1)
      return F.linear(x, w, b)
   end,
   Relu = function(_, x) return x:relu() end,
   Add = function(_, x, y) return x + y end,
   Mul = function(_, x, y) return x * y end,
   Reshape = function(_, x, shape) return x:reshape(shape:totable()) end,
   Transpose = function(a, x)
      local dims = {}
      for i, axis in ipairs(a.perm) do
         dims[i] = axis + 1
      end
      return x:permute(dims)
   end,
   Expand = function(_, x, shape) return x:expand(shape:totable()) end,
   Concat = function(a, ...) return siamese.cat({ ... }, a.axis + 1) end,
   Shape = function(a, x)
      return siamese.tensor(table.move(x.shape, a.start + 1, a["end"], 1, {}), { dtype = "int64" })
   end,
}

--- What comes out of a model, output by output.
function M.run(model, inputs)
   local values = {}
   for name, item in pairs(model.initializers) do
      values[name] = item
   end
   for name, item in pairs(inputs) do
      values[name] = item
   end
   for _, n in ipairs(model.nodes) do
      local operands = {}
      for i, name in ipairs(n.inputs) do
         operands[i] = assert(values[name], ("%s comes before it is made"):format(name))
      end
      assert(#n.outputs == 1 and values[n.outputs[1]] == nil)
      values[n.outputs[1]] = RUN[n.op](n.attributes, table.unpack(operands))
   end
   local outputs = {}
   for i, output in ipairs(model.outputs) do
      outputs[i] = values[output.name]
   end
   return table.unpack(outputs)
end

return M
