--- Evaluation: verification on pairs (siamese.metrics.verification), retrieval and clusters
-- (siamese.metrics.retrieval, siamese.metrics.clustering), and N-way K-shot recognition, below.
--
-- Distances are small for what is alike; for similarities pass `-similarity`.
-- @module siamese.metrics
local core = require "siamese.core"
local options = require "siamese.options"
local samplers = require "siamese.data.samplers"

local M = {}
for _, part in ipairs{ "verification", "retrieval", "clustering" } do
   for name, fn in pairs(require("siamese.metrics." .. part)) do
      M[name] = fn
   end
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
-- @tparam tensor|Set images [N,C,H,W], uint8 or float32; or a data set, whose pictures may be in files
-- @tparam[opt=256] number batch_size
-- @treturn tensor [N,D]
function M.embed_all(embed, images, batch_size)
   batch_size = batch_size or 256
   local set = not core.is_tensor(images) and images or nil
   local parts, n = {}, set and #set or images:size(1)
   core.no_grad(function()
      for first = 1, n, batch_size do
         local count = math.min(batch_size, n - first + 1)
         local batch = set and set:batch(core.arange(first, first + count, { dtype = "int64" }))
            or images:narrow(1, first, count)
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
   return DISTANCES[distance] or core.raise(("%s: distance must be 'l2', 'l1', 'cosine' or a function, "
      .. "got '%s'"):format(name, tostring(distance)))
end

--- Raises for an embedding with a number that is not finite: whatever is compared
-- with it would be called alike, or not, by accident.
local function check_finite(name, what, embedded)
   local flat = embedded:reshape(embedded:size(1), -1)
   local finite = flat:isfinite():float():amin(2)
   if embedded:numel() > 0 and finite:min():item() == 0 then
      core.raise(("%s: the embedding of %s %d has a number that is not finite"):format(name, what,
         finite:argmin(1):item()))
   end
   return embedded
end

--- The class of each query: the one whose support is closest.
local function answer(name, query, support, way, shot, distance, rule)
   if rule == "prototype" then
      support = support:reshape(way, shot, support:size(2)):mean(2)
   end
   local scores = distance(query, support)
   if scores:isnan():sum():item() > 0 then
      error(name .. ": a distance is not a number", 0)
   end
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

--- The episodes of checked options; raises, before anything is embedded, where the set has too few images.
local function episodes_of(name, set, o)
   return samplers.episodes(set, { way = o.way, shot = o.shot, queries = o.queries, episodes = o.episodes,
      seed = o.seed, groups = o.groups }, name, 4)
end

--- Episodes on embeddings; o is checked.
local function run_episodes(name, episodes, embedded, o)
   local distance, accuracies = distance_function(name, o.distance), {}
   core.no_grad(function()
      for support, query, labels in episodes do
         local answers = answer(name, embedded:index_select(1, query),
            embedded:index_select(1, support), o.way, o.shot, distance, o.rule)
         accuracies[#accuracies + 1] = share_right(answers, labels)
      end
   end)
   local accuracy, half = M.interval(accuracies)
   return { accuracy = accuracy, interval = half, episodes = accuracies }
end

local function check_few_shot(name, opts, spec)
   local o = options.check(name, opts, spec)
   distance_function(name, o.distance)
   if o.rule ~= "prototype" and o.rule ~= "nearest" then
      core.raise(("%s: rule must be 'prototype' or 'nearest', got '%s'"):format(name, tostring(o.rule)))
   end
   return o
end

local function embedded_set(name, set, o)
   return check_finite(name, "image", M.embed_all(o.embed, set.images or set, o.batch_size))
end

--- N-way K-shot accuracy over random episodes, with its 95 % interval.
--
-- Every image is embedded once; the episodes then work on embeddings.
-- @tparam Set set of classes that were not trained on
-- @tparam table opts `embed` (a function from images [B,C,H,W] to [B,D]; put the network in eval mode
--   first), `way` (default 5), `shot` (1), `queries` (a class, 1), `episodes` (400), `distance` ("l2",
--   "l1", "cosine", or a function of queries [Q,D] and support [S,D] that gives [Q,S]), `rule` (for
--   more than one shot: "prototype", the mean of a class's support embeddings as in Snell et al. 2017,
--   or "nearest"), `batch_size`, `seed`, `groups` (see `data.episodes`)
-- @treturn table `accuracy`, `interval` (half-width), `episodes` (the accuracy of each). Raises for
--   embeddings or distances that are not numbers
-- @usage
-- local result = metrics.few_shot(set, { embed = function(x) return twin:embed(x) end, way = 20 })
-- print(("%.1f %% +- %.1f"):format(100 * result.accuracy, 100 * result.interval))
function M.few_shot(set, opts)
   local o = check_few_shot("metrics.few_shot", opts, FEW_SHOT)
   local episodes = episodes_of("metrics.few_shot", set, o)
   return run_episodes("metrics.few_shot", episodes, embedded_set("metrics.few_shot", set, o), o)
end

local TABLE = options.extend(FEW_SHOT, { way = { 5, 20 }, shot = { 1, 5 }, queries = 15, episodes = 600 })

local function table_text(self)
   local lines = { "" }
   for _, shot in ipairs(self.shots) do
      lines[1] = lines[1] .. ("%16s"):format(shot .. "-shot")
   end
   lines[1] = (" "):rep(7) .. lines[1]
   for _, way in ipairs(self.ways) do
      local line = ("%3d-way"):format(way)
      for _, shot in ipairs(self.shots) do
         local at = self[way][shot]
         line = line .. ("%8.2f +- %.2f"):format(100 * at.accuracy, 100 * at.interval)
      end
      lines[#lines + 1] = line
   end
   return table.concat(lines, "\n")
end

--- The table of the few-shot papers: 5- and 20-way, 1- and 5-shot, 15 queries a class, 600 episodes
-- (Snell, Swersky, Zemel 2017, section 3; Vinyals et al. 2016). Every image is embedded once for all.
-- @tparam Set set of classes that were not trained on, each with at least shots + queries images
-- @tparam table opts as for `few_shot`, but `way` ({5, 20}) and `shot` ({1, 5}) are lists, `queries` is 15
--   and `episodes` 600
-- @treturn table [way][shot] = { accuracy =, interval =, episodes = }; prints as a table in percent
-- @usage print(metrics.few_shot_table(test, { embed = embed, distance = "cosine", seed = 1 }))
function M.few_shot_table(set, opts)
   local name = "metrics.few_shot_table"
   local o = check_few_shot(name, opts, TABLE)
   if type(o.way) ~= "table" or type(o.shot) ~= "table" then
      core.raise(name .. ": way and shot must be lists of numbers")
   end
   local result = setmetatable({ ways = o.way, shots = o.shot }, { __tostring = table_text })
   for _, way in ipairs(o.way) do
      result[way] = {}
      for _, shot in ipairs(o.shot) do
         result[way][shot] = episodes_of(name, set, options.extend(o, { way = way, shot = shot }))
      end
   end
   local embedded = embedded_set(name, set, o)
   for _, way in ipairs(o.way) do
      for _, shot in ipairs(o.shot) do
         result[way][shot] = run_episodes(name, result[way][shot], embedded,
            options.extend(o, { way = way, shot = shot }))
      end
   end
   return result
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
   local name = "metrics.lake_runs"
   local o = options.check(name, opts, { distance = "l2" })
   local distance = distance_function(name, o.distance)
   local accuracies, answers = {}, {}
   core.no_grad(function()
      for i, run in ipairs(runs) do
         local support = check_finite(name, "training picture", M.embed_all(embed, run.training))
         local query = check_finite(name, "test picture", M.embed_all(embed, run.test))
         answers[i] = answer(name, query, support, support:size(1), 1, distance, "nearest")
         accuracies[i] = share_right(answers[i], run.answers)
      end
   end)
   local accuracy, half = M.interval(accuracies)
   return { accuracy = accuracy, interval = half, runs = accuracies, answers = answers }
end

return M
