--- Prototypical networks' loss.
-- @module siamese.losses.episodes
local core = require "siamese.core"
local base = require "siamese.losses.base"
local distances = require "siamese.distances"
local options = require "siamese.options"

local F = core.F
local M = {}

--- Prototypical loss (Snell, Swersky, Zemel 2017, "Prototypical networks for few-shot learning", eq. 1 and
-- 2): a class' prototype is the mean of its support embeddings; -log softmax(-d(query, prototypes))[label]
-- over the queries.
--
--    loss(embeddings [N,D], labels [N])                       the first `shots` rows of a class support it,
--                                                             the others are queries
--    loss(embeddings, labels, { support, queries })           rows, as lists of numbers
--    loss(queries [Q,D], labels [Q], nil, support [S,D], support_labels [S])
--
-- Options `shots` (1), `distance` ("squared_l2", the paper's; of distances with a similarity, that is what is
-- largest for the right class), `scale` (1: what distances are multiplied by), `reduction` ("mean" over the
-- queries, "sum", or "none": [N], 0 for rows that support). Without a query it is 0; a query's class must be
-- supported.
-- @function Prototypical
-- @tparam[opt] table opts
M.Prototypical = base.class("Prototypical",
   { shots = 1, distance = "squared_l2", scale = 1, reduction = "mean" },
   { ranges = { scale = { 1e-6, math.huge } }, choices = { reduction = base.PLAIN_REDUCTIONS },
      init = function(self, o, full)
         options.check_count(full, o, "shots", 1)
         self.distance = distances.get(o.distance, full)
      end })

--- The rows of a list, numbers from 1.
local function rows_of(name, list)
   if type(list) == "table" then
      list = core.tensor(list, { dtype = "int64" })
   elseif not core.is_tensor(list) then
      core.raise(("%s: expected { support, queries }, two lists of rows, got %s"):format(name, type(list)))
   end
   return list
end

--- Support and queries, with their labels, of the call's forms with lists or references.
local function apart(name, embeddings, labels, lists, support, support_labels)
   if support ~= nil then
      base.embeddings(name .. ": support", support)
      return embeddings, labels, support, base.labels(name .. ": support", support_labels, support:size(1))
   elseif type(lists) ~= "table" or #lists ~= 2 then
      core.raise(("%s: expected { support, queries }, two lists of rows, got %s"):format(name,
         type(lists) == "table" and #lists .. " lists" or type(lists)))
   end
   local s, q = rows_of(name, lists[1]), rows_of(name, lists[2])
   return embeddings:index_select(1, q), labels:index_select(1, q), embeddings:index_select(1, s),
      labels:index_select(1, s)
end

--- Prototypes [classes,D]: means of the rows of each class that the mask [S] keeps.
local function prototypes(support, ids, mask, classes)
   local members = core.one_hot(ids, math.max(classes, 1)) * mask:unsqueeze(2)
   return (members / members:sum(1, true):clamp(1)):t():matmul(support)
end

local function classify(self, queries, ids, means, weights)
   local o = self.options
   local logits = self.distance:similarities(queries, means)
   return F.margin_softmax(logits, ids, { scale = o.scale, weights = weights,
      reduction = o.reduction == "none" and "none" or "sum" })
end

--- The sum over the queries as the reduction wants it.
local function reduced(self, total, count)
   return self.options.reduction == "mean" and total / math.max(count, 1) or total
end

function M.Prototypical:forward(embeddings, labels, lists, support, support_labels)
   local name, shots = self:full_name(), self.options.shots
   base.embeddings(name, embeddings)
   labels = base.labels(name, labels, embeddings:size(1))
   if lists == nil and support == nil then
      local ids, ranks, classes = core.mining.group(labels)
      local means = prototypes(embeddings, ids, ranks:le(shots):float(), classes)
      local weights = ranks:gt(shots):float()
      return reduced(self, classify(self, embeddings, ids, means, weights), weights:sum():item())
   end
   local queries, wanted, s, s_labels = apart(name, embeddings, labels, lists, support, support_labels)
   local ids = core.mining.group(core.cat({ s_labels, wanted }, 1))
   local known, asked = ids:narrow(1, 1, s:size(1)), ids:narrow(1, s:size(1) + 1, queries:size(1))
   local classes = s:size(1) > 0 and known:max():item() or 0
   if queries:size(1) > 0 and asked:max():item() > classes then
      core.raise(name .. ": a query's class has no support")
   end
   local means = prototypes(s, known, core.ones(s:size(1)), classes)
   return reduced(self, classify(self, queries, asked, means), queries:size(1))
end

return M
