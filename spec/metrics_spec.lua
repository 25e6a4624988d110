local siamese = require "siamese"
local metrics = require "siamese.metrics"
local sets = require "siamese.data.set"

local function close(expected, got, tolerance)
   assert.is_true(math.abs(expected - got) <= (tolerance or 1e-6),
      ("expected %.9f, got %.9f"):format(expected, got))
end

--- The area by its definition: over all same and different pairs, ties count half.
local function slow_auc(distances, same)
   local wins, count = 0, 0
   for i = 1, #same do
      for j = 1, #same do
         if same[i] == 1 and same[j] == 0 then
            count = count + 1
            wins = wins + (distances[i] < distances[j] and 1
               or distances[i] == distances[j] and 0.5 or 0)
         end
      end
   end
   return wins / count
end

describe("verification", function()
   it("gives 1 for a perfect verifier, 0 for one that is always wrong", function()
      local report = metrics.verification({ 0.1, 0.2, 0.8, 0.9 }, { 1, 1, 0, 0 })
      assert.are.equal(1, report.auc)
      assert.are.equal(0, report.equal_error_rate)
      assert.are.equal(1, report.accuracy)
      close(0.5, report.threshold)
      report = metrics.verification({ 0.1, 0.2, 0.8, 0.9 }, { 0, 0, 1, 1 })
      assert.are.equal(0, report.auc)
      assert.are.equal(1, report.equal_error_rate)
      assert.are.equal(0.5, report.accuracy)
   end)

   it("counts ties half: equal distances give 0.5", function()
      local report = metrics.verification({ 1, 1, 1, 1, 1 }, { 1, 0, 1, 0, 0 })
      assert.are.equal(0.5, report.auc)
      assert.are.equal(0.5, report.equal_error_rate)
      assert.are.same({ 0, 1 }, report.true_positive_rate:totable())
   end)

   it("agrees with the definition on random distances with many ties", function()
      local g = siamese.Generator(11)
      for _ = 1, 20 do
         local distances, same = {}, {}
         for i = 1, 60 do
            same[i] = g:random(2) - 1
            distances[i] = g:random(8) + 2 * (1 - same[i])
         end
         close(slow_auc(distances, same), metrics.auc(distances, same), 1e-12)
      end
   end)

   it("interpolates the equal error rate", function()
      -- Rejections, acceptances after each distance: (2/3, 0), (2/3, 1/2), (1/3, 1/2).
      close(0.5, metrics.equal_error_rate({ 1, 2, 3, 4, 5 }, { 1, 0, 1, 0, 1 }), 1e-12)
   end)

   it("finds the best threshold, and its accuracy is what counting gives", function()
      local distances, same = { 0.3, 0.1, 0.7, 0.4, 0.9, 0.2 }, { 1, 1, 0, 0, 1, 1 }
      local threshold, accuracy = metrics.best_threshold(distances, same)
      close(5 / 6, accuracy)
      close(0.35, threshold)
      close(5 / 6, metrics.verification_accuracy(siamese.tensor(distances), siamese.tensor(same),
         threshold))
      close(3 / 6, metrics.verification_accuracy(siamese.tensor(distances), siamese.tensor(same),
         0.8))
   end)

   it("calls all different when that is best", function()
      local threshold, accuracy = metrics.best_threshold({ 0, 1, 2 }, { 0, 0, 1 })
      close(2 / 3, accuracy)
      assert.is_true(threshold < 0)
   end)

   it("has no area when one kind is missing", function()
      local report = metrics.verification({ 1, 2 }, { 1, 1 })
      assert.is_true(report.auc ~= report.auc)
      assert.are.equal(1, report.accuracy)
   end)

   it("takes strided tensors", function()
      local d = siamese.tensor{ { 0.1, 9 }, { 0.8, 9 } }:select(2, 1)
      assert.are.equal(1, metrics.auc(d, siamese.tensor{ 1, 0 }))
   end)

   it("rejects what it cannot judge", function()
      assert.error_matches(function() metrics.auc({ 1, 0 / 0 }, { 1, 0 }) end,
         "the distance of pair 2 is not a number")
      assert.error_matches(function() metrics.auc({ 1, 2 }, { 1, 2 }) end,
         "pair 2: expected 1 %(same%) or 0, got 2")
      assert.error_matches(function() metrics.auc({ 1, 2, 3 }, { 1, 0 }) end,
         "expected one 1 or 0 a pair, %[3%], got %[2%]")
      assert.error_matches(function() metrics.auc({}, {}) end, "at least one pair")
   end)
end)

describe("the interval", function()
   it("is 1.96 s / sqrt(n) with the sample's deviation", function()
      local mean, half = metrics.interval{ 1, 2, 3, 4 }
      close(2.5, mean)
      close(1.96 * math.sqrt(5 / 3) / 2, half)
   end)
end)

