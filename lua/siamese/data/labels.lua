--- Labels as numbers: what a data set's labels are, whatever they came as.
-- @module siamese.data.labels
local core = require "siamese.core"

local M = {}

local function is_number(text)
   return text:match("^%-?%d+$") ~= nil and math.tointeger(tonumber(text)) ~= nil
end

--- The distinct names, sorted: as numbers when all of them are whole numbers.
local function sorted(names)
   local list, numbers = {}, true
   for name in pairs(names) do
      list[#list + 1] = name
      numbers = numbers and is_number(name)
   end
   table.sort(list, numbers and function(a, b)
      return math.tointeger(tonumber(a)) < math.tointeger(tonumber(b))
   end or nil)
   return list
end

--- Numbers classes by name.
-- @tparam {string,...} names one a sample; numbers are taken as their text
-- @tparam[opt] {string,...} classes the names in their order; default: all there are, sorted
-- @treturn[1] {int,...} labels
-- @treturn[1] {string,...} classes
-- @treturn[2] nil
-- @treturn[2] string message when a name is not among the classes
function M.number(names, classes)
   local at, seen = {}, {}
   if not classes then
      for _, name in ipairs(names) do
         seen[tostring(name)] = true
      end
      classes = sorted(seen)
   end
   for class, name in ipairs(classes) do
      at[tostring(name)] = class
   end
   local labels = {}
   for i, name in ipairs(names) do
      labels[i] = at[tostring(name)]
      if not labels[i] then
         return nil, ("label %d is '%s', which is not among the %d classes"):format(i, name, #classes)
      end
   end
   return labels, classes
end

--- Whether a value is a tensor.
function M.is_tensor(value)
   return type(value) == "userdata" and core.is_tensor(value)
end

return M
