--- Splits of a data set: by class (one-shot recognition tests on classes never seen) or by sample.
-- @module siamese.data.split
local core = require "siamese.core"
local options = require "siamese.options"
local sets = require "siamese.data.set"

local M = {}

--- The sizes of the parts of n things. Parts are fractions (none above 1) or counts.
local function part_sizes(name, parts, n, level)
   local sum, fractions = 0, true
   if type(parts) ~= "table" or #parts == 0 then
      error(name .. ": expected a list of fractions or counts, as in {0.8, 0.2}", level + 1)
   end
   for i, part in ipairs(parts) do
      if type(part) ~= "number" or part <= 0 or part ~= part then
         error(("%s: part %d must be a fraction or a count above 0, got %s")
            :format(name, i, tostring(part)), level + 1)
      end
      sum, fractions = sum + part, fractions and part <= 1
   end
   fractions = fractions and sum <= 1 + 1e-9
   local sizes, taken, reached = {}, 0, 0
   for i, part in ipairs(parts) do
      reached = reached + (fractions and part * n or part)
      sizes[i] = math.floor(reached + 0.5) - taken
      taken = taken + sizes[i]
   end
   return sizes, taken
end

local function check_sizes(name, what, sizes, taken, n, level)
   if taken > n then
      error(("%s: the parts want %d %s, there are %d"):format(name, taken, what, n), level + 1)
   end
   for i, size in ipairs(sizes) do
      if size == 0 then
         error(("%s: part %d would be empty (%d %s in all)"):format(name, i, n, what), level + 1)
      end
   end
end

local function in_order(n, o)
   if not o.shuffle then
      local list = {}
      for i = 1, n do
         list[i] = i
      end
      return list
   end
   return core.Generator(o.seed):sample(n, n)
end

--- Lists of classes, one a group (or one a class where there are no groups).
local function class_groups(set, groups)
   local lists, at = {}, {}
   for class = 1, #set.classes do
      local key = groups and groups[class] or class
      if not at[key] then
         lists[#lists + 1] = {}
         at[key] = #lists
      end
      table.insert(lists[at[key]], class)
   end
   return lists
end

local OPTIONS = { seed = options.optional, shuffle = true, groups = options.optional }

--- Splits by class: no class is in two parts. The classes of each part are numbered anew.
-- @tparam Set set
-- @tparam {number,...} parts fractions of the classes, as {0.8, 0.2}, or counts, as {30, 10}
-- @tparam[opt] table opts `seed`; `shuffle` (default true; else in order); `groups` (a list with one
--   value a class, such as `set.alphabets`): then groups are what is split, whole
-- @treturn Set,... one a part
-- @usage local train, held_out = data.split_classes(set, { 0.8, 0.2 }, { seed = 1 })
function M.split_classes(set, parts, opts)
   local o = options.check("data.split_classes", opts, OPTIONS)
   local groups = class_groups(set, o.groups)
   local what = o.groups and "groups of classes" or "classes"
   local sizes, taken = part_sizes("data.split_classes", parts, #groups, 2)
   check_sizes("data.split_classes", what, sizes, taken, #groups, 2)
   local order, out, at = in_order(#groups, o), {}, 0
   for i, size in ipairs(sizes) do
      local classes = {}
      for k = at + 1, at + size do
         table.move(groups[order[k]], 1, #groups[order[k]], #classes + 1, classes)
      end
      table.sort(classes)
      at = at + size
      out[i] = set:select_classes(classes)
   end
   return table.unpack(out)
end

--- Splits by sample: every class is in every part, in the same proportions.
-- @tparam Set set
-- @tparam {number,...} parts fractions of each class, as {0.8, 0.2}, or counts a class, as {15, 5}
-- @tparam[opt] table opts `seed`; `shuffle` (default true; else in order)
-- @treturn Set,... one a part
-- @usage local train, test = data.split_samples(set, { 0.8, 0.2 }, { seed = 1 })
function M.split_samples(set, parts, opts)
   local o = options.check("data.split_samples", opts,
      { seed = options.optional, shuffle = true })
   local lists, generator = {}, o.shuffle and core.Generator(o.seed)
   for class, members in ipairs(sets.members(set)) do
      local sizes, taken = part_sizes("data.split_samples", parts, #members, 2)
      check_sizes("data.split_samples", ("samples of class '%s'"):format(set.classes[class]),
         sizes, taken, #members, 2)
      local at = 0
      if generator then
         generator:shuffle(members)
      end
      for i, size in ipairs(sizes) do
         lists[i] = lists[i] or {}
         table.move(members, at + 1, at + size, #lists[i] + 1, lists[i])
         at = at + size
      end
   end
   local out = {}
   for i, list in ipairs(lists) do
      table.sort(list)
      out[i] = set:subset(list)
   end
   return table.unpack(out)
end

return M
