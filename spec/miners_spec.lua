--- Miners: what they choose from batches that lack something, references, draws that repeat, and how those
-- are distributed. What the others choose is in losses_golden_spec.lua.
local siamese = require "siamese"
local support = require "spec.support"
local S = require "spec.support_losses"

local M, L = siamese.miners, siamese.losses

local function totals(lists)
   local out = {}
   for k, list in ipairs(lists) do
      out[k] = list:totable()
   end
   return out
end

describe("every miner", function()
   local batches = {
      { "no rows", siamese.zeros(0, 5), S.labels(0, 1) }, { "one row", siamese.randn(1, 5), S.labels(1, 1) },
      { "no negative", siamese.randn(8, 5), S.labels(8, 1) },
      { "no positive", siamese.randn(8, 5), S.labels(8, 8) },
      { "rows that are equal", siamese.ones(8, 5), S.labels(8, 3) },
      { "rows of zeros", siamese.zeros(8, 5), S.labels(8, 3) },
   }

   for _, entry in ipairs(S.miners) do
      it(entry[1] .. " gives lists of any batch, right ones", function()
         batches[7] = { "a usual one", siamese.randn(30, 5), S.labels(30, 6) }
         for _, batch in ipairs(batches) do
            local lists, labels = totals(entry[2]()(batch[2], batch[3])), batch[3]:totable()
            assert.is_true(#lists == 3 or #lists == 4)
            local anchors = #lists == 4 and lists[3] or lists[1]
            for k, i in ipairs(lists[1]) do
               assert.is_true(i ~= lists[2][k] and labels[i] == labels[lists[2][k]])
            end
            for k, i in ipairs(anchors) do
               assert.is_true(labels[i] ~= labels[lists[#lists][k]])
            end
            assert.equal(#lists[1], #lists[2])
            assert.equal(#anchors, #lists[#lists])
            -- and any loss takes them
            assert.is_true(S.is_finite(L.Contrastive{}(batch[2], batch[3], entry[2]()(batch[2], batch[3]))))
            assert.is_true(S.is_finite(L.Triplet{}(batch[2], batch[3], entry[2]()(batch[2], batch[3]))))
         end
      end)

      it(entry[1] .. " chooses among references, but not an embedding's own copy", function()
         local x, labels = siamese.randn(6, 5), S.labels(6, 3)
         local ref, ref_labels = siamese.cat({ siamese.randn(4, 5), x }, 1), { 1, 2, 3, 1, 1, 2, 3, 1, 2, 3 }
         local lists = totals(entry[2]()(x, labels, ref, ref_labels, 5))
         for k, i in ipairs(lists[1]) do
            assert.is_true(lists[2][k] ~= i + 4)
            assert.equal(labels[i]:item(), ref_labels[lists[2][k]])
         end
         local anchors = #lists == 4 and lists[3] or lists[1]
         for k, i in ipairs(anchors) do
            assert.is_true(labels[i]:item() ~= ref_labels[lists[#lists][k]])
         end
      end)

      it(entry[1] .. " chooses the same on any number of threads", function()
         local before, want = siamese.get_threads(), nil
         local x, labels = siamese.randn(90, 5), S.labels(90, 9)
         for _, threads in ipairs{ 1, 2, 5 } do
            siamese.set_threads(threads)
            local lists = totals(entry[2]()(x, labels))
            want = want or lists
            assert.same(want, lists)
         end
         siamese.set_threads(before)
      end)
   end

   it("leaves no graph", function()
      local x = siamese.randn(8, 5):requires_grad_()
      for _, entry in ipairs(S.miners) do
         assert.is_false(entry[2]()(x, S.labels(8, 3))[1].requires_grad)
      end
   end)

   it("says what is wrong, by its name", function()
      local x = siamese.randn(4, 5)
      for _, entry in ipairs(S.miners) do
         local name = "miners." .. entry[1]:match("^%w+")
         support.fails(name .. ": expected a label for each of the 4 embeddings, got [2]", entry[2](), x,
            { 1, 2 })
         support.fails(name .. ": references: expected a label for each of the 2 embeddings, got [3]",
            entry[2](), x, { 1, 2, 1, 2 }, siamese.randn(2, 5), { 1, 2, 3 })
         support.fails(name .. ": embeddings must be a tensor [N,D], got table", entry[2](), { 1 }, { 1 })
         local _, message = pcall(function()
            local lists = entry[2]()(x, { 1, "dog", 1, 2 })
            return lists
         end)
         assert.matches("^spec/miners_spec.lua:%d+: " .. name .. ": label 2 is 'dog', expected an integer",
            message)
      end
      support.fails("miners.BatchEasyHard: 'semihard' needs a 'hard' or an 'easy' one on the other side",
         M.BatchEasyHard, { pos_strategy = "semihard", neg_strategy = "semihard" })
      support.fails("miners.BatchEasyHard: pos_strategy must be 'hard' or 'semihard' or 'easy' or 'all', "
         .. "got 'x'", M.BatchEasyHard, { pos_strategy = "x" })
      support.fails("miners.BatchHard: allowed_pos_range must be a table {low, high}, got 3", M.BatchHard,
         { allowed_pos_range = 3 })
      support.fails("miners.UniformHistogram: num_bins must be an integer of at least 1, got 0",
         M.UniformHistogram, { num_bins = 0 })
      support.fails("miners.DistanceWeighted: seed must be an integer, got 0.5", M.DistanceWeighted,
         { seed = 0.5 })
      support.fails("miners.TripletMargin: type_of_triplets must be", M.TripletMargin,
         { type_of_triplets = "odd" })
   end)
end)

describe("miners that draw", function()
   local x, labels

   before_each(function()
      siamese.manual_seed(31)
      x, labels = siamese.randn(40, 4), S.labels(40, 8)
   end)

   it("repeat with their seed, go on from call to call, and draw from nobody else's generator", function()
      for _, name in ipairs{ "DistanceWeighted", "UniformHistogram" } do
         local one, two = M[name]{ seed = 5 }, M[name]{ seed = 5 }
         local state = siamese.get_rng_state()
         local first = totals(one(x, labels))
         assert.same(first, totals(two(x, labels)))
         assert.same(state, siamese.get_rng_state())
         local second = totals(one(x, labels))
         assert.is_not.same(first, second)
         assert.same(second, totals(two(x, labels)))
         assert.is_not.same(first, totals(M[name]{ seed = 6 }(x, labels)))
         local generator = siamese.Generator(5)
         assert.same(first, totals(M[name]{ generator = generator }(x, labels)))
      end
   end)

   it("go on from a saved state as if nothing had been between", function()
      for _, name in ipairs{ "DistanceWeighted", "UniformHistogram" } do
         local loss = L.Triplet{ miner = M[name]{ seed = 5 } }
         loss(x, labels)
         local state = loss:state_dict()
         local kept = {}
         for key, tensor in pairs(state) do
            kept[key] = tensor:clone()
         end
         local want = totals(loss.miner(x, labels))
         local other = L.Triplet{ miner = M[name]{ seed = 9 } }
         other:load_state_dict(kept)
         assert.same(want, totals(other.miner(x, labels)))
      end
   end)

   it("by distance: as often as one over the density of distances on the sphere", function()
      local miner = M.DistanceWeighted{ seed = 2, cutoff = 0.7, nonzero_loss_cutoff = 1.6 }
      local d = siamese.distances.L2{ normalize = true }:matrix(x):narrow(1, 1, 1):reshape(40):totable()
      local weights, total = {}, 0
      for j = 1, 40 do
         local at = math.max(d[j], 0.7)
         weights[j] = (j - 1) % 8 ~= 0 and at < 1.6 and at ^ -2 * (1 - at ^ 2 / 4) ^ -0.5 or 0
         total = total + weights[j]
      end
      local counts, draws = {}, 0
      for _ = 1, 1500 do
         local lists = totals(miner(x, labels))
         for k, a in ipairs(lists[1]) do
            if a == 1 then
               counts[lists[3][k]] = (counts[lists[3][k]] or 0) + 1
               draws = draws + 1
            end
         end
      end
      assert.equal(1500 * 4, draws) -- one for each positive of row 1
      local chi2, cells = 0, 0
      for j = 1, 40 do
         local want = weights[j] / total * draws
         if want == 0 then
            assert.is_nil(counts[j])
         else
            chi2, cells = chi2 + ((counts[j] or 0) - want) ^ 2 / want, cells + 1
         end
      end
      -- chi-squared: mean cells - 1, variance 2 (cells - 1); five deviations
      assert.is_true(cells > 10 and chi2 < cells - 1 + 5 * math.sqrt(2 * (cells - 1)), chi2)
   end)

   it("by distance: anchors with no negative near enough are left out", function()
      local lists = M.DistanceWeighted{ seed = 1, nonzero_loss_cutoff = 0.1, cutoff = 0.05 }(x, labels)
      assert.equal(0, lists[1]:numel())
   end)

   it("by histogram: as many from each bin", function()
      local matrix = siamese.distances.L2():matrix(x):totable()
      local lists = totals(M.UniformHistogram{ seed = 4, num_bins = 7, pos_per_bin = 3, neg_per_bin = 40 }(x,
         labels))
      for first, each in pairs{ [1] = 3, [3] = 40 } do
         local low, high = math.huge, -math.huge
         for i = 1, 40 do
            for j = 1, 40 do
               if i ~= j and ((i - j) % 8 == 0) == (first == 1) then
                  low, high = math.min(low, matrix[i][j]), math.max(high, matrix[i][j])
               end
            end
         end
         local counts, different = {}, {}
         for k, i in ipairs(lists[first]) do
            local j = lists[first + 1][k]
            local bin = math.min(6, math.floor((matrix[i][j] - low) / (high - low) * 7 * (1 - 1e-9)))
            counts[bin] = (counts[bin] or 0) + 1
            different[i * 100 + j] = true
         end
         for _, count in pairs(counts) do
            assert.equal(each, count)
         end
         assert.is_not_nil(counts[0])
         assert.is_not_nil(counts[6])
         local number = 0
         for _ in pairs(different) do
            number = number + 1
         end
         assert.is_true(number > #lists[first] / 4)
      end
   end)
end)

describe("the functions behind miners", function()
   local mining = siamese.core.mining

   it("number classes in the order they appear", function()
      local ids, ranks, classes = mining.group({ 7, -3, 7, 9, -3, 7 })
      assert.same({ 1, 2, 1, 3, 2, 1 }, ids:totable())
      assert.same({ 1, 1, 2, 1, 2, 3 }, ranks:totable())
      assert.equal(3, classes)
      assert.equal(0, select(3, mining.group(siamese.zeros(0, { dtype = "int64" }))))
   end)

   it("find a pair of each class", function()
      local a, p = mining.first_pairs({ 7, -3, 7, 9, -3, 7 })
      assert.same({ { 1, 2 }, { 3, 5 } }, { a:totable(), p:totable() })
      a, p = mining.first_pairs({ 7, -3, 7, 9, -3, 7 }, { 5, 6, 6 }, { 2, 1, 3 })
      assert.same({ { 6, 5 }, { 1, 2 } }, { a:totable(), p:totable() })
      support.fails("index 7 is out of range 1..6", mining.first_pairs, { 7, -3, 7, 9, -3, 7 }, { 7 }, { 1 })
   end)

   it("weigh rows by how often lists name them", function()
      assert.same({ 1, 0.5, 0 }, mining.weights({ { 1, 1 }, { 2 } }, 3):totable())
      assert.same({ 1, 1 }, mining.weights({ {}, {} }, 2):totable())
   end)

   it("refuse what does not fit together", function()
      support.fails("there is no such miner", mining.select, "x", siamese.zeros(2, 2), { labels = { 1, 2 } })
      support.fails("needs labels", mining.select, "margins", siamese.zeros(2, 2), {})
      support.fails("mining: 3 columns for 2 rows need labels of their own", mining.select, "margins",
         siamese.zeros(2, 3), { labels = { 1, 2 } })
      support.fails("option 'generator' must be a Generator", mining.select, "weighted", siamese.zeros(2, 2),
         { labels = { 1, 2 } })
      support.fails("needs the matrix of the columns", mining.select, "angles", siamese.zeros(2, 2),
         { labels = { 1, 2 } })
   end)
end)
