--- Augmentations that move pixels.
--
-- Names, parameters and defaults are those of torchvision.transforms.v2, where it has the transform; all
-- take `p` (the probability that a sample is changed) and `seed`, too. Angles are in degrees. `fill` is the
-- value of what comes in from outside, in the picture's own units (0..255 for uint8), or a list with one for
-- each channel. `interpolation` is "nearest" or "bilinear".
--
-- Warps that follow each other (affine maps, perspectives, flips, an elastic deformation at the end, crops)
-- are joined into one: the picture is sampled once, and what one moves out of sight the next may bring back.
-- @module siamese.augment.geometry
local check = require "siamese.augment.check"
local options = require "siamese.options"
local transform = require "siamese.augment.transform"

local M = {}

local required, optional = options.required, options.optional
local WARPS = { "nearest", "bilinear" }
local RESIZES = { "nearest", "nearest-exact", "bilinear", "bicubic", "area" }
local PADDINGS = { "constant", "edge", "reflect", "symmetric" }

--- A constructor: build(o, c) makes the step of checked options.
local function define(name, spec, build)
   name = "augment." .. name
   spec = options.extend({ p = 1, seed = optional }, spec)
   return function(opts)
      local o = options.check(name, opts, spec)
      local c = check.new(name, o)
      local step = build(o, c)
      step.name, step.p = name, c:probability("p")
      local t = transform.new({ name = name, step = step }, opts or {})
      return t
   end
end

M.define = define

local function warp_fields(step, o, c)
   step.mode, step.fill = c:choice("interpolation", WARPS), c:values("fill")
   if o.center ~= nil then
      step.has_center, step.center = true, c:pair("center")
   end
   return step
end

--- {low, high} for x and for y, of torchvision's shear: a number, two or four.
local function shear_ranges(o, c)
   if type(o.shear) == "table" and #o.shear == 4 then
      for _, value in ipairs(o.shear) do
         if not check.is_finite(value) then
            c:fail("shear must be numbers, got %s", options.text(o.shear))
         end
      end
      return { o.shear[1], o.shear[2], o.shear[3], o.shear[4] }
   end
   local x = c:range("shear", { around = 0, least = -89, most = 89 })
   return { x[1], x[2], 0, 0 }
end

--- A random affine map about the centre: shear, scale, rotation, then translation.
-- @function RandomAffine
-- @tparam table opts `degrees` (plus or minus so much, clockwise, or a range {low, high}), `translate`
--   ({x, y}: the largest shifts as parts of width and height, rounded to whole pixels), `scale` (a range),
--   `shear` (degrees along x: plus or minus, a range, or two ranges in one list for x and y),
--   `interpolation` ("nearest"), `fill` (0), `center` ({x, y} in pixels from the upper left corner)
-- @treturn Transform
-- @usage augment.RandomAffine{ degrees = 10, translate = { 0.1, 0.1 }, scale = { 0.9, 1.1 } }
M.RandomAffine = define("RandomAffine", { degrees = required, translate = optional, scale = optional,
   shear = optional, interpolation = "nearest", fill = 0, center = optional }, function(o, c)
   local step = { kind = "affine", degrees = c:range("degrees", { around = 0 }) }
   step.translate = o.translate ~= nil and c:pair("translate", 0) or nil
   if step.translate and math.max(table.unpack(step.translate)) > 1 then
      c:fail("translate must be from 0 to 1, got %s", options.text(o.translate))
   end
   step.scale = o.scale ~= nil and c:range("scale", { least = 1e-6 }) or nil
   step.shear = o.shear ~= nil and shear_ranges(o, c) or nil
   return warp_fields(step, o, c)
end)

--- A random rotation, anticlockwise.
-- @function RandomRotation
-- @tparam table opts `degrees` (plus or minus, or a range), `interpolation` ("nearest"), `expand` (false;
--   true: as large as the turned picture), `center`, `fill` (0)
-- @treturn Transform
M.RandomRotation = define("RandomRotation", { degrees = required, interpolation = "nearest", expand = false,
   center = optional, fill = 0 }, function(o, c)
   local range = c:range("degrees", { around = 0 })
   local step = { kind = "affine", degrees = { -range[2], -range[1] }, expand = c:boolean("expand") }
   return warp_fields(step, o, c)
end)

