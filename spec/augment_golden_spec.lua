--- Every step with given numbers against torchvision's, Pillow's and NumPy's values
-- (spec/golden/augment.lua): from dense and from strided pictures, alone and in a batch, under every
-- instruction set.
local siamese = require "siamese"
local support = require "spec.support"

local golden = support.golden("augment")

local function compile(lua)
   return assert(load("local x, y = ... return " .. lua, lua, "t",
      { image = siamese.image, augment = siamese.augment }))
end

local function check(case, x)
   local y = case.y and support.tensor(case.y)
   local out = compile(case.lua)(x, y)
   local want = support.tensor(case.out)
   if x:dim() == 4 then
      want = siamese.stack{ want, want }
   end
   assert.equal(want.dtype, out.dtype)
   support.close(out, want, 0, case.tol)
end

describe("torchvision's, Pillow's and NumPy's values:", function()
   for _, case in ipairs(golden.cases) do
      it(case.name, function()
         local x = support.tensor(golden.pictures[case.x])
         support.each_isa(function()
            check(case, x)
            check(case, support.noncontiguous(x))
            check(case, siamese.stack{ x, x })
         end)
      end)
   end
end)
