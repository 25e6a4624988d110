--- Evaluation: verification on pairs, and N-way K-shot recognition.
--
-- Distances are small for what is alike; for similarities pass `-similarity`.
-- @module siamese.metrics
local core = require "siamese.core"
local options = require "siamese.options"
local samplers = require "siamese.data.samplers"

local M = {}

--- Everything about a verifier that says "same" up to a threshold on the distance.
-- Pairs with equal distances are one point of the curve, so ties count half in the area (which is
-- Mann and Whitney's statistic).
-- @tparam tensor|table distances [P], at least one
-- @tparam tensor|table same [P], 1 for a pair of one class, 0 for a pair of two
-- @treturn table `auc`, `equal_error_rate` (both NaN unless there are pairs of both kinds),
--   `accuracy` at the best `threshold`, and the curve: `true_positive_rate`, `false_positive_rate`,
--   `thresholds`, float32 [points]
-- @usage local report = metrics.verification(twin:distance(a, b), same)  print(report.auc)
function M.verification(distances, same)
   return core.roc(distances, same)
end

--- The area under the ROC curve: how often a same pair is closer than a different one.
-- @tparam tensor|table distances [P]
-- @tparam tensor|table same [P], 1 or 0
-- @treturn number
function M.auc(distances, same)
   return core.roc(distances, same).auc
end

--- The rate at which as many same pairs are turned away as different ones are let in.
-- @tparam tensor|table distances [P]
-- @tparam tensor|table same [P], 1 or 0
-- @treturn number
function M.equal_error_rate(distances, same)
   return core.roc(distances, same).equal_error_rate
end

--- The threshold that is right most often on these pairs. Choose it on validation pairs.
-- @tparam tensor|table distances [P]
-- @tparam tensor|table same [P], 1 or 0
-- @treturn number threshold
-- @treturn number the accuracy there
function M.best_threshold(distances, same)
   local report = core.roc(distances, same)
   return report.threshold, report.accuracy
end

--- How often "same if the distance is at most the threshold" is right.
-- @tparam tensor distances [P]
-- @tparam tensor same [P], 1 or 0
-- @tparam number threshold
-- @treturn number
function M.verification_accuracy(distances, same, threshold)
   return distances:detach():le(threshold):float():eq(same:float()):float():mean():item()
end

--- The mean of a list of numbers and the half-width of its 95 % confidence interval,
-- 1.96 s / sqrt(n), with the sample's standard deviation s.
-- @tparam {number,...} values
-- @treturn number mean
-- @treturn number half-width, NaN for fewer than two values
function M.interval(values)
   local sum, squares, n = 0, 0, #values
   for _, value in ipairs(values) do
      sum = sum + value
   end
   local mean = sum / n
   for _, value in ipairs(values) do
      squares = squares + (value - mean) ^ 2
   end
   return mean, 1.96 * math.sqrt(squares / (n - 1) / n)
end

--- Pixels as an embedding: with it the evaluations below measure pixels' nearest neighbour.
-- @tparam tensor images [B,C,H,W]
-- @treturn tensor [B,C*H*W]
function M.pixels(images)
   return images:flatten(2)
end

--- Embeds images in batches, without a graph.
-- @tparam function embed from [B,C,H,W] float32 to [B,D]
-- @tparam tensor images [N,C,H,W], uint8 or float32
-- @tparam[opt=256] number batch_size
-- @treturn tensor [N,D]
function M.embed_all(embed, images, batch_size)
   batch_size = batch_size or 256
   local parts, n = {}, images:size(1)
   core.no_grad(function()
      for first = 1, n, batch_size do
         local batch = images:narrow(1, first, math.min(batch_size, n - first + 1))
         if batch.dtype == "uint8" then
            batch = batch:float():mul_(1 / 255)
         end
         parts[#parts + 1] = embed(batch)
      end
   end)
   return core.cat(parts, 1)
end

local DISTANCES = {
   l2 = function(a, b)
      return core.F.cdist(a, b)
   end,
   cosine = function(a, b)
      return -core.matmul(core.F.normalize(a, 2), core.F.normalize(b, 2):t())
   end,
   l1 = function(a, b)
      return (a:unsqueeze(2) - b:unsqueeze(1)):abs():sum(3)
   end,
}

local function distance_function(name, distance)
   if type(distance) == "function" then
      return distance
   end
   return DISTANCES[distance] or error(("%s: distance must be 'l2', 'l1', 'cosine' or a function, "
      .. "got '%s'"):format(name, tostring(distance)), 3)
end

--- The class of each query: the one whose support is closest.
local function answer(query, support, way, shot, distance, rule)
   if rule == "prototype" then
      support = support:reshape(way, shot, support:size(2)):mean(2)
   end
   local scores = distance(query, support)
   if rule == "nearest" then
      scores = scores:reshape(scores:size(1), way, shot):amin(3)
   end
   return scores:argmin(2)
end

local function share_right(answers, labels)
   return answers:eq(labels):float():mean():item()
end

local FEW_SHOT = {
   embed = options.required, way = 5, shot = 1, queries = 1, episodes = 400, distance = "l2",
   rule = "prototype", batch_size = 256, seed = options.optional, groups = options.optional,
}

--- N-way K-shot accuracy over random episodes, with its 95 % interval.
--
-- Every image is embedded once; the episodes then work on embeddings.
-- @tparam Set set of classes that were not trained on
-- @tparam table opts `embed` (a function from images [B,C,H,W] to [B,D]; put the network in eval mode
--   first), `way` (default 5), `shot` (1), `queries` (a class, 1), `episodes` (400), `distance` ("l2",
--   "l1", "cosine", or a function of queries [Q,D] and support [S,D] that gives [Q,S]), `rule` (for
--   more than one shot: "prototype", the mean of a class's support embeddings as in Snell et al. 2017,
--   or "nearest"), `batch_size`, `seed`, `groups` (see `data.episodes`)
-- @treturn table `accuracy`, `interval` (half-width), `episodes` (the accuracy of each)
-- @usage
-- local result = metrics.few_shot(set, { embed = function(x) return twin:embed(x) end, way = 20 })
-- print(("%.1f %% +- %.1f"):format(100 * result.accuracy, 100 * result.interval))
function M.few_shot(set, opts)
   local o = options.check("metrics.few_shot", opts, FEW_SHOT)
   local distance = distance_function("metrics.few_shot", o.distance)
   if o.rule ~= "prototype" and o.rule ~= "nearest" then
      error(("metrics.few_shot: rule must be 'prototype' or 'nearest', got '%s'")
         :format(tostring(o.rule)), 2)
   end
   local episodes = samplers.episodes(set, { way = o.way, shot = o.shot, queries = o.queries,
      episodes = o.episodes, seed = o.seed, groups = o.groups })
   local embedded = M.embed_all(o.embed, set.images, o.batch_size)
   local accuracies = {}
   core.no_grad(function()
      for support, query, labels in episodes do
         local answers = answer(embedded:index_select(1, query), embedded:index_select(1, support),
            o.way, o.shot, distance, o.rule)
         accuracies[#accuracies + 1] = share_right(answers, labels)
      end
   end)
   local accuracy, half = M.interval(accuracies)
   return { accuracy = accuracy, interval = half, episodes = accuracies }
end

--- The one-shot runs of Lake, Salakhutdinov, Tenenbaum (2015): each test picture takes the class of
-- the closest training picture of its run.
-- @tparam {table,...} runs of `data.omniglot_runs`
-- @tparam function embed from images [B,C,H,W] to [B,D]
-- @tparam[opt] table opts `distance` (default "l2"; see `few_shot`)
-- @treturn table `accuracy` (the mean over runs), `interval` (half-width), `runs` (the accuracy of
--   each), `answers` (int64 [M] of each run)
-- @usage local result = metrics.lake_runs(runs, function(x) return twin:embed(x) end)
function M.lake_runs(runs, embed, opts)
   local o = options.check("metrics.lake_runs", opts, { distance = "l2" })
   local distance = distance_function("metrics.lake_runs", o.distance)
   local accuracies, answers = {}, {}
   core.no_grad(function()
      for i, run in ipairs(runs) do
         local support = M.embed_all(embed, run.training)
         answers[i] = answer(M.embed_all(embed, run.test), support, support:size(1), 1, distance,
            "nearest")
         accuracies[i] = share_right(answers[i], run.answers)
      end
   end)
   local accuracy, half = M.interval(accuracies)
   return { accuracy = accuracy, interval = half, runs = accuracies, answers = answers }
end

return M
