--- What specs of samplers share: sets of tiny images, and lists of one value.
local siamese = require "siamese.core"
local sets = require "siamese.data.set"

local M = {}

--- A set of tiny images where class c has counts[c] of them; image i is filled with i.
function M.make_set(counts, extra)
   local labels, classes = {}, {}
   for class, count in ipairs(counts) do
      classes[class] = "class" .. class
      for _ = 1, count do
         labels[#labels + 1] = class
      end
   end
   local images = siamese.arange(1, #labels + 1):reshape(#labels, 1, 1, 1)
   local fields = { images = images:contiguous(), labels = labels, classes = classes }
   for key, value in pairs(extra or {}) do
      fields[key] = value
   end
   return sets.new(fields)
end

function M.repeated(value, count)
   local list = {}
   for i = 1, count do
      list[i] = value
   end
   return list
end

return M
