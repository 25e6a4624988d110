--- A line that says how far long work is: epoch, batch, images per second, loss, time left.
--
-- It is quiet when standard output is not a terminal, so that logs and pipes stay clean.
--
--    local line = progress.new{ epochs = 10, batches = 100 }
--    for epoch = 1, 10 do
--       for ... do
--          ...
--          line:update{ images = 64, loss = loss:item() }
--       end
--    end
--    line:finish()
--
-- @module siamese.progress
local core = require "siamese.core"
local options = require "siamese.options"

local M = {}

--- @type Line
local Line = {}
Line.__index = Line

--- Starts the clock.
-- @tparam table opts `batches` (in an epoch, required), `epochs` (default 1), `seconds` (the work stops
--   after so long, whatever the batches: the time left is reckoned by it), `every` (seconds between
--   redraws, default 0.2), `label` (what the line begins with), `stream` (default io.stdout), `visible`
--   (default: whether standard output is a terminal), `clock` (default siamese.clock)
-- @treturn Line
-- @usage local line = progress.new{ epochs = 5, batches = 200, label = "training" }
function M.new(opts)
   local o = options.check("progress.new", opts, {
      batches = options.required, epochs = 1, seconds = options.optional, every = 0.2,
      label = options.optional, stream = options.optional, visible = options.optional,
      clock = options.optional,
   })
   if type(o.batches) ~= "number" or o.batches < 1 then
      core.raise("progress.new: batches must be a positive number, got " .. tostring(o.batches))
   end
   local self = setmetatable(o, Line)
   self.stream = o.stream or io.stdout
   self.clock = o.clock or core.clock
   if self.visible == nil then
      self.visible = core.isatty()
   end
   self.started, self.drawn, self.width = self.clock(), -math.huge, 0
   self.steps, self.images = 0, 0
   return self
end

--- "45 s", "3 min 20 s", "2 h 5 min".
-- @tparam number seconds
-- @treturn string
function M.duration(seconds)
   seconds = math.max(0, math.floor(seconds + 0.5))
   if seconds < 60 then
      return ("%d s"):format(seconds)
   elseif seconds < 3600 then
      return ("%d min %d s"):format(seconds // 60, seconds % 60)
   end
   return ("%d h %d min"):format(seconds // 3600, seconds % 3600 // 60)
end

function Line:time_left(now)
   local spent = now - self.started
   local by_steps = spent / self.steps * (self.epochs * self.batches - self.steps)
   return self.seconds and math.min(by_steps, self.seconds - spent) or by_steps
end

--- The line as it would be drawn now.
-- @treturn string
function Line:text()
   local now, parts = self.clock(), {}
   local at = math.max(self.steps, 1) - 1
   if self.label then
      parts[1] = self.label
   end
   if self.epochs > 1 then
      parts[#parts + 1] = ("epoch %d/%d"):format(at // self.batches + 1, self.epochs)
   end
   parts[#parts + 1] = ("batch %d/%d"):format(at % self.batches + 1, self.batches)
   if self.images > 0 and now > self.started then
      parts[#parts + 1] = ("%.0f images/s"):format(self.images / (now - self.started))
   end
   if self.loss then
      parts[#parts + 1] = ("loss %.4f"):format(self.loss)
   end
   if self.note then
      parts[#parts + 1] = self.note
   end
   if self.steps > 0 then
      parts[#parts + 1] = M.duration(self:time_left(now)) .. " left"
   end
   return table.concat(parts, "  ")
end

function Line:draw(text)
   local padding = (" "):rep(self.width - #text)
   self.stream:write("\r", text, padding)
   self.stream:flush()
   self.width = #text
end

--- One more batch is done.
-- @tparam[opt] table what `images` (how many were in it), `loss` (a number; shown smoothed), `note`
function Line:update(what)
   what = options.check("progress update", what, {
      images = 0, loss = options.optional, note = options.optional })
   self.steps = self.steps + 1
   self.images = self.images + what.images
   self.note = what.note or self.note
   if what.loss then
      self.loss = self.loss and 0.9 * self.loss + 0.1 * what.loss or what.loss
   end
   local now = self.clock()
   if self.visible and now - self.drawn >= self.every then
      self.drawn = now
      self:draw(self:text())
   end
end

--- Wipes the line; a message, if given, is printed in its place (terminal or not).
-- @tparam[opt] string message
function Line:finish(message)
   if self.visible and self.width > 0 then
      self:draw("")
      self.stream:write("\r")
   end
   if message then
      self.stream:write(message, "\n")
   end
   self.stream:flush()
end

--- Prints a message above the line without disturbing it.
-- @tparam string message
function Line:print(message)
   self:finish(message)
   self.width, self.drawn = 0, -math.huge
end

return M
