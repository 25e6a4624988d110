--- Verification: are two pictures of one class? Curves, rates and the protocols of the field. What is here
-- is in `siamese.metrics`.
--
-- Distances are small for what is alike; for similarities pass `-similarity`. A distance that is not a
-- number is an error. Pairs with equal distances cannot be told apart by a threshold: they are one point of
-- a curve together.
-- @module siamese.metrics.verification
local core = require "siamese.core"
local common = require "siamese.metrics.common"
local options = require "siamese.options"

local evaluation = core.evaluation
local M = {}

local function curve(name, distances, same, points)
   return common.blame(name, evaluation.roc, distances, same, points)
end

--- Everything about a verifier that says "same" up to a threshold on the distance.
-- Ties count half in the area (which is Mann and Whitney's statistic).
-- @tparam tensor|table distances [P], at least one
-- @tparam tensor|table same [P], 1 for a pair of one class, 0 for a pair of two
-- @treturn table `auc`, `equal_error_rate` (both NaN unless there are pairs of both kinds),
--   `average_precision` (NaN without same pairs), `accuracy` at the best `threshold` of these very pairs
--   (which flatters: see `verification_folds`), `same` and `different` (how many), and the curve:
--   `true_positive_rate` (recall), `false_positive_rate`, `precision`, `thresholds`, float32 [points],
--   from the point that calls nothing same to the one that calls everything same
-- @usage local report = metrics.verification(twin:distance(a, b), same)  print(report.auc)
function M.verification(distances, same)
   return curve("metrics.verification", distances, same, true)
end

--- The area under the ROC curve: how often a same pair is closer than a different one.
-- @tparam tensor|table distances [P]
-- @tparam tensor|table same [P], 1 or 0
-- @treturn number NaN unless there are pairs of both kinds
function M.auc(distances, same)
   return curve("metrics.auc", distances, same).auc
end

--- The rate at which as many same pairs are turned away as different ones are let in.
-- @tparam tensor|table distances [P]
-- @tparam tensor|table same [P], 1 or 0
-- @treturn number NaN unless there are pairs of both kinds
function M.equal_error_rate(distances, same)
   return curve("metrics.equal_error_rate", distances, same).equal_error_rate
end

--- The threshold that is right most often on these pairs. Choose it on validation pairs.
-- @tparam tensor|table distances [P]
-- @tparam tensor|table same [P], 1 or 0
-- @treturn number threshold
-- @treturn number the accuracy there
function M.best_threshold(distances, same)
   local report = curve("metrics.best_threshold", distances, same)
   return report.threshold, report.accuracy
end

--- How often "same if the distance is at most the threshold" is right.
-- @tparam tensor|table distances [P]
-- @tparam tensor|table same [P], 1 or 0
-- @tparam number threshold
-- @treturn number
function M.verification_accuracy(distances, same, threshold)
   if type(threshold) ~= "number" then
      core.raise("metrics.verification_accuracy: threshold must be a number, got " .. type(threshold))
   end
   return common.blame("metrics.verification_accuracy", evaluation.accuracy, distances, same, threshold)
end

--- Precision against recall, as scikit-learn's precision_recall_curve and average_precision_score: no
-- interpolation, average precision is the sum of precision times the step in recall.
-- @tparam tensor|table distances [P]
-- @tparam tensor|table same [P], 1 or 0
-- @treturn table `precision`, `recall`, `thresholds`, float32 [points], in the order of growing thresholds
--   (the first, recall 0, has precision 1); `average_precision` (NaN, as recall, without same pairs)
function M.precision_recall(distances, same)
   local report = curve("metrics.precision_recall", distances, same, true)
   return { precision = report.precision, recall = report.true_positive_rate,
      thresholds = report.thresholds, average_precision = report.average_precision }
end

--- Average precision of "same" (see `precision_recall`).
-- @tparam tensor|table distances [P]
-- @tparam tensor|table same [P], 1 or 0
-- @treturn number NaN without same pairs
function M.average_precision(distances, same)
   return curve("metrics.average_precision", distances, same).average_precision
end

local FARS = { 1e-1, 1e-2, 1e-3, 1e-4 }

local function check_rates(name, rates)
   for i, rate in ipairs(rates) do
      if type(rate) ~= "number" or not (rate >= 0 and rate <= 1) then
         core.raise(("%s: rate %d must be a number from 0 to 1, got %s"):format(name, i, tostring(rate)))
      end
   end
end

--- The share of same pairs that are accepted at a threshold where no more than a given share of different
-- pairs is: the highest point of the curve at or left of that rate, without interpolation. A rate below one
-- in the number of different pairs allows none of them at all: the answer is then as rough as that.
-- @tparam tensor|table distances [P]
-- @tparam tensor|table same [P], 1 or 0
-- @tparam[opt={1e-1,1e-2,1e-3,1e-4}] number|{number,...} far rate or rates
-- @treturn number|{table,...} for one rate the true accept rate (NaN without same pairs), the threshold and
--   the rate reached; for a list (and by default) a list of { far =, reached =, tar =, threshold = }. Raises
--   without different pairs
-- @usage print(metrics.tar_at_far(distances, same, 1e-3))
-- @usage for _, at in ipairs(metrics.tar_at_far(distances, same)) do print(at.far, at.tar) end
function M.tar_at_far(distances, same, far)
   local rates = type(far) == "number" and { far } or far or FARS
   if type(rates) ~= "table" then
      core.raise("metrics.tar_at_far: expected a rate or a list of rates, got " .. type(rates))
   end
   check_rates("metrics.tar_at_far", rates)
   local list = common.blame("metrics.tar_at_far", evaluation.rates, distances, same, rates)
   if type(far) == "number" then
      return list[1].tar, list[1].threshold, list[1].reached
   end
   return list
end

--- Mean and standard error (s / sqrt(n), with the sample's deviation s) of one key of a list of tables.
local function mean_and_error(list, key)
   local sum, squares, n = 0, 0, #list
   for _, item in ipairs(list) do
      sum = sum + item[key]
   end
   local mean = sum / n
   for _, item in ipairs(list) do
      squares = squares + (item[key] - mean) ^ 2
   end
   return mean, math.sqrt(squares / (n - 1) / n)
end

--- P pairs in `count` folds of equal size, one after the other, as LFW's pairs.txt lists them.
local function consecutive(name, distances, count)
   local n = core.is_tensor(distances) and distances:size(1) or #distances
   if count < 2 or n % count ~= 0 then
      core.raise(("%s: %d pairs cannot be cut into %d folds of equal size; give the fold of each pair")
         :format(name, n, count))
   end
   return core.arange(0, n, 1, { dtype = "int64" }) // (n // count) + 1, count
end

local function numbered(name, folds)
   if type(folds) ~= "table" and not core.is_tensor(folds) then
      core.raise(("%s: folds must be a number or the fold of each pair, got %s"):format(name, type(folds)))
   end
   folds = common.labels(folds)
   local tensor = core.is_tensor(folds) and folds or core.tensor(folds, { dtype = "int64" })
   return tensor, tensor:numel() > 0 and math.tointeger(tensor:max():item()) or 0
end

--- Verification by folds: each is judged at the threshold that is best on all the others, so that no pair
-- has a say in its own threshold. With `folds = 10` on the 6,000 pairs of LFW's View 2 this is the protocol
-- of Huang et al. 2007 (section III): the mean accuracy and its standard error over the folds.
-- @tparam tensor|table distances [P]
-- @tparam tensor|table same [P], 1 or 0
-- @tparam[opt] table opts `folds`: a number of folds of equal size that follow each other (default 10), or
--   the fold of each pair (numbers from 1, or names) [P]; `far`: a rate of false accepts, whose threshold is
--   chosen on the other folds, too
-- @treturn table `accuracy`, `standard_error`, `folds` (list of { accuracy =, threshold =, pairs = }), and
--   of all pairs `auc` and `equal_error_rate`; with `far` also `tar`, `tar_standard_error`, `far` (the rate
--   that the folds really had: their mean), and each fold's `tar`, `far`, `far_threshold`
-- @usage
-- local result = metrics.verification_folds(distances, same)
-- print(("%.4f +- %.4f"):format(result.accuracy, result.standard_error))
function M.verification_folds(distances, same, opts)
   local name = "metrics.verification_folds"
   local o = options.check(name, opts, { folds = 10, far = options.optional })
   if o.far ~= nil then
      check_rates(name, { o.far })
   end
   local folds, count
   if math.type(o.folds) == "integer" then
      folds, count = consecutive(name, distances, o.folds)
   else
      folds, count = numbered(name, o.folds)
   end
   local list = common.blame(name, evaluation.folds, distances, same, folds, count, o.far)
   local all = evaluation.roc(distances, same)
   local result = { folds = list, auc = all.auc, equal_error_rate = all.equal_error_rate }
   result.accuracy, result.standard_error = mean_and_error(list, "accuracy")
   if o.far then
      result.tar, result.tar_standard_error = mean_and_error(list, "tar")
      result.far = mean_and_error(list, "far")
   end
   return result
end

--- Distances of all pairs of a set of embeddings, each pair once, and which are of one class: what the
-- functions above take. One matrix product a block; N embeddings are N (N - 1) / 2 pairs of five bytes.
-- @tparam tensor embeddings [N,D], finite
-- @tparam tensor|table labels [N], numbers or names
-- @tparam[opt] table opts `distance`: "l2" (default), "l1" or "cosine" (1 - cosine)
-- @treturn tensor distances [P]: of 1 and 2, 1 and 3, ..., 2 and 3, ...
-- @treturn tensor same [P] uint8
-- @usage local report = metrics.verification(metrics.all_pairs(embeddings, test.labels))
function M.all_pairs(embeddings, labels, opts)
   local o = options.check("metrics.all_pairs", opts, { distance = "l2" })
   common.check_distance("metrics.all_pairs", o.distance)
   return common.blame("metrics.all_pairs", evaluation.all_pairs, embeddings, common.labels(labels),
      o.distance)
end

return M
