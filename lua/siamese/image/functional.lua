--- Changes of pictures by given numbers: what siamese.augment draws at random, without the drawing.
--
-- All take [C,H,W] or [N,C,H,W], uint8 from 0 to 255 or float32 (from 0 to 1 as a rule), and return the same
-- kind, outside of the graph; they are in `siamese.image`. Names and parameters are those of
-- torchvision.transforms.v2.functional, but rows and columns count from 1. `fill` is in the picture's own
-- units, one value or a list with one for each channel.
-- @module siamese.image.functional
local check = require "siamese.augment.check"
local core = require "siamese.core"
local options = require "siamese.options"

local M = {}

local WARPS = { "nearest", "bilinear" }
local RESIZES = { "nearest", "nearest-exact", "bilinear", "bicubic", "area" }
local PADDINGS = { "constant", "edge", "reflect", "symmetric" }

local function text_of(x)
   return core.is_tensor(x) and ("%s [%s]"):format(x.dtype, table.concat(x.shape, ",")) or type(x)
end

--- [N,C,H,W] of a picture or a batch.
local function batch_of(name, x)
   local dims = core.is_tensor(x) and x.dtype ~= "int64" and x:dim()
   if dims ~= 3 and dims ~= 4 then
      check.raise("image.%s: needs uint8 or float32 images [C,H,W] or [N,C,H,W], got %s", name, text_of(x))
   end
   return (dims == 3 and x:unsqueeze(1) or x):detach()
end

local function run(name, x, step, seed)
   step.name = "image." .. name
   local batch = batch_of(name, x)
   local pipeline, message = core.imaging.pipeline{ step }
   local y
   if pipeline then
      y, message = core.imaging.augment(pipeline, batch,
         core.arange(1, batch:size(1) + 1, { dtype = "int64" }), seed or 0)
   end
   if not y then
      check.raise("%s", message)
   end
   return x:dim() == 3 and y:squeeze(1) or y
end

--- Checked options, and a checker of them and of the arguments given by place.
local function read(name, opts, spec, arguments)
   local o = options.check("image." .. name, opts, spec)
   return o, check.new("image." .. name, options.extend(o, arguments or {}))
end

local WARP = { interpolation = "bilinear", fill = 0 }

local function warp_fields(step, o, c)
   step.mode, step.fill = c:choice("interpolation", WARPS), c:values("fill")
   if o.center ~= nil then
      step.has_center, step.center = true, c:pair("center")
   end
   return step
end

-- Geometry

local AFFINE = { angle = 0, translate = { 0, 0 }, scale = 1, shear = { 0, 0 }, interpolation = "nearest",
   fill = 0, center = options.optional }

--- An affine map: shear, scale, rotation about the centre, then translation.
-- @tparam tensor x
-- @tparam table opts `angle` (degrees, clockwise), `translate` ({x, y} in pixels), `scale` (1), `shear`
--   ({x, y} in degrees), `interpolation` ("nearest"), `fill` (0), `center` ({x, y} in pixels from the upper
--   left corner; the middle by default)
-- @treturn tensor
function M.affine(x, opts)
   local o, c = read("affine", opts, AFFINE)
   local angle, scale, shear = c:number("angle"), c:number("scale", 1e-6), c:pair("shear")
   return run("affine", x, warp_fields({ kind = "affine", degrees = { angle, angle },
      scale = { scale, scale }, shift = c:pair("translate"),
      shear = { shear[1], shear[1], shear[2], shear[2] } }, o, c))
end

--- A rotation.
-- @tparam tensor x
-- @tparam number angle degrees, anticlockwise
-- @tparam[opt] table opts `interpolation` ("nearest"), `expand` (false; true: as large as the turned
--   picture), `center`, `fill` (0)
-- @treturn tensor
function M.rotate(x, angle, opts)
   local o, c = read("rotate", opts, { interpolation = "nearest", expand = false, fill = 0,
      center = options.optional }, { angle = angle })
   c:number("angle")
   return run("rotate", x, warp_fields({ kind = "affine", degrees = { -angle, -angle },
      expand = c:boolean("expand") }, o, c))
end

