--- Augmentation: random affine maps of batches of images, computed in C on all threads.
-- @module siamese.augment
local core = require "siamese.core"
local options = require "siamese.options"

local M = {}

--- @type Affine
local Affine = {}
Affine.__index = Affine

--- A component's {low, high, p} from a number (plus or minus), {low, high} or {low, high, p=}.
local function range(key, value, p, middle)
   if type(value) == "number" then
      value = { middle - value, middle + value }
   end
   if type(value) ~= "table" or type(value[1]) ~= "number" or type(value[2]) ~= "number"
      or value[1] > value[2] then
      error(("augment.Affine: %s must be a number or a range {low, high}"):format(key), 3)
   end
   p = value.p or p
   if type(p) ~= "number" or p < 0 or p > 1 then
      error(("augment.Affine: the probability of %s must be from 0 to 1, got %s")
         :format(key, tostring(p)), 3)
   end
   return { value[1], value[2], p }
end

--- Random rotation, shear, scale and translation about the image's centre.
--
-- Each component is drawn for each image by itself, uniformly from its range, with its probability;
-- absent components do nothing. The defaults of Koch, Zemel, Salakhutdinov (2015) for 105 x 105
-- drawings are `Affine{ rotation = 10, shear = 0.3, scale = { 0.8, 1.2 }, translation = 2, p = 0.5 }`.
-- @tparam table opts `rotation` (degrees), `shear` (factors, along x and along y), `scale` (factors,
--   along x and along y), `translation` (pixels, along x and along y): each a number (plus or minus so
--   much), a range {low, high}, or a range with a probability of its own, { -10, 10, p = 0.5 };
--   `p` (the probability of those without one, default 1); `fill` (the value of what comes in from
--   outside, default 0); `seed`
-- @treturn Affine to be called with a batch
-- @usage
-- local augment = siamese.augment.Affine{ rotation = 10, scale = { 0.9, 1.1 }, p = 0.5, seed = 1 }
-- local x = augment(set:batch(indices))
function M.Affine(opts)
   local o = options.check("augment.Affine", opts, {
      rotation = options.optional, shear = options.optional, scale = options.optional,
      translation = options.optional, p = 1, fill = 0, seed = options.optional,
   })
   local self = { fill = o.fill, generator = core.Generator(o.seed) }
   for key, middle in pairs{ rotation = 0, shear = 0, scale = 1, translation = 0 } do
      self[key] = range(key, o[key] or { middle, middle }, o.p, middle)
   end
   if self.scale[1] <= 0 then
      error("augment.Affine: scale must be above 0, got " .. self.scale[1], 2)
   end
   return setmetatable(self, Affine)
end

--- Maps a batch; each call draws anew.
-- @tparam tensor images [N,C,H,W] float32
-- @treturn tensor [N,C,H,W], outside the graph
function Affine:__call(images)
   return core.imaging.affine(images, self.generator, self.fill, self.rotation, self.shear,
      self.scale, self.translation)
end

--- "Affine(rotation -10..10 p 0.5, ...)".
function Affine:__tostring()
   local parts = {}
   for _, key in ipairs{ "rotation", "shear", "scale", "translation" } do
      local r = self[key]
      if r[1] ~= r[2] then
         parts[#parts + 1] = ("%s %g..%g p %g"):format(key, r[1], r[2], r[3])
      end
   end
   return ("Affine(%s)"):format(table.concat(parts, ", "))
end

return M
