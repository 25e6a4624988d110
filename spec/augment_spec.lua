--- Augmentation: what samples' numbers depend on, putting together, functions of one's own. Values of single
-- steps are in augment_golden_spec.lua, what they draw in augment_steps_spec.lua.
local siamese = require "siamese"
local support = require "spec.support"

local augment, image, close = siamese.augment, siamese.image, support.close

--- A bit of everything that draws.
local function busy(seed, more)
   return augment.Compose{
      augment.RandomAffine{ degrees = 15, translate = { 0.1, 0.1 }, scale = { 0.8, 1.2 }, shear = 5,
         interpolation = "bilinear" },
      augment.RandomHorizontalFlip{},
      augment.Sometimes(0.5, augment.ElasticTransform{ alpha = 20, sigma = 2 }),
      augment.OneOf{ augment.GaussianBlur{ kernel_size = 3 }, augment.RandomStroke{ p = 1 },
         augment.RandomPerspective{ p = 1 } },
      augment.RandomOrder{
         augment.ColorJitter{ brightness = 0.4, contrast = 0.4, saturation = 0.4, hue = 0.1 },
         augment.GaussianNoise{}, augment.RandomInvert{} },
      augment.RandomErasing{ value = "random" },
      augment.RandomResizedCrop{ size = 11 },
      more or augment.RandomGamma{},
      seed = seed,
   }
end

local function same(a, b)
   return a.dtype == b.dtype and a == b
end

