--- What the parts of siamese.metrics share: labels of any kind, names of distances.
-- @module siamese.metrics.common
local core = require "siamese.core"
local without_position = require("siamese.options").without_position

local M = {}

--- Labels as an int64 tensor: numbers as they are, a list of strings (or of anything that can be a key)
-- numbered in the order in which they come.
-- @tparam tensor|table labels
-- @tparam[opt] table known numbers by label so far, added to: labels of two lists that belong together
-- @treturn tensor int64 [N]
function M.labels(labels, known)
   if type(labels) ~= "table" or math.type(labels[1]) ~= nil or labels[1] == nil then
      return labels
   end
   known = known or {}
   local numbers, count = {}, 0
   for _ in pairs(known) do
      count = count + 1
   end
   for i, label in ipairs(labels) do
      if not known[label] then
         count = count + 1
         known[label] = count
      end
      numbers[i] = known[label]
   end
   return core.tensor(numbers, { dtype = "int64" })
end

local MEASURES = { l2 = true, l1 = true, cosine = true }

--- Raises unless it is the name of a distance (or a function, where that will do).
function M.check_distance(name, distance, functions)
   if MEASURES[distance] or functions and type(distance) == "function" then
      return
   end
   core.raise(("%s: distance must be 'l2', 'l1'%s 'cosine'%s, got '%s'"):format(name,
      functions and "," or " or", functions and " or a function" or "", tostring(distance)))
end

--- Calls f; what it raises is raised in the name of the function that the script called.
function M.blame(name, f, ...)
   local results = table.pack(pcall(f, ...))
   if not results[1] then
      core.raise(("%s: %s"):format(name, without_position(results[2])))
   end
   return table.unpack(results, 2, results.n)
end

return M
