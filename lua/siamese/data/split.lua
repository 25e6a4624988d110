--- Splits of a data set: by class (one-shot recognition tests on classes never seen), by sample, by group of
-- samples, in two or more parts or in k folds.
-- @module siamese.data.split
local core = require "siamese.core"
local options = require "siamese.options"
local sets = require "siamese.data.set"

local M = {}

--- Raises for parts that are neither fractions nor counts; `small` when none is above 1.
local function check_counts(name, parts, sum, small)
   for i, part in ipairs(parts) do
      if not math.tointeger(part) then
         core.raise(small and ("%s: the fractions sum to %g, expected at most 1"):format(name, sum)
            or ("%s: part %d must be a whole count, as others are, got %s"):format(name, i, part))
      end
   end
end

--- The sizes of the parts of n things. Parts are fractions (none above 1, nor their sum) or counts.
local function part_sizes(name, parts, n)
   local sum, fractions = 0, true
   if type(parts) ~= "table" or #parts == 0 then
      core.raise(name .. ": expected a list of fractions or counts, as in {0.8, 0.2}")
   end
   for i, part in ipairs(parts) do
      if type(part) ~= "number" or part <= 0 or part ~= part then
         core.raise(("%s: part %d must be a fraction or a count above 0, got %s")
            :format(name, i, tostring(part)))
      end
      sum, fractions = sum + part, fractions and part <= 1
   end
   if not fractions or sum > 1 + 1e-9 then
      check_counts(name, parts, sum, fractions)
      fractions = false
   end
   local sizes, taken, reached = {}, 0, 0
   for i, part in ipairs(parts) do
      reached = reached + (fractions and part * n or part)
      sizes[i] = math.floor(reached + 0.5) - taken
      taken = taken + sizes[i]
   end
   return sizes, taken
end

local function check_sizes(name, what, sizes, taken, n)
   if taken > n then
      core.raise(("%s: the parts want %d %s, there are %d"):format(name, taken, what, n))
   end
   for i, size in ipairs(sizes) do
      if size == 0 then
         core.raise(("%s: part %d would be empty (%d %s in all)"):format(name, i, n, what))
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

--- The options, with the set and the seed checked, too.
local function check(name, set, opts, spec)
   sets.check(name, set, true)
   local o = options.check(name, opts, spec)
   options.check_seed(name, o.seed)
   return o
end

--- Lists of classes, one a group (or one a class where there are no groups).
local function class_groups(name, set, groups)
   local keys = {}
   if groups ~= nil and type(groups) ~= "table" then
      core.raise(("%s: groups must be a list with one value a class, got %s"):format(name,
         options.text(groups)))
   end
   for class = 1, #set.classes do
      keys[class] = groups and groups[class] or class
   end
   return places_of(keys)
end

local OPTIONS = { seed = options.optional, shuffle = true, groups = options.optional }

--- Splits by class: no class is in two parts. The classes of each part are numbered anew.
-- @tparam Set set
-- @tparam {number,...} parts fractions of the classes, as {0.8, 0.2}, which sum to at most 1, or whole
--   counts, as {30, 10}
-- @tparam[opt] table opts `seed`; `shuffle` (default true; else in order); `groups` (a list with one
--   value a class, such as `set.alphabets`): then groups are what is split, whole
-- @treturn Set,... one a part
-- @usage local train, held_out = data.split_classes(set, { 0.8, 0.2 }, { seed = 1 })
function M.split_classes(set, parts, opts)
   local o = check("data.split_classes", set, opts, OPTIONS)
   local groups = class_groups("data.split_classes", set, o.groups)
   local what = o.groups and "groups of classes" or "classes"
   local sizes, taken = part_sizes("data.split_classes", parts, #groups)
   check_sizes("data.split_classes", what, sizes, taken, #groups)
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
-- @tparam {number,...} parts fractions, as {0.8, 0.2}, or whole counts: of each class, as {15, 5}; of all
--   samples when not stratified
-- @tparam[opt] table opts `seed`; `shuffle` (default true; else in order); `stratified` (default true)
-- @treturn Set,... one a part
-- @usage local train, test = data.split_samples(set, { 0.8, 0.2 }, { seed = 1 })
function M.split_samples(set, parts, opts)
   local name = "data.split_samples"
   local o = check(name, set, opts, { seed = options.optional, shuffle = true, stratified = true })
   local lists = {}
   if not o.stratified then
      local n = #set
      local sizes, taken = part_sizes(name, parts, n)
      check_sizes(name, "samples", sizes, taken, n)
      deal(in_order(n, o), sizes, lists)
      return table.unpack(parts_of(set, lists))
   end
   local generator = o.shuffle and core.Generator(o.seed)
   for class, members in ipairs(sets.members(set)) do
      local sizes, taken = part_sizes(name, parts, #members)
      check_sizes(name, ("samples of class '%s'"):format(set.classes[class]), sizes, taken, #members)
      if generator then
         generator:shuffle(members)
      end
      deal(members, sizes, lists)
   end
   return table.unpack(parts_of(set, lists))
end

--- The samples of each group, groups in the order in which they first appear. `groups` has one value a
-- sample, or is the name of a field of the set that has.
local function sample_groups(name, set, groups)
   if type(groups) == "string" then
      local field = set[groups]
      if type(field) ~= "table" then
         core.raise(("%s: the set has no field '%s'"):format(name, groups))
      end
      groups = field
   end
   if type(groups) ~= "table" or #groups ~= #set then
      core.raise(("%s: groups must be a list with one value for each of the %d samples, got %s"):format(name,
         #set, type(groups) == "table" and #groups or type(groups)))
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
   local o = check(name, set, opts, { seed = options.optional, shuffle = true,
      groups = options.required })
   local groups = sample_groups(name, set, o.groups)
   local sizes, taken = part_sizes(name, parts, #groups)
   check_sizes(name, "groups", sizes, taken, #groups)
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

local function check_folds(name, what, n, k)
   if n < k then
      core.raise(("%s: %d folds need at least as many %s, there are %d"):format(name, k, what, n))
   end
end

--- Lists of sample indices, one a fold.
local function sample_folds(set, k, o)
   local name, lists = "data.k_fold", empty_lists(k)
   if o.by == "groups" then
      local groups = sample_groups(name, set, o.groups)
      check_folds(name, "groups", #groups, k)
      for i, group in ipairs(in_order(#groups, o)) do
         local list = lists[(i - 1) % k + 1]
         table.move(groups[group], 1, #groups[group], #list + 1, list)
      end
      return lists
   end
   check_folds(name, "samples", #set, k)
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

local function class_folds(set, k, o)
   local groups = class_groups("data.k_fold", set, o.groups)
   check_folds("data.k_fold", o.groups and "groups of classes" or "classes", #groups, k)
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
   local o = check(name, set, opts, { seed = options.optional, shuffle = true, groups = options.optional,
      stratified = true, by = "samples" })
   options.check_choice(name, o, "by", { "samples", "classes", "groups" })
   if math.type(k) ~= "integer" or k < 2 then
      core.raise(("%s: k must be an integer of at least 2, got %s"):format(name, tostring(k)))
   end
   local by_class, fold = o.by == "classes", 0
   local lists = (by_class and class_folds or sample_folds)(set, k, o)
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
