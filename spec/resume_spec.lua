--- Samplers that are stopped and resumed, triplets, all pairs of a batch, hard pairs; groups and folds.
local siamese = require "siamese.core"
local data = require "siamese.data"
local support = require "spec.support"
local support_sets = require "spec.support_sets"

local fails = support.fails

local make_set, repeated = support_sets.make_set, support_sets.repeated

local function tables(...)
   local out = {}
   for i, value in ipairs{ ... } do
      out[i] = value:totable()
   end
   return out
end

--- The next `count` batches as tables; false at an epoch's end.
local function draw(sampler, count)
   local out = {}
   for i = 1, count do
      local batch = tables(sampler())
      out[i] = #batch > 0 and batch
   end
   return out
end

local groups = { "x", "x", "x", "y", "y", "y" }
local set = make_set(repeated(5, 6), { alphabets = groups })
local makers = {
   ["data.pairs"] = function(seed) return data.pairs(set, { batch_size = 7, batches = 5, seed = seed }) end,
   ["data.episodes"] = function(seed)
      return data.episodes(set, { way = 3, episodes = 5, seed = seed, groups = groups })
   end,
   ["data.class_batches"] = function(seed)
      return data.class_batches(set, { classes = 2, samples = 3, batches = 5, seed = seed })
   end,
   ["data.class_batches, groups"] = function(seed)
      return data.class_batches(set, { classes = 2, samples = 3, batches = 5, seed = seed, groups = groups })
   end,
   ["data.batches"] = function(seed) return data.batches(set, { batch_size = 7, seed = seed }) end,
   ["data.all_pairs"] = function(seed)
      return data.all_pairs(set, { classes = 2, samples = 3, batches = 5, seed = seed })
   end,
   ["data.triplets"] = function(seed) return data.triplets(set, { batch_size = 7, batches = 5,
      seed = seed }) end,
   ["data.hard_pairs"] = function(seed)
      local sampler = data.hard_pairs(set, { batch_size = 7, batches = 5, seed = seed })
      sampler:update(siamese.arange(1, 31):reshape(30, 1))
      return sampler
   end,
   ["PairList:batches"] = function(seed)
      return data.pair_list{ set = set, a = { 1, 2, 3, 4, 5 }, b = { 2, 3, 4, 5, 6 }, same = repeated(1, 5) }
         :batches{ batch_size = 1, shuffle = true, seed = seed }
   end,
}

