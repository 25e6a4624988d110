--- What to put into a batch: pairs, episodes, and P classes by K samples.
--
-- A sampler is an iterator for a `for` loop (see `siamese.data.sampler`: it can be stopped and resumed). It
-- draws from a generator of its own, so the same `seed` gives the same batches whatever else draws random
-- numbers, and it gives indices, so that the images are gathered (and can be augmented) by whoever wants
-- them: `set:batch(indices)`, or `data.loader(set, { sampler = ... })`.
--
-- @module siamese.data.samplers
local core = require "siamese.core"
local options = require "siamese.options"
local sampler = require "siamese.data.sampler"
local sets = require "siamese.data.set"

local M = {}

local check_positive, fail, int64 = sampler.check_positive, sampler.fail, sampler.int64

--- The members of each class, and the classes with at least `least` of them.
function M.usable(name, set, least, wanted)
   sets.check(name, set)
   local members, classes = sets.members(set), {}
   for class, list in ipairs(members) do
      if #list >= least then
         classes[#classes + 1] = class
      end
   end
   if #classes < wanted then
      fail(name, "needs %d classes with at least %d sample%s each; of the %d classes %d %s",
         wanted, least, least == 1 and "" or "s", #members, #classes,
         #classes == 1 and "has" or "have")
   end
   return members, classes
end

--- Sorts classes into groups by the value that `groups` has for each; one group when nil. Groups of
-- fewer than `least` classes are left out.
function M.grouped(name, classes, groups, least)
   if not groups then
      return { classes }
   elseif type(groups) ~= "table" then
      fail(name, "groups must be a list with one value a class, got %s", options.text(groups))
   end
   local lists, at, out = {}, {}, {}
   for _, class in ipairs(classes) do
      local key = groups[class]
      if key == nil then
         fail(name, "groups has no value for class %d", class)
      end
      if not at[key] then
         lists[#lists + 1] = {}
         at[key] = #lists
      end
      table.insert(lists[at[key]], class)
   end
   for _, list in ipairs(lists) do
      if #list >= least then
         out[#out + 1] = list
      end
   end
   if #out == 0 then
      fail(name, "no group has %d classes to choose from", least)
   end
   return out
end

--- A random number of a list of lists, where each list weighs as much as it is long.
function M.weighted(lists)
   local total = 0
   for _, list in ipairs(lists) do
      total = total + #list
   end
   return function(generator)
      local at = generator:random(total)
      for _, list in ipairs(lists) do
         if at <= #list then
            return list, at
         end
         at = at - #list
      end
   end
end

local usable, grouped, weighted = M.usable, M.grouped, M.weighted

--- Pairs of images, half of them of one class, half of two.
--
-- Same pairs: a class, then two different samples of it. Different pairs: two classes, a sample of
-- each. In a batch of odd size a fair coin decides about the odd one.
-- @tparam Set set
-- @tparam[opt] table opts `batch_size` (pairs, default 64); `batches` (default: without end);
--   `seed`; `groups` (one value a class, such as `set.alphabets`: the two classes of a different
--   pair then come from one group, which is harder)
-- @treturn function iterator over a [B], b [B] (int64 indices) and same [B] (float32, 1 or 0)
-- @usage for a, b, same in data.pairs(set, { batch_size = 32, batches = 100, seed = 1 }) do ... end
function M.pairs(set, opts, name)
   name = name or "data.pairs"
   local o = options.check(name, opts, { batch_size = 64, batches = options.optional,
      seed = options.optional, groups = options.optional })
   local function prepare()
      check_positive(name, "batch_size", o.batch_size)
      sampler.check_limit(name, "batches", o.batches)
      local members, twice = usable(name, set, 2, 1)
      local _, any = usable(name, set, 1, 2)
      return members, twice, weighted(grouped(name, any, o.groups, 2))
   end
   local members, twice, draw_group = prepare()

   local function one(generator, list)
      return list[generator:random(#list)]
   end
   local function same_pair(generator)
      local list = members[one(generator, twice)]
      local i, j = table.unpack(generator:sample(#list, 2))
      return list[i], list[j]
   end
   local function different_pair(generator)
      local group, first = draw_group(generator)
      local second = generator:random(#group - 1)
      second = second < first and second or second + 1
      local a = one(generator, members[group[first]])
      return a, one(generator, members[group[second]])
   end
   local function draw(generator)
      local a, b, same = {}, {}, {}
      local half = o.batch_size // 2
      if o.batch_size % 2 == 1 and generator:uniform() < 0.5 then
         half = half + 1
      end
      for i = 1, o.batch_size do
         same[i] = i <= half and 1 or 0
      end
      generator:shuffle(same)
      for i = 1, o.batch_size do
         a[i], b[i] = (same[i] == 1 and same_pair or different_pair)(generator)
      end
      return int64(a), int64(b), core.tensor(same)
   end
   return sampler.new{ name = name, limit = o.batches, seed = o.seed, lists = 2, draw = draw,
      members = members, twice = twice }
end

--- N-way K-shot episodes: N classes, K support images and some queries of each.
-- @tparam Set set
-- @tparam[opt] table opts `way` (N, default 5); `shot` (K, default 1); `queries` (a class, default 1);
--   `episodes` (default: without end); `seed`; `groups` (one value a class: all classes of an
--   episode come from one group)
-- @treturn function iterator over support [N*K] (int64 indices, class by class), query [N*queries]
--   (int64 indices) and labels [N*queries] (int64: which of the N classes each query is)
-- @usage for support, query, labels in data.episodes(set, { way = 20, episodes = 400 }) do ... end
function M.episodes(set, opts, name)
   name = name or "data.episodes"
   local o = options.check(name, opts, { way = 5, shot = 1, queries = 1,
      episodes = options.optional, seed = options.optional, groups = options.optional })
   local function prepare()
      check_positive(name, "way", o.way)
      check_positive(name, "shot", o.shot)
      check_positive(name, "queries", o.queries)
      sampler.check_limit(name, "episodes", o.episodes)
      local members, classes = usable(name, set, o.shot + o.queries, o.way)
      return members, weighted(grouped(name, classes, o.groups, o.way))
   end
   local members, draw_group = prepare()

   local function draw(generator)
      local support, query, labels = {}, {}, {}
      local group = draw_group(generator)
      for label, at in ipairs(generator:sample(#group, o.way)) do
         local list = members[group[at]]
         for i, sample in ipairs(generator:sample(#list, o.shot + o.queries)) do
            local into = i <= o.shot and support or query
            into[#into + 1] = list[sample]
            if into == query then
               labels[#labels + 1] = label
            end
         end
      end
      return int64(support), int64(query), int64(labels)
   end
   return sampler.new{ name = name, limit = o.episodes, seed = o.seed, lists = 2, aligned = false,
      draw = draw }
end

--- Batches of P classes by K samples, as batch-hard triplets and margin losses want them.
--
-- Without groups, classes come in random order, each once before any comes again. With `groups`, each
-- batch draws its classes from a few groups, so that much of what it must tell apart is alike. The K
-- samples of a class are different ones; classes with fewer are left out, unless `replacement` lets their
-- samples come more than once.
-- @tparam Set set
-- @tparam[opt] table opts `classes` (P, default 16); `samples` (K, default 4); `batches` (default:
--   without end); `seed`; `groups` (one value a class, such as `set.alphabets`); `groups_per_batch`
--   (default 1; where they hold fewer than P classes, more groups join); `replacement` (default false)
-- @treturn function iterator over indices [P*K] and labels [P*K] (int64, the set's labels)
-- @usage for indices, labels in data.class_batches(set, { classes = 32, samples = 4 }) do ... end
function M.class_batches(set, opts, name)
   name = name or "data.class_batches"
   local o = options.check(name, opts, { classes = 16, samples = 4, batches = options.optional,
      seed = options.optional, groups = options.optional, groups_per_batch = 1, replacement = false })
   local function prepare()
      check_positive(name, "classes", o.classes)
      check_positive(name, "samples", o.samples)
      check_positive(name, "groups_per_batch", o.groups_per_batch)
      sampler.check_limit(name, "batches", o.batches)
      local members, classes = usable(name, set, o.replacement and 1 or o.samples, o.classes)
      return members, classes, o.groups and grouped(name, classes, o.groups, 1)
   end
   local members, all, all_groups = prepare()
   -- What has been shuffled is shuffled on: the order is a part of the state.
   local own = { classes = all, at = #all, groups = all_groups }

   local function next_classes(generator, state)
      local groups, classes = state.groups, state.classes
      if groups then
         local pool = {}
         generator:shuffle(groups)
         for i, group in ipairs(groups) do
            if i <= o.groups_per_batch or #pool < o.classes then
               table.move(group, 1, #group, #pool + 1, pool)
            end
         end
         generator:shuffle(pool)
         return table.move(pool, 1, o.classes, 1, {})
      end
      if state.at + o.classes > #classes then
         generator:shuffle(classes)
         state.at = 0
      end
      state.at = state.at + o.classes
      return table.move(classes, state.at - o.classes + 1, state.at, 1, {})
   end
   --- K samples of n; where there are fewer, all of them before any again.
   local function choose(generator, n)
      local out = generator:sample(n, math.min(n, o.samples))
      while #out < o.samples do
         local more = generator:sample(n, math.min(n, o.samples - #out))
         table.move(more, 1, #more, #out + 1, out)
      end
      return out
   end
   local function draw(generator, state)
      local indices, labels = {}, {}
      for _, class in ipairs(next_classes(generator, state)) do
         local list = members[class]
         for _, sample in ipairs(choose(generator, #list)) do
            indices[#indices + 1] = list[sample]
            labels[#labels + 1] = class
         end
      end
      return int64(indices), int64(labels)
   end
   return sampler.new{ name = name, limit = o.batches, seed = o.seed, own = own, draw = draw }
end

--- Batches that go through the whole set once.
-- @tparam Set set
-- @tparam[opt] table opts `batch_size` (default 64); `shuffle` (default true); `seed`; `drop_last`
--   (default false: the last batch may be smaller)
-- @treturn function iterator over indices [B] and labels [B] (int64)
-- @usage for indices, labels in data.batches(set, { batch_size = 128 }) do ... end
function M.batches(set, opts)
   local name = "data.batches"
   local o = options.check(name, opts, { batch_size = 64, shuffle = true, seed = options.optional,
      drop_last = false })
   sets.check(name, set)
   check_positive(name, "batch_size", o.batch_size)
   return sampler.once(name, set.labels:size(1), o, 1, function(indices)
      return indices, set.labels:index_select(1, indices)
   end)
end

return M
