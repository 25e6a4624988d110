--- A process that leaves training at a step, any of two epochs and a bit: with every kind of iterator, what
-- goes on from its checkpoint comes to the bits of a process that was not disturbed.
local siamese = require "siamese"
local files = require "spec.support_files"
local support_fit = require "spec.support_fit"

-- Steps of two batches: an epoch of seven batches has four, the last of one batch.
local STEPS = 10

local function run(folder, name, iterator, exit)
   local lua = arg and arg[-1] or "lua5.4"
   local _, _, code = os.execute(("'%s' spec/support_fit.lua '%s/%s.ckpt' '%s/%s.result' %d %s %d"):format(
      lua, folder, name, folder, name, STEPS, iterator, exit))
   return code
end

describe("a process that ends at any step of an epoch", function()
   for iterator in pairs(support_fit.iterators) do
      it("is gone on from to the same bits, with " .. iterator:gsub("_", " "), function()
         local folder = files.temp_folder()
         assert.equal(0, run(folder, "whole", iterator, 0))
         local whole, about = assert(siamese.load(folder .. "/whole.result"))
         for step = 1, STEPS - 1 do
            local name = "left" .. step
            assert.equal(9, run(folder, name, iterator, step))
            assert.equal(0, run(folder, name, iterator, 0))
            local left, other = assert(siamese.load(("%s/%s.result"):format(folder, name)))
            for key, tensor in pairs(whole) do
               assert.is_true(tensor == left[key], ("step %d: %s"):format(step, key))
            end
            assert.equal(about.records, other.records)
         end
         files.remove(folder)
      end)
   end
end)
