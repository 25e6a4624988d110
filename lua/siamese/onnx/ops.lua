--- From the calls of a trace to nodes; here those that only move elements.
-- @module siamese.onnx.ops
local graphs = require "siamese.onnx.graph"
local trace = require "siamese.onnx.trace"

local M, OPS = {}, {}

for _, part in ipairs{ "ops_math", "ops_layers" } do
   for name, write in pairs(require("siamese.onnx." .. part)) do
      OPS[name] = write
   end
end

-- A call, as the functions of operations see it: `params`, `inputs` and these.

local Call = {}
Call.__index = Call

--- The name of operand i, cast to `dtype`; "" where it is absent.
function Call:input(i, dtype)
   if not self.inputs[i] then
      return ""
   end
   local name = self.graph:value(self.inputs[i])
   return dtype and self.graph:cast(name, self:dtype(i), dtype) or name
end

--- The tensor of operand i where it is a constant, whatever the batch.
function Call:constant(i)
   local value = self.inputs[i] and self.graph.run.values[self.inputs[i]]
   if value and not value.derived and trace.same_list(value.shape, value.again) then
      return trace.constant(self.graph.run, self.graph.second, self.inputs[i], self.graph.where)
   end
end

--- The shape of operand i in a batch of one, and in one of two.
function Call:shape(i)
   return self.graph.run.values[self.inputs[i]].shape
end
function Call:again(i)
   return self.graph.run.values[self.inputs[i]].again
end

function Call:dtype(i)
   return self.graph.run.values[self.inputs[i]].dtype
end

function Call:shape_out(k)
   return self.graph.run.values[self.outputs[k]].shape
end

function Call:dtype_out(k)
   return self.graph.run.values[self.outputs[k]].dtype
end

-- Elements that move

function OPS.reshape(g, c)
   return g:reshape(c:input(1), c:shape_out(1), g.run.values[c.outputs[1]].again)
end

function OPS.expand(g, c)
   return g:node("Expand", { c:input(1), g:shape(c:shape_out(1), g.run.values[c.outputs[1]].again) })
end

function OPS.copy(_, c)
   return c:input(1, c:dtype_out(1))
end

function OPS.permute(g, c)
   return g:node("Transpose", { c:input(1) }, { perm = table.move(c.params.dims, 1, #c:shape(1), 1, {}) })
end

--- Elements start, start + step, ..., length of them.
function OPS.narrow(g, c)
   local p = c.params
   if c.takes_all then
      return c:input(1)
   end
   return g:node("Slice", { c:input(1), g:integers{ p.start },
      g:integers{ p.start + (p.length - 1) * p.step + 1 }, g:integers{ p.dim }, g:integers{ p.step } })
end

function OPS.select(g, c)
   return g:node("Gather", { c:input(1), g:number(c.params.index, "int64") }, { axis = c.params.dim })
end

function OPS.cat(g, c)
   local names, dtype = {}, c:dtype_out(1)
   for i in ipairs(c.inputs) do
      names[i] = c:input(i, dtype)
   end
   return #names > 1 and g:node("Concat", names, { axis = c.params.dim }) or names[1]
end

-- The graph

local function write_call(g, call)
   g.scope, g.where, g.op = call.scope, call.where, call.op
   local write = OPS[call.op]
   if not write then
      trace.refuse("%s: the operation %s has no counterpart in ONNX", call.where, call.op)
   end
   local c = setmetatable({ graph = g, params = call.params, inputs = call.inputs, outputs = call.outputs,
      takes_all = call.takes_all }, Call)
   local names = table.pack(write(g, c))
   for k, id in ipairs(call.outputs) do
      if id then
         g.names[id] = names[k]
      end
   end
end

--- Gives outputs their names: the node's that makes them, where it makes no other.
local function name_outputs(g, names)
   local makers = {}
   for _, node in ipairs(g.nodes) do
      for k, name in ipairs(node.outputs) do
         makers[name] = { node.outputs, k }
      end
   end
   local renamed = {}
   g.scope = ""
   for i, id in ipairs(g.run.outputs) do
      local inner = g:value(id)
      local maker = makers[inner]
      if maker and not renamed[inner] then
         renamed[inner], maker[1][maker[2]] = names[i], names[i]
      else
         g:node("Identity", { inner })
         g.nodes[#g.nodes].outputs[1] = names[i]
      end
   end
   for _, node in ipairs(g.nodes) do
      for k, name in ipairs(node.inputs) do
         node.inputs[k] = renamed[name] or name
      end
   end
end

--- A value as the graph announces it: sizes that follow the batch have its name, or none.
local function announce(g, id, name)
   local value, shape = g.run.values[id], {}
   for d, size in ipairs(value.shape) do
      shape[d] = size == value.again[d] and size or (size == 1 and value.again[d] == 2 and "batch")
   end
   return { name = name, dtype = value.dtype, shape = shape }
end

--- The graph of a forward that was followed.
-- @tparam table run of `trace.follow`
-- @tparam table second run
-- @tparam table o `input_names`, `output_names`, `batch_dim`
-- @treturn table for `model.write`
function M.graph(run, second, o)
   local g = graphs.new(run, second, o)
   for _, call in ipairs(run.calls) do
      if call.live then
         write_call(g, call)
      end
   end
   name_outputs(g, o.output_names)
   g.inputs, g.outputs = {}, {}
   for i, id in ipairs(run.inputs) do
      g.inputs[i] = announce(g, id, o.input_names[i])
   end
   for i, id in ipairs(run.outputs) do
      g.outputs[i] = announce(g, id, o.output_names[i])
   end
   return g
end

return M
