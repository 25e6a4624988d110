--- Figures: curves and reliability diagrams as pictures (uint8 [3,H,W]), for image.save.
--
--    local c = twin:calibrate(distances, same)
--    local reliability = calibration.reliability(c:probability(distances), same)
--    assert(image.save("reliability.png", figure.reliability(reliability)))
--
-- @module siamese.figure
local core = require "siamese.core"
local image = require "siamese.image"
local options = require "siamese.options"

local M = {}

local BLACK, GREY, PALE, BLUE = { 0, 0, 0 }, { 150, 150, 150 }, { 225, 225, 225 }, { 60, 110, 180 }
local COLORS = { BLUE, { 200, 80, 50 }, { 60, 150, 80 }, { 140, 90, 170 }, { 190, 150, 40 },
   { 80, 160, 170 }, { 120, 120, 120 } }

local function tick(value)
   return math.abs(value) >= 1000 and ("%.0f"):format(value) or ("%.3g"):format(value)
end

--- A frame with ticks and labels; o: x, y, width, height (of the inside, in pixels), x_range, y_range,
-- x_label, title. Gives functions from values to pixels.
local function axes(canvas, o)
   local function across(value)
      return o.x + math.floor((value - o.x_range[1]) / (o.x_range[2] - o.x_range[1]) * (o.width - 1) + 0.5)
   end
   local function down(value)
      return o.y + o.height - 1
         - math.floor((value - o.y_range[1]) / (o.y_range[2] - o.y_range[1]) * (o.height - 1) + 0.5)
   end
   for i = 0, 4 do
      local x = o.x_range[1] + (o.x_range[2] - o.x_range[1]) * i / 4
      local y = o.y_range[1] + (o.y_range[2] - o.y_range[1]) * i / 4
      image.line(canvas, across(x), o.y, across(x), o.y + o.height - 1, { color = PALE })
      image.line(canvas, o.x, down(y), o.x + o.width - 1, down(y), { color = PALE })
      local text = tick(y)
      local width = image.text_size(text)
      image.text(canvas, o.x - width - 4, down(y) - 3, text)
      if o.x_label then
         text = tick(x)
         image.text(canvas, across(x) - image.text_size(text) // 2, o.y + o.height + 4, text)
      end
   end
   image.rectangle(canvas, o.x, o.y, o.width, o.height, { color = GREY })
   if o.x_label then
      image.text(canvas, o.x + (o.width - image.text_size(o.x_label)) // 2, o.y + o.height + 18, o.x_label)
   end
   image.text(canvas, o.x, o.y - 14, o.title)
   return across, down
end

--- A reliability diagram: for each bin how often pairs were of one class against how often they were said
-- to be (the diagonal is perfect), and below how many pairs each bin has.
-- @tparam table reliability of `calibration.reliability`
-- @tparam[opt] table opts `title` (default: the expected calibration error), `size` (of the diagram's side
--   in pixels, 300)
-- @treturn tensor uint8 [3,H,W]
-- @usage assert(image.save("reliability.png", figure.reliability(r)))
function M.reliability(reliability, opts)
   local o = options.check("figure.reliability", opts, { title = options.optional, size = 300 })
   options.check_count("figure.reliability", o, "size", 50)
   local size, counts = o.size, o.size // 3
   local canvas = image.canvas(size + 80, size + counts + 90)
   local title = o.title or ("share that is same, expected calibration error %.3f"):format(
      reliability.expected_calibration_error)
   local across, down = axes(canvas, { x = 50, y = 24, width = size, height = size, x_range = { 0, 1 },
      y_range = { 0, 1 }, title = title })
   local most = 1
   for _, bin in ipairs(reliability.bins) do
      most = math.max(most, bin.count)
   end
   local _, below = axes(canvas, { x = 50, y = size + 48, width = size, height = counts, x_range = { 0, 1 },
      y_range = { 0, most }, title = "pairs", x_label = "probability" })
   for _, bin in ipairs(reliability.bins) do
      local left, width = across(bin.low), math.max(1, across(bin.high) - across(bin.low))
      if bin.observed then
         image.rectangle(canvas, left + 1, down(bin.observed), math.max(1, width - 1),
            down(0) - down(bin.observed) + 1, { color = BLUE, filled = true })
         image.line(canvas, left + 1, down(bin.predicted), left + width - 1, down(bin.predicted),
            { color = COLORS[2], thickness = 2 })
      end
      image.rectangle(canvas, left + 1, below(bin.count), math.max(1, width - 1),
         below(0) - below(bin.count) + 1, { color = GREY, filled = true })
   end
   image.line(canvas, across(0), down(0), across(1), down(1), { color = BLACK })
   return canvas
end

local function as_list(name, key, values)
   if core.is_tensor(values) then
      values = values:totable()
   end
   if type(values) ~= "table" then
      core.raise(("%s: %s must be a list of numbers or a tensor, got %s"):format(name, key, type(values)))
   end
   return values
end

--- The smallest and the largest finite value of some lists; apart.
local function range_of(curves, key)
   local low, high = math.huge, -math.huge
   for _, curve in ipairs(curves) do
      for _, value in ipairs(curve[key]) do
         if value - value == 0 then
            low, high = math.min(low, value), math.max(high, value)
         end
      end
   end
   if low > high then
      return { 0, 1 }
   end
   return high > low and { low, high } or { low - 0.5, high + 0.5 }
end

local function draw_curve(canvas, curve, color, across, down)
   local before_x, before_y
   for i, x in ipairs(curve.x) do
      local y = curve.y[i]
      if x - x == 0 and y and y - y == 0 then
         local px, py = across(x), down(y)
         image.line(canvas, before_x or px, before_y or py, px, py, { color = color, thickness = 2 })
         before_x, before_y = px, py
      else
         before_x, before_y = nil, nil
      end
   end
end

local function check_curves(name, curves)
   local out = {}
   for i, curve in ipairs(curves) do
      local c = options.check(name, curve, { x = options.optional, y = options.required,
         label = options.optional })
      c.y = as_list(name, "y", c.y)
      c.x = c.x and as_list(name, "x", c.x)
      if not c.x then
         c.x = {}
         for k in ipairs(c.y) do
            c.x[k] = k
         end
      elseif #c.x ~= #c.y then
         core.raise(("%s: curve %d has %d x and %d y"):format(name, i, #c.x, #c.y))
      end
      out[i] = c
   end
   return out
end

--- Curves in one frame: a ROC, losses over steps.
-- @tparam {table,...} curves each { y =, x = (default 1, 2, ...), label = }, lists of numbers or tensors [N];
--   a value that is not finite leaves a gap
-- @tparam[opt] table opts `title`, `x_label`, `width` (of the frame in pixels, 420), `height` (260),
--   `x_range`, `y_range` ({low, high}; default: what the curves take)
-- @treturn tensor uint8 [3,H,W]
-- @usage figure.curves({ { x = report.false_positive_rate, y = report.true_positive_rate, label = "twin" } },
--    { title = "true accepts", x_label = "false accepts" })
function M.curves(curves, opts)
   local name = "figure.curves"
   local o = options.check(name, opts, { title = "", x_label = "", width = 420, height = 260,
      x_range = options.optional, y_range = options.optional })
   options.check_count(name, o, "width", 50)
   options.check_count(name, o, "height", 50)
   local all = check_curves(name, curves)
   local canvas = image.canvas(o.width + 90, o.height + 66 + 12 * #all)
   local across, down = axes(canvas, { x = 60, y = 24, width = o.width, height = o.height, title = o.title,
      x_label = o.x_label, x_range = o.x_range or range_of(all, "x"),
      y_range = o.y_range or range_of(all, "y") })
   for i, curve in ipairs(all) do
      local color, y = COLORS[(i - 1) % #COLORS + 1], o.height + 58 + 12 * (i - 1)
      draw_curve(canvas, curve, color, across, down)
      if curve.label then
         image.rectangle(canvas, 60, y, 12, 7, { color = color, filled = true })
         image.text(canvas, 78, y, curve.label)
      end
   end
   return canvas
end

return M
