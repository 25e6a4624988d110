--- Retrieval: are a picture's nearest neighbours of its class? What is here is in `siamese.metrics`.
-- @module siamese.metrics.retrieval
local core = require "siamese.core"
local common = require "siamese.metrics.common"
local options = require "siamese.options"

local evaluation = core.evaluation
local M = {}

local BLOCK = 4 << 20 -- distances at a time

local RETRIEVAL = { references = options.optional, reference_labels = options.optional, distance = "l2",
   k = { 1, 2, 4, 8 }, values = false }

local function check_k(name, k)
   local list = type(k) == "table" and k or { k }
   for i = 1, math.max(1, #list) do
      if math.type(list[i]) ~= "integer" or list[i] < 1 then
         core.raise(("%s: k must be a rank of at least 1 or a list of such, got %s"):format(name,
            options.text(k)))
      end
   end
   return list
end

local function check_embeddings(name, key, t)
   if not core.is_tensor(t) or t:dim() ~= 2 then
      core.raise(("%s: %s must be a tensor [N,D], got %s"):format(name, key,
         core.is_tensor(t) and options.text(t.shape) or type(t)))
   end
end

local function as_int64(labels)
   return core.is_tensor(labels) and labels or core.tensor(labels, { dtype = "int64" })
end

--- What is looked for and where, with int64 labels.
local function sides(name, embeddings, labels, o)
   check_embeddings(name, "embeddings", embeddings)
   if (o.references == nil) ~= (o.reference_labels == nil) then
      core.raise(name .. ": references and reference_labels belong together")
   end
   local known = {}
   local s = { queries = embeddings, labels = as_int64(common.labels(labels, known)) }
   s.references, s.reference_labels = s.queries, s.labels
   if o.references ~= nil then
      check_embeddings(name, "references", o.references)
      s.references, s.others = o.references, true
      s.reference_labels = as_int64(common.labels(o.reference_labels, known))
   end
   if s.labels:dim() ~= 1 or s.labels:size(1) ~= s.queries:size(1) then
      core.raise(("%s: expected %d labels, one for each embedding, got %s"):format(name, s.queries:size(1),
         options.text(s.labels.shape)))
   end
   return s
end

local EXACT = { l2 = "squared_l2" } -- the same order, without a root's rounding

--- Calls visit(first, distances [q,M]) block by block.
local function each_block(name, queries, references, distance, visit)
   local n, m = queries:size(1), references:size(1)
   local rows = math.max(1, BLOCK // math.max(1, m))
   for first = 1, n, rows do
      local block = queries:narrow(1, first, math.min(rows, n - first + 1))
      local distances
      if type(distance) == "function" then
         distances = core.no_grad(distance, block, references)
         if not core.is_tensor(distances) or distances:dim() ~= 2 or distances:size(1) ~= block:size(1)
            or distances:size(2) ~= m then
            core.raise(("%s: the distance must give [%d,%d], got %s"):format(name, block:size(1), m,
               core.is_tensor(distances) and options.text(distances.shape) or type(distances)))
         end
      else
         distances = common.blame(name, evaluation.distances, block, references, EXACT[distance] or distance)
      end
      visit(first, distances)
   end
end

--- The mean of those that are numbers, along the first dimension.
local function mean_of(values, counted)
   return values:masked_fill(values:isnan(), 0):sum(1) / counted
end

--- Each query's recall [N,k], R-precision [N] and average precision [N].
local function all_values(name, s, ranks, distance)
   local recall, r_precision, average = {}, {}, {}
   each_block(name, s.queries, s.references, distance, function(first, distances)
      local n = #recall + 1
      recall[n], r_precision[n], average[n] = common.blame(name, evaluation.rank, distances,
         s.labels:narrow(1, first, distances:size(1)), s.reference_labels, s.others and 0 or first, ranks)
   end)
   if #recall == 0 then
      core.raise(name .. ": there are no embeddings")
   end
   return { recall = core.cat(recall, 1), r_precision = core.cat(r_precision, 1),
      average_precision = core.cat(average, 1) }
end

--- Precision at 1, recall at k, R-precision and MAP at R, each picture looking for others of its class
-- among all others, or among references.
--
-- Recall at k is the share of queries that have one of their class among their k nearest (as metric
-- learning has it; precision at 1 is recall at 1); R-precision and MAP at R are those of Musgrave, Belongie,
-- Lim 2020, section 3.2. References at equal distances have no order: values are means over all orders, so
-- that embeddings that collapsed into a point score as drawing lots would. Queries that have no reference of
-- their class are left out, and counted.
-- @tparam tensor embeddings [N,D], the queries
-- @tparam tensor|table labels [N], numbers or names
-- @tparam[opt] table opts `references` [M,D] and `reference_labels` [M] (default: the queries themselves,
--   each without itself), `distance` ("l2", the default, "l1", "cosine", or a function of queries [q,D] and
--   references [M,D] that gives [q,M]), `k` (a rank or a list, default {1, 2, 4, 8}), `values` (default
--   false: whether to give each query's values, too)
-- @treturn table `precision_at_1`, `recall` (by k), `r_precision`, `map_at_r`, `queries` (how many count),
--   `left_out`; with `values` also `values`: `r_precision` [N], `average_precision` [N], `recall` [N,k]
--   (NaN for those left out). Raises if no query counts, or if a distance is not a number
-- @usage local found = metrics.retrieval(embeddings, test.labels)
-- @usage print(found.precision_at_1, found.recall[8], found.map_at_r)
function M.retrieval(embeddings, labels, opts)
   local name = "metrics.retrieval"
   local o = options.check(name, opts, RETRIEVAL)
   common.check_distance(name, o.distance, true)
   local k = check_k(name, o.k)
   local s = sides(name, embeddings, labels, o)
   local values = all_values(name, s, as_int64{ 1, table.unpack(k) }, o.distance)
   local n = s.queries:size(1)
   local queries = n - values.r_precision:isnan():sum():item()
   if queries == 0 then
      core.raise(name .. ": no query has a reference of its class")
   end
   local recall, result = mean_of(values.recall, queries):totable(), { recall = {}, queries = queries,
      left_out = n - queries }
   result.precision_at_1 = recall[1]
   for i, rank in ipairs(k) do
      result.recall[rank] = recall[i + 1]
   end
   result.r_precision = mean_of(values.r_precision, queries):item()
   result.map_at_r = mean_of(values.average_precision, queries):item()
   if o.values then
      values.recall = values.recall:narrow(2, 2, #k)
      result.values = values
   end
   return result
end

return M
