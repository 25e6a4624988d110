--- More samplers of pairs and triplets: all pairs of a batch, triplets, hard pairs.
-- See `siamese.data.samplers` for what samplers are.
-- @module siamese.data.pair_samplers
local core = require "siamese.core"
local options = require "siamese.options"
local sampler = require "siamese.data.sampler"
local samplers = require "siamese.data.samplers"

local M = {}

local check_positive, fail, int64 = sampler.check_positive, sampler.fail, sampler.int64

-- All pairs of a batch

--- The places of all pairs i < j of n: two int64 tensors [n (n - 1) / 2].
local function all_places(n)
   local a, b = {}, {}
   for i = 1, n do
      for j = i + 1, n do
         a[#a + 1], b[#b + 1] = i, j
      end
   end
   return int64(a), int64(b)
end

--- Batches of which each picture is compared with each other: P classes by K samples, and all
-- P K (P K - 1) / 2 pairs of them. A picture is embedded once, whatever the number of its pairs.
-- @tparam Set set
-- @tparam[opt] table opts those of `class_batches`
-- @treturn Sampler over indices [P*K] (int64), a and b [pairs] (int64: places in the batch, from 1) and same
--   [pairs] (float32, 1 or 0)
-- @usage
-- for indices, a, b, same in data.all_pairs(set, { classes = 8, samples = 4, batches = 100 }) do
--    local e = twin:embed((set:batch(indices)))
--    local loss = contrastive(twin:distance_between(e:index_select(1, a), e:index_select(1, b)), same)
-- end
function M.all_pairs(set, opts)
   local inner = samplers.class_batches(set, opts, "data.all_pairs")
   local count, a, b
   --- What comes with the pictures at `indices`.
   local function others_of(indices)
      local n = indices:size(1)
      if n ~= count then
         count, a, b = n, all_places(n)
      end
      local labels = set.labels:index_select(1, indices)
      local same = n > 1 and labels:index_select(1, a):eq(labels:index_select(1, b)):float()
         or core.zeros(0)
      return a, b, same
   end
   local draw = inner.draw
   inner.others_of = others_of
   inner.draw = function(generator, own)
      local indices = draw(generator, own)
      return indices, others_of(indices)
   end
   return inner
end

-- Triplets

--- For each class the list of classes that its negatives come from, and its own place in that list.
local function neighbours(groups)
   local lists, places = {}, {}
   for _, group in ipairs(groups) do
      for place, class in ipairs(group) do
         lists[class], places[class] = group, place
      end
   end
   return lists, places
end

--- Triplets of images: an anchor, another image of its class, and one of another class.
--
-- The anchor's class is drawn first, all alike, then two of its images, then another class and one of
-- its images.
-- @tparam Set set
-- @tparam[opt] table opts `batch_size` (triplets, default 64); `batches` (default: without end); `seed`;
--   `groups` (one value a class, such as `set.alphabets`: negatives come from the anchor's group)
-- @treturn Sampler over anchor, positive and negative [B] (int64 indices)
-- @usage for a, p, n in data.triplets(set, { batch_size = 32, batches = 100, seed = 1 }) do ... end
function M.triplets(set, opts)
   local name = "data.triplets"
   local o = options.check(name, opts, { batch_size = 64, batches = options.optional,
      seed = options.optional, groups = options.optional })
   local function prepare()
      check_positive(name, "batch_size", o.batch_size)
      sampler.check_limit(name, "batches", o.batches)
      local members, twice = samplers.usable(name, set, 2, 1)
      local _, any = samplers.usable(name, set, 1, 2)
      local lists, places = neighbours(samplers.grouped(name, any, o.groups, 2))
      local anchors = {}
      for _, class in ipairs(twice) do
         anchors[#anchors + 1] = lists[class] and class
      end
      if #anchors == 0 then
         fail(name, "no class with 2 samples shares its group with another class")
      end
      return members, anchors, lists, places
   end
   local members, anchors, lists, places = prepare()
   local function one(generator)
      local class = anchors[generator:random(#anchors)]
      local list, group = members[class], lists[class]
      local i, j = table.unpack(generator:sample(#list, 2))
      local other = generator:random(#group - 1)
      local negatives = members[group[other < places[class] and other or other + 1]]
      return list[i], list[j], negatives[generator:random(#negatives)]
   end
   local function draw(generator)
      local a, p, n = {}, {}, {}
      for i = 1, o.batch_size do
         a[i], p[i], n[i] = one(generator)
      end
      return int64(a), int64(p), int64(n)
   end
   return sampler.new{ name = name, limit = o.batches, seed = o.seed, lists = 3, draw = draw }
end

-- Hard pairs

local CHUNK = 256 -- rows of the table of distances that are computed at a time

--- Numbers of groups, one a class; nil without groups.
local function group_numbers(set, groups)
   local at, count, numbers = {}, 0, {}
   for class = 1, #set.classes do
      local key = groups[class]
      if key ~= nil and not at[key] then
         count = count + 1
         at[key] = count
      end
      numbers[class] = key ~= nil and at[key] or -class
   end
   return int64(numbers)
end

--- For the rows `first` .. of a set's embeddings: the farthest image of the same class, and the
-- nearest ones of others.
local function search(x, labels, groups, first, count, candidates)
   local function rows(t)
      return t:narrow(1, first, count):unsqueeze(2)
   end
   local d = core.F.cdist(x:narrow(1, first, count), x)
   local same, apart = rows(labels):eq(labels:unsqueeze(1)), rows(labels):ne(labels:unsqueeze(1))
   local own = core.arange(first, first + count, { dtype = "int64" }):unsqueeze(2)
      :eq(core.arange(1, x:size(1) + 1, { dtype = "int64" }):unsqueeze(1))
   local far = d:masked_fill(apart, -1):masked_fill(own, -1):argmax(2)
   local others = d:masked_fill(same, math.huge)
   if groups then
      others = others:masked_fill(rows(groups):ne(groups:unsqueeze(1)), math.huge)
   end
   local values, near = others:topk(candidates, 2, false)
   return far:totable(), values:totable(), near:totable()
end

local function check_embeddings(set, x)
   local n = set.labels:size(1)
   if not core.is_tensor(x) or x.dtype ~= "float32" or x:dim() ~= 2 or x:size(1) ~= n then
      core.raise(("data.hard_pairs: update needs the embeddings of all %d images, float32 [%d,D]"):format(n,
         n))
   elseif not x:isfinite():all() then
      core.raise("data.hard_pairs: the embeddings have values that are not finite")
   end
end

--- What is hard among all images, by their embeddings.
local function mine(set, x, o)
   local n = x:size(1)
   local labels, groups, far, near = set.labels, nil, {}, {}
   if o.groups then
      groups = group_numbers(set, o.groups):index_select(1, labels)
   end
   local candidates = math.min(o.candidates, n)
   for first = 1, n, CHUNK do
      local f, values, indices = search(x, labels, groups, first, math.min(CHUNK, n - first + 1), candidates)
      for i, partner in ipairs(f) do
         local list = {}
         for k, index in ipairs(indices[i]) do
            list[#list + 1] = values[i][k] < math.huge and index or nil
         end
         far[first + i - 1], near[first + i - 1] = partner, list
      end
   end
   return { far = far, near = near }
end

--- Pairs that the last epoch's embeddings got wrong or nearly wrong: `hard` of them are, the rest is as
-- `data.pairs` draws.
--
-- A hard same pair is an image and the farthest of its class; a hard different pair an image and one of
-- the `candidates` nearest of other classes (from the same group, with groups). Until `update` is called
-- all pairs are random; an update counts from the next batch on, in a loader, too.
-- @tparam Set set
-- @tparam[opt] table opts `batch_size` (pairs, default 64); `batches` (default: without end); `seed`;
--   `hard` (the share, 0 to 1, default 0.5); `candidates` (default 10); `groups` (one value a class)
-- @treturn Sampler over a [B], b [B] (int64 indices) and same [B] (float32, 1 or 0); with a method
--   `update(embeddings)`, float32 [N,D], compared by their Euclidean distances
-- @usage
-- local sampler = data.hard_pairs(set, { batch_size = 32, batches = 100, seed = 1 })
-- for epoch = 1, 10 do
--    for a, b, same in sampler do ... end
--    sampler:update(metrics.embed_all(function(x) return twin:embed(x) end, set.images))
-- end
function M.hard_pairs(set, opts)
   local name = "data.hard_pairs"
   local o = options.check(name, opts, { batch_size = 64, batches = options.optional, seed = options.optional,
      hard = 0.5, candidates = 10, groups = options.optional })
   options.check_number(name, o, "hard", 0, 1)
   options.check_count(name, o, "candidates", 1)
   sampler.check_limit(name, "batches", o.batches)
   local easy = samplers.pairs(set, { batch_size = o.batch_size, groups = o.groups, seed = 0 }, name)
   local self
   local members = easy.members
   local function member(generator, classes)
      local list = members[classes[generator:random(#classes)]]
      return list[generator:random(#list)]
   end
   --- Makes a pair hard, if what is drawn has a hard partner.
   local function harden(generator, same, a, b)
      if generator:uniform() >= o.hard then
         return a, b
      elseif same then
         a = member(generator, easy.twice)
         return a, self.frozen.far[a]
      end
      local list = self.frozen.near[a]
      return a, #list > 0 and list[generator:random(#list)] or b
   end
   local function draw(generator, own)
      local a, b, same = easy.draw(generator, own)
      if not self.frozen then
         return a, b, same
      end
      a, b = a:totable(), b:totable()
      for i, flag in ipairs(same:totable()) do
         a[i], b[i] = harden(generator, flag == 1, a[i], b[i])
      end
      return int64(a), int64(b), same
   end
   self = sampler.new{ name = name, limit = o.batches, seed = o.seed, lists = 2, draw = draw }
   self.update = function(_, embeddings)
      check_embeddings(set, embeddings)
      self:freeze(core.no_grad(mine, set, embeddings:detach(), o))
      return self
   end
   return self
end

return M
