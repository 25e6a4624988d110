local siamese = require "siamese.core"
local samplers = require "siamese.data.samplers"
local sets = require "siamese.data.set"
local split = require "siamese.data.split"
local support_sets = require "spec.support_sets"

local make_set, repeated = support_sets.make_set, support_sets.repeated

describe("a generator", function()
   it("repeats with the same seed and differs with another", function()
      local a, b, c = siamese.Generator(1), siamese.Generator(1), siamese.Generator(2)
      local x, y, z = {}, {}, {}
      for i = 1, 20 do
         x[i], y[i], z[i] = a:random(1000), b:random(1000), c:random(1000)
      end
      assert.are.same(x, y)
      assert.are_not.same(x, z)
   end)

   it("takes its seed from manual_seed when it is given none", function()
      siamese.manual_seed(5)
      local first = siamese.Generator():uniform()
      siamese.manual_seed(5)
      assert.are.equal(first, siamese.Generator():uniform())
   end)

   it("goes on from a saved state", function()
      local g = siamese.Generator(3)
      g:uniform()
      local state = g:get_state()
      local first = g:normal()
      g:set_state(state)
      assert.are.equal(first, g:normal())
      assert.has_error(function() g:set_state{} end,
         "bad argument #1 to 'set_state' (expected a state {key=, counter=} of get_state())")
   end)

   it("samples without repetition and every order alike", function()
      local g, seen = siamese.Generator(4), {}
      for _ = 1, 6000 do
         local list = g:sample(3, 3)
         local key = table.concat(list)
         seen[key] = (seen[key] or 0) + 1
      end
      local orders = 0
      for _, count in pairs(seen) do
         orders = orders + 1
         assert.is_true(count > 850 and count < 1150)
      end
      assert.are.equal(6, orders)
      assert.are.same({}, g:sample(10, 0))
   end)

   it("permutes", function()
      local list = siamese.Generator(5):permutation(100):totable()
      table.sort(list)
      for i = 1, 100 do
         assert.are.equal(i, list[i])
      end
   end)

   it("rejects what it cannot draw from", function()
      local g = siamese.Generator(6)
      assert.error_matches(function() g:random(0) end, "expected an integer from 1 to")
      assert.error_matches(function() g:sample(3, 4) end, "expected an integer from 0 to 3, got 4")
   end)

   it("makes streams that do not depend on what was drawn before", function()
      local g = siamese.Generator(7)
      local first = g:stream(2):uniform()
      assert.are.equal(first, siamese.Generator(7):stream(2):uniform())
      assert.are_not.equal(first, g:stream(3):uniform())
   end)
end)

