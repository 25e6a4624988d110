--- Every op against PyTorch's values and gradients (spec/golden/golden.lua and layers.lua): from dense and
-- from strided inputs, under every instruction set; and against finite differences.
local siamese = require "siamese"
local support = require "spec.support"
local cases = require "spec.support_golden"

local golden = support.golden("golden")
local list = {}
for _, more in ipairs{ golden.cases, support.golden("layers").cases } do
   table.move(more, 1, #more, #list + 1, list)
end

local env = { siamese = siamese, F = siamese.nn.functional, nn = siamese.nn }

describe("PyTorch's values and gradients:", function()
   for _, case in ipairs(list) do
      it(case.name, function()
         support.each_isa(function()
            cases.check(case, false, env)
            cases.check(case, true, env)
         end)
      end)
   end
end)

describe("finite differences:", function()
   for _, case in ipairs(list) do
      if cases.is_smooth(case) then
         it(case.name, function()
            cases.differences(case, env)
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
