--- Splits of a data set: by class (one-shot recognition tests on classes never seen), by sample, by group of
-- samples, in two or more parts or in k folds.
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

--- Lists of the places of each key, in the order in which the keys first appear.
local function places_of(keys)
   local lists, at = {}, {}
   for place, key in ipairs(keys) do
      if not at[key] then
         lists[#lists + 1] = {}
         at[key] = #lists
      end
      table.insert(lists[at[key]], place)
   end
   return lists
end

--- Lists of classes, one a group (or one a class where there are no groups).
local function class_groups(set, groups)
   local keys = {}
   for class = 1, #set.classes do
      keys[class] = groups and groups[class] or class
   end
   return places_of(keys)
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

--- Makes a set of each list of indices, in their order.
local function parts_of(set, lists)
   local out = {}
   for i, list in ipairs(lists) do
      table.sort(list)
      out[i] = set:subset(list)
   end
   return out
end

--- Cuts a list into pieces of those sizes; adds piece i to lists[i].
local function deal(items, sizes, lists)
   local at = 0
   for i, size in ipairs(sizes) do
      lists[i] = lists[i] or {}
      table.move(items, at + 1, at + size, #lists[i] + 1, lists[i])
      at = at + size
   end
end

--- Splits by sample. Stratified (the default), every class is in every part, in the same proportions; else
-- the samples are dealt whatever their classes.
-- @tparam Set set
-- @tparam {number,...} parts fractions, as {0.8, 0.2}, or counts: of each class, as {15, 5}; of all
--   samples when not stratified
-- @tparam[opt] table opts `seed`; `shuffle` (default true; else in order); `stratified` (default true)
-- @treturn Set,... one a part
-- @usage local train, test = data.split_samples(set, { 0.8, 0.2 }, { seed = 1 })
function M.split_samples(set, parts, opts)
   local name = "data.split_samples"
   local o = options.check(name, opts, { seed = options.optional, shuffle = true, stratified = true })
   local lists = {}
   if not o.stratified then
      local n = #set
      local sizes, taken = part_sizes(name, parts, n, 2)
      check_sizes(name, "samples", sizes, taken, n, 2)
      deal(in_order(n, o), sizes, lists)
      return table.unpack(parts_of(set, lists))
   end
   local generator = o.shuffle and core.Generator(o.seed)
   for class, members in ipairs(sets.members(set)) do
      local sizes, taken = part_sizes(name, parts, #members, 2)
      check_sizes(name, ("samples of class '%s'"):format(set.classes[class]), sizes, taken, #members, 2)
      if generator then
         generator:shuffle(members)
      end
      deal(members, sizes, lists)
   end
   return table.unpack(parts_of(set, lists))
end

--- The samples of each group, groups in the order in which they first appear. `groups` has one value a
-- sample, or is the name of a field of the set that has.
local function sample_groups(name, set, groups, level)
   if type(groups) == "string" then
      local field = set[groups]
      if type(field) ~= "table" then
         error(("%s: the set has no field '%s'"):format(name, groups), level + 1)
      end
      groups = field
   end
   if type(groups) ~= "table" or #groups ~= #set then
      error(("%s: groups must be a list with one value for each of the %d samples, got %s"):format(name,
         #set, type(groups) == "table" and #groups or type(groups)), level + 1)
   end
   return places_of(groups)
end

--- The samples of some groups in one list.
local function joined(groups, order, first, last)
   local list = {}
   for k = first, last do
      table.move(groups[order[k]], 1, #groups[order[k]], #list + 1, list)
   end
   return list
end

--- Splits by group of samples, such as who drew or photographed them: no group is in two parts. The classes
-- stay as they are.
-- @tparam Set set
-- @tparam {number,...} parts fractions of the groups, as {0.8, 0.2}, or counts, as {16, 4}
-- @tparam table opts `groups` (a list with one value a sample, or the name of a field of the set that is
--   one, such as "drawers"); `seed`; `shuffle` (default true; else in order)
-- @treturn Set,... one a part
-- @usage local train, test = data.split_groups(set, { 16, 4 }, { groups = "drawers", seed = 1 })
function M.split_groups(set, parts, opts)
   local name = "data.split_groups"
   local o = options.check(name, opts, { seed = options.optional, shuffle = true,
      groups = options.required })
   local groups = sample_groups(name, set, o.groups, 2)
   local sizes, taken = part_sizes(name, parts, #groups, 2)
   check_sizes(name, "groups", sizes, taken, #groups, 2)
   local order, lists, at = in_order(#groups, o), {}, 0
   for i, size in ipairs(sizes) do
      lists[i] = joined(groups, order, at + 1, at + size)
      at = at + size
   end
   return table.unpack(parts_of(set, lists))
end

-- k folds

--- Deals what there is to k lists, one after the other; goes on where the last deal ended, so that many
-- small classes fill all folds alike.
local function deal_in_turn(items, lists, start)
   for i, item in ipairs(items) do
      table.insert(lists[(start + i - 1) % #lists + 1], item)
   end
   return (start + #items) % #lists
end

local function empty_lists(k)
   local lists = {}
   for i = 1, k do
      lists[i] = {}
   end
   return lists
end

local function check_folds(name, what, n, k, level)
   if n < k then
      error(("%s: %d folds need at least as many %s, there are %d"):format(name, k, what, n), level + 1)
   end
end

--- Lists of sample indices, one a fold.
local function sample_folds(set, k, o, level)
   local name, lists = "data.k_fold", empty_lists(k)
   if o.by == "groups" then
      local groups = sample_groups(name, set, o.groups, level + 1)
      check_folds(name, "groups", #groups, k, level + 1)
      for i, group in ipairs(in_order(#groups, o)) do
         local list = lists[(i - 1) % k + 1]
         table.move(groups[group], 1, #groups[group], #list + 1, list)
      end
      return lists
   end
   check_folds(name, "samples", #set, k, level + 1)
   if not o.stratified then
      deal_in_turn(in_order(#set, o), lists, 0)
      return lists
   end
   local start, generator = 0, o.shuffle and core.Generator(o.seed)
   for _, members in ipairs(sets.members(set)) do
      if generator then
         generator:shuffle(members)
      end
      start = deal_in_turn(members, lists, start)
   end
   return lists
end

--- The items of all lists but one, sorted.
local function all_but(lists, left_out)
   local out = {}
   for i, list in ipairs(lists) do
      if i ~= left_out then
         table.move(list, 1, #list, #out + 1, out)
      end
   end
   table.sort(out)
   return out
end

local function class_folds(set, k, o, level)
   local groups = class_groups(set, o.groups)
   check_folds("data.k_fold", o.groups and "groups of classes" or "classes", #groups, k, level + 1)
   local lists = empty_lists(k)
   for i, group in ipairs(in_order(#groups, o)) do
      local list = lists[(i - 1) % k + 1]
      table.move(groups[group], 1, #groups[group], #list + 1, list)
   end
   return lists
end

--- Cuts a set into k folds, each of which is the test part once.
--
-- By "samples" (stratified: each class is dealt to all folds in turn; a class with one image is in one
-- of them), by "classes" (the test parts' classes are in no training part; numbered anew) or by "groups" of
-- samples.
-- @tparam Set set
-- @tparam int k at least 2
-- @tparam[opt] table opts `by` ("samples", the default, "classes" or "groups"); `groups` (by groups: as in
--   `split_groups`; by classes: as in `split_classes`); `stratified` (by samples, default true); `seed`;
--   `shuffle` (default true)
-- @treturn function iterator over train and test (Sets, made one fold at a time) and the fold's number
-- @usage for train, test, fold in data.k_fold(set, 5, { seed = 1 }) do ... end
function M.k_fold(set, k, opts)
   local name = "data.k_fold"
   local o = options.check(name, opts, { seed = options.optional, shuffle = true, groups = options.optional,
      stratified = true, by = "samples" })
   options.check_choice(name, o, "by", { "samples", "classes", "groups" })
   if math.type(k) ~= "integer" or k < 2 then
      error(("%s: k must be an integer of at least 2, got %s"):format(name, tostring(k)), 2)
   end
   local by_class, fold = o.by == "classes", 0
   local lists = (by_class and class_folds or sample_folds)(set, k, o, 2)
   local make = by_class and set.select_classes or set.subset
   return function()
      fold = fold + 1
      if lists[fold] then
         table.sort(lists[fold])
         return make(set, all_but(lists, fold)), make(set, lists[fold]), fold
      end
   end
end

return M