--- The 8 coordinates, from 0, of four points {x, y}.
local function add_points(c, key, points, out)
   local ok = type(points) == "table" and #points == 4
   for i = 1, ok and 4 or 0 do
      local p = points[i]
      ok = ok and type(p) == "table" and #p == 2 and check.is_finite(p[1]) and check.is_finite(p[2])
      if ok then
         out[#out + 1], out[#out + 2] = p[1] - 1, p[2] - 1
      end
   end
   if not ok then
      c:fail("%s must be four points {x, y}", key)
   end
end

--- A perspective that takes four points to four others.
-- @tparam tensor x
-- @tparam {{number,number},...} startpoints {x, y} of four pixels, from {1, 1}; as a rule the corners: upper
--   left, upper right, lower right, lower left
-- @tparam {{number,number},...} endpoints where they go
-- @tparam[opt] table opts `interpolation` ("bilinear"), `fill` (0)
-- @treturn tensor
function M.perspective(x, startpoints, endpoints, opts)
   local o, c = read("perspective", opts, WARP)
   local points = {}
   add_points(c, "startpoints", startpoints, points)
   add_points(c, "endpoints", endpoints, points)
   return run("perspective", x, warp_fields({ kind = "perspective", points = points }, o, c))
end

--- A given displacement of every pixel.
-- @tparam tensor x
-- @tparam tensor displacement float32 [H,W,2] or [1,H,W,2]: where each pixel comes from, less where it is,
--   along x and y; the picture is 2 wide and 2 high, as in torchvision
-- @tparam[opt] table opts `interpolation` ("bilinear"), `fill` (0, one number)
-- @treturn tensor
function M.elastic(x, displacement, opts)
   local _, c = read("elastic", opts, WARP)
   local batch = batch_of("elastic", x)
   local h, w = batch:size(3), batch:size(4)
   local d = displacement
   if core.is_tensor(d) and d:dim() == 4 and d:size(1) == 1 then
      d = d:squeeze(1)
   end
   if not core.is_tensor(d) or d.dtype ~= "float32" or d:dim() ~= 3 or d:size(1) ~= h or d:size(2) ~= w
      or d:size(3) ~= 2 then
      c:fail("displacement must be float32 [%d,%d,2], got %s", h, w, text_of(displacement))
   end
   local field = d:detach():permute(3, 1, 2) * core.tensor{ { { w / 2 } }, { { h / 2 } } }
   local y, message = core.imaging.displace(batch, field, c:choice("interpolation", WARPS) == "nearest",
      c:number("fill"))
   if not y then
      check.raise("%s", message)
   end
   return x:dim() == 3 and y:squeeze(1) or y
end

--- Left becomes right.
-- @tparam tensor x
-- @treturn tensor
function M.horizontal_flip(x)
   return run("horizontal_flip", x, { kind = "flip" })
end

--- Top becomes bottom.
-- @tparam tensor x
-- @treturn tensor
function M.vertical_flip(x)
   return run("vertical_flip", x, { kind = "flip", vertical = true })
end

local function window(c, top, left)
   for _, key in ipairs{ "top", "left" } do
      local value = c.options[key]
      if math.type(value) ~= "integer" or math.abs(value) > 1 << 20 then
         c:fail("%s must be an integer, got %s", key, options.text(value))
      end
   end
   return { kind = "crop", place = "fixed", top = top - 1, left = left - 1,
      height = c:integer("height", 1), width = c:integer("width", 1) }
end

--- A window; what lies outside of the picture is 0.
-- @tparam tensor x
-- @tparam int top the window's first row, from 1
-- @tparam int left the window's first column
-- @tparam int height
-- @tparam int width
-- @treturn tensor
function M.crop(x, top, left, height, width)
   local _, c = read("crop", nil, {}, { top = top, left = left, height = height, width = width })
   return run("crop", x, window(c, top, left))
end

--- The middle; a smaller picture is padded with 0.
-- @tparam tensor x
-- @tparam table|int size {height, width}, or one number for both
-- @treturn tensor
function M.center_crop(x, size)
   local _, c = read("center_crop", nil, {}, { size = size })
   local height, width = c:size("size")
   return run("center_crop", x, { kind = "crop", place = "center", height = height, width = width })
end

--- A window made another size.
-- @tparam tensor x
-- @tparam int top the window's first row, from 1
-- @tparam int left the window's first column
-- @tparam int height
-- @tparam int width
-- @tparam table|int size {height, width}, or one number for both
-- @tparam[opt] table opts `interpolation` ("bilinear"; "bicubic", "area", "nearest" or "nearest-exact"),
--   `antialias` (true)
-- @treturn tensor
function M.resized_crop(x, top, left, height, width, size, opts)
   local _, c = read("resized_crop", opts, { interpolation = "bilinear", antialias = true },
      { top = top, left = left, height = height, width = width, size = size })
   local h, w = c:size("size")
   local step = { kind = "resize", height = h, width = w, interpolation = c:choice("interpolation", RESIZES),
      antialias = c:boolean("antialias") }
   return run("resized_crop", run("resized_crop", x, window(c, top, left)), step)
end

--- More pixels around.
-- @tparam tensor x
-- @tparam table|int padding an integer, {left and right, top and bottom} or {left, top, right, bottom};
--   below 0 cuts
-- @tparam[opt] table opts `fill` (0), `padding_mode` ("constant", "edge", "reflect" or "symmetric")
-- @treturn tensor
function M.pad(x, padding, opts)
   local _, c = read("pad", opts, { fill = 0, padding_mode = "constant" }, { padding = padding })
   return run("pad", x, { kind = "pad", padding = c:padding("padding", -(1 << 20)), fill = c:values("fill"),
      padding_mode = c:choice("padding_mode", PADDINGS) })
end

-- Colours

local function adjust(name, key, x, argument, value, least, most)
   local c = check.new("image." .. name, { [argument] = value })
   local factor = c:number(argument, least, most)
   return run(name, x, { kind = "jitter", [key] = { factor, factor } })
end

--- x times a factor, up to white.
-- @tparam tensor x
-- @tparam number brightness_factor from 0; 1 changes nothing
-- @treturn tensor
function M.adjust_brightness(x, brightness_factor)
   return adjust("adjust_brightness", "brightness", x, "brightness_factor", brightness_factor, 0)
end

--- Between the mean of the grey picture (0) and the picture (1), and beyond.
-- @tparam tensor x of 1 or 3 channels
-- @tparam number contrast_factor from 0
-- @treturn tensor
function M.adjust_contrast(x, contrast_factor)
   return adjust("adjust_contrast", "contrast", x, "contrast_factor", contrast_factor, 0)
end

--- Between the grey picture (0) and the picture (1), and beyond; one channel stays as it is.
-- @tparam tensor x of 1 or 3 channels
-- @tparam number saturation_factor from 0
-- @treturn tensor
function M.adjust_saturation(x, saturation_factor)
   return adjust("adjust_saturation", "saturation", x, "saturation_factor", saturation_factor, 0)
end

--- Hue, as in HSV, moved round; one channel stays as it is.
-- @tparam tensor x of 1 or 3 channels
-- @tparam number hue_factor turns, from -0.5 to 0.5
-- @treturn tensor
function M.adjust_hue(x, hue_factor)
   return adjust("adjust_hue", "hue", x, "hue_factor", hue_factor, -0.5, 0.5)
end

--- gain x ^ gamma, of values from 0 to 1.
-- @tparam tensor x
-- @tparam number gamma from 0
-- @tparam[opt=1] number gain
-- @treturn tensor
function M.adjust_gamma(x, gamma, gain)
   local c = check.new("image.adjust_gamma", { gamma = gamma, gain = gain or 1 })
   c:number("gamma", 0)
   return run("adjust_gamma", x, { kind = "gamma", gamma = { gamma, gamma }, gain = c:number("gain") })
end

--- White becomes black: 255 - x, or 1 - x.
-- @tparam tensor x
-- @treturn tensor
function M.invert(x)
   return run("invert", x, { kind = "invert" })
end

--- 0.2989 R + 0.587 G + 0.114 B; one channel stays as it is.
-- @tparam tensor x of 1 or 3 channels
-- @tparam[opt=1] int num_output_channels 1 or 3
-- @treturn tensor
function M.rgb_to_grayscale(x, num_output_channels)
   local channels = num_output_channels or 1
   if channels ~= 1 and channels ~= 3 then
      check.raise("image.rgb_to_grayscale: num_output_channels must be 1 or 3, got %s",
         options.text(channels))
   end
   return run("rgb_to_grayscale", x, { kind = "grey", channels = channels })
end

--- (x - mean) / std by channel; of floats.
-- @tparam tensor x float32
-- @tparam number|{number,...} mean one, or one for each channel
-- @tparam number|{number,...} std
-- @treturn tensor
function M.normalize(x, mean, std)
   local c = check.new("image.normalize", { mean = mean, std = std })
   return run("normalize", x, { kind = "normalize", mean = c:values("mean"), std = c:values("std") })
end

--- Another kind of numbers; bytes are rounded.
-- @tparam tensor x
-- @tparam string dtype "float32" or "uint8"
-- @tparam[opt=false] boolean scale 0..255 becomes 0..1, or back
-- @treturn tensor
function M.to_dtype(x, dtype, scale)
   local c = check.new("image.to_dtype", { dtype = dtype })
   return run("to_dtype", x, { kind = "to_dtype", dtype = c:choice("dtype", { "float32", "uint8" }),
      scale = not not scale })
end

-- Windows

--- Gaussian blur; beyond the edges the picture is reflected.
-- @tparam tensor x
-- @tparam table|int kernel_size odd, one number or {x, y}
-- @tparam[opt] table|number sigma one number or {x, y}, in pixels; 0.15 kernel_size + 0.35 by default
-- @treturn tensor
function M.gaussian_blur(x, kernel_size, sigma)
   local c = check.new("image.gaussian_blur", { kernel_size = kernel_size, sigma = sigma })
   local sizes = c:pair("kernel_size", 1)
   for _, n in ipairs(sizes) do
      if n % 2 ~= 1 or n > 1023 then
         c:fail("kernel_size must be odd, from 1 to 1023, got %s", options.text(kernel_size))
      end
   end
   local s = sigma == nil and { sizes[1] * 0.15 + 0.35, sizes[2] * 0.15 + 0.35 } or c:pair("sigma", 1e-6)
   return run("gaussian_blur", x, { kind = "blur", kernel_size = sizes, sigma = { s[1], s[1], s[2], s[2] } })
end

--- Gaussian noise on every value.
-- @tparam tensor x
-- @tparam[opt] table opts `mean` (0) and `sigma` (0.1), for white being 1; `clip` (true), `seed` (drawn)
-- @treturn tensor
function M.gaussian_noise(x, opts)
   local o, c = read("gaussian_noise", opts, { mean = 0, sigma = 0.1, clip = true, seed = options.optional })
   if o.seed ~= nil and math.type(o.seed) ~= "integer" then
      c:fail("seed must be an integer, got %s", options.text(o.seed))
   end
   local sigma = c:number("sigma", 0)
   return run("gaussian_noise", x, { kind = "noise", mean = c:number("mean"), sigma = { sigma, sigma },
      clip = c:boolean("clip") }, o.seed or core.Generator():random(1 << 62))
end

local function stroke(name, x, size, sign)
   local c = check.new("image." .. name, { size = size })
   if c:number("size", 1, 129) and size ~= size // 1 or size % 2 ~= 1 then
      c:fail("size must be odd, from 1 to 129, got %s", options.text(size))
   end
   local width = sign * (size // 2)
   return run(name, x, { kind = "stroke", width = { width, width } })
end

--- The brightest value of a square around each pixel: bright strokes thicken, dark ones thin out.
-- @tparam tensor x
-- @tparam int size of the square's side, odd
-- @treturn tensor
function M.dilate(x, size)
   return stroke("dilate", x, size, 1)
end

--- The darkest value of a square around each pixel: dark strokes thicken, bright ones thin out.
-- @tparam tensor x
-- @tparam int size of the square's side, odd
-- @treturn tensor
function M.erode(x, size)
   return stroke("erode", x, size, -1)
end

--- A rectangle gets another value.
-- @tparam tensor x
-- @tparam int top its first row, from 1
-- @tparam int left its first column
-- @tparam int height
-- @tparam int width
-- @tparam[opt=0] number|{number,...} value one, or one for each channel
-- @treturn tensor
function M.erase(x, top, left, height, width, value)
   local c = check.new("image.erase", { top = top, left = left, height = height, width = width,
      value = value or 0 })
   return run("erase", x, { kind = "erase", fixed = true, top = c:integer("top", 1) - 1,
      left = c:integer("left", 1) - 1, height = c:integer("height", 1), width = c:integer("width", 1),
      fill = c:values("value") })
end

return M
