--- Images: reading, resizing, writing, and pictures that show results.
--
-- An image is a tensor [C,H,W] with 1 (grey) or 3 (RGB) channels: uint8 from 0 to 255, or float32
-- from 0 to 1. PNG, JPEG, PGM, PPM, BMP and the first frame of a GIF are read; PNG is written.
--
--    local x = assert(image.load("face.jpg", { channels = 1, dtype = "float32" }))
--    assert(image.save("small.png", image.resize(x, { 32, 32 })))
--
-- The changes of siamese.augment by given numbers (`image.rotate(x, 10)`, ...) are here, too: see
-- siamese.image.functional.
--
-- @module siamese.image
local core = require "siamese.core"
local options = require "siamese.options"
local reading = require "siamese.reading"

local imaging = core.imaging

local M = {}

--- The limits hold before anything is allocated.
local LOAD = {
   channels = 1, dtype = "uint8", max_width = 16384, max_height = 16384, max_bytes = 256 << 20,
}

local function check_choice(name, key, value, choices)
   for _, choice in ipairs(choices) do
      if value == choice then
         return
      end
   end
   core.raise(("%s: %s must be %s, got %s")
      :format(name, key, table.concat(choices, " or "), tostring(value)))
end

local function load_options(name, opts, known)
   local o = options.check(name, opts, known or LOAD)
   check_choice(name, "channels", o.channels, { 1, 3 })
   check_choice(name, "dtype", o.dtype, { "uint8", "float32" })
   return o
end

--- {height, width} of an option that is one number for both or a table of two.
local function size_pair(name, size)
   if math.type(size) == "integer" then
      size = { size, size }
   end
   if type(size) ~= "table" or math.type(size[1]) ~= "integer" or math.type(size[2]) ~= "integer"
      or size[1] < 1 or size[2] < 1 or #size ~= 2 then
      core.raise(name .. ": size must be a positive integer or {height, width}")
   end
   return size[1], size[2]
end

--- Reads a picture file.
-- @tparam string path
-- @tparam[opt] table opts `channels` (1, the default, or 3: converted as needed), `dtype` ("uint8", the
--   default, or "float32"), `max_width`, `max_height` (default 16384), `max_bytes` (of the file and of
--   the picture decoded, default 256 MiB)
-- @treturn[1] tensor [C,H,W]
-- @treturn[2] nil
-- @treturn[2] string message with the file's name
-- @usage local x = assert(image.load("a.png", { channels = 3, dtype = "float32" }))
function M.load(path, opts)
   local o = load_options("image.load", opts)
   return imaging.load(options.check_path("image.load", path), o)
end

--- Decodes a picture file that is in a string.
-- @tparam string bytes
-- @tparam[opt] table opts as for `load`
-- @treturn[1] tensor [C,H,W]
-- @treturn[2] nil
-- @treturn[2] string message
function M.decode(bytes, opts)
   local o = load_options("image.decode", opts)
   return imaging.decode(bytes, o)
end

local BATCH = options.extend(LOAD, {
   size = options.optional, mode = "area", invert = false,
})

--- Reads many picture files into one tensor, on all threads.
-- @tparam {string,...} paths
-- @tparam[opt] table opts as for `load`, and `size` ({height, width} or one number to resize to; by
--   default all must be as large as the first that can be read), `mode` ("area" or "bilinear"),
--   `invert` (255 - x, 1 - x)
-- @treturn tensor [N,C,H,W], zeros where a picture could not be read
-- @treturn table the messages of those that could not be read, by their index
-- @usage local x, failures = image.load_batch({ "a.png", "b.png" }, { size = 28 })
function M.load_batch(paths, opts)
   local o = load_options("image.load_batch", opts, BATCH)
   check_choice("image.load_batch", "mode", o.mode, { "area", "bilinear" })
   if o.size then
      o.height, o.width = size_pair("image.load_batch", o.size)
   end
   o.size = nil
   local images, failures = reading.load(paths, {}, o)
   if not images then -- none can be read: each with its own message
      o.height, o.width = 1, 1
      images, failures = reading.load(paths, {}, o)
   end
   return images, failures