--- {low, high, p} of a component of Affine.
local function component(o, c, key, middle)
   local value = o[key]
   if value == nil then
      return { middle, middle, 0 }
   elseif type(value) == "number" then
      value = { middle - value, middle + value }
   end
   if type(value) ~= "table" or not check.is_finite(value[1]) or not check.is_finite(value[2])
      or value[1] > value[2] then
      c:fail("%s must be a number or a range {low, high}", key)
   end
   local p = value.p or o.p
   if type(p) ~= "number" or not (p >= 0 and p <= 1) then
      c:fail("the probability of %s must be from 0 to 1, got %s", key, tostring(p))
   end
   return { value[1], value[2], p }
end

--- Random rotation, shear, scale and translation about the image's centre, each for itself.
--
-- Each component is drawn for each image by itself, uniformly from its range, with its probability;
-- absent components do nothing. Sampled bilinearly. The defaults of Koch, Zemel, Salakhutdinov (2015) for
-- 105 x 105 drawings are
-- `Affine{ rotation = 10, shear = 0.3, scale = { 0.8, 1.2 }, translation = 2, p = 0.5 }`.
-- @tparam table opts `rotation` (degrees), `shear` (factors, along x and along y), `scale` (factors,
--   along x and along y), `translation` (pixels, along x and along y): each a number (plus or minus so
--   much), a range {low, high}, or a range with a probability of its own, { -10, 10, p = 0.5 };
--   `p` (the probability of those without one, default 1); `fill` (the value of what comes in from
--   outside, default 0); `seed`
-- @treturn Transform
-- @usage
-- local augment = siamese.augment.Affine{ rotation = 10, scale = { 0.9, 1.1 }, p = 0.5, seed = 1 }
-- local x = augment(set:batch(indices))
function M.Affine(opts)
   local name = "augment.Affine"
   local o = options.check(name, opts, { rotation = optional, shear = optional, scale = optional,
      translation = optional, p = 1, fill = 0, seed = optional })
   local c = check.new(name, o)
   local step = { kind = "parts", name = name, fill = c:values("fill") }
   for key, middle in pairs{ rotation = 0, shear = 0, scale = 1, translation = 0 } do
      step[key] = component(o, c, key, middle)
   end
   if step.scale[1] <= 0 then
      c:fail("scale must be above 0, got %s", tostring(step.scale[1]))
   end
   local t = transform.new({ name = name, step = step }, opts or {})
   return t
end

--- A random perspective: each corner moves inwards by up to half of `distortion_scale` of a side.
-- @function RandomPerspective
-- @tparam[opt] table opts `distortion_scale` (0.5), `p` (0.5), `interpolation` ("bilinear"), `fill` (0)
-- @treturn Transform
M.RandomPerspective = define("RandomPerspective", { distortion_scale = 0.5, p = 0.5,
   interpolation = "bilinear", fill = 0 }, function(o, c)
   return warp_fields({ kind = "perspective", distortion_scale = c:number("distortion_scale", 0, 1) }, o, c)
end)

--- Elastic deformation (Simard, Steinkraus, Platt 2003): a random displacement of each pixel, smoothed.
-- @function ElasticTransform
-- @tparam[opt] table opts `alpha` (50; the strength, a number or {x, y}: a displacement of 1 before smoothing
--   becomes alpha / 2 pixels, as in torchvision, so Simard's alpha is half of this one), `sigma` (5; the
--   deviation of the Gaussian that smooths, in pixels, a number or {x, y}), `interpolation` ("bilinear"),
--   `fill` (0)
-- @treturn Transform
M.ElasticTransform = define("ElasticTransform", { alpha = 50, sigma = 5, interpolation = "bilinear",
   fill = 0 }, function(o, c)
   return warp_fields({ kind = "elastic", alpha = c:pair("alpha"), sigma = c:pair("sigma", 0) }, o, c)
end)

--- Left becomes right.
-- @function RandomHorizontalFlip
-- @tparam[opt] table opts `p` (0.5)
-- @treturn Transform
M.RandomHorizontalFlip = define("RandomHorizontalFlip", { p = 0.5 }, function()
   return { kind = "flip" }
end)

