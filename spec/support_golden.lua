--- What the specs of golden values share: a case is an expression in Lua with its inputs, and the outputs and
-- gradients that another library computed.
local siamese = require "siamese"
local support = require "spec.support"

local M = {}

--- The case's expression as a function of its inputs a, b, c, ...
-- @tparam string lua
-- @tparam table env what it may name
function M.compile(lua, env)
   local source = "local a, b, c, d, e, f, g, h = ... return " .. lua
   return assert(load(source, lua, "t", env))
end

--- The case's inputs; `strided`: in every second element of larger blocks.
function M.inputs_of(case, strided)
   local list = {}
   for i, item in ipairs(case.inputs) do
      local t = support.tensor(item)
      if strided and t:dim() > 0 then
         t = support.noncontiguous(t)
         assert(t:numel() < 2 or not t:is_contiguous())
      end
      list[i] = item.dtype == "float32" and t:requires_grad_() or t
   end
   return list
end

--- Raises unless the case's outputs and gradients come out.
function M.check(case, strided, env)
   local inputs, tol = M.inputs_of(case, strided), case.tol or 1e-5
   local outputs = { M.compile(case.lua, env)(table.unpack(inputs)) }
   assert(#case.outputs == #outputs, "another number of outputs")
   local total
   for i, want in ipairs(case.outputs) do
      assert(want.dtype == outputs[i].dtype, "another dtype")
      support.close(outputs[i], support.tensor(want), tol, tol)
      if case.weights[i] and outputs[i].requires_grad then
         local part = (outputs[i] * support.tensor(case.weights[i])):sum()
         total = total and total + part or part
      end
   end
   if total then
      total:backward()
   end
   for i, want in ipairs(case.grads) do
      if want then
         local gradient = inputs[i].grad or siamese.zeros_like(inputs[i])
         support.close(gradient, support.tensor(want), 5 * tol, 5 * tol)
      end
   end
end

--- Compares the gradients with central differences.
function M.differences(case, env)
   local inputs, wrt = {}, {}
   for i, item in ipairs(case.inputs) do
      inputs[i], wrt[i] = support.tensor(item), case.grads[i] ~= false
   end
   support.gradcheck(M.compile(case.lua, env), inputs, { wrt = wrt })
end

--- Whether a case has gradients that finite differences can follow.
function M.is_smooth(case)
   local differentiable = false
   for _, gradient in ipairs(case.grads) do
      differentiable = differentiable or gradient
   end
   return case.smooth and differentiable
end

return M
