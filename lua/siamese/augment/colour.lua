--- Augmentations that change values where they are.
--
-- Names, parameters and defaults are those of torchvision.transforms.v2, where it has the transform; all
-- take `p` (the probability that a sample is changed) and `seed`, too. Floats are taken to be from 0 to 1.
-- Changes that follow each other are made in one pass, in single precision; bytes are rounded at its end.
-- @module siamese.augment.colour
local options = require "siamese.options"
local define = require("siamese.augment.geometry").define

local M = {}

local required, optional = options.required, options.optional

--- Brightness, contrast, saturation and hue, in random order.
-- @function ColorJitter
-- @tparam[opt] table opts `brightness`, `contrast`, `saturation` (factors: 1 plus or minus so much, or a
--   range), `hue` (plus or minus up to 0.5, in turns, or a range). Grey pictures have no saturation and no
--   hue: they stay as they are
-- @treturn Transform
-- @usage augment.ColorJitter{ brightness = 0.4, contrast = 0.4, saturation = 0.4, hue = 0.1 }
M.ColorJitter = define("ColorJitter", { brightness = optional, contrast = optional, saturation = optional,
   hue = optional }, function(o, c)
   local step = { kind = "jitter" }
   for _, key in ipairs{ "brightness", "contrast", "saturation" } do
      step[key] = o[key] ~= nil and c:range(key, { around = 1, clip = 0, least = 0 }) or nil
   end
   step.hue = o.hue ~= nil and c:range("hue", { around = 0, least = -0.5, most = 0.5 }) or nil
   return step
end)

--- gain x ^ gamma of values from 0 to 1.
-- @function RandomGamma
-- @tparam[opt] table opts `gamma` ({0.8, 1.25}: a number or a range), `gain` (1), `p` (0.5)
-- @treturn Transform
M.RandomGamma = define("RandomGamma", { gamma = { 0.8, 1.25 }, gain = 1, p = 0.5 }, function(_, c)
   return { kind = "gamma", gamma = c:range("gamma", { least = 0 }), gain = c:number("gain") }
end)

--- Grey, of one channel or three that are alike.
-- @function Grayscale
-- @tparam[opt] table opts `num_output_channels` (1)
-- @treturn Transform
M.Grayscale = define("Grayscale", { num_output_channels = 1 }, function(o, c)
   local channels = c:integer("num_output_channels", 1)
   if channels ~= 1 and channels ~= 3 then
      c:fail("num_output_channels must be 1 or 3, got %s", options.text(o.num_output_channels))
   end
   return { kind = "grey", channels = channels }
end)

--- Grey with as many channels as there are.
-- @function RandomGrayscale
-- @tparam[opt] table opts `p` (0.1)
-- @treturn Transform
M.RandomGrayscale = define("RandomGrayscale", { p = 0.1 }, function()
   return { kind = "grey" }
end)

--- Three channels: grey three times, or as it is.
-- @function RGB
-- @treturn Transform
M.RGB = define("RGB", {}, function()
   return { kind = "grey", channels = 3, keep = true }
end)

--- White becomes black.
-- @function RandomInvert
-- @tparam[opt] table opts `p` (0.5)
-- @treturn Transform
M.RandomInvert = define("RandomInvert", { p = 0.5 }, function()
   return { kind = "invert" }
end)

--- Gaussian noise on every value.
-- @function GaussianNoise
-- @tparam[opt] table opts `mean` (0) and `sigma` (0.1; a number or a range), for white being 1; `clip` (true:
--   to what lies between black and white)
-- @treturn Transform
M.GaussianNoise = define("GaussianNoise", { mean = 0, sigma = 0.1, clip = true }, function(_, c)
   return { kind = "noise", mean = c:number("mean"), sigma = c:range("sigma", { least = 0 }),
      clip = c:boolean("clip") }
end)

