--- Augmentation's steps: what is drawn how often, odd pictures, misuse; mixup and previews. Values are in
-- augment_golden_spec.lua.
local siamese = require "siamese"
local support = require "spec.support"
local files = require "spec.support_files"

local augment, image, close = siamese.augment, siamese.image, support.close

local function same(a, b)
   return a.dtype == b.dtype and a == b
end

describe("what is drawn", function()
   --- The values that are not v.
   local function chosen(t, v)
      local list = {}
      for _, value in ipairs(t:flatten():totable()) do
         list[#list + 1] = value ~= v and value or nil
      end
      return siamese.tensor(list)
   end

   local function ones(n, h, w)
      return siamese.ones(n, 1, h, w)
   end

   it("by intervals of no width is what the functions of siamese.image give", function()
      siamese.manual_seed(2)
      local x = siamese.rand(2, 3, 15, 13)
      local cases = {
         { augment.RandomAffine{ degrees = { 20, 20 }, scale = { 0.8, 0.8 }, shear = { 5, 5, -3, -3 },
            interpolation = "bilinear" },
            image.affine(x, { angle = 20, scale = 0.8, shear = { 5, -3 }, interpolation = "bilinear" }) },
         { augment.RandomRotation{ degrees = { 20, 20 } }, image.rotate(x, 20) },
         { augment.RandomHorizontalFlip{ p = 1 }, image.horizontal_flip(x) },
         { augment.CenterCrop{ size = 7 }, image.center_crop(x, 7) },
         { augment.Pad{ padding = 2, fill = 0.5 }, image.pad(x, 2, { fill = 0.5 }) },
         { augment.Resize{ size = { 6, 5 } }, image.resize(x, { 6, 5 }, { mode = "bilinear" }) },
         { augment.RandomResizedCrop{ size = { 6, 5 }, scale = { 1, 1 }, ratio = { 13 / 15, 13 / 15 } },
            image.resize(x, { 6, 5 }, { mode = "bilinear" }) },
         { augment.ColorJitter{ hue = { 0.2, 0.2 } }, image.adjust_hue(x, 0.2) },
         { augment.ColorJitter{ contrast = { 0.2, 0.2 } }, image.adjust_contrast(x, 0.2) },
         { augment.RandomGamma{ gamma = 2, p = 1 }, image.adjust_gamma(x, 2) },
         { augment.RandomGrayscale{ p = 1 }, image.rgb_to_grayscale(x, 3) },
         { augment.RandomInvert{ p = 1 }, image.invert(x) },
         { augment.GaussianBlur{ kernel_size = { 5, 3 }, sigma = 1.2 },
            image.gaussian_blur(x, { 5, 3 }, 1.2) },
         { augment.RandomStroke{ width = -1, p = 1 }, image.erode(x, 3) },
         { augment.RandomStroke{ width = 2, ink = "dark", p = 1 }, image.erode(x, 5) },
         { augment.RandomStroke{ width = 1.25, p = 1 },
            image.dilate(x, 3) * 0.75 + image.dilate(x, 5) * 0.25 },
         { augment.Normalize{ mean = { 0.1, 0.2, 0.3 }, std = 2 },
            image.normalize(x, { 0.1, 0.2, 0.3 }, 2) },
      }
      for i, case in ipairs(cases) do
         close(case[1](x), case[2], 0, 1e-6)
         assert.is_false(case[2] == x, "case " .. i)
      end
   end)

   it("for affine maps lies in the ranges: degrees, whole shifts, scales", function()
      local n = 400
      local x = siamese.zeros(n, 1, 41, 41)
      x[{ {}, 1, 21, 21 }] = 1
      local y = augment.RandomAffine{ degrees = 0, translate = { 0.25, 0.1 }, seed = 1 }(x)
      local columns, rows = y:sum(3):squeeze(2):argmax(2):totable(), y:sum(4):squeeze(2):argmax(2):totable()
      local least, most = math.min(table.unpack(columns)), math.max(table.unpack(columns))
      assert.same({ 11, 31 }, { least, most }) -- 0.25 * 41 = 10.25, rounded
      assert.same({ 17, 25 }, { math.min(table.unpack(rows)), math.max(table.unpack(rows)) })
      local scaled = augment.RandomAffine{ degrees = 0, scale = { 0.5, 2 }, interpolation = "bilinear",
         seed = 1 }(ones(n, 41, 41)[{ {}, {}, { 1, 41 } }])
      local areas = scaled:mean({ 2, 3, 4 })
      assert.is_true(areas:min():item() > 0.24 and areas:min():item() < 0.3 and areas:max():item() == 1)
   end)

   it("for crops covers every place equally", function()
      local x = siamese.arange(36):float():reshape(1, 1, 6, 6):expand(3600, 1, 6, 6)
      local first = augment.RandomCrop{ size = { 5, 4 }, seed = 1 }(x)[{ {}, 1, 1, 1 }]:totable()
      local counts = {}
      for _, value in ipairs(first) do
         counts[value] = (counts[value] or 0) + 1
      end
      for _, value in ipairs{ 0, 1, 2, 6, 7, 8 } do
         assert.near(600, counts[value], 90)
      end
      local padded = augment.RandomCrop{ size = 8, pad_if_needed = true, fill = -7, seed = 1 }(
         x[{ { 1, 50 } }])
      assert.same({ 50, 1, 8, 8 }, padded.shape)
      -- 6 rows and columns become 10, of which 8 are taken: all of the picture, or all but a row or two.
      local kept = padded:ne(-7):float():sum({ 2, 3, 4 })
      assert.same({ 36, 36 }, { kept:min():item(), kept:max():item() })
   end)

   it("for resized crops has areas and ratios of the ranges", function()
      -- Each pixel holds its place, so that the corners tell the window.
      local n, size = 300, 40
      local ramp = siamese.arange(size):float():reshape(1, 1, 1, size):expand(n, 1, size, size)
      local t = augment.RandomResizedCrop{ size = 2, scale = { 0.2, 0.5 }, ratio = { 0.5, 2 },
         interpolation = "bilinear", antialias = false, seed = 1 }
      local wide = t(ramp)
      local high = t(ramp:transpose(3, 4), { indices = siamese.arange(1, n + 1, { dtype = "int64" }) })
      -- Two columns sample the window's quarters: they are half of its width apart.
      local w = (wide[{ {}, 1, 1, 2 }] - wide[{ {}, 1, 1, 1 }]) * 2
      local h = (high[{ {}, 1, 2, 1 }] - high[{ {}, 1, 1, 1 }]) * 2
      local area, ratio = w * h / (size * size), w / h
      assert.is_true(area:min():item() > 0.17 and area:max():item() < 0.54)
      assert.is_true(area:min():item() < 0.22 and area:max():item() > 0.47)
      assert.is_true(ratio:min():item() > 0.45 and ratio:max():item() < 2.2)
      assert.is_true(ratio:min():item() < 0.6 and ratio:max():item() > 1.7)
   end)

   it("for erasing has areas of the range, and values as wanted", function()
      local x = ones(500, 32, 32)
      local y = augment.RandomErasing{ p = 1, scale = { 0.1, 0.3 }, seed = 1 }(x)
      local area = 1 - y:mean({ 2, 3, 4 })
      assert.is_true(area:min():item() > 0.08 and area:max():item() < 0.32 and area:min():item() < 0.12)
      local half = augment.RandomErasing{ seed = 2 }(x):mean({ 2, 3, 4 }):lt(1):float():mean()
      assert.near(0.5, half:item(), 0.08)
      local random = augment.RandomErasing{ p = 1, value = "random", seed = 1 }(
         siamese.full({ 40, 3, 32, 32 }, 9))
      local values = chosen(random, 9)
      assert.near(0, values:mean():item(), 0.05)
      assert.near(1, values:std():item(), 0.05)
      local colours = augment.RandomErasing{ p = 1, value = { 1, 2, 3 }, seed = 1 }(siamese.zeros(1, 3, 9, 9))
      assert.same({ 1, 2, 3 }, colours:amax({ 1, 3, 4 }):totable())
      local bytes = augment.RandomErasing{ p = 1, value = "random", scale = { 0.3, 0.3 }, seed = 1 }(
         siamese.zeros(60, 1, 32, 32, { dtype = "uint8" })):float()
      bytes = chosen(bytes, 0)
      assert.near(128, bytes:mean():item(), 2)
      assert.equal(255, bytes:max():item())
   end)

   it("for cutout is squares that may hang over the edges", function()
      local holes = 1024 - augment.Cutout{ size = 8, seed = 1 }(ones(400, 32, 32)):sum({ 2, 3, 4 })
      assert.equal(64, holes:max():item())
      assert.is_true(holes:min():item() < 32)
      local two = augment.Cutout{ size = { 2, 3 }, holes = 20, fill = 5, seed = 1 }(ones(1, 40, 40))
      assert.is_true(two:eq(5):sum():item() > 60)
   end)

   it("for noise has its mean and deviation, for floats and bytes", function()
      local x = siamese.full({ 8, 3, 50, 51 }, 0.5)
      local y = augment.GaussianNoise{ mean = 0.05, sigma = 0.1, clip = false, seed = 1 }(x)
      assert.near(0.55, y:mean():item(), 1e-3)
      assert.near(0.1, y:std():item(), 1e-3)
      assert.near(0, ((y[1] - 0.55) * (y[2] - 0.55)):mean():item(), 5e-4)
      local tails = (y - 0.55):abs():gt(0.2):float():mean():item()
      assert.near(0.0455, tails, 3e-3) -- beyond two deviations
      local bytes = augment.GaussianNoise{ sigma = 0.1, seed = 1 }((x * 254):byte()):float()
      assert.near(25.5, bytes:std():item(), 0.3)
      local clipped = augment.GaussianNoise{ sigma = 3, seed = 1 }(x)
      assert.is_true(clipped:min():item() == 0 and clipped:max():item() == 1)
      close(image.gaussian_noise(x, { seed = 1 }), image.gaussian_noise(x, { seed = 1 }))
   end)

   it("for elastic deformation is smooth and as strong as alpha says", function()
      -- A ramp shows the displacement along x.
      local ramp = siamese.arange(64):float():reshape(1, 1, 1, 64):expand(20, 1, 64, 64)
      local function moved(alpha, sigma)
         local y = augment.ElasticTransform{ alpha = alpha, sigma = sigma, seed = 1 }(ramp) - ramp
         return y[{ {}, 1, { 10, 55 }, { 20, 45 } }]
      end
      local d = moved(50, 5)
      -- Uniform noise of deviation 1/sqrt(3), smoothed: 1/(2 sqrt(pi) sigma) of it is left.
      local expected = 25 / math.sqrt(3) / (2 * math.sqrt(math.pi) * 5)
      assert.near(expected, d:std():item(), 0.2 * expected)
      close(moved(100, 5), d * 2, 0, 1e-3)
      local steps = (d[{ {}, {}, { 2, 26 } }] - d[{ {}, {}, { 1, 25 } }]):abs():max():item()
      assert.is_true(steps < 0.6)
      assert.is_true(moved(4, 0):std():item() > 1) -- not smoothed: 2 / sqrt(3)
   end)

   it("for perspectives moves corners inwards, by up to half of a side's part", function()
      local y = augment.RandomPerspective{ p = 1, distortion_scale = 0.5, seed = 1 }(ones(200, 40, 40))
      local area = y:mean({ 2, 3, 4 })
      assert.is_true(area:min():item() > 0.3 and area:max():item() <= 1 and area:std():item() > 0.03)
      assert.is_true(y[{ {}, {}, { 15, 26 }, { 15, 26 } }]:gt(0.999):all())
      local still = augment.RandomPerspective{ p = 1, distortion_scale = 0 }
      close(still(ones(2, 40, 40)), ones(2, 40, 40), 0, 1e-5)
   end)
end)

describe("odd pictures", function()
   local everything = {
      augment.RandomAffine{ degrees = 30, translate = { 0.3, 0.3 }, shear = 10, interpolation = "bilinear" },
      augment.RandomAffine{ degrees = 180 }, augment.RandomRotation{ degrees = 45 },
      augment.Affine{ rotation = 20, shear = 0.3, scale = { 0.8, 1.2 }, translation = 2 },
      augment.RandomPerspective{ p = 1 }, augment.ElasticTransform{}, augment.RandomHorizontalFlip{ p = 1 },
      augment.RandomVerticalFlip{ p = 1 }, augment.RandomCrop{ size = 1 },
      augment.RandomCrop{ size = 5, pad_if_needed = true, padding_mode = "reflect" },
      augment.CenterCrop{ size = 3 }, augment.RandomResizedCrop{ size = 4 }, augment.Resize{ size = 7 },
      augment.Resize{ size = { 3, 2 }, interpolation = "bicubic" }, augment.Resize{ size = 5,
         interpolation = "area" },
      augment.Pad{ padding = 3, padding_mode = "symmetric" }, augment.RandomGamma{ p = 1 },
      augment.RandomInvert{ p = 1 }, augment.GaussianNoise{}, augment.GaussianBlur{ kernel_size = 9 },
      augment.RandomStroke{ p = 1, width = { -4, 4 } }, augment.RandomErasing{ p = 1 },
      augment.Cutout{ size = 4 }, augment.ToDtype{ dtype = "float32", scale = true },
      augment.ToDtype{ dtype = "uint8", scale = true }, augment.ColorJitter{ brightness = 0.3 },
   }
   local colours = { augment.ColorJitter{ contrast = 0.3, saturation = 0.3, hue = 0.2 }, augment.Grayscale{},
      augment.RandomGrayscale{ p = 1 }, augment.RGB{} }

   it("of one pixel, one row, one column pass through every step", function()
      local shapes = { { 3, 1, 1, 1 }, { 3, 3, 1, 1 }, { 3, 1, 1, 9 }, { 3, 3, 9, 1 }, { 2, 3, 2, 2 } }
      for _, shape in ipairs(shapes) do
         for _, dtype in ipairs{ "float32", "uint8" } do
            siamese.manual_seed(1)
            local x = siamese.rand(table.unpack(shape))
            x = dtype == "uint8" and (x * 255):byte() or x
            support.each_isa(function()
               for _, list in ipairs{ everything, colours } do
                  for _, t in ipairs(list) do
                     local y = t(x)
                     assert.is_true(y:size(1) == shape[1] and y:numel() > 0, tostring(t))
                     assert.is_true(not y:float():isnan():any(), tostring(t))
                  end
               end
            end)
         end
      end
   end)

   it("of 2 or 7 channels pass through steps that know no colours; the others say so", function()
      for _, channels in ipairs{ 2, 7 } do
         local x = siamese.rand(2, channels, 8, 9)
         for _, t in ipairs(everything) do
            assert.equal(channels, t(x):size(2))
         end
         for _, t in ipairs(colours) do
            support.fails(("is for pictures of 1 or 3 channels, got %d"):format(channels), t, x)
         end
      end
      support.fails("augment.ColorJitter: hue is for pictures of 1 or 3 channels, got 2",
         augment.ColorJitter{ hue = 0.1 }, siamese.rand(2, 2, 3, 3))
      support.fails("fill has 3 values, the picture 2 channels", augment.RandomAffine{ degrees = 10,
         fill = { 1, 2, 3 } }, siamese.rand(2, 2, 3, 3))
   end)

   it("of grey keep their hue and saturation, which they have not", function()
      local x = siamese.rand(2, 1, 5, 5)
      assert.is_true(same(x, augment.ColorJitter{ hue = 0.5, saturation = 0.9 }(x)))
   end)

   it("strided, expanded and in an empty batch work", function()
      siamese.manual_seed(5)
      local x = siamese.rand(4, 3, 10, 12)
      for _, t in ipairs(everything) do
         local o = { indices = { 1, 2, 3, 4 } }
         assert.is_true(same(t(x, o), t(support.noncontiguous(x), o)), tostring(t))
         local turned = x:permute(1, 2, 4, 3)
         assert.is_true(same(t(turned, o), t(turned:contiguous(), o)), tostring(t))
         local empty = t(siamese.zeros(0, 3, 10, 12))
         local full = t(x)
         full.shape[1] = nil
         assert.same({ 0, 3, full:size(3), full:size(4) }, empty.shape)
      end
      local one = siamese.rand(1, 3, 6, 6):expand(3, 3, 6, 6)
      assert.same({ 3, 3, 6, 6 }, augment.GaussianNoise{}(one).shape)
   end)

   it("alone give a picture alone, outside of the graph; the input stays as it was", function()
      local x = siamese.rand(3, 8, 8):requires_grad_()
      local before = x:detach():clone()
      for _, t in ipairs(everything) do
         local y = t(x)
         assert.equal(3, y:dim())
         assert.is_false(y.requires_grad)
         assert.is_true(x:detach() == before, tostring(t))
      end
      local same_picture = augment.Pad{ padding = 0 }(x)
      same_picture:fill_(9)
      assert.is_true(x:detach() == before)
   end)

   it("wide and large ones are sampled as small ones are", function()
      local x = siamese.arange(5000):float():reshape(1, 1, 1, 5000) / 5000
      local y = image.affine(x:expand(1, 1, 3, 5000), { translate = { 1000, 0 }, interpolation = "bilinear" })
      close(y[{ 1, 1, 2, { 1001, 5000 } }], x[{ 1, 1, 1, { 1, 4000 } }], 0, 1e-6)
      close(image.affine(x:expand(1, 1, 3, 5000), { translate = { 1000.25, 0 }, interpolation = "bilinear" })
         [{ 1, 1, 2, { 1002, 5000 } }], x[{ 1, 1, 1, { 2, 4000 } }] - 0.25 / 5000, 0, 1e-6)
      local far = image.affine(x, { translate = { 1e5, -1e5 }, scale = 1e-3 })
      assert.is_true(far:eq(0):all())
   end)

   it("that are no pictures are refused", function()
      for _, t in ipairs{ everything[1], augment.Compose(everything) } do
         for text, x in pairs{ ["got int64 [1,3,4,4]"] = siamese.zeros(1, 3, 4, 4, { dtype = "int64" }),
            ["got float32 [4,4]"] = siamese.zeros(4, 4), ["got string"] = "x", ["got nil"] = nil } do
            support.fails(text, t, x)
         end
         support.fails("got float32 [3,0,4]", t, siamese.zeros(2, 3, 0, 4))
      end
      local x = siamese.zeros(2, 1, 3, 3)
      support.fails("indices must be a list or an int64 tensor of 2", everything[1], x, { indices = { 1 } })
      support.fails("epoch must be an integer, got 'x'", everything[1], x, { epoch = "x" })
      support.fails("unknown option 'index' (did you mean 'indices'?)", everything[1], x, { index = { 1 } })
   end)
end)

describe("misuse", function()
   it("is told where it happened, what was expected and what came", function()
      local cases = {
         { "RandomAffine: option 'degrees' is required", "RandomAffine", {} },
         { "RandomAffine: degrees must be a number or a range {low, high}, got 'x'", "RandomAffine",
            { degrees = "x" } },
         { "RandomAffine: degrees must be a number or a range {low, high}, got {3, 1}", "RandomAffine",
            { degrees = { 3, 1 } } },
         { "RandomAffine: scale must be a number or a range {low, high}", "RandomAffine",
            { degrees = 1, scale = { 0, 1 } } },
         { "RandomAffine: translate must be from 0 to 1, got {2, 0}", "RandomAffine",
            { degrees = 1, translate = { 2, 0 } } },
         { "RandomAffine: interpolation must be 'nearest' or 'bilinear', got 'cubic'", "RandomAffine",
            { degrees = 1, interpolation = "cubic" } },
         { "RandomAffine: fill must be a number, or a list with one for each channel, got 'red'",
            "RandomAffine", { degrees = 1, fill = "red" } },
         { "RandomAffine: unknown option 'angle'", "RandomAffine", { degrees = 1, angle = 2 } },
         { "RandomAffine: shear must be a number or a range {low, high} within -89 to 89, got 90",
            "RandomAffine", { degrees = 1, shear = 90 } },
         { "Affine: rotation must be a number or a range", "Affine", { rotation = "x" } },
         { "Affine: the probability of shear must be from 0 to 1, got 2", "Affine",
            { shear = { 0, 1, p = 2 } } },
         { "RandomPerspective: distortion_scale must be a number from 0 to 1, got 1.5", "RandomPerspective",
            { distortion_scale = 1.5 } },
         { "ElasticTransform: sigma must be a number of at least 0, or two such, got -1", "ElasticTransform",
            { sigma = -1 } },
         { "ElasticTransform: alpha must be a number, sigma one from 0 to 127", "ElasticTransform",
            { sigma = 500 } },
         { "RandomHorizontalFlip: p must be a probability from 0 to 1, got 2", "RandomHorizontalFlip",
            { p = 2 } },
         { "RandomCrop: size must be a positive integer or {height, width}, got 0", "RandomCrop",
            { size = 0 } },
         { "RandomCrop: padding must be an integer, {left and right", "RandomCrop",
            { size = 1, padding = { 1, 2, 3 } } },
         { "RandomCrop: padding_mode must be 'constant' or 'edge'", "RandomCrop",
            { size = 1, padding_mode = "wrap" } },
         { "RandomResizedCrop: scale must be a number or a range {low, high} within 0 to 1, got {0, 2}",
            "RandomResizedCrop", { size = 4, scale = { 0, 2 } } },
         { "Resize: size must be an integer or {height, width}, or max_size be given", "Resize", {} },
         { "Resize: max_size (4) must be above size (4)", "Resize", { size = 4, max_size = 4 } },
         { "Resize: max_size goes with a size that is one integer", "Resize",
            { size = { 4, 4 }, max_size = 9 } },
         { "ColorJitter: brightness must be a number or a range {low, high} within 0 to inf, got -1",
            "ColorJitter", { brightness = -1 } },
         { "ColorJitter: hue must be a number or a range {low, high} within -0.5 to 0.5, got 0.7",
            "ColorJitter", { hue = 0.7 } },
         { "GaussianBlur: kernel_size must be odd, from 1 to 1023, got 4", "GaussianBlur",
            { kernel_size = 4 } },
         { "GaussianBlur: sigma must be a number or a range", "GaussianBlur",
            { kernel_size = 3, sigma = 0 } },
         { "GaussianNoise: sigma must be a number or a range", "GaussianNoise", { sigma = -1 } },
         { "GaussianNoise: mean must be a number, got nan", "GaussianNoise", { mean = 0 / 0 } },
         { "RandomStroke: ink must be 'bright' or 'dark', got 'red'", "RandomStroke", { ink = "red" } },
         { "RandomErasing: ratio must be a number or a range", "RandomErasing", { ratio = { 0, 1 } } },
         { "RandomErasing: value must be a number, or a list", "RandomErasing", { value = "noise" } },
         { "Cutout: holes must be at most 1000, got 2000", "Cutout", { size = 1, holes = 2000 } },
         { "Normalize: std must not be 0", "Normalize", { mean = 0, std = 0 } },
         { "Normalize: mean and std must have as many values as each other", "Normalize",
            { mean = { 1, 2 }, std = { 1, 2, 3 } } },
         { "Grayscale: num_output_channels must be 1 or 3, got 2", "Grayscale", { num_output_channels = 2 } },
         { "ToDtype: dtype must be 'float32' or 'uint8', got 'int64'", "ToDtype", { dtype = "int64" } },
      }
      for _, case in ipairs(cases) do
         local ok, message = pcall(function()
            local _ = augment[case[2]](case[3])
         end)
         message = tostring(message):gsub("%-nan", "nan")
         assert.is_false(ok)
         assert.matches("spec/augment_steps_spec.lua:%d+: augment%.", message)
         assert.matches("augment." .. case[1], message, 1, true)
      end
   end)

   it("when pictures do not suit a step is told with the step and the sample", function()
      local x = siamese.zeros(3, 3, 8, 8, { dtype = "uint8" })
      local ok, message = pcall(function()
         local _ = augment.Compose{ augment.Pad{ padding = 1 }, augment.RandomCrop{ size = 11 } }(x)
      end)
      assert.is_false(ok)
      assert.matches("spec/augment_steps_spec.lua:%d+: augment.RandomCrop: a crop of 11 x 11 does not fit "
         .. "into a picture of 10 x 10", message)
      support.fails('augment.Normalize: needs float32, got uint8: put ToDtype', augment.Normalize{ mean = 0,
         std = 1 }, x)
      support.fails("leaves nothing of a picture of 8 x 8", augment.Pad{ padding = -4 }, x)
      support.fails("augment: the steps give uint8 [3,4,4], expected uint8 [3,8,8] as the others",
         augment.Compose{ augment.OneOf{ augment.Resize{ size = 4 }, augment.RandomInvert{} }, seed = 1 },
         siamese.zeros(60, 3, 8, 8, { dtype = "uint8" }))
   end)

   it("of the functions in siamese.image is told in the same way", function()
      local x = siamese.rand(3, 6, 6)
      for text, f in pairs{
         ["image.rotate: angle must be a number, got nil"] = function() image.rotate(x) end,
         ["image.adjust_hue: hue_factor must be a number from -0.5 to 0.5, got 0.6"] =
            function() image.adjust_hue(x, 0.6) end,
         ["image.adjust_hue: needs uint8 or float32 images [C,H,W] or [N,C,H,W], got number"] =
            function() image.adjust_hue(3, 0.1) end,
         ["image.perspective: endpoints must be four points {x, y}"] = function()
            image.perspective(x, { { 1, 1 }, { 6, 1 }, { 6, 6 }, { 1, 6 } }, { { 1, 1 } })
         end,
         ["image.perspective: no perspective takes these points there: three lie on a line"] = function()
            image.perspective(x, { { 1, 1 }, { 6, 1 }, { 6, 6 }, { 1, 6 } },
               { { 1, 1 }, { 2, 2 }, { 3, 3 }, { 1, 6 } })
         end,
         ["image.elastic: displacement must be float32 [6,6,2], got float32 [6,6]"] =
            function() image.elastic(x, siamese.rand(6, 6)) end,
         ["image.crop: height must be an integer of at least 1, got 0"] =
            function() image.crop(x, 1, 1, 0, 2) end,
         ["image.gaussian_blur: kernel_size must be odd, from 1 to 1023, got 2"] =
            function() image.gaussian_blur(x, 2) end,
         ["image.dilate: size must be odd, from 1 to 129, got 2"] = function() image.dilate(x, 2) end,
         ["image.erase: 3 x 3 pixels from row 5, column 1 do not lie in a picture of 6 x 6"] =
            function() image.erase(x, 5, 1, 3, 3) end,
         ["image.affine: unknown option 'angel' (did you mean 'angle'?)"] =
            function() image.affine(x, { angel = 3 }) end,
      } do
         local ok, message = pcall(f)
         assert.is_false(ok, text)
         assert.matches(text, message, 1, true)
         assert.matches("spec/augment_steps_spec.lua:%d+: image%.", message)
      end
   end)

   it("of the core's programs is refused", function()
      local pipeline = siamese.core.imaging.pipeline
      for _, program in ipairs{ { { kind = "jump", to = 0 } }, { { kind = "jump", to = 9 } },
         { { kind = "next", to = 0 } }, { { kind = "choice", to = 1, start = {} } },
         { { kind = "order", to = 1, start = { 5 } } }, { { kind = "crop", height = -1, width = 1 << 40 } },
         { { kind = "blur", kernel_size = 1e300 } }, { { kind = "affine", scale = { 0, 0 } } },
         { { kind = "pad", padding = { 1e8, 0, 0, 0 } } }, { { kind = "resize" } } } do
         local made, message = pipeline(program)
         assert.is_nil(made)
         assert.is_string(message)
      end
      -- An order whose second branch says that it is the first never comes to its end.
      local endless = assert(pipeline{ { kind = "order", to = 3, start = { 1, 2 } },
         { kind = "next", to = 0, branch = 0 }, { kind = "next", to = 0, branch = 0 } })
      local x, indices = siamese.zeros(40, 1, 2, 2), siamese.arange(40, { dtype = "int64" })
      local y, message = siamese.core.imaging.augment(endless, x, indices, 1, 0, 0)
      assert.is_nil(y)
      assert.matches("the steps never end", message, 1, true)
   end)
end)

describe("mixup", function()
   local x
   before_each(function()
      siamese.manual_seed(6)
      x = siamese.rand(6, 2, 3, 3)
   end)

   it("mixes each image with the one before it, by lam of Beta(alpha, alpha)", function()
      local mixed, partner, lam = augment.MixUp{ alpha = 0.4, per = "sample", seed = 1 }(x)
      assert.same({ 6, 1, 2, 3, 4, 5 }, partner:totable())
      for i = 1, 6 do
         local l = lam[i]:item()
         close(mixed[i], x[i] * l + x[partner[i]:item()] * (1 - l), 0, 1e-6)
      end
      local _, _, same_lam = augment.MixUp{ seed = 1 }(x)
      assert.is_true(same_lam:eq(same_lam[1]):all())
      for _, alpha in ipairs{ 0.2, 1, 3 } do
         local _, _, many = augment.MixUp{ alpha = alpha, per = "sample", seed = 2 }(siamese.zeros(20000, 1))
         assert.near(0.5, many:mean():item(), 0.01)
         assert.near(math.sqrt(1 / (4 * (2 * alpha + 1))), many:std():item(), 0.01)
      end
   end)

   it("mixes labels alike, and lets gradients through", function()
      local leaf = x:clone():requires_grad_()
      local labels = siamese.tensor({ 1, 2, 3, 3, 2, 1 }, { dtype = "int64" })
      local mixed, soft, lam = augment.MixUp{ num_classes = 3, seed = 3 }(leaf, labels)
      close(soft:sum(2), siamese.ones(6), 0, 1e-6)
      assert.near(lam[2]:item(), soft[{ 2, 2 }]:item(), 1e-6)
      assert.near(1 - lam[2]:item(), soft[{ 2, 1 }]:item(), 1e-6)
      mixed:sum():backward()
      close(leaf.grad, siamese.ones(6, 2, 3, 3), 0, 1e-5)
      local again = select(2, augment.MixUp{ num_classes = 3, seed = 3 }(leaf, soft:detach()))
      assert.same({ 6, 3 }, again.shape)
   end)

   it("says what is wrong", function()
      support.fails("augment.MixUp: alpha must be above 0, got 0", augment.MixUp, { alpha = 0 })
      support.fails("augment.MixUp: per must be 'batch' or 'sample', got 'pixel'", augment.MixUp,
         { per = "pixel" })
      support.fails("augment.MixUp: needs a float32 batch [N,...], got uint8 [6,2,3,3]", augment.MixUp{},
         x:byte())
      support.fails("num_classes must be given", augment.MixUp{}, x,
         siamese.ones(6, { dtype = "int64" }))
      support.fails("labels must be from 1 to 2", augment.MixUp{ num_classes = 2 }, x,
         siamese.full({ 6 }, 3, { dtype = "int64" }))
      support.fails("labels must be int64 [6], or float32 [6,classes], got float32 [6]",
         augment.MixUp{ num_classes = 2 }, x, siamese.ones(6))
   end)
end)

describe("preview", function()
   local root
   before_each(function()
      root = files.temp_folder()
   end)
   after_each(function()
      files.remove(root)
   end)

   it("writes what was, and beside it what comes of it", function()
      local set = siamese.data.glyphs{ classes = 3, samples = 2, size = 20, seed = 1 }
      local invert = augment.RandomInvert{ p = 1 }
      assert(augment.preview(set, root .. "/seen.png", { transform = invert, samples = 3, versions = 2,
         scale = 2 }))
      local x = assert(image.load(root .. "/seen.png", { channels = 3, dtype = "float32" }))
      assert.same({ 3, 3 * 44 + 4 + 12, 3 * 44 + 4 + 8 }, x.shape)
      local function cell(row, column)
         return x:narrow(2, 1 + 12 + (row - 1) * 44, 40)
            :narrow(3, 1 + 4 + (column - 1) * 44 + (column > 1 and 8 or 0), 40)
      end
      for row = 1, 3 do
         close(cell(row, 1), 1 - cell(row, 2), 0, 0.01)
         close(cell(row, 2), cell(row, 3), 0, 1e-6)
         close(image.resize(cell(row, 1), 20), set.images[2 * row - 1]:expand(3, 20, 20), 0, 0.01)
      end
   end)

   it("takes a batch, other sizes, and normalised pictures", function()
      local t = augment.Compose{ augment.RandomResizedCrop{ size = 9 },
         augment.Normalize{ mean = 0.5, std = 0.1 } }
      local x = siamese.rand(2, 3, 24, 16)
      assert(augment.preview(x, root .. "/a.png", { transform = t, indices = { 2 } }))
      local ok, message = augment.preview(x, root .. "/no/a.png", { transform = t })
      assert.is_nil(ok)
      assert.matches("no/a.png", message, 1, true)
   end)

   it("says what is missing", function()
      support.fails("augment.preview: option 'transform' is required", augment.preview,
         siamese.rand(2, 3, 4, 4), "x.png")
      support.fails("augment.preview: expected a data set or a batch", augment.preview, 3, "x.png",
         { transform = augment.RandomInvert{} })
      support.fails("the set has no samples", augment.preview, siamese.rand(0, 3, 4, 4), "x.png",
         { transform = augment.RandomInvert{} })
   end)
end)
