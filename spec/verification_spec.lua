--- Verification against scikit-learn's values (spec/golden/metrics.lua) and against definitions.
local siamese = require "siamese"
local support = require "spec.support"

local metrics, close, fails = siamese.metrics, support.close, support.fails
local golden = support.golden("metrics")

local function near(expected, got, tolerance)
   assert.is_true(math.abs(expected - got) <= (tolerance or 1e-9),
      ("expected %.12f, got %.12f"):format(expected, got))
end

local function is_nan(x)
   return x ~= x
end

describe("verification, beside scikit-learn,", function()
   for number, case in ipairs(golden.verification) do
      it("agrees on " .. #case.same .. " pairs, set " .. number, function()
         local report = metrics.verification(case.distances, case.same)
         near(case.auc, report.auc)
         near(case.average_precision, report.average_precision)
         near(case.average_precision, metrics.average_precision(case.distances, case.same))
         local same = siamese.tensor(case.same):sum():item()
         assert.equal(same, report.same)
         assert.equal(#case.same - same, report.different)
         for i, at in ipairs(metrics.tar_at_far(case.distances, case.same)) do
            assert.equal(case.far[i], at.far)
            near(case.tar[i], at.tar)
            near(case.reached[i], at.reached)
            local tar, threshold, reached = metrics.tar_at_far(case.distances, case.same, case.far[i])
            assert.same({ at.tar, at.threshold, at.reached }, { tar, threshold, reached })
         end
      end)
      if case.tpr then
         it("has the same curves, set " .. number, function()
            local report = metrics.verification(case.distances, case.same)
            close(report.true_positive_rate, case.tpr)
            close(report.false_positive_rate, case.fpr)
            close(report.thresholds:narrow(1, 2, #case.thresholds), case.thresholds)
            assert.equal(-math.huge, report.thresholds[1]:item())
            near(case.equal_error_rate, report.equal_error_rate)
            local curve = metrics.precision_recall(case.distances, case.same)
            -- scikit-learn leaves out what follows full recall.
            local n = #case.precision
            close(curve.precision:narrow(1, 1, n), case.precision)
            close(curve.recall:narrow(1, 1, n), case.recall)
         end)
      end
   end

   it("does not care for the order of pairs, for strides or for the kind of `same`", function()
      local case = golden.verification[3]
      local d, s = siamese.tensor(case.distances), siamese.tensor(case.same)
      local order = siamese.randperm(#case.same)
      near(case.auc, metrics.auc(d:index_select(1, order), s:index_select(1, order)))
      for _, same in ipairs{ s, s:long(), s:byte(), support.noncontiguous(s:byte()),
         support.noncontiguous(s) } do
         near(case.average_precision, metrics.average_precision(support.noncontiguous(d), same))
      end
   end)

   it("sorts many pairs as it sorts few", function()
      siamese.manual_seed(3)
      local d = siamese.cat({ siamese.randn(5000), siamese.randn(5000) * 1e-30, siamese.zeros(50),
         siamese.full({ 3 }, math.huge) }, 1)
      local same = siamese.rand(10053):lt(0.3)
      local report = metrics.verification(d, same)
      local points = report.thresholds:size(1)
      local steps = report.thresholds:narrow(1, 2, points - 1):gt(report.thresholds:narrow(1, 1, points - 1))
      assert.equal(points - 1, steps:sum():item())
      assert.equal(1, report.true_positive_rate[points]:item())
      local some = siamese.arange(1, 501, 1, { dtype = "int64" })
      local few, kinds = d:index_select(1, some), same:index_select(1, some)
      near(metrics.auc(few, kinds), metrics.auc(siamese.cat({ few, few, few }, 1),
         siamese.cat({ kinds, kinds, kinds }, 1)))
   end)
end)

describe("verification of one kind of pairs", function()
   it("has no area, no equal error and no false accepts", function()
      local report = metrics.verification({ 1, 2 }, { 1, 1 })
      assert.is_true(is_nan(report.auc) and is_nan(report.equal_error_rate))
      assert.equal(1, report.average_precision)
      assert.equal(1, report.accuracy)
      fails("metrics.tar_at_far: there is no pair of two classes, so no rate of false accepts",
         metrics.tar_at_far, { 1, 2 }, { 1, 1 })
   end)

   it("has no precision without same pairs", function()
      local report = metrics.verification({ 1, 2 }, { 0, 0 })
      assert.is_true(is_nan(report.auc) and is_nan(report.average_precision))
      assert.equal(1, report.accuracy)
      assert.is_true(report.threshold < 1)
      local tar, threshold, reached = metrics.tar_at_far({ 1, 2 }, { 0, 0 }, 0.5)
      assert.is_true(is_nan(tar))
      near(1.5, threshold)
      near(0.5, reached)
   end)
end)

describe("the rate of false accepts", function()
   it("is never passed, and ties are let in together or not at all", function()
      local d, same = { 1, 2, 2, 2, 3, 4 }, { 1, 0, 0, 1, 0, 0 }
      local tar, threshold, reached = metrics.tar_at_far(d, same, 0.25)
      near(0.5, tar)
      near(1.5, threshold)
      near(0, reached)
      tar, threshold, reached = metrics.tar_at_far(d, same, 0.5)
      near(1, tar)
      near(2.5, threshold)
      near(0.5, reached)
   end)

   it("of 0 puts the threshold in front of the closest different pair, of 1 at the last", function()
      local _, threshold = metrics.tar_at_far({ 1, 2 }, { 0, 1 }, 0)
      assert.is_true(threshold < 1 and threshold > 0.999)
      local tar, last = metrics.tar_at_far({ 1, 2 }, { 0, 1 }, 1)
      assert.equal(1, tar)
      assert.equal(2, last)
   end)

   it("must be one", function()
      fails("rate 1 must be a number from 0 to 1, got 1.5", metrics.tar_at_far, { 1, 2 }, { 0, 1 }, 1.5)
      fails("rate 2 must be a number from 0 to 1, got x", metrics.tar_at_far, { 1 }, { 0 }, { 0, "x" })
      fails("expected a rate or a list of rates, got string", metrics.tar_at_far, { 1 }, { 0 }, "1e-3")
   end)
end)

describe("verification by folds", function()
   for number, case in ipairs(golden.folds) do
      it("judges each fold by the others' threshold, set " .. number, function()
         local result = metrics.verification_folds(case.distances, case.same,
            { folds = case.fold, far = case.far })
         for i, fold in ipairs(result.folds) do
            near(case.accuracies[i], fold.accuracy)
            near(case.thresholds[i], fold.threshold, 1e-6)
         end
         near(case.accuracy, result.accuracy)
         near(case.standard_error, result.standard_error)
         near(case.tar, result.tar)
         near(case.tar_standard_error, result.tar_standard_error)
         near(case.reached, result.far)
      end)
   end

   it("takes ten folds that follow each other, as LFW's", function()
      local case = golden.folds[1]
      local result = metrics.verification_folds(case.distances, case.same)
      assert.equal(10, #result.folds)
      near(case.accuracy, result.accuracy)
      near(case.standard_error, result.standard_error)
      assert.is_nil(result.tar)
      near(metrics.auc(case.distances, case.same), result.auc)
   end)

   it("takes names of folds", function()
      local result = metrics.verification_folds({ 1, 2, 1, 2 }, { 1, 0, 1, 0 },
         { folds = { "a", "a", "b", "b" } })
      near(1, result.accuracy)
      near(0, result.standard_error)
   end)

   it("says what is wrong with the folds", function()
      local function run(opts)
         return metrics.verification_folds({ 1, 2, 3, 4 }, { 1, 0, 1, 1 }, opts)
      end
      fails("4 pairs cannot be cut into 10 folds of equal size", run)
      fails("4 pairs cannot be cut into 1 folds", run, { folds = 1 })
      fails("expected a fold for each of 4 pairs, got [3]", run, { folds = { 1, 1, 2 } })
      fails("fold 2 has no pairs", run, { folds = { 1, 1, 3, 3 } })
      fails("fold 1 has all pairs", run, { folds = { 1, 1, 1, 1 } })
      fails("pair 1: expected a fold from 1 to 2, got 0", run, { folds = { 0, 1, 2, 2 } })
      fails("folds must be a number or the fold of each pair, got string", run, { folds = "ten" })
      fails("outside of fold 1 there is no pair of two classes", run, { folds = 2, far = 0.1 })
      fails("unknown option 'fold'", run, { fold = 2 })
   end)
end)

describe("all pairs", function()
   it("are those of the distances between all, each once", function()
      siamese.manual_seed(4)
      local x, labels = siamese.randn(9, 5), { 1, 2, 1, 3, 2, 1, 1, 3, 2 }
      local unit = siamese.nn.functional.normalize(x, 2)
      local wanted = { l2 = siamese.nn.functional.cdist(x, x),
         l1 = (x:unsqueeze(2) - x:unsqueeze(1)):abs():sum(3), cosine = 1 - unit:matmul(unit:t()) }
      for name, all in pairs(wanted) do
         support.each_isa(function()
            local d, same = metrics.all_pairs(support.noncontiguous(x), labels, { distance = name })
            local list, kinds = {}, {}
            for i = 1, 9 do
               for j = i + 1, 9 do
                  list[#list + 1] = all[i][j]:item()
                  kinds[#kinds + 1] = labels[i] == labels[j] and 1 or 0
               end
            end
            close(d, list, 1e-4, 1e-5)
            assert.same(kinds, same:totable())
         end)
      end
   end)

   it("span blocks", function()
      siamese.manual_seed(5)
      local n = 700 -- more than a block's 512 rows
      local x = siamese.randn(n, 3)
      local d = metrics.all_pairs(x, siamese.ones(n):long())
      assert.equal(n * (n - 1) // 2, d:size(1))
      local all = siamese.nn.functional.cdist(x, x)
      for _, i in ipairs{ 1, 2, 511, 512, 513, 514, 699 } do
         local at = (i - 1) * n - i * (i - 1) // 2
         close(d:narrow(1, at + 1, n - i), all[i]:narrow(1, i + 1, n - i), 1e-4, 1e-4)
      end
   end)

   it("of equal embeddings have distance 0, of long ones near each other the right one", function()
      local d = metrics.all_pairs(siamese.tensor{ { 1000, 1 }, { 1000, 1 }, { 1000, 1.5 } }, { 1, 1, 2 })
      close(d, { 0, 0.5, 0.5 }, 1e-6, 0)
      d = metrics.all_pairs(siamese.tensor{ { 0, 0 }, { 3, 4 }, { 0, 0 } }, { 1, 2, 3 },
         { distance = "cosine" })
      close(d, { 1, 1, 1 })
   end)

   it("are none of one embedding, and need as many labels, finite numbers and a known distance", function()
      local d, same = metrics.all_pairs(siamese.ones(1, 3), { "a" })
      assert.equal(0, d:numel() + same:numel())
      fails("expected 2 labels, one for each embedding, got 1", metrics.all_pairs, siamese.ones(2, 3), { 1 })
      fails("embedding 2 has a number that is not finite", metrics.all_pairs,
         siamese.tensor{ { 1, 2 }, { 0 / 0, 1 } }, { 1, 2 })
      fails("embedding 1 is too long for float32", metrics.all_pairs, siamese.tensor{ { 1e30 } }, { 1 })
      fails("distance must be 'l2', 'l1' or 'cosine', got 'l3'", metrics.all_pairs, siamese.ones(2, 3),
         { 1, 2 }, { distance = "l3" })
      fails("expected embeddings [N,D], got [2]", metrics.all_pairs, siamese.ones(2), { 1, 2 })
   end)
end)

describe("bad distances", function()
   it("are named", function()
      for name, call in pairs{ auc = metrics.auc, verification = metrics.verification,
         best_threshold = metrics.best_threshold, precision_recall = metrics.precision_recall,
         verification_folds = metrics.verification_folds, tar_at_far = metrics.tar_at_far } do
         fails(("metrics.%s: the distance of pair 2 is not a number"):format(name), call,
            { 1, 0 / 0, 1, 1, 1, 1, 1, 1, 1, 1 }, { 1, 0, 1, 0, 1, 0, 1, 0, 1, 0 })
      end
      fails("metrics.auc: the distance of pair 1 is -inf", metrics.auc, { -math.huge, 1 }, { 1, 0 })
      fails("metrics.verification_accuracy: threshold must be a number, got nil",
         metrics.verification_accuracy, { 1 }, { 1 })
   end)
end)
