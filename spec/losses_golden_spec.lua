--- Losses, distances and miners against pytorch-metric-learning's values and gradients
-- (spec/golden/losses.lua): from dense and from strided inputs, under every instruction set; and against
-- finite differences.
local siamese = require "siamese"
local support = require "spec.support"
local cases = require "spec.support_golden"

local golden = support.golden("losses")

local env = { siamese = siamese, F = siamese.nn.functional, losses = siamese.losses,
   distances = siamese.distances, miners = siamese.miners }

--- The module with a tensor for one of its parameters.
function env.with(module, name, tensor)
   module[name] = tensor
   return module
end

--- The losses of the batches one after another; only the last one is differentiated.
function env.remember(loss, batches, labels)
   local values = {}
   for i = 1, #batches - 1 do
      values[i] = siamese.no_grad(loss, batches[i], labels[i])
   end
   values[#batches] = loss(batches[#batches], labels[#batches])
   return table.unpack(values)
end

describe("pytorch-metric-learning's values and gradients:", function()
   for _, case in ipairs(golden.cases) do
      it(case.name, function()
         support.each_isa(function()
            cases.check(case, false, env)
            cases.check(case, true, env)
         end)
      end)
   end
end)

describe("finite differences:", function()
   for _, case in ipairs(golden.cases) do
      if cases.is_smooth(case) then
         it(case.name, function()
            cases.differences(case, env)
         end)
      end
   end
end)

--- The lists as text: rows in order.
local function texts_of(lists)
   local columns, out = {}, {}
   for k, list in ipairs(lists) do
      assert.equal("int64", list.dtype)
      columns[k] = list:totable()
   end
   for first = 1, #lists, #lists == 3 and 3 or 2 do
      local rows = {}
      for i = 1, #columns[first] do
         local row = {}
         for k = first, first + (#lists == 3 and 2 or 1) do
            row[#row + 1] = columns[k][i]
         end
         rows[i] = row
      end
      table.sort(rows, function(a, b)
         for k = 1, #a do
            if a[k] ~= b[k] then
               return a[k] < b[k]
            end
         end
         return false
      end)
      for i, row in ipairs(rows) do
         rows[i] = table.concat(row, ",")
      end
      out[#out + 1] = table.concat(rows, ";")
   end
   return out
end

describe("pytorch-metric-learning's choices:", function()
   for _, case in ipairs(golden.mined) do
      it(case.name, function()
         support.each_isa(function()
            local miner = cases.compile(case.lua, env)()
            for _, strided in ipairs{ false, true } do
               local inputs = cases.inputs_of(case, strided)
               assert.same(case.lists, texts_of(miner(table.unpack(inputs))))
            end
         end)
      end)
   end
end)
