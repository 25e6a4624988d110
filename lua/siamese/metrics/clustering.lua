--- Clusters: do embeddings fall into the classes by themselves? What is here is in `siamese.metrics`.
-- @module siamese.metrics.clustering
local core = require "siamese.core"
local common = require "siamese.metrics.common"
local options = require "siamese.options"

local evaluation = core.evaluation
local M = {}

local KMEANS = { restarts = 1, iterations = 100, tolerance = 1e-4, seed = options.optional,
   start = options.optional }

local function check_kmeans(name, opts, more)
   local o = options.check(name, opts, options.extend(KMEANS, more or {}))
   options.check_count(name, o, "restarts", 1)
   options.check_count(name, o, "iterations", 0)
   options.check_number(name, o, "tolerance", 0, math.huge)
   return o
end

local function kmeans(name, x, clusters, o)
   local generator, best = core.Generator(o.seed), nil
   for _ = 1, o.start and 1 or o.restarts do
      local members, centres, inertia, iterations = common.blame(name, evaluation.kmeans, x, clusters,
         o.iterations, o.tolerance, o.start or generator)
      if not best or inertia < best.inertia then
         best = { members = members, centres = centres, inertia = inertia, iterations = iterations }
      end
   end
   return best
end

--- k-means: Lloyd's algorithm from k-means++ (Arthur and Vassilvitskii 2007) on all threads.
-- @tparam tensor x [N,D], finite
-- @tparam int clusters from 1 to N
-- @tparam[opt] table opts `restarts` (default 1: of so many starts, the one with the least inertia counts),
--   `iterations` (at most, 100), `tolerance` (1e-4: it ends when the centres move by no more than this times
--   the mean variance of the columns), `seed`, `start` (centres [clusters,D] to begin with)
-- @treturn table `members` (int64 [N], the cluster of each row, from 1), `centres` [clusters,D], `inertia`
--   (sum of squared distances to the centres), `iterations`
-- @usage local found = metrics.kmeans(embeddings, 10, { restarts = 5, seed = 1 })
function M.kmeans(x, clusters, opts)
   local o = check_kmeans("metrics.kmeans", opts)
   if math.type(clusters) ~= "integer" then
      core.raise("metrics.kmeans: clusters must be an integer, got " .. tostring(clusters))
   end
   return kmeans("metrics.kmeans", x, clusters, o)
end

--- How much two labellings of the same things say about each other: mutual information over the mean of the
-- two entropies, from 0 to 1 (scikit-learn's normalized_mutual_info_score). Two labellings that have one
-- label each agree: 1.
-- @tparam tensor|table a [N], numbers or names
-- @tparam tensor|table b [N]
-- @treturn number
function M.normalized_mutual_information(a, b)
   local ha, hb, mutual = common.blame("metrics.normalized_mutual_information", evaluation.information,
      common.labels(a), common.labels(b))
   if ha == 0 and hb == 0 then
      return 1
   end
   return 2 * mutual / (ha + hb)
end

local function count_labels(labels)
   local seen, count = {}, 0
   for _, label in ipairs(core.is_tensor(labels) and labels:totable() or labels) do
      if not seen[label] then
         seen[label], count = true, count + 1
      end
   end
   return count
end

--- NMI of embeddings: `normalized_mutual_information` of the labels and of the clusters that k-means finds,
-- as many as there are labels.
-- @tparam tensor embeddings [N,D]
-- @tparam tensor|table labels [N], numbers or names
-- @tparam[opt] table opts as for `kmeans`; and `distance`: "l2" (default) or "cosine" (the embeddings are
--   scaled to length 1 first)
-- @treturn number
-- @treturn table what `kmeans` found
-- @usage print(metrics.nmi(embeddings, test.labels, { seed = 1 }))
function M.nmi(embeddings, labels, opts)
   local name = "metrics.nmi"
   local o = check_kmeans(name, opts, { distance = "l2" })
   options.check_choice(name, o, "distance", { "l2", "cosine" })
   local x = o.distance == "cosine" and core.F.normalize(embeddings, 2) or embeddings
   local found = kmeans(name, x, count_labels(labels), o)
   return M.normalized_mutual_information(labels, found.members), found
end

return M
