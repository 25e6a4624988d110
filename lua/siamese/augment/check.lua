--- Checking of steps' options. Internal to siamese.augment and siamese.image.functional.
--
-- A checker belongs to one table of options. What it does not like it raises where these modules were called
-- from, however deep in them it was asked.
-- @module siamese.augment.check
local core = require "siamese.core"
local options = require "siamese.options"

local Checker = {}
Checker.__index = Checker

--- Raises at the caller of the library.
local function raise(text, ...)
   core.raise(text:format(...))
end

--- @tparam string name what the options are for
-- @tparam table o the options
local function new(name, o)
   return setmetatable({ name = name, options = o }, Checker)
end

local function fail(c, key, expected)
   raise("%s: %s must be %s, got %s", c.name, key, expected, options.text(c.options[key]))
end

local function is_finite(value)
   return type(value) == "number" and value - value == 0
end

local function is_list(value, least, most)
   if type(value) ~= "table" or #value < least or #value > most then
      return false
   end
   for _, item in ipairs(value) do
      if not is_finite(item) then
         return false
      end
   end
   return true
end

function Checker:number(key, least, most)
   local value = self.options[key]
   if not is_finite(value) or value < (least or -math.huge) or value > (most or math.huge) then
      local expected = least and most and ("a number from %g to %g"):format(least, most)
         or least and ("a number of at least %g"):format(least) or "a number"
      fail(self, key, expected)
   end
   return value
end

--- Numbers as large as the core takes for sizes.
function Checker:integer(key, least)
   local value = self.options[key]
   if math.type(value) ~= "integer" or value < least or value > 1 << 20 then
      fail(self, key, ("an integer of at least %d"):format(least))
   end
   return value
end

function Checker:boolean(key)
   if type(self.options[key]) ~= "boolean" then
      fail(self, key, "true or false")
   end
   return self.options[key]
end

function Checker:probability(key)
   local value = self.options[key]
   if not is_finite(value) or value < 0 or value > 1 then
      fail(self, key, "a probability from 0 to 1")
   end
   return value
end

function Checker:choice(key, choices)
   for _, choice in ipairs(choices) do
      if self.options[key] == choice then
         return choice
      end
   end
   fail(self, key, "'" .. table.concat(choices, "' or '") .. "'")
end

--- {low, high} of a range; of a number `value`, {value, value}, or, with `around`, so much on either side
-- of that (and not below `least`).
function Checker:range(key, o)
   local value = self.options[key]
   local least, most = o and o.least or -math.huge, o and o.most or math.huge
   local found = value
   if is_finite(value) then
      found = { value, value }
      if o and o.around then
         found = { math.max(o.around - value, o.clip or -math.huge), o.around + value }
      end
   end
   if not is_list(found, 2, 2) or found[1] > found[2] or found[1] < least or found[2] > most
      or (is_finite(value) and o and o.around and value < 0) then
      local within = o and (o.least or o.most)
         and (" within %g to %g"):format(o.least or -math.huge, o.most or math.huge) or ""
      fail(self, key, "a number or a range {low, high}" .. within)
   end
   return { found[1], found[2] }
end

--- Two numbers of one or two.
function Checker:pair(key, least)
   local value = self.options[key]
   local both = is_finite(value) and { value, value } or value
   if not is_list(both, 2, 2) or both[1] < (least or -math.huge) or both[2] < (least or -math.huge) then
      fail(self, key, least and ("a number of at least %g, or two such"):format(least)
         or "a number, or two")
   end
   return { both[1], both[2] }
end

--- {height, width} of a positive integer for both, or two.
function Checker:size(key)
   local value = self.options[key]
   local both = type(value) == "table" and value or { value, value }
   for i = 1, math.max(2, #both) do
      if i > 2 or math.type(both[i]) ~= "integer" or both[i] < 1 or both[i] > 1 << 20 then
         fail(self, key, "a positive integer or {height, width}")
      end
   end
   return both[1], both[2]
end

--- {left, top, right, bottom} of an integer for all, {left and right, top and bottom}, or four.
function Checker:padding(key, least)
   local value = self.options[key]
   local list = type(value) == "table" and value or { value }
   for _, item in ipairs(list) do
      if math.type(item) ~= "integer" or item < least or item > 1 << 20 then
         list = {}
         break
      end
   end
   if #list == 1 then
      return { list[1], list[1], list[1], list[1] }
   elseif #list == 2 then
      return { list[1], list[2], list[1], list[2] }
   elseif #list ~= 4 then
      fail(self, key, "an integer, {left and right, top and bottom} or {left, top, right, bottom}"
         .. (least == 0 and ", none below 0" or ""))
   end
   return { list[1], list[2], list[3], list[4] }
end

--- One value for all channels or a list with one for each.
function Checker:values(key)
   local value = self.options[key]
   if is_finite(value) then
      return { value }
   elseif not is_list(value, 1, 16) then
      fail(self, key, "a number, or a list with one for each channel")
   end
   return table.move(value, 1, #value, 1, {})
end

--- Raises as a method does, of what it does not check itself.
function Checker:fail(text, ...)
   raise("%s: %s", self.name, text:format(...))
end

return { new = new, raise = raise, is_finite = is_finite }