end

--- Resizes an image or a batch.
-- @tparam tensor t [C,H,W] or [N,C,H,W], uint8 or float32
-- @tparam table|number size {height, width}, or one number for both
-- @tparam[opt] table opts `mode`: "area" (default; each new pixel is the mean of the area it covers),
--   "bilinear", "bicubic", "nearest" or "nearest-exact"; `antialias` (of the second and third, default true:
--   when shrinking, the filter is as wide as the new pixels)
-- @treturn tensor of t's dtype
-- @usage local small = image.resize(x, { 28, 28 })
function M.resize(t, size, opts)
   local o = options.check("image.resize", opts, { mode = "area", antialias = true })
   check_choice("image.resize", "mode", o.mode,
      { "area", "bilinear", "bicubic", "nearest", "nearest-exact" })
   local height, width = size_pair("image.resize", size)
   return imaging.resize(t, height, width, o.mode, o.antialias)
end

--- Writes an image as PNG.
-- @tparam string path
-- @tparam tensor t [1,H,W], [3,H,W] or [H,W]; uint8, or float32 (clamped to 0..1)
-- @treturn[1] boolean true
-- @treturn[2] nil
-- @treturn[2] string message with the file's name
-- @usage assert(image.save("out.png", x))
function M.save(path, t)
   return imaging.save_png(options.check_path("image.save", path), t)
end

-- Pictures that show results. Coordinates are in pixels and count from 1 at the top left; a colour is
-- a table {red, green, blue} of 0..255.

--- An empty picture.
-- @tparam number width
-- @tparam number height
-- @tparam[opt={255,255,255}] {number,...} color
-- @treturn tensor uint8 [3,height,width]
function M.canvas(width, height, color)
   local canvas = core.zeros(3, height, width, { dtype = "uint8" })
   for channel, value in ipairs(color or { 255, 255, 255 }) do
      canvas:select(1, channel):fill_(value)
   end
   return canvas
end

--- Puts an image on a canvas, with its top left corner at (x, y); it must fit.
-- @tparam tensor canvas uint8 [3,H,W], written to
-- @tparam tensor t [1,h,w] or [3,h,w]
-- @tparam number x
-- @tparam number y
function M.paste(canvas, t, x, y)
   if t.dtype == "float32" then
      t = (t:detach():clamp(0, 1) * 255 + 0.5):byte()
   end
   canvas:narrow(2, y, t:size(2)):narrow(3, x, t:size(3)):copy_(t)
end

--- Draws a frame, or fills it. What lies outside the canvas is left out.
-- @tparam tensor canvas uint8 [3,H,W], written to
-- @tparam number x
-- @tparam number y
-- @tparam number width
-- @tparam number height
-- @tparam[opt] table opts `color` (default black), `thickness` (default 1, inwards), `filled`
function M.rectangle(canvas, x, y, width, height, opts)
   local o = options.check("image.rectangle", opts,
      { color = { 0, 0, 0 }, thickness = 1, filled = false })
   imaging.rectangle(canvas, x, y, width, height, o.color, o.filled and 0 or o.thickness)
end

--- Draws a line from (x0, y0) to (x1, y1), both included. What lies outside the canvas is left out.
-- @tparam tensor canvas uint8 [3,H,W], written to
-- @tparam number x0
-- @tparam number y0
-- @tparam number x1
-- @tparam number y1
-- @tparam[opt] table opts `color` (default black), `thickness` (default 1)
function M.line(canvas, x0, y0, x1, y1, opts)
   local o = options.check("image.line", opts, { color = { 0, 0, 0 }, thickness = 1 })
   imaging.line(canvas, x0, y0, x1, y1, o.color, o.thickness)