describe("a sample's numbers", function()
   local x, bytes
   before_each(function()
      siamese.manual_seed(3)
      x = siamese.rand(12, 3, 16, 14)
      bytes = (x * 255):byte()
   end)

   it("depend on seed and index alone, not on the batch, the #threads or the order", function()
      for _, pictures in ipairs{ x, bytes } do
         local t = busy(5)
         local indices = { 3, 14, 15, 92, 65, 35, 89, 79, 32, 38, 46, 26 }
         local threads, whole = siamese.get_threads(), t(pictures, { indices = indices })
         for n = 1, 3 do
            siamese.set_threads(n)
            assert.is_true(same(whole, busy(5)(pictures, { indices = indices })))
         end
         siamese.set_threads(threads)
         for i = 12, 1, -1 do
            assert.is_true(same(whole[i], t(pictures[i], { indices = { indices[i] } })))
         end
      end
   end)

   it("differ between seeds, indices, epochs and sides", function()
      local t = busy(5)
      local one = t(x[1], { indices = { 1 } })
      for _, other in ipairs{ busy(6)(x[1], { indices = { 1 } }), t(x[1], { indices = { 2 } }),
         t(x[1], { indices = { 1 }, epoch = 1 }), t(x[1], { indices = { 1 }, side = 1 }) } do
         assert.is_false(one.shape[1] == other.shape[1] and one == other)
      end
      assert.is_true(same(one, t(x[1], { indices = siamese.tensor({ 1 }, { dtype = "int64" }) })))
   end)

   it("go on from call to call, and on from a state that was kept", function()
      local t = busy(7)
      local whole, parts = busy(7)(x), {}
      for i, part in ipairs{ { 1, 5 }, { 6, 12 } } do
         parts[i] = t(x[{ part }])
      end
      assert.is_true(same(whole, siamese.cat(parts, 1)))
      local state = t:get_state()
      local later = t(x)
      local fresh = busy()
      fresh:set_state(state)
      assert.is_true(same(later, fresh(x)))
      assert.is_false(later == whole)
      support.fails("expected a state", fresh.set_state, fresh, { seed = 1 })
   end)

   it("come from manual_seed where there is no seed", function()
      siamese.manual_seed(1)
      local a = busy()(x)
      siamese.manual_seed(1)
      assert.is_true(same(a, busy()(x)))
      siamese.manual_seed(2)
      assert.is_false(a == busy()(x))
   end)

   it("of a step do not depend on what others draw", function()
      local one = augment.Compose{ augment.GaussianNoise{}, augment.RandomCrop{ size = 9 }, seed = 1 }
      local other = augment.Compose{ augment.GaussianNoise{ sigma = 0 }, augment.RandomCrop{ size = 9 },
         seed = 1 }
      local crop = other(x, { indices = siamese.arange(1, 13, { dtype = "int64" }) })
      assert.is_true((one(x) - crop):abs():max():item() > 0.1)
      close(one(x, { indices = siamese.arange(1, 13, { dtype = "int64" }) }):mean({ 2, 3, 4 }),
         crop:mean({ 2, 3, 4 }), 0, 0.06)
   end)

   it("of a pair's sides are apart, and each as if it were alone", function()
      local t = busy(9)
      local a, b = t:pair(x, x)
      assert.is_false(a == b)
      local next_a = t:pair(x, x)
      assert.is_false(next_a == a)
      local again = busy(9)
      local indices = siamese.arange(1, 13, { dtype = "int64" })
      assert.is_true(same(a, again(x, { indices = indices })))
      assert.is_true(same(b, again(x, { indices = indices, side = 1 })))
      local c, d = again:pair(x, x, { indices_a = indices, indices_b = indices, epoch = 4 })
      assert.is_true(same(c, again(x, { indices = indices, epoch = 4 })))
      assert.is_true(same(d, again(x, { indices = indices, epoch = 4, side = 1 })))
   end)

   it("are alike under every instruction set", function()
      local results = {}
      support.each_isa(function()
         results[#results + 1] = busy(5)(x)
      end)
      for i = 2, #results do
         -- A rank or a fold may fall the other way for single pixels.
         local far = (results[i] - results[1]):abs():gt(2e-4):float():mean():item()
         assert.is_true(far < 0.005, "differ in " .. far)
      end
   end)
end)

describe("putting together", function()
   local x
   before_each(function()
      siamese.manual_seed(4)
      x = siamese.rand(3, 3, 16, 16)
   end)

   it("joins warps into one, which loses nothing in between", function()
      local function turn(angle)
         return augment.RandomRotation{ degrees = { angle, angle }, interpolation = "bilinear" }
      end
      close(augment.Compose{ turn(33), turn(-33) }(x), x, 0, 1e-5)
      close(augment.Compose{ turn(33), turn(57) }(x), image.rotate(x, 90), 0, 1e-5)
      local out = augment.Affine{ translation = { 9, 9 } }
      local back = augment.Affine{ translation = { -9, -9 } }
      close(augment.Compose{ out, back }(x), x, 0, 1e-6)
      assert.is_true(back(out(x))[{ {}, {}, { 8, 16 } }]:eq(0):all())
      local flip = augment.RandomHorizontalFlip{ p = 1 }
      close(augment.Compose{ turn(20), flip }(x), flip(turn(20)(x)), 0, 1e-5)
      close(augment.Compose{ flip, turn(20) }(x), turn(20)(flip(x)), 0, 1e-5)
      local fall = augment.RandomVerticalFlip{ p = 1 }
      close(augment.Compose{ turn(20), fall, turn(-20) }(x), augment.Compose{ fall, turn(-40) }(x), 0, 1e-5)
   end)

   it("does not join warps that fill differently", function()
      local a = augment.Affine{ translation = { 5, 5 }, fill = 0.5 }
      local b = augment.Affine{ translation = { -5, -5 } }
      close(augment.Compose{ a, b }(x), b(a(x)), 0, 1e-6)
   end)

   it("gives what its steps give one after the other", function()
      local function exactly(...)
         local steps = { ... }
         for _, pictures in ipairs{ x, (x * 255):byte() } do
            local want = pictures
            for _, step in ipairs(steps) do
               want = step(want)
            end
            close(augment.Compose(steps)(pictures), want, 0, pictures.dtype == "uint8" and 2 or 1e-6)
         end
      end
      local flip, fall = augment.RandomHorizontalFlip{ p = 1 }, augment.RandomVerticalFlip{ p = 1 }
      local crop, pad = augment.CenterCrop{ size = { 9, 7 } }, augment.Pad{ padding = { 1, 2, 3, 4 },
         padding_mode = "reflect" }
      local small = augment.Resize{ size = { 7, 9 } }
      local blur = augment.GaussianBlur{ kernel_size = 5, sigma = 1 }
      local thick = augment.RandomStroke{ width = 1, p = 1 }
      local dim = augment.ColorJitter{ brightness = { 0.5, 0.5 } }
      local hue = augment.ColorJitter{ hue = { 0.2, 0.2 } }
      local flat = augment.ColorJitter{ contrast = { 0.3, 0.3 } }
      exactly(flip, crop)
      exactly(crop, flip, fall, crop)
      exactly(flip, pad, crop)
      exactly(flip, small, flip, fall)
      exactly(flip, blur, crop)
      exactly(fall, thick, flip)
      exactly(crop, fall, dim, flip, hue)
      exactly(flip, flat, dim, flat)
      exactly(flip, pad)
      exactly(pad, pad, crop, crop)
      exactly(small, augment.Grayscale{}, augment.RGB{}, dim)
      exactly(augment.RandomRotation{ degrees = { 90, 90 } }, crop, flip)
   end)

   it("does so for any steps in any order", function()
      local generator = siamese.Generator(12)
      local function random(n)
         return generator:random(n)
      end
      local makers = {
         function() return augment.RandomHorizontalFlip{ p = 1 } end,
         function() return augment.RandomVerticalFlip{ p = 1 } end,
         function() return augment.CenterCrop{ size = { random(12), random(12) } } end,
         function()
            return augment.Pad{ padding = { random(4) - 2, random(4) - 2, random(4), random(4) },
               padding_mode = ({ "constant", "edge", "reflect", "symmetric" })[random(4)], fill = 0.25 }
         end,
         function()
            return augment.Resize{ size = { random(20), random(20) },
               interpolation = ({ "bilinear", "bicubic", "nearest", "area" })[random(4)] }
         end,
         function() return augment.GaussianBlur{ kernel_size = 2 * random(4) - 1, sigma = 1.5 } end,
         function() return augment.RandomStroke{ width = random(7) / 2 - 2, p = 1 } end,
         function() return augment.ColorJitter{ brightness = { 0.7, 0.7 } } end,
         function() return augment.ColorJitter{ contrast = { 0.6, 0.6 } } end,
         function() return augment.ColorJitter{ saturation = { 0.5, 0.5 } } end,
         function() return augment.ColorJitter{ hue = { 0.1, 0.1 } } end,
         function() return augment.RandomGrayscale{ p = 1 } end,
         function() return augment.RandomInvert{ p = 1 } end,
         function() return augment.Affine{ rotation = { 180, 180 } } end,
      }
      for _ = 1, 400 do
         local steps, want = {}, siamese.rand(2, random(2) == 1 and 3 or 1, random(14), random(14))
         local pictures = want
         for i = 1, 1 + random(6) do
            steps[i] = makers[random(#makers)]()
            -- Padding below 0 that leaves nothing is refused; that is seen elsewhere.
            local ok, made = pcall(steps[i], want)
            if not ok then
               steps[i], made = augment.RandomInvert{ p = 1 }, 1 - want
            end
            want = made
         end
         local t = augment.Compose(steps)
         local good, message = pcall(close, t(pictures), want, 0, 2e-5)
         assert(good, tostring(t) .. ": " .. tostring(message))
         -- Bytes are rounded step by step on one way, and less often on the other.
         local bytes = t((pictures * 255 + 0.5):byte())
         assert.equal("uint8", bytes.dtype)
         assert.same(want.shape, bytes.shape)
      end
   end)

   it("joins an elastic deformation with the warps before it", function()
      local elastic = augment.ElasticTransform{ alpha = 0 }
      close(augment.Compose{ augment.RandomRotation{ degrees = { 30, 30 }, interpolation = "bilinear" },
         elastic }(x), image.rotate(x, 30, { interpolation = "bilinear" }), 0, 1e-5)
   end)

   it("chooses branches as often as their weights say", function()
      local many = siamese.zeros(4000, 1, 1, 1)
      local function add(v)
         return augment.GaussianNoise{ mean = v, sigma = 0, clip = false }
      end
      local function share(t, value)
         return t(many):sub(value):abs():lt(1e-5):float():mean():item()
      end
      assert.near(1 / 3, share(augment.OneOf{ add(1), add(2), add(3), seed = 1 }, 2), 0.03)
      local weighted = augment.OneOf{ add(1), add(2), add(3), p = { 1, 0, 3 }, seed = 1 }
      assert.near(0.75, share(weighted, 3), 0.03)
      assert.equal(0, share(weighted, 2))
      assert.near(0.3, share(augment.Compose{ augment.Sometimes(0.3, add(1), add(1)), seed = 2 }, 2), 0.03)
      assert.near(0.3, share(augment.RandomApply{ add(1), p = 0.3, seed = 3 }, 1), 0.03)
      local seldom = augment.GaussianNoise{ mean = 1, sigma = 0, clip = false, p = 0.2, seed = 4 }
      assert.near(0.2, share(seldom, 1), 0.03)
      local nested = augment.OneOf{ augment.Compose{ add(1), augment.OneOf{ add(1), add(2) } },
         augment.Sometimes(0.5, add(5)), seed = 5 }
      for value, part in pairs{ [0] = 0.25, [2] = 0.25, [3] = 0.25, [5] = 0.25 } do
         assert.near(part, share(nested, value), 0.03)
      end
   end)

   it("takes all orders equally often", function()
      local many = siamese.ones(3000, 1, 1, 1)
      local function scale(a, b) -- a x + b
         return augment.Normalize{ mean = -b / a, std = 1 / a }
      end
      -- 2x, x + 1, x * x by gamma: six orders, six results
      local t = augment.RandomOrder{ scale(2, 0), scale(1, 1), augment.RandomGamma{ gamma = 2, p = 1 },
         seed = 6 }
      local counts = {}
      for _, value in ipairs(t(many):flatten():round():totable()) do
         counts[value] = (counts[value] or 0) + 1
      end
      for _, value in ipairs{ 9, 5, 16, 8, 3, 4 } do
         assert.near(1 / 6, counts[value] / 3000, 0.03)
      end
   end)

   it("has text that says what it is made of", function()
      assert.equal("Compose(RandomAffine(degrees = {-10, 10}), Sometimes(a function, p = 0.5), seed = 1)",
         tostring(augment.Compose{ augment.RandomAffine{ degrees = { -10, 10 } },
            augment.Sometimes(0.5, print), seed = 1 }))
   end)

   it("refuses what is no step", function()
      support.fails("augment.Compose: needs at least one transform, got 0", augment.Compose, {})
      support.fails("augment.Compose: step 2 must be a transform or a function, got table", augment.Compose,
         { print, { 1 } })
      support.fails("augment.Compose: unknown option 'sed' (did you mean 'seed'?)", augment.Compose,
         { print, sed = 1 })
      support.fails("augment.Compose: seed must be an integer, got 'x'", augment.Compose,
         { print, seed = "x" })
      support.fails("augment.Compose: expected a table of transforms, got RandomInvert()", augment.Compose,
         augment.RandomInvert{})
      support.fails("augment.OneOf: p must be a list of 2 weights from 0", augment.OneOf,
         { print, print, p = { 1 } })
      support.fails("augment.OneOf: one of the weights must be above 0", augment.OneOf,
         { print, print, p = { 0, 0 } })
      support.fails("augment.Sometimes: the probability must be a number from 0 to 1, got 2",
         augment.Sometimes, 2, print)
      local many = {}
      for i = 1, 33 do
         many[i] = print
      end
      support.fails("augment.OneOf: needs 1 to 32 transforms, got 33", augment.OneOf, many)
      support.fails("augment.OneOf: p must be a list of 1 weights from 0, one a transform, got 3",
         augment.OneOf, { print, p = 3 })
      support.fails("mixes the images of a batch", augment.Compose, { augment.MixUp{} })
   end)
end)

describe("a function of one's own", function()
   local x
   before_each(function()
      siamese.manual_seed(8)
      x = siamese.rand(9, 3, 12, 12)
   end)

   local function shift(picture, generator)
      return picture * 0.5 + 0.5 * generator:uniform()
   end

   it("works among steps, seeded by the sample", function()
      local function make()
         return augment.Compose{ augment.RandomHorizontalFlip{}, shift,
            augment.Sometimes(0.5, shift, augment.GaussianNoise{}),
            augment.OneOf{ shift, augment.RandomInvert{} },
            augment.RandomOrder{ shift, augment.RandomGamma{}, shift }, seed = 3 }
      end
      local threads = siamese.get_threads()
      local whole = make()(x)
      siamese.set_threads(3)
      assert.is_true(same(whole, make()(x)))
      siamese.set_threads(threads)
      for i = 1, 9 do
         assert.is_true(same(whole[i], make()(x[i], { indices = { i } })))
      end
      assert.is_false(whole == make()(x, { epoch = 1 }))
   end)

   it("gets one picture of its dtype, and may change its size", function()
      local seen = {}
      local t = augment.Compose{ augment.ToDtype{ dtype = "uint8", scale = true }, function(picture)
         seen[#seen + 1] = { picture.dtype, table.unpack(picture.shape) }
         return picture:narrow(2, 1, 6):float()
      end, augment.Pad{ padding = 1 } }
      local y = t(x)
      assert.same({ "uint8", 3, 12, 12 }, seen[9])
      assert.same({ 9, 3, 8, 14 }, y.shape)
      assert.equal("float32", y.dtype)
      assert.same({ 0, 3, 4, 4 }, t(siamese.zeros(0, 3, 4, 4)).shape)
   end)

   it("gives the same steps the same numbers as without it", function()
      local noise = augment.Compose{ function(picture) return picture end, augment.GaussianNoise{}, seed = 1 }
      local other = augment.Compose{ augment.Pad{ padding = 0 }, augment.GaussianNoise{}, seed = 1 }
      assert.is_true(same(noise(x), other(x)))
   end)

   it("is told what it must return, and its own errors pass through", function()
      support.fails("a function among the steps must return uint8 or float32 [C,H,W], got number",
         augment.Compose{ function() return 1 end }, x)
      support.fails("my own words", augment.Compose{ function() error("my own words") end }, x)
      local count = 0
      support.fails("sample 3 became float32 [3,11,12], the first float32 [3,12,12]", augment.Compose{
         function(picture)
            count = count + 1
            return count == 3 and picture:narrow(2, 1, 11) or picture
         end }, x)
   end)
end)