--- Classes as points on a circle, so that embeddings are known; image [2,1,1].
local function circle(classes, samples, noise)
   local g = siamese.Generator(1)
   local points, labels, names = {}, {}, {}
   for class = 1, classes do
      names[class] = "c" .. class
      for _ = 1, samples do
         local angle = 2 * math.pi * class / classes + noise * g:normal()
         points[#points + 1] = { { { math.cos(angle) } }, { { math.sin(angle) } } }
         labels[#labels + 1] = class
      end
   end
   return sets.new{ images = siamese.tensor(points), labels = labels, classes = names }
end

describe("few-shot accuracy", function()
   it("is 1 where classes are apart, for every distance and rule", function()
      local set = circle(10, 6, 0.01)
      for _, distance in ipairs{ "l2", "l1", "cosine" } do
         for _, rule in ipairs{ "prototype", "nearest" } do
            local result = metrics.few_shot(set, { embed = metrics.pixels, way = 10, shot = 3,
               queries = 2, episodes = 10, distance = distance, rule = rule, seed = 1 })
            assert.are.equal(1, result.accuracy)
            assert.are.equal(0, result.interval)
         end
      end
   end)

   it("is chance where embeddings say nothing", function()
      local set = circle(10, 20, 100)
      local result = metrics.few_shot(set, { embed = metrics.pixels, way = 5, queries = 5,
         episodes = 400, seed = 2 })
      assert.is_true(math.abs(result.accuracy - 0.2) < 0.03)
      assert.is_true(result.interval > 0.005 and result.interval < 0.03)
      assert.are.equal(400, #result.episodes)
   end)

   it("repeats with the same seed and takes a distance function", function()
      local set = circle(10, 5, 0.5)
      local options = { embed = metrics.pixels, episodes = 20, seed = 3,
         distance = function(a, b) return (a:unsqueeze(2) - b:unsqueeze(1)):abs():sum(3) end }
      local first = metrics.few_shot(set, options)
      assert.are.same(first, metrics.few_shot(set, options))
      options.distance = "l1"
      assert.are.same(first, metrics.few_shot(set, options))
   end)

   it("rejects unknown distances and options", function()
      local set = circle(3, 2, 0)
      assert.has_error(function()
         metrics.few_shot(set, { embed = metrics.pixels, way = 3, distance = "l3" })
      end, "metrics.few_shot: distance must be 'l2', 'l1', 'cosine' or a function, got 'l3'")
      assert.error_matches(function()
         metrics.few_shot(set, { embed = metrics.pixels, ways = 3 })
      end, "ways")
   end)
end)

describe("the table of the few-shot papers", function()
   it("has what few_shot gives for each way and shot, from one pass over the images", function()
      local set, calls = circle(20, 20, 0.05), 0
      local function embed(x)
         calls = calls + x:size(1)
         return metrics.pixels(x)
      end
      local result = metrics.few_shot_table(set, { embed = embed, episodes = 10, seed = 2 })
      assert.equal(#set, calls)
      for _, way in ipairs{ 5, 20 } do
         for _, shot in ipairs{ 1, 5 } do
            assert.same(metrics.few_shot(set, { embed = metrics.pixels, way = way, shot = shot,
               queries = 15, episodes = 10, seed = 2 }), result[way][shot])
         end
      end
      assert.matches("^ +1%-shot +5%-shot\n  5%-way +[%d.]+ %+%- [%d.]+ +[%d.]+ %+%- [%d.]+\n 20%-way",
         tostring(result))
   end)

   it("says which classes are too small, in the caller's line, before it embeds", function()
      for _, name in ipairs{ "few_shot_table", "few_shot" } do
         local embed = function() error("it has embedded") end
         local line = debug.getinfo(1, "l").currentline + 2
         local ok, message = pcall(function()
            local result = metrics[name](circle(20, 10, 0.05), { embed = embed, queries = 15 })
            return result
         end)
         assert.is_false(ok)
         assert.matches(("metrics_spec.lua:%d: metrics.%s: needs 5 classes with at least 16 samples each")
            :format(line, name), message, 1, true)
      end
      assert.error_matches(function()
         metrics.few_shot_table(circle(20, 10, 0.05), { embed = metrics.pixels, way = 5 })
      end, "way and shot must be lists")
   end)
end)

describe("embeddings and distances that are not numbers", function()
   it("are an error, not an answer", function()
      local set = circle(5, 4, 0.1)
      assert.error_matches(function()
         metrics.few_shot(set, { embed = function(x)
            local y = metrics.pixels(x):clone()
            y[{ 3, 1 }] = 0 / 0
            return y
         end })
      end, "metrics.few_shot: the embedding of image 3 has a number that is not finite")
      assert.error_matches(function()
         metrics.few_shot(set, { embed = metrics.pixels, distance = function(a, b)
            return siamese.nn.functional.cdist(a, b) * (0 / 0)
         end })
      end, "metrics.few_shot: a distance is not a number")
      local x = siamese.ones(2, 1, 1, 1)
      assert.error_matches(function()
         metrics.lake_runs({ { training = x, test = x * math.huge,
            answers = siamese.tensor({ 1, 2 }, { dtype = "int64" }) } }, metrics.pixels)
      end, "the embedding of test picture 1 has a number that is not finite")
   end)
end)

describe("the one-shot runs", function()
   it("are the mean of the runs' accuracies", function()
      local x = siamese.tensor{ { 1, 0 }, { 0, 1 }, { -1, 0 } }:reshape(3, 2, 1, 1)
      local runs = {
         { training = x, test = x, answers = siamese.tensor({ 1, 2, 3 }, { dtype = "int64" }) },
         { training = x, test = x, answers = siamese.tensor({ 1, 3, 2 }, { dtype = "int64" }) },
      }
      local result = metrics.lake_runs(runs, metrics.pixels)
      close(1, result.runs[1])
      close(1 / 3, result.runs[2])
      close(2 / 3, result.accuracy)
      assert.are.same({ 1, 2, 3 }, result.answers[2]:totable())
   end)
end)
