--- Retrieval and clusters against pytorch-metric-learning's and scikit-learn's values
-- (spec/golden/metrics.lua), and ties against all orders.
local siamese = require "siamese"
local support = require "spec.support"

local metrics, close, fails = siamese.metrics, support.close, support.fails
local golden = support.golden("metrics")

local function near(expected, got, tolerance)
   assert.is_true(math.abs(expected - got) <= (tolerance or 1e-6),
      ("expected %.12f, got %.12f"):format(expected, got))
end

describe("retrieval, beside pytorch-metric-learning,", function()
   for _, case in ipairs(golden.retrieval) do
      it(("agrees on %s of %d"):format(case.distance, #case.labels), function()
         local x = siamese.tensor(case.x)
         local opts = { distance = case.distance, references = case.y and siamese.tensor(case.y),
            reference_labels = case.other }
         support.each_isa(function()
            local found = metrics.retrieval(support.noncontiguous(x), case.labels, opts)
            assert.equal(case.queries, found.queries)
            assert.equal(case.left_out, found.left_out)
            near(case.precision_at_1, found.precision_at_1)
            near(case.r_precision, found.r_precision)
            near(case.map_at_r, found.map_at_r)
            for i, k in ipairs{ 1, 2, 4, 8 } do
               near(case.recall[i], found.recall[k])
            end
         end)
      end)
   end

   it("takes a distance of one's own and names as labels, and gives each query's values", function()
      local case = golden.retrieval[3]
      local x, names = siamese.tensor(case.x), {}
      for i, label in ipairs(case.labels) do
         names[i] = "class " .. label
      end
      local blocks = 0
      local found = metrics.retrieval(x, names, { k = 3, values = true, distance = function(a, b)
         blocks = blocks + 1
         return (a:unsqueeze(2) - b:unsqueeze(1)):abs():sum(3)
      end })
      assert.equal(1, blocks)
      near(case.map_at_r, found.map_at_r)
      near(case.map_at_r, found.values.average_precision:mean():item())
      assert.same({ #names, 1 }, found.values.recall.shape)
      near(found.recall[3], found.values.recall:mean():item())
   end)
end)

--- Calls visit with every order of the list.
local function permute(list, visit, n)
   n = n or #list
   if n <= 1 then
      return visit(list)
   end
   for i = 1, n do
      list[n], list[i] = list[i], list[n]
      permute(list, visit, n - 1)
      list[n], list[i] = list[i], list[n]
   end
end

--- Mean values of one query over all orders of the references that keep the distances sorted.
local function by_all_orders(distances, right, ranks)
   local order, orders, r = {}, 0, 0
   local sums = { r_precision = 0, average = 0, recall = {} }
   for i in ipairs(distances) do
      order[i], r = i, r + right[i]
   end
   permute(order, function(list)
      local hits, found, average, first = 0, 0, 0, #list + 1
      for i = 2, #list do
         if distances[list[i - 1]] > distances[list[i]] then
            return
         end
      end
      for rank, i in ipairs(list) do
         hits = hits + right[i]
         if right[i] == 1 then
            first = math.min(first, rank)
            if rank <= r then
               found, average = found + 1, average + hits / rank
            end
         end
      end
      orders = orders + 1
      sums.r_precision, sums.average = sums.r_precision + found / r, sums.average + average / r
      for k, rank in ipairs(ranks) do
         sums.recall[k] = (sums.recall[k] or 0) + (first <= rank and 1 or 0)
      end
   end)
   for k in ipairs(ranks) do
      sums.recall[k] = sums.recall[k] / orders
   end
   return sums.r_precision / orders, sums.average / orders, sums.recall
end

describe("ties", function()
   it("count as the mean over all orders", function()
      local g, ranks = siamese.Generator(2), { 1, 2, 3, 5, 9 }
      for _ = 1, 40 do
         local distances, right, some = {}, {}, 0
         for i = 1, 7 do
            distances[i], right[i] = g:random(3), g:random(2) - 1
            some = some + right[i]
         end
         if some > 0 then
            local r_precision, average, recall = by_all_orders(distances, right, ranks)
            local found = metrics.retrieval(siamese.zeros(1, 1), { 1 }, { k = ranks,
               references = siamese.zeros(7, 1), reference_labels = right, distance = function()
                  return siamese.tensor{ distances }
               end })
            near(r_precision, found.r_precision)
            near(average, found.map_at_r)
            for k, rank in ipairs(ranks) do
               near(recall[k], found.recall[rank])
            end
         end
      end
   end)

   it("let embeddings that collapsed into a point score as lots do, sorted by class or not", function()
      local labels = {}
      for i = 1, 1200 do
         labels[i] = (i - 1) // 100 + 1
      end
      for _, distance in ipairs{ "l2", "cosine", "l1" } do
         local found = metrics.retrieval(siamese.ones(1200, 4), labels, { k = 1, distance = distance })
         near(99 / 1199, found.recall[1])
         near(99 / 1199, found.precision_at_1)
         near(99 / 1199, found.r_precision)
      end
   end)
end)

describe("retrieval", function()
   it("finds 3,000 classes of two, in blocks", function()
      siamese.manual_seed(1)
      local centres = siamese.randn(3000, 16)
      local x = siamese.cat({ centres, centres + 0.01 * siamese.randn(3000, 16) }, 1)
      local labels = siamese.arange(0, 6000, 1, { dtype = "int64" }) % 3000
      local found = metrics.retrieval(x, labels)
      near(1, found.precision_at_1)
      near(1, found.map_at_r)
   end)

   it("of one class finds it everywhere; of classes of one there is nothing to find", function()
      local found = metrics.retrieval(siamese.randn(5, 3), { 1, 1, 1, 1, 1 })
      near(1, found.map_at_r)
      near(1, found.recall[8])
      fails("metrics.retrieval: no query has a reference of its class", metrics.retrieval,
         siamese.randn(3, 3), { 1, 2, 3 })
      fails("metrics.retrieval: there are no embeddings", metrics.retrieval, siamese.zeros(0, 3),
         siamese.zeros(0):long())
   end)

   it("many of a class sit among their ties", function()
      local labels = siamese.cat({ siamese.ones(3000), siamese.zeros(3000) }, 1):long()
      local x = siamese.cat({ siamese.zeros(3000, 1), siamese.ones(3000, 1) }, 1)
      local found = metrics.retrieval(x:narrow(1, 1, 2), labels:narrow(1, 1, 2), { references = x,
         reference_labels = labels, k = { 1, 4000 } })
      near(1, found.map_at_r)
      near(1, found.recall[4000])
   end)

   it("says what is wrong", function()
      local x = siamese.randn(4, 2)
      fails("embedding 3 has a number that is not finite", metrics.retrieval,
         siamese.tensor{ { 1 }, { 2 }, { 0 / 0 } }, { 1, 1, 2 })
      fails("the distance of query 2 to reference 1 is not a number", metrics.retrieval, x, { 1, 1, 2, 2 },
         { distance = function()
            local d = siamese.zeros(4, 4)
            d[{ 2, 1 }] = 0 / 0
            return d
         end })
      fails("the distance must give [4,4], got {4}", metrics.retrieval, x, { 1, 1, 2, 2 },
         { distance = function() return siamese.zeros(4) end })
      fails("expected 4 labels, one for each embedding, got {3}", metrics.retrieval, x, { 1, 1, 2 })
      fails("references and reference_labels belong together", metrics.retrieval, x, { 1, 1, 2, 2 },
         { references = x })
      fails("k must be a rank of at least 1 or a list of such, got {1, 0}", metrics.retrieval, x,
         { 1, 1, 2, 2 }, { k = { 1, 0 } })
      fails("distance must be 'l2', 'l1', 'cosine' or a function, got 'dot'", metrics.retrieval, x,
         { 1, 1, 2, 2 }, { distance = "dot" })
   end)
end)

describe("k-means, beside scikit-learn,", function()
   for _, case in ipairs(golden.clusters) do
      it(("finds the same %d clusters from the same start"):format(#case.start), function()
         support.each_isa(function()
            local found = metrics.kmeans(siamese.tensor(case.x), #case.start,
               { start = siamese.tensor(case.start) })
            assert.same(case.members, found.members:totable())
            close(found.centres, case.centres, 1e-5, 1e-5)
            near(case.inertia, found.inertia, 1e-4 * case.inertia)
         end)
      end)
   end
end)

describe("k-means", function()
   it("finds clusters that lie apart, from its own start, and repeats with a seed", function()
      siamese.manual_seed(6)
      local labels = siamese.arange(0, 400, 1, { dtype = "int64" }) % 8
      local x = 20 * siamese.eye(8):index_select(1, labels + 1) + siamese.randn(400, 8)
      local found = metrics.kmeans(x, 8, { seed = 1, restarts = 3 })
      near(1, metrics.normalized_mutual_information(labels, found.members))
      local again = metrics.kmeans(x, 8, { seed = 1, restarts = 3 })
      assert.is_true(found.members == again.members and found.centres == again.centres)
      local nmi, clusters = metrics.nmi(x, labels, { seed = 2, restarts = 3 })
      near(1, nmi)
      assert.equal(8, clusters.centres:size(1))
      near(1, (metrics.nmi(x, labels, { seed = 2, restarts = 3, distance = "cosine" })))
   end)

   it("fills clusters that run empty, and bears fewer different rows than clusters", function()
      local x = siamese.tensor{ { 0 }, { 0.1 }, { 10 }, { 10.1 }, { 20 } }
      local found = metrics.kmeans(x, 3, { start = siamese.tensor{ { 0 }, { 100 }, { 200 } } })
      close(found.centres:sort(1), { { 0.05 }, { 10.05 }, { 20 } }, 1e-5)
      near(0.01, found.inertia, 1e-5)
      found = metrics.kmeans(siamese.ones(6, 2), 4, { seed = 1 })
      near(0, found.inertia)
      found = metrics.kmeans(siamese.randn(5, 2), 5, { seed = 1 })
      near(0, found.inertia)
   end)

   it("says what is wrong", function()
      local x = siamese.randn(4, 2)
      fails("expected 1 to 4 clusters for embeddings [4,2], got 5", metrics.kmeans, x, 5)
      fails("clusters must be an integer, got 1.5", metrics.kmeans, x, 1.5)
      fails("expected centres [2,2] to start from, got [3,2]", metrics.kmeans, x, 2,
         { start = siamese.zeros(3, 2) })
      fails("metrics.kmeans: embedding 1 has a number that is not finite", metrics.kmeans,
         siamese.tensor{ { math.huge } }, 1)
      fails("restarts must be an integer of at least 1", metrics.kmeans, x, 2, { restarts = 0 })
   end)
end)

describe("mutual information", function()
   it("is scikit-learn's", function()
      for _, case in ipairs(golden.information) do
         near(case.nmi, metrics.normalized_mutual_information(case.a, case.b), 1e-9)
         near(case.nmi, metrics.normalized_mutual_information(case.b, case.a), 1e-9)
      end
   end)

   it("of one label is 1 with another of one label and 0 with more; names will do", function()
      assert.equal(1, metrics.normalized_mutual_information({ 1, 1 }, { 5, 5 }))
      assert.equal(0, metrics.normalized_mutual_information({ 1, 1 }, { 1, 2 }))
      near(1, metrics.normalized_mutual_information({ "a", "b", "a" }, { 7, 3, 7 }))
      fails("expected 2 labels", metrics.normalized_mutual_information, { 1, 1 }, { 1 })
      fails("at least one label", metrics.normalized_mutual_information, siamese.zeros(0):long(),
         siamese.zeros(0):long())
   end)
end)
