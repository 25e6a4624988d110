--- Every op against PyTorch's values and gradients (spec/golden/golden.lua and layers.lua): from dense and
-- from strided inputs, under every instruction set; and against finite differences.
local siamese = require "siamese"
local support = require "spec.support"

local golden = support.golden("golden")
local cases = {}
for _, list in ipairs{ golden.cases, support.golden("layers").cases } do
   table.move(list, 1, #list, #cases + 1, cases)
end

--- The case's expression as a function of its inputs a, b, c, ...
local function compile(lua)
   local source = "local a, b, c, d, e, f = ... return " .. lua
   return assert(load(source, lua, "t",
      { siamese = siamese, F = siamese.nn.functional, nn = siamese.nn }))
end

local function inputs_of(case, strided)
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

local function check(case, strided)
   local inputs, tol = inputs_of(case, strided), case.tol or 1e-5
   local outputs = { compile(case.lua)(table.unpack(inputs)) }
   assert.equal(#case.outputs, #outputs)
   local total
   for i, want in ipairs(case.outputs) do
      assert.equal(want.dtype, outputs[i].dtype)
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

describe("PyTorch's values and gradients:", function()
   for _, case in ipairs(cases) do
      it(case.name, function()
         support.each_isa(function()
            check(case, false)
            check(case, true)
         end)
      end)
   end
end)

describe("finite differences:", function()
   for _, case in ipairs(cases) do
      local differentiable = false
      for _, gradient in ipairs(case.grads) do
         differentiable = differentiable or gradient
      end
      if case.smooth and differentiable then
         it(case.name, function()
            local inputs, wrt = {}, {}
            for i, item in ipairs(case.inputs) do
               inputs[i], wrt[i] = support.tensor(item), case.grads[i] ~= false
            end
            support.gradcheck(compile(case.lua), inputs, { wrt = wrt })
         end)
      end
   end
end)

describe("PyTorch's optimisers:", function()
   for _, case in ipairs(golden.steps) do
      it(case.name, function()
         local w = siamese.tensor({ -0.9, -0.6, -0.2, 0.15, 0.4, 0.8, 1.1 }, { requires_grad = true })
         local make = assert(load("local optim, p = ... return " .. case.lua))
         local optimizer = make(siamese.optim, { w })
         for k = 0, 4 do
            optimizer:zero_grad();
            (w ^ 2 * siamese.arange(1, 8) / 4 + w * (k - 2)):sum():backward()
            optimizer:step()
         end
         support.close(w, case.data, 1e-5, 1e-6)
      end)
   end
end)