describe("every sampler", function()
   for name, make in pairs(makers) do
      it("repeats with its seed and goes on from any state: " .. name, function()
         local whole = draw(make(3), 14)
         assert.same(whole, draw(make(3), 14))
         assert.are_not.same(whole, draw(make(4), 14))
         for at = 0, 13 do
            local sampler = make(3)
            draw(sampler, at)
            local state = sampler:state()
            local want = table.move(whole, at + 1, 14, 1, {})
            assert.same(want, draw(sampler, 14 - at))
            local other = make(9)
            draw(other, at % 4)
            assert.same(want, draw(other:restore(state), 14 - at))
            assert.same(want, draw(make(8):restore(state), 14 - at), "a state can be used twice")
         end
      end)

      it("begins another epoch after its end, and says where it is: " .. name, function()
         local sampler = make(3)
         local n = #sampler
         assert.equal(5, n)
         local epochs = { {}, {} }
         for epoch = 1, 2 do
            for _, b in sampler do
               epochs[epoch][#epochs[epoch] + 1] = b:totable()
            end
         end
         assert.same({ n, n }, { #epochs[1], #epochs[2] })
         sampler()
         assert.equal(name:match("^[^,]+") .. ": 1 of 5 batches", tostring(sampler))
      end)

      it("has a state of plain data: " .. name, function()
         local sampler = make(3)
         sampler()
         local function check(value)
            if type(value) == "table" then
               assert.is_nil(getmetatable(value))
               for key, item in pairs(value) do
                  assert.is_true(type(key) == "string" or math.type(key) == "integer")
                  check(item)
               end
            else
               assert.is_true(type(value) == "string" or math.type(value) == "integer")
            end
         end
         check(sampler:state())
      end)
   end

   it("without an end has none", function()
      local sampler = data.pairs(set, { seed = 1 })
      assert.equal(math.huge, #sampler)
      sampler()
      assert.equal("data.pairs: 1 batches", tostring(sampler))
   end)

   it("refuses a state of another", function()
      fails("data.pairs: expected a state of its own, got one of data.batches", function()
         makers["data.pairs"](1):restore(makers["data.batches"](1):state())
      end)
      fails("expected a state of its own, got number",
         function() makers["data.pairs"](1):restore(3) end)
   end)
end)

describe("the triplet sampler", function()
   it("gives two images of a class and one of another", function()
      local some = make_set{ 4, 1, 3, 0, 2 }
      local labels, seen = some.labels:totable(), {}
      for a, p, n in data.triplets(some, { batch_size = 50, batches = 5, seed = 1 }) do
         local rows = tables(a, p, n)
         for i = 1, 50 do
            local x, y, z = rows[1][i], rows[2][i], rows[3][i]
            assert.are_not.equal(x, y)
            assert.equal(labels[x], labels[y])
            assert.are_not.equal(labels[x], labels[z])
            seen[labels[x]], seen[labels[z] .. "n"] = true, true
         end
      end
      assert.same({ true, nil, true, nil, true, ["1n"] = true, ["2n"] = true, ["3n"] = true, ["5n"] = true },
         seen)
   end)

   it("keeps negatives in the anchor's group", function()
      local labels = set.labels:totable()
      for a, _, n in data.triplets(set, { batch_size = 50, batches = 3, groups = groups, seed = 1 }) do
         for i = 1, 50 do
            assert.equal(groups[labels[a[i]:item()]], groups[labels[n[i]:item()]])
         end
      end
   end)

   it("explains what a set lacks, to its caller", function()
      fails("data.triplets: needs 1 classes with at least 2 samples each", data.triplets, make_set{ 1, 1 })
      fails("data.triplets: needs 2 classes with at least 1 sample each", data.triplets, make_set{ 3 })
      fails("data.triplets: no class with 2 samples shares its group with another class", data.triplets,
         make_set{ 2, 1, 1 }, { groups = { "a", "b", "b" } })
      local _, message = pcall(function() data.triplets(make_set{ 3 }) end)
      assert.matches("^spec/resume_spec.lua:%d+: data.triplets", message)
      _, message = pcall(function() data.all_pairs(make_set{ 3 }, { classes = 2 }) end)
      assert.matches("^spec/resume_spec.lua:%d+: data.all_pairs", message)
      _, message = pcall(function() data.hard_pairs(make_set{ 3 }) end)
      assert.matches("^spec/resume_spec.lua:%d+: data.hard_pairs", message)
   end)
end)

describe("all pairs of a batch", function()
   it("are each two images once, and are same when the labels are", function()
      for indices, a, b, same in data.all_pairs(set, { classes = 3, samples = 2, batches = 4, seed = 1 }) do
         assert.same({ 6 }, indices.shape)
         local labels = set.labels:index_select(1, indices):totable()
         local seen = {}
         a, b, same = a:totable(), b:totable(), same:totable()
         for k = 1, 15 do
            assert.is_true(a[k] < b[k])
            assert.equal(labels[a[k]] == labels[b[k]] and 1 or 0, same[k])
            seen[a[k] * 10 + b[k]] = true
         end
         local count = 0
         for _ in pairs(seen) do
            count = count + 1
         end
         assert.equal(15, count)
      end
   end)

   it("of one image are none", function()
      for _, a, b, same in data.all_pairs(make_set{ 1 }, { classes = 1, samples = 1, batches = 1 }) do
         assert.same({ 0, 0, 0 }, { a:numel(), b:numel(), same:numel() })
      end
   end)
end)

describe("the hard pair sampler", function()
   --- Two classes on a line: 1 at 0, 1, 10; 2 at 11, 12, 30.
   local line = make_set{ 3, 3 }
   local places = siamese.tensor{ { 0 }, { 1 }, { 10 }, { 11 }, { 12 }, { 30 } }

   it("is random until it knows embeddings", function()
      local same_seed = { batch_size = 6, batches = 3, seed = 2 }
      assert.same(draw(data.pairs(line, same_seed), 3), draw(data.hard_pairs(line, same_seed), 3))
   end)

   it("then takes the farthest of a class and the nearest of others", function()
      local sampler = data.hard_pairs(line, { batch_size = 40, batches = 5, seed = 2, hard = 1,
         candidates = 2 })
      sampler:update(places)
      local far = { 3, 3, 1, 6, 6, 4 }
      local near = { { [4] = true, [5] = true }, { [4] = true, [5] = true }, { [4] = true, [5] = true },
         { [3] = true, [2] = true }, { [3] = true, [2] = true }, { [3] = true, [2] = true } }
      local seen = 0
      for a, b, same in sampler do
         local rows = tables(a, b, same)
         for i = 1, 40 do
            local x, y = rows[1][i], rows[2][i]
            if rows[3][i] == 1 then
               assert.equal(far[x], y)
            else
               assert.is_true(near[x][y])
               seen = seen + 1
            end
         end
      end
      assert.equal(100, seen)
   end)

   it("finds them among more images than are looked at at once, as sorting finds them", function()
      local many = make_set(repeated(30, 20))
      local x = siamese.Generator(5)
      local values = {}
      for i = 1, 600 do
         values[i] = { x:normal(), x:normal(), x:normal() }
      end
      values = siamese.tensor(values)
      local sampler = data.hard_pairs(many, { batch_size = 200, batches = 1, seed = 2, hard = 1,
         candidates = 3 })
      sampler:update(values)
      local a, b, same = sampler()
      local rows, labels = tables(a, b, same, many.labels), many.labels
      local d = siamese.F.cdist(values, values)
      for i = 1, 200 do
         local x1, y1 = rows[1][i], rows[2][i]
         local own = d[x1]
         local alike = labels:eq(rows[4][x1])
         if rows[3][i] == 1 then
            assert.near(own:masked_fill(alike:eq(0), -1):max():item(), own[y1]:item(), 1e-5)
         else
            local third = own:masked_fill(alike, math.huge):topk(3, 1, false)[3]:item()
            assert.is_true(own[y1]:item() <= third + 1e-5)
         end
      end
   end)

   it("keeps to groups, to classes with partners, and to its share", function()
      local sampler = data.hard_pairs(set, { batch_size = 60, batches = 4, seed = 2, hard = 1,
         groups = groups })
      sampler:update(siamese.arange(1, 31):reshape(30, 1))
      local labels = set.labels:totable()
      for a, b in sampler do
         local rows = tables(a, b)
         for i = 1, 60 do
            assert.are_not.equal(rows[1][i], rows[2][i])
            assert.equal(groups[labels[rows[1][i]]], groups[labels[rows[2][i]]])
         end
      end
      local lonely = make_set{ 2, 1, 1 }
      sampler = data.hard_pairs(lonely, { batch_size = 20, batches = 3, seed = 1, hard = 1,
         candidates = 100 })
      sampler:update(siamese.zeros(4, 2)) -- all the same: nobody is nearer than anybody
      for a, b, same in sampler do
         local rows = tables(a, b, same)
         for i = 1, 20 do
            assert.are_not.equal(rows[1][i], rows[2][i])
            assert.equal(rows[3][i] == 1, rows[1][i] <= 2 and rows[2][i] <= 2)
         end
      end
      local none = data.hard_pairs(line, { batch_size = 6, batches = 3, seed = 2, hard = 0 })
      none:update(places)
      for a, b, same in none do
         local rows = tables(a, b, same)
         for i = 1, 6 do
            assert.equal(rows[3][i] == 1, (rows[1][i] <= 3) == (rows[2][i] <= 3))
         end
      end
   end)

   it("refuses embeddings that are none", function()
      local sampler = data.hard_pairs(line)
      fails("update needs the embeddings of all 6 images, float32 [6,D]", sampler.update, sampler,
         places:narrow(1, 1, 5))
      fails("update needs the embeddings", sampler.update, sampler, 3)
      fails("the embeddings have values that are not finite", sampler.update, sampler, places / 0)
      fails("hard must be a number from 0 to 1", data.hard_pairs, line, { hard = 2 })
      fails("candidates must be an integer of at least 1", data.hard_pairs, line, { candidates = 0 })
   end)
end)

describe("batches of classes with few images", function()
   it("repeat them when told to, each before any again", function()
      local sampler = data.class_batches(make_set{ 1, 2, 5 }, { classes = 3, samples = 4, batches = 5,
         replacement = true, seed = 1 })
      for indices, labels in sampler do
         local counts = {}
         for i, index in ipairs(indices:totable()) do
            local class = labels[i]:item()
            counts[class] = counts[class] or {}
            counts[class][index] = (counts[class][index] or 0) + 1
         end
         assert.same({ 4 }, { counts[1][1] })
         assert.same({ [2] = 2, [3] = 2 }, counts[2])
         for _, count in pairs(counts[3]) do
            assert.equal(1, count)
         end
      end
   end)
end)

--- What is in a set of `make_set`.
local function members(part)
   return part.images:flatten():long():totable()
end

local function all_of(...)
   local out = {}
   for _, part in ipairs{ ... } do
      for _, index in ipairs(members(part)) do
         out[#out + 1] = index
      end
   end
   table.sort(out)
   return out
end

describe("a split", function()
   local drawers = {}
   for i = 1, 30 do
      drawers[i] = (i - 1) % 5 + 1
   end
   local drawn = make_set(repeated(5, 6), { drawers = drawers })
   local everything = members(drawn)

   it("by group of samples shares no group and keeps the classes", function()
      local a, b = data.split_groups(drawn, { 4, 1 }, { groups = "drawers", seed = 1 })
      assert.same({ 24, 6 }, { #a, #b })
      assert.same(everything, all_of(a, b))
      local seen = {}
      for _, drawer in ipairs(a.drawers) do
         seen[drawer] = true
      end
      for _, drawer in ipairs(b.drawers) do
         assert.is_nil(seen[drawer])
      end
      assert.equal(6, #b.classes)
      local c = data.split_groups(drawn, { 1, 4 }, { groups = drawers, shuffle = false })
      assert.same({ 1, 6, 11, 16, 21, 26 }, members(c))
   end)

   it("by group says what is wrong", function()
      fails("option 'groups' is required", data.split_groups, drawn, { 1, 1 })
      fails("the set has no field 'painters'", data.split_groups, drawn, { 1, 1 }, { groups = "painters" })
      fails("groups must be a list with one value for each of the 30 samples, got 2", data.split_groups,
         drawn,
         { 1, 1 }, { groups = { 1, 2 } })
      fails("the parts want 6 groups, there are 5", data.split_groups, drawn, { 5, 1 },
         { groups = "drawers" })
   end)

   it("by sample may be stratified or not", function()
      local lopsided = make_set{ 1, 8, 1 }
      fails("part 2 would be empty (1 samples of class 'class1' in all)", data.split_samples, lopsided,
         { 0.5, 0.5 })
      local a, b = data.split_samples(lopsided, { 0.5, 0.5 }, { seed = 1, stratified = false })
      assert.same({ 5, 5 }, { #a, #b })
      assert.same({ 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 }, all_of(a, b))
      a, b = data.split_samples(lopsided, { 7, 3 }, { shuffle = false, stratified = false })
      assert.same({ { 1, 2, 3, 4, 5, 6, 7 }, { 8, 9, 10 } }, { members(a), members(b) })
   end)
end)

describe("k folds", function()
   local function folds(of, k, opts)
      local out = {}
      for train, test, number in data.k_fold(of, k, opts) do
         assert.equal(#out + 1, number)
         out[number] = { train = train, test = test }
      end
      return out
   end

   it("test each sample once, classes in proportion", function()
      local some = make_set{ 10, 5, 3, 1 }
      local tested, list = {}, folds(some, 5, { seed = 1 })
      assert.equal(5, #list)
      for _, fold in ipairs(list) do
         assert.same(members(some), all_of(fold.train, fold.test))
         assert.equal(2, fold.test:counts()[1])
         assert.equal(1, fold.test:counts()[2])
         assert.is_true(#fold.test >= 3 and #fold.test <= 4)
         for _, index in ipairs(members(fold.test)) do
            tested[index] = (tested[index] or 0) + 1
         end
      end
      assert.same(repeated(1, 19), tested)
      assert.same(members(list[2].test), members(folds(some, 5, { seed = 1 })[2].test))
      assert.are_not.same(members(list[2].test), members(folds(some, 5, { seed = 2 })[2].test))
   end)

   it("may go by class, by groups of classes, by groups of samples, or by sample alone", function()
      local some = make_set(repeated(2, 6), { drawers = { 1, 2, 1, 2, 3, 4, 3, 4, 5, 6, 5, 6 } })
      for _, fold in ipairs(folds(some, 3, { by = "classes", seed = 1 })) do
         assert.same({ 4, 2 }, { #fold.train.classes, #fold.test.classes })
         assert.same(members(some), all_of(fold.train, fold.test))
      end
      local list = folds(some, 2, { by = "classes", groups = { 1, 1, 2, 2, 2, 2 }, shuffle = false })
      assert.same({ { "class1", "class2" }, { "class3", "class4", "class5", "class6" } },
         { list[1].test.classes, list[2].test.classes })
      list = folds(some, 3, { by = "groups", groups = "drawers", shuffle = false })
      assert.same({ { 1, 3, 6, 8 }, { 2, 4, 9, 11 }, { 5, 7, 10, 12 } },
         { members(list[1].test), members(list[2].test), members(list[3].test) })
      list = folds(some, 3, { stratified = false, shuffle = false })
      assert.same({ 1, 4, 7, 10 }, members(list[1].test))
   end)

   it("say what is wrong", function()
      local some = make_set{ 2, 2 }
      fails("k must be an integer of at least 2, got 1", data.k_fold, some, 1)
      fails("5 folds need at least as many samples, there are 4", data.k_fold, some, 5)
      fails("3 folds need at least as many classes, there are 2", data.k_fold, some, 3, { by = "classes" })
      fails("by must be 'samples' or 'classes' or 'groups', got 'x'", data.k_fold, some, 2, { by = "x" })
      fails("groups must be a list with one value for each of the 4 samples", data.k_fold, some, 2,
         { by = "groups" })
   end)
end)