--- Odd sizes {x, y} of a Gaussian's kernel.
function M.kernel_size(o, c)
   local sizes = c:pair("kernel_size", 1)
   for _, n in ipairs(sizes) do
      if n % 2 ~= 1 or n > 1023 then
         c:fail("kernel_size must be odd, from 1 to 1023, got %s", options.text(o.kernel_size))
      end
   end
   return sizes
end

--- Gaussian blur; beyond the edges the picture is reflected.
-- @function GaussianBlur
-- @tparam table opts `kernel_size` (odd, a number or {x, y}), `sigma` ({0.1, 2}: a number or a range, in
--   pixels)
-- @treturn Transform
M.GaussianBlur = define("GaussianBlur", { kernel_size = required, sigma = { 0.1, 2 } }, function(o, c)
   local sigma = c:range("sigma", { least = 1e-6 })
   return { kind = "blur", kernel_size = M.kernel_size(o, c),
      sigma = { sigma[1], sigma[2], sigma[1], sigma[2] } }
end)

--- Strokes made thicker or thinner: the brightest or the darkest value of a square around each pixel (flat
-- dilation and erosion, Serra 1982).
-- @function RandomStroke
-- @tparam[opt] table opts `width` ({-1, 1}: a number or a range; pixels that a stroke gains on each side, or
--   loses below 0. What is between whole pixels gives what is between their pictures), `ink` ("bright", on
--   dark paper, or "dark"), `p` (0.5)
-- @treturn Transform
-- @usage augment.RandomStroke{ width = { -0.5, 1.5 }, ink = "dark" }
M.RandomStroke = define("RandomStroke", { width = { -1, 1 }, ink = "bright", p = 0.5 }, function(_, c)
   return { kind = "stroke", width = c:range("width", { least = -64, most = 64 }),
      dark = c:choice("ink", { "bright", "dark" }) == "dark" }
end)

--- A rectangle gets another value (Zhong et al. 2017).
-- @function RandomErasing
-- @tparam[opt] table opts `p` (0.5), `scale` ({0.02, 0.33}: its part of the area), `ratio` ({0.3, 3.3}: its
--   height to its width), `value` (0: a number, or a list with one for each channel; "random": standard
--   normal numbers, for bytes any from 0 to 255)
-- @treturn Transform
M.RandomErasing = define("RandomErasing", { p = 0.5, scale = { 0.02, 0.33 }, ratio = { 0.3, 3.3 },
   value = 0 }, function(o, c)
   local random = o.value == "random"
   return { kind = "erase", scale = c:range("scale", { least = 0, most = 1 }),
      ratio = c:range("ratio", { least = 1e-6 }), random = random,
      fill = random and { 0 } or c:values("value") }
end)

--- Squares cut out (DeVries, Taylor 2017): their middles lie anywhere in the picture.
-- @function Cutout
-- @tparam table opts `size` (of a side, or {height, width}), `holes` (1), `fill` (0), `p` (1)
-- @treturn Transform
M.Cutout = define("Cutout", { size = required, holes = 1, fill = 0 }, function(_, c)
   local height, width = c:size("size")
   local holes = c:integer("holes", 1)
   if holes > 1000 then
      c:fail("holes must be at most 1000, got %d", holes)
   end
   return { kind = "cutout", height = height, width = width, holes = holes, fill = c:values("fill") }
end)

--- (x - mean) / std by channel; of floats.
-- @function Normalize
-- @tparam table opts `mean`, `std` (a number, or a list with one for each channel)
-- @treturn Transform
M.Normalize = define("Normalize", { mean = required, std = required }, function(_, c)
   return { kind = "normalize", mean = c:values("mean"), std = c:values("std") }
end)

--- Another kind of numbers.
-- @function ToDtype
-- @tparam table opts `dtype` ("float32" or "uint8"), `scale` (false; true: 0..255 becomes 0..1, or back)
-- @treturn Transform
M.ToDtype = define("ToDtype", { dtype = required, scale = false }, function(_, c)
   return { kind = "to_dtype", dtype = c:choice("dtype", { "float32", "uint8" }), scale = c:boolean("scale") }
end)

return M