describe("the pair sampler", function()
   it("gives half same and half different pairs, never an image with itself", function()
      local set = make_set{ 5, 5, 5, 1 }
      local labels = set.labels:totable()
      for a, b, same in samplers.pairs(set, { batch_size = 40, batches = 5, seed = 1 }) do
         a, b, same = a:totable(), b:totable(), same:totable()
         local count = 0
         for i = 1, 40 do
            assert.are_not.equal(a[i], b[i])
            assert.are.equal(same[i] == 1, labels[a[i]] == labels[b[i]])
            count = count + same[i]
         end
         assert.are.equal(20, count)
      end
   end)

   it("repeats with the same seed", function()
      local set = make_set{ 5, 5 }
      local function draw(seed)
         local out = {}
         for a, b in samplers.pairs(set, { batch_size = 7, batches = 3, seed = seed }) do
            out[#out + 1] = { a:totable(), b:totable() }
         end
         return out
      end
      assert.are.same(draw(1), draw(1))
      assert.are_not.same(draw(1), draw(2))
   end)

   it("keeps different pairs inside a group", function()
      local groups = { "x", "x", "y", "y", "z" }
      local set = make_set({ 3, 3, 3, 3, 3 }, { alphabets = groups })
      local labels = set.labels:totable()
      for a, b in samplers.pairs(set, { batch_size = 64, batches = 3, groups = set.alphabets }) do
         a, b = a:totable(), b:totable()
         for i = 1, 64 do
            assert.are.equal(groups[labels[a[i]]], groups[labels[b[i]]])
         end
      end
   end)

   it("explains what a set lacks", function()
      assert.has_error(function() samplers.pairs(make_set{ 1, 1, 1 }) end,
         "data.pairs: needs 1 classes with at least 2 samples each; of the 3 classes 0 have")
      assert.has_error(function() samplers.pairs(make_set{ 4 }) end,
         "data.pairs: needs 2 classes with at least 1 sample each; of the 1 classes 1 has")
      assert.has_error(function() samplers.pairs(make_set{ 4, 4 }, { batch_size = 0 }) end,
         "data.pairs: batch_size must be a positive integer, got 0")
      assert.error_matches(function() samplers.pairs(make_set{ 4, 4 }, { size = 3 }) end, "size")
   end)

   it("blames its caller", function()
      local ok, message = pcall(function() samplers.pairs({ labels = {}, classes = {} }, {}) end)
      assert.is_false(ok)
      assert.is_nil(message:find("samplers.lua", 1, true))
   end)
end)

describe("the episode sampler", function()
   it("gives N classes, K support images and other images as queries", function()
      local set = make_set(repeated(6, 8))
      local labels = set.labels:totable()
      local options = { way = 5, shot = 2, queries = 3, episodes = 20, seed = 2 }
      local episodes = 0
      for support, query, truth in samplers.episodes(set, options) do
         support, query, truth = support:totable(), query:totable(), truth:totable()
         assert.are.equal(10, #support)
         assert.are.equal(15, #query)
         local seen = {}
         for i, index in ipairs(support) do
            assert.are.equal(labels[support[((i - 1) // 2) * 2 + 1]], labels[index])
            seen[index] = true
         end
         for i, index in ipairs(query) do
            assert.is_nil(seen[index])
            assert.are.equal(labels[support[2 * truth[i]]], labels[index])
         end
         episodes = episodes + 1
      end
      assert.are.equal(20, episodes)
   end)

   it("takes an episode's classes from one group", function()
      local groups = { 1, 1, 1, 2, 2, 2, 3 }
      local set = make_set(repeated(3, 7))
      local labels = set.labels:totable()
      for support in samplers.episodes(set, { way = 3, episodes = 20, groups = groups }) do
         support = support:totable()
         assert.are.equal(groups[labels[support[1]]], groups[labels[support[2]]])
         assert.are.equal(groups[labels[support[1]]], groups[labels[support[3]]])
      end
      assert.has_error(function() samplers.episodes(set, { way = 4, groups = groups }) end,
         "data.episodes: no group has 4 classes to choose from")
   end)

   it("explains what a set lacks", function()
      assert.has_error(function()
         samplers.episodes(make_set{ 2, 2, 1 }, { way = 3 })
      end, "data.episodes: needs 3 classes with at least 2 samples each; of the 3 classes 2 have")
   end)
end)

describe("the class batch sampler", function()
   it("gives P classes by K different samples, each class once before any again", function()
      local set = make_set(repeated(5, 9))
      local counts = {}
      local options = { classes = 3, samples = 4, batches = 3, seed = 3 }
      for indices, labels in samplers.class_batches(set, options) do
         assert.are.same(set.labels:index_select(1, indices):totable(), labels:totable())
         local seen = {}
         for _, index in ipairs(indices:totable()) do
            assert.is_nil(seen[index])
            seen[index] = true
         end
         for _, label in ipairs(labels:totable()) do
            counts[label] = (counts[label] or 0) + 1
         end
      end
      assert.are.same(repeated(4, 9), counts)
   end)

   it("explains what a set lacks", function()
      assert.has_error(function()
         samplers.class_batches(make_set{ 5, 3 }, { classes = 2, samples = 4 })
      end, "data.class_batches: needs 2 classes with at least 4 samples each; "
         .. "of the 2 classes 1 has")
   end)
end)

describe("plain batches", function()
   it("go through the set once", function()
      local set, seen = make_set{ 5, 5 }, {}
      for indices in samplers.batches(set, { batch_size = 4, seed = 1 }) do
         for _, index in ipairs(indices:totable()) do
            seen[index] = (seen[index] or 0) + 1
         end
      end
      assert.are.same(repeated(1, 10), seen)
   end)

   it("keep the order and drop the rest when told to", function()
      local all = {}
      local options = { batch_size = 4, shuffle = false, drop_last = true }
      for indices, labels in samplers.batches(make_set{ 5, 5 }, options) do
         all[#all + 1] = { indices:totable(), labels:totable() }
      end
      assert.are.same({ { { 1, 2, 3, 4 }, { 1, 1, 1, 1 } }, { { 5, 6, 7, 8 }, { 1, 2, 2, 2 } } }, all)
   end)
end)

describe("a data set", function()
   it("gives batches as float images and labels", function()
      local images = siamese.tensor({ { { { 0, 255 } } }, { { { 51, 102 } } } }, { dtype = "uint8" })
      local set = sets.new{ images = images, labels = { 1, 2 }, classes = { "a", "b" } }
      local x, y = set:batch{ 2, 1 }
      assert.are.equal("float32", x.dtype)
      assert.are.same({ 2, 1, 1, 2 }, x.shape)
      assert.are.same({ 2, 1 }, y:totable())
      assert.is_true(math.abs(x[{ 1, 1, 1, 1 }]:item() - 0.2) < 1e-6)
      assert.are.equal(2, #set)
      assert.are.equal("Data set: 2 images 1x1x2 (uint8) of 2 classes (a 1, b 1)", tostring(set))
   end)

   it("selects classes and numbers them anew", function()
      local set = make_set({ 2, 3, 1 }, { paths = { "a", "b", "c", "d", "e", "f" } })
      local part = set:select_classes{ 3, 1 }
      assert.are.same({ 1, 2, 2 }, part.labels:totable())
      assert.are.same({ "class3", "class1" }, part.classes)
      assert.are.same({ "f", "a", "b" }, part.paths)
      assert.are.same({ 6, 1, 2 }, part.images:select(3, 1):select(3, 1):flatten():totable())
   end)

   it("rejects parts that do not agree", function()
      local x = siamese.zeros(2, 1, 2, 2)
      assert.has_error(function() sets.new{ images = x, labels = { 1 }, classes = { "a" } } end,
         "data set: 2 images but 1 labels")
      assert.has_error(function() sets.new{ images = x, labels = { 1, 2 }, classes = { "a" } } end,
         "data set: label 2 is 2, expected an integer from 1 to 1 (the classes)")
      assert.has_error(function()
         sets.new{ images = siamese.zeros(2, 2), labels = { 1, 2 }, classes = {} }
      end, "data set: images must be a tensor [N,C,H,W], got a 2-D tensor")
   end)
end)

describe("a split", function()
   it("by class shares no class", function()
      local set = make_set(repeated(2, 10))
      local a, b = split.split_classes(set, { 0.8, 0.2 }, { seed = 1 })
      assert.are.equal(8, #a.classes)
      assert.are.equal(2, #b.classes)
      assert.are.equal(16, #a)
      local seen = {}
      for _, name in ipairs(a.classes) do
         seen[name] = true
      end
      for _, name in ipairs(b.classes) do
         assert.is_nil(seen[name])
      end
      assert.are.same(a.classes, (split.split_classes(set, { 0.8, 0.2 }, { seed = 1 })).classes)
   end)

   it("by class takes counts, in order when told to", function()
      local a, b = split.split_classes(make_set(repeated(1, 4)), { 3, 1 }, { shuffle = false })
      assert.are.same({ "class1", "class2", "class3" }, a.classes)
      assert.are.same({ "class4" }, b.classes)
   end)

   it("by class keeps groups whole", function()
      local groups = { "x", "y", "x", "y", "z", "z" }
      local set = make_set(repeated(1, 6), { alphabets = groups })
      local a, b = split.split_classes(set, { 2, 1 }, { groups = groups, seed = 4 })
      assert.are.equal(4, #a.classes)
      assert.are.equal(b.alphabets[1], b.alphabets[2])
   end)

   it("by sample has every class in every part", function()
      local a, b = split.split_samples(make_set{ 10, 5 }, { 0.8, 0.2 }, { seed = 1 })
      assert.are.equal(12, #a)
      assert.are.same({ 1, 1, 2 }, b.labels:totable())
   end)

   it("explains parts that cannot be", function()
      local set = make_set(repeated(1, 4))
      assert.has_error(function() split.split_classes(set, { 4, 1 }) end,
         "data.split_classes: the parts want 5 classes, there are 4")
      assert.has_error(function() split.split_classes(set, { 0.99, 0.01 }) end,
         "data.split_classes: part 2 would be empty (4 classes in all)")
      assert.has_error(function() split.split_classes(set, { 0.5, -1 }) end,
         "data.split_classes: part 2 must be a fraction or a count above 0, got -1")
      assert.has_error(function() split.split_samples(set, { 0.5, 0.5 }) end,
         "data.split_samples: part 2 would be empty (1 samples of class 'class1' in all)")
   end)
end)
