--- Building a graph: names, nodes, initializers, and the shapes that depend on the size of the batch.
-- @module siamese.onnx.graph
local core = require "siamese.core"
local model = require "siamese.onnx.model"
local trace = require "siamese.onnx.trace"

local Graph = {}
Graph.__index = Graph

--- A name that nothing has yet.
local function unique(self, name)
   local free, count = name, 0
   while self.taken[free] do
      count = count + 1
      free = ("%s_%d"):format(name, count)
   end
   self.taken[free] = true
   return free
end

--- Adds a node; `scope` of the graph, the module it belongs to, is in its name.
-- @tparam string op of ONNX
-- @tparam {string,...} inputs names, "" where one is absent
-- @tparam[opt] table attributes integers, floats, strings and lists of integers by name
-- @tparam[opt=1] int count of outputs
-- @treturn string,... names of the outputs
function Graph:node(op, inputs, attributes, count)
   while inputs[#inputs] == "" do
      table.remove(inputs)
   end
   local path = self.scope == "" and "" or "/" .. self.scope:gsub("%.", "/")
   local name = unique(self, ("%s/%s"):format(path, op))
   local outputs = {}
   for k = 1, count or 1 do
      outputs[k] = unique(self, ("%s_output_%d"):format(name, k - 1))
   end
   self.nodes[#self.nodes + 1] = { op = op, name = name, inputs = inputs, outputs = outputs,
      attributes = attributes or {} }
   return table.unpack(outputs)
end

--- Adds an initializer; small ones of the same values are one.
-- @tparam tensor tensor
-- @tparam[opt] string name
-- @treturn string its name
function Graph:constant(tensor, name)
   local key = not name and tensor:numel() <= 16 and table.concat({ tensor.dtype,
      table.concat(tensor.shape, ","), table.concat(tensor:reshape(-1):totable(), ",") }, " ")
   if key and self.constants[key] then
      return self.constants[key]
   end
   name = unique(self, name or "constant")
   self.initializers[#self.initializers + 1] = { name = name, tensor = tensor:contiguous() }
   if key then
      self.constants[key] = name
   end
   return name
end

--- A vector of integers.
function Graph:integers(list)
   return self:constant(core.tensor(list, { dtype = "int64" }))
end

--- A float, or an integer, without dimensions.
function Graph:number(value, dtype)
   return self:constant(core.tensor(value, { dtype = dtype or "float32" }))
end

--- The size of the batch, [1].
local function batch(self)
   if not self.batch_size then
      local at = self.batch_dim - 1
      self.batch_size = self:node("Shape", { self.input_names[1] }, { start = at, ["end"] = at + 1 })
   end
   return self.batch_size
end

--- A shape as a vector of integers that follows the batch.
-- @tparam {int,...} shape in a batch of one
-- @tparam {int,...} again in a batch of two
-- @treturn string
function Graph:shape(shape, again)
   if trace.same_list(shape, again) then
      return self:integers(shape)
   end
   local parts = {}
   for d, size in ipairs(shape) do
      if size == again[d] then
         parts[d] = self:integers{ size }
      elseif again[d] ~= 2 * size then
         self:refuse("a size of %d, of %d with a batch twice as large, is no multiple of the batch", size,
            again[d])
      else
         parts[d] = size == 1 and batch(self) or self:node("Mul", { batch(self), self:integers{ size } })
      end
   end
   return self:node("Concat", parts, { axis = 0 })
end

--- x as another shape.
function Graph:reshape(x, shape, again)
   local sizes, moving = {}, 0
   for d, size in ipairs(shape) do
      sizes[d] = size == again[d] and size or -1
      moving = moving + (size == again[d] and 0 or 1)
      if size == 0 then
         self:refuse("a tensor without elements")
      end
   end
   return self:node("Reshape", { x, moving > 1 and self:shape(shape, again) or self:integers(sizes) })
end

--- x between two numbers, of which either may be infinite.
function Graph:limits(x, low, high)
   if low == 0 and high == math.huge then
      return self:node("Relu", { x })
   elseif low == -math.huge and high == math.huge then
      return x
   end
   return self:node("Clip", { x, low > -math.huge and self:number(low) or "",
      high < math.huge and self:number(high) or "" })
end

function Graph:cast(x, from, to)
   return from == to and x or self:node("Cast", { x }, { to = model.TYPES[to] })
end

--- The name of a value of the trace.
function Graph:value(id)
   if self.names[id] then
      return self.names[id]
   end
   local value = self.run.values[id]
   local tensor = trace.constant(self.run, self.second, id, self.where)
   local name = self:constant(tensor, value.name)
   if not trace.same_list(value.shape, value.again) then
      name = self:node("Expand", { name, self:shape(value.shape, value.again) })
   end
   self.names[id] = name
   return name
end

--- Ends the export: the operation at hand has no counterpart.
function Graph:refuse(...)
   trace.refuse("%s: %s has no counterpart in ONNX: %s", self.where, self.op, (...):format(select(2, ...)))
end

--- A graph to be filled.
-- @tparam table run of `trace.follow`
-- @tparam table second run
-- @tparam table o `input_names`, `output_names`, `batch_dim`
-- @treturn Graph
local function new(run, second, o)
   local self = setmetatable({ run = run, second = second, nodes = {}, initializers = {}, constants = {},
      names = {}, taken = {}, scope = "", where = "forward", op = "forward", input_names = o.input_names,
      batch_dim = o.batch_dim }, Graph)
   for i, id in ipairs(run.inputs) do
      self.names[id] = unique(self, o.input_names[i])
   end
   for _, name in ipairs(o.output_names) do
      unique(self, name)
   end
   return self
end

return { new = new }