end

--- Writes a line of text (ASCII); (x, y) is its top left corner.
-- @tparam tensor canvas uint8 [3,H,W], written to
-- @tparam number x
-- @tparam number y
-- @tparam string text
-- @tparam[opt] table opts `color` (default black), `scale` (default 1: characters of 6 by 8 pixels)
function M.text(canvas, x, y, text, opts)
   local o = options.check("image.text", opts, { color = { 0, 0, 0 }, scale = 1 })
   imaging.text(canvas, x, y, text, o.color, o.scale)
end

--- The size of a line of text in pixels.
-- @tparam string text
-- @tparam[opt=1] number scale
-- @treturn number width
-- @treturn number height
function M.text_size(text, scale)
   return imaging.text_size(text, scale or 1)
end

local GRID = {
   columns = options.optional, padding = 4, scale = 1, background = { 255, 255, 255 },
   labels = options.optional, label_scale = 1, frames = options.optional,
}

--- Magnifies by whole pixels.
local function magnify(images, scale)
   if scale == 1 then
      return images
   end
   local n, c, h, w = table.unpack(images.shape)
   return images:reshape(n, c, h, 1, w, 1):expand(n, c, h, scale, w, scale)
      :reshape(n, c, h * scale, w * scale)
end

--- Images side by side, with a label under each and a coloured frame where wanted.
-- @tparam tensor images [N,1,H,W] or [N,3,H,W]
-- @tparam[opt] table opts `columns` (default: about a square), `padding` (pixels between, default 4),
--   `scale` (whole number of times that pixels are magnified), `background` (colour), `labels` (list of N
--   strings, false for none), `label_scale`, `frames` (list of N colours, false for none)
-- @treturn tensor uint8 [3,height,width]
-- @usage image.save("batch.png", image.grid(x, { columns = 8, labels = names }))
function M.grid(images, opts)
   local o = options.check("image.grid", opts, GRID)
   images = magnify(images, o.scale)
   local n, _, h, w = table.unpack(images.shape)
   local columns = o.columns or math.max(1, math.ceil(math.sqrt(n)))
   local _, text_height = M.text_size("", o.label_scale)
   local label_height = o.labels and text_height + 2 or 0
   local cell_width, cell_height = w + o.padding, h + label_height + o.padding
   local canvas = M.canvas(columns * cell_width + o.padding,
      math.ceil(n / columns) * cell_height + o.padding, o.background)
   for i = 1, n do
      local x = 1 + o.padding + (i - 1) % columns * cell_width
      local y = 1 + o.padding + (i - 1) // columns * cell_height
      M.paste(canvas, images:select(1, i), x, y)
      if o.frames and o.frames[i] then
         local t = math.max(1, o.padding // 2)
         M.rectangle(canvas, x - t, y - t, w + 2 * t, h + 2 * t,
            { color = o.frames[i], thickness = t })
      end
      if o.labels and o.labels[i] then
         local width = M.text_size(o.labels[i], o.label_scale)
         M.text(canvas, x + (w - width) // 2, y + h + 2, o.labels[i],
            { scale = o.label_scale })
      end
   end
   return canvas
end

--- Stacks canvases of any width one under another.
-- @tparam {tensor,...} canvases uint8 [3,H,W]
-- @tparam[opt={255,255,255}] {number,...} color of what they leave free
-- @treturn tensor uint8 [3,sum of H,widest W]
function M.stack(canvases, color)
   local width, height = 0, 0
   for _, canvas in ipairs(canvases) do
      width, height = math.max(width, canvas:size(3)), height + canvas:size(2)
   end
   local out, y = M.canvas(width, height, color), 1
   for _, canvas in ipairs(canvases) do
      M.paste(out, canvas, 1, y)
      y = y + canvas:size(2)
   end
   return out
end

for name, f in pairs(require "siamese.image.functional") do
   M[name] = f
end

return M