--- Top becomes bottom.
-- @function RandomVerticalFlip
-- @tparam[opt] table opts `p` (0.5)
-- @treturn Transform
M.RandomVerticalFlip = define("RandomVerticalFlip", { p = 0.5 }, function()
   return { kind = "flip", vertical = true }
end)

--- A crop at a random place.
-- @function RandomCrop
-- @tparam table opts `size` (an integer or {height, width}), `padding` (before the crop: an integer, {left
--   and right, top and bottom} or {left, top, right, bottom}), `pad_if_needed` (false), `fill` (0),
--   `padding_mode` ("constant", "edge", "reflect" or "symmetric")
-- @treturn Transform
M.RandomCrop = define("RandomCrop", { size = required, padding = 0, pad_if_needed = false, fill = 0,
   padding_mode = "constant" }, function(_, c)
   local height, width = c:size("size")
   return { kind = "crop", height = height, width = width, padding = c:padding("padding", 0),
      pad_if_needed = c:boolean("pad_if_needed"), fill = c:values("fill"),
      padding_mode = c:choice("padding_mode", PADDINGS) }
end)

--- The middle; a smaller picture is padded with 0.
-- @function CenterCrop
-- @tparam table opts `size` (an integer or {height, width})
-- @treturn Transform
M.CenterCrop = define("CenterCrop", { size = required }, function(_, c)
   local height, width = c:size("size")
   return { kind = "crop", place = "center", height = height, width = width }
end)

--- A part of the picture, at random, made `size` (Szegedy et al. 2015).
-- @function RandomResizedCrop
-- @tparam table opts `size` (an integer or {height, width}), `scale` ({0.08, 1}: the part's area), `ratio`
--   ({3/4, 4/3}: its width to its height), `interpolation` ("bilinear"; "bicubic", "area", "nearest" or
--   "nearest-exact"), `antialias` (true)
-- @treturn Transform
M.RandomResizedCrop = define("RandomResizedCrop", { size = required, scale = { 0.08, 1 },
   ratio = { 3 / 4, 4 / 3 }, interpolation = "bilinear", antialias = true }, function(_, c)
   local height, width = c:size("size")
   return { kind = "resized_crop", height = height, width = width,
      scale = c:range("scale", { least = 0, most = 1 }), ratio = c:range("ratio", { least = 1e-6 }),
      interpolation = c:choice("interpolation", RESIZES), antialias = c:boolean("antialias") }
end)

--- The step of Resize, for image.functional too.
function M.resize_step(o, c)
   local step = { kind = "resize", interpolation = c:choice("interpolation", RESIZES),
      antialias = c:boolean("antialias") }
   if type(o.size) == "table" and #o.size == 2 then
      step.height, step.width = c:size("size")
   elseif o.size ~= nil then
      step.height = c:integer("size", 1)
   end
   if o.max_size ~= nil then
      step.longest = c:integer("max_size", 1)
   end
   if not step.height and not step.longest then
      c:fail("size must be an integer or {height, width}, or max_size be given")
   elseif step.width and step.longest then
      c:fail("max_size goes with a size that is one integer, the shorter side's")
   elseif step.longest and step.height and step.longest <= step.height then
      c:fail("max_size (%d) must be above size (%d)", step.longest, step.height)
   end
   return step
end

--- Another size.
-- @function Resize
-- @tparam table opts `size` (an integer: of the shorter side; or {height, width}), `interpolation`
--   ("bilinear"; "bicubic", "area", "nearest" or "nearest-exact"), `max_size` (of the longer side),
--   `antialias` (true)
-- @treturn Transform
M.Resize = define("Resize", { size = optional, interpolation = "bilinear", max_size = optional,
   antialias = true }, M.resize_step)

--- More pixels around.
-- @function Pad
-- @tparam table opts `padding` (an integer, {left and right, top and bottom} or {left, top, right, bottom};
--   below 0 cuts), `fill` (0), `padding_mode` ("constant", "edge", "reflect" or "symmetric")
-- @treturn Transform
M.Pad = define("Pad", { padding = required, fill = 0, padding_mode = "constant" }, function(_, c)
   return { kind = "pad", padding = c:padding("padding", -(1 << 20)), fill = c:values("fill"),
      padding_mode = c:choice("padding_mode", PADDINGS) }
end)

return M
