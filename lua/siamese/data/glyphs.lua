--- Characters that the library draws itself: a one-shot problem without a download.
-- @module siamese.data.glyphs
local core = require "siamese.core"
local options = require "siamese.options"
local sets = require "siamese.data.set"

local M = {}

local GLYPHS = {
   classes = 100, samples = 20, size = 28, seed = 1, jitter = 1, first_class = 1, first_sample = 1,
}

--- Draws a data set of made-up characters: a class is a handful of smooth random strokes, a sample
-- a new hand that draws them (control points shake, strokes shift; rotation, shear, scale,
-- translation and pen width vary).
--
-- A drawing depends on `seed`, its class and its sample alone: `first_class = 101` gives the
-- characters after the first hundred, for a test on classes never seen.
-- @tparam[opt] table opts `classes` (100), `samples` (a class, 20), `size` (pixels, 28), `seed` (1),
--   `jitter` (how unlike the hands are, 1), `first_class` (1), `first_sample` (1)
-- @treturn Set images [N,1,size,size] float32, ink 1 on paper 0
-- @usage local set = data.glyphs{ classes = 200, samples = 20, size = 32, seed = 7 }
function M.glyphs(opts)
   local o = options.check("data.glyphs", opts, GLYPHS)
   for _, key in ipairs{ "classes", "samples", "size", "first_class", "first_sample" } do
      options.check_count("data.glyphs", o, key, 1)
   end
   options.check_seed("data.glyphs", o.seed)
   local classes, samples, labels, names = {}, {}, {}, {}
   for c = 1, o.classes do
      names[c] = ("glyph%04d"):format(o.first_class + c - 1)
      for s = 1, o.samples do
         local at = #labels + 1
         labels[at], classes[at] = c, o.first_class + c - 1
         samples[at] = o.first_sample + s - 1
      end
   end
   return sets.new{ images = core.imaging.glyphs(classes, samples, o.size, o.seed, o.jitter),
      labels = core.tensor(labels, { dtype = "int64" }), classes = names }
end

return M
