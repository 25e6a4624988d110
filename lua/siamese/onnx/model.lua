--- A graph as a message of ONNX (onnx.proto of IR version 8, which goes with opset 17): the numbers of its
-- fields and types are here, and nowhere else.
-- @module siamese.onnx.model
local message = require "siamese.onnx.protobuf"

local M = {}

--- Types of tensors by our names, and those that only casts give.
M.TYPES = { float32 = 1, uint8 = 2, int32 = 6, int64 = 7, bool = 9 }

local FLOAT, INT, STRING, INTS, STRINGS = 1, 2, 3, 7, 8 -- AttributeProto.AttributeType

local function attribute(name, value)
   local m = message():string(1, name)
   local kind = math.type(value)
   if kind == "float" then
      m:float(2, value):integer(20, FLOAT)
   elseif kind == "integer" then
      m:integer(3, value):integer(20, INT)
   elseif type(value) == "string" then
      m:string(4, value):integer(20, STRING)
   elseif type(value[1]) == "string" then
      for _, text in ipairs(value) do
         m:string(9, text)
      end
      m:integer(20, STRINGS)
   else
      m:integers(8, value):integer(20, INTS)
   end
   return m
end

local function node_message(node)
   local m = message()
   for _, name in ipairs(node.inputs) do
      m:string(1, name)
   end
   for _, name in ipairs(node.outputs) do
      m:string(2, name)
   end
   m:string(3, node.name):string(4, node.op)
   local keys = {}
   for key in pairs(node.attributes) do
      keys[#keys + 1] = key
   end
   table.sort(keys)
   for _, key in ipairs(keys) do
      m:message(5, attribute(key, node.attributes[key]))
   end
   return m
end

local function tensor_message(item)
   return message():integers(1, item.tensor.shape):integer(2, M.TYPES[item.tensor.dtype])
      :string(8, item.name):tensor(9, item.tensor)
end

--- A dimension is a size, a name of one, or false: not known.
local function value_message(value)
   local shape = message()
   for _, size in ipairs(value.shape) do
      local dim = message()
      if type(size) == "string" then
         dim:string(2, size)
      elseif size then
         dim:integer(1, size)
      end
      shape:message(1, dim)
   end
   local tensor = message():integer(1, M.TYPES[value.dtype]):message(2, shape)
   return message():string(1, value.name):message(2, message():message(1, tensor))
end

local function graph_message(graph)
   local m = message()
   for _, node in ipairs(graph.nodes) do
      m:message(1, node_message(node))
   end
   m:string(2, graph.name)
   for _, item in ipairs(graph.initializers) do
      m:message(5, tensor_message(item))
   end
   for _, value in ipairs(graph.inputs) do
      m:message(11, value_message(value))
   end
   for _, value in ipairs(graph.outputs) do
      m:message(12, value_message(value))
   end
   return m
end

--- The model.
-- @tparam table graph `name`, `nodes` ({`op`, `name`, `inputs`, `outputs`, `attributes`}), `initializers`
--   ({`name`, `tensor`}), `inputs` and `outputs` ({`name`, `dtype`, `shape`}), `metadata`, strings by string
-- @tparam int opset
-- @treturn table message
function M.write(graph, opset)
   local m = message():integer(1, 8):string(2, "siamese"):message(7, graph_message(graph))
      :message(8, message():string(1, ""):integer(2, opset))
   local keys = {}
   for key in pairs(graph.metadata) do
      keys[#keys + 1] = key
   end
   table.sort(keys)
   for _, key in ipairs(keys) do
      m:message(14, message():string(1, key):string(2, graph.metadata[key]))
   end
   return m
end

return M
