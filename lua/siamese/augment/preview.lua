--- Seeing what an augmentation does.
-- @module siamese.augment.preview
local check = require "siamese.augment.check"
local core = require "siamese.core"
local image = require "siamese.image"
local options = require "siamese.options"
local transform = require "siamese.augment.transform"

local M = {}

local SPEC = { transform = options.optional, samples = 6, versions = 5, indices = options.optional, epoch = 0,
   scale = options.optional }
local ROOM, TITLE = 4, 12 -- pixels between pictures, for the line above them
local PAPER = { 255, 255, 255 }

--- uint8 [1 or 3,H,W] of a picture as a transform leaves it: floats that go beyond 0..1, as normalised ones
-- do, are stretched over what there is.
local function displayable(x)
   if x.dtype == "float32" and x:numel() > 0 then
      local low, high = x:min():item(), x:max():item()
      if low < -1e-3 or high > 1 + 1e-3 then
         x = (x - low) / math.max(high - low, 1e-6)
      end
      x = (x:clamp(0, 1) * 255 + 0.5):byte()
   end
   local channels = x:size(1)
   return (channels == 1 or channels == 3) and x or x:narrow(1, 1, 1)
end

local function magnify(x, scale)
   local c, h, w = table.unpack(x.shape)
   return scale == 1 and x or x:reshape(c, h, 1, w, 1):expand(c, h, scale, w, scale)
      :reshape(c, h * scale, w * scale)
end

--- The pictures of the set (or batch) with these indices.
local function pictures_of(set, indices)
   local images = core.is_tensor(set) and set or set.images
   if core.is_tensor(images) then
      return images:index_select(1, core.tensor(indices, { dtype = "int64" }))
   end
   return (set:batch(indices))
end

local function size_of(set)
   return core.is_tensor(set) and set:size(1) or #set
end

--- Indices spread over the set.
local function spread(count, wanted)
   local list = {}
   for i = 1, math.min(count, wanted) do
      list[i] = 1 + (i - 1) * count // math.min(count, wanted)
   end
   return list
end

--- The indices to show: those that were given, checked, or some spread over the set.
local function chosen(name, set, given, samples)
   local count = size_of(set)
   if given == nil then
      return spread(count, samples)
   elseif type(given) ~= "table" then
      core.raise(("%s: indices must be a list, got %s"):format(name, options.text(given)))
   end
   for i, index in ipairs(given) do
      if math.type(index) ~= "integer" or index < 1 or index > count then
         core.raise(("%s: indices[%d] must be an integer from 1 to %d (the samples), got %s"):format(name, i,
            count, options.text(index)))
      end
   end
   return given
end

--- One row: the picture before, then its versions.
local function rows_of(t, before, indices, versions, epoch)
   local rows = {}
   for i, index in ipairs(indices) do
      rows[i] = { displayable(before[i]) }
      for version = 1, versions do
         rows[i][version + 1] = displayable(t(before[i], { indices = { index }, epoch = epoch + version }))
      end
   end
   return rows
end

local function largest(rows)
   local height, width = 1, 1
   for _, row in ipairs(rows) do
      for _, x in ipairs(row) do
         height, width = math.max(height, x:size(2)), math.max(width, x:size(3))
      end
   end
   return height, width
end

local function draw(rows, scale)
   local height, width = largest(rows)
   scale = scale or math.max(1, 96 // math.max(height, width))
   local cell_height, cell_width = height * scale + ROOM, width * scale + ROOM
   local canvas = image.canvas(#rows[1] * cell_width + ROOM + 2 * ROOM,
      #rows * cell_height + ROOM + TITLE, PAPER)
   image.text(canvas, 1 + ROOM, 3, "before")
   image.text(canvas, 1 + 3 * ROOM + cell_width, 3, "after")
   for i, row in ipairs(rows) do
      for j, x in ipairs(row) do
         local left = 1 + ROOM + (j - 1) * cell_width + (j > 1 and 2 * ROOM or 0)
         image.paste(canvas, magnify(x, scale), left, 1 + TITLE + (i - 1) * cell_height)
      end
   end
   return canvas
end

--- Writes a grid of pictures: each row one sample, before, then after, several times.
-- @tparam Set|tensor set a data set, or a batch [N,C,H,W]
-- @tparam string path of the PNG
-- @tparam[opt] table opts `transform` (as the set's field `transform` by default), `samples` (6), `versions`
--   (5; of epochs 1, 2, ...), `indices` (list; of the samples to show, spread over the set by default),
--   `epoch` (0; versions are of the ones after it), `scale` (whole pixels a pixel; by default cells are
--   about 96 pixels large)
-- @treturn[1] boolean true
-- @treturn[2] nil
-- @treturn[2] string message with the file's name
-- @usage augment.preview(set, "augmented.png", { transform = augment.RandomAffine{ degrees = 10 } })
function M.preview(set, path, opts)
   local name = "augment.preview"
   local o = options.check(name, opts, SPEC)
   local c = check.new(name, o)
   local t = o.transform or (type(set) == "table" and set.transform)
   if not t then
      core.raise(name .. ": option 'transform' is required: the set has none of its own")
   elseif type(t) ~= "function" and not transform.is(t) then
      core.raise(("%s: transform must be a transform or a function, got %s"):format(name, options.text(t)))
   elseif not core.is_tensor(set) and type(set) ~= "table" then
      core.raise(("%s: expected a data set or a batch [N,C,H,W], got %s"):format(name, type(set)))
   end
   c:integer("samples", 1)
   c:integer("versions", 1)
   c:integer("epoch", 0)
   if o.scale ~= nil then
      c:integer("scale", 1)
   end
   local indices = chosen(name, set, o.indices, o.samples)
   if #indices == 0 then
      core.raise(name .. ": the set has no samples")
   end
   local before = pictures_of(set, indices)
   local ok, message = image.save(path, draw(rows_of(t, before, indices, o.versions, o.epoch), o.scale))
   return ok, message
end

return M
