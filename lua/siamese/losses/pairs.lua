--- Losses over the pairs of a batch.
--
-- Each is called as loss(embeddings [N,D], labels [N], pairs?): without pairs, all of the batch count; pairs
-- are {anchors, positives, anchors, negatives}, or triplets, as `siamese.miners` give them.
-- @module siamese.losses.pairs
local core = require "siamese.core"
local base = require "siamese.losses.base"
local options = require "siamese.options"

local F = core.F
local M = {}

local ANY, POSITIVE = { -math.huge, math.huge }, { 1e-6, math.huge }

--- Contrastive loss (Hadsell, Chopra, LeCun 2006, "Dimensionality reduction by learning an invariant
-- mapping", eq. 4): pulls pairs of one class closer than `pos_margin` and pushes others beyond `margin`:
-- max(0, d - pos_margin)^p / p and max(0, margin - d)^p / p.
--
--    loss(embeddings [N,D], labels [N], pairs?)   all pairs of the batch, or those
--    loss(a [N,D], b [N,D], same [N])             row i of a with row i of b
--    loss(distance [N], same [N])                 what a twin gives
--
-- Options `margin` (1; `neg_margin` is another name for it), `pos_margin` (0), `power` (2, the paper's; 1:
-- the hinges themselves), `distance` ("l2"), `miner`, `reduction`. In the first form the means of same and
-- of different pairs are taken apart and added, by default ("mean_nonzero") over those that are not 0; in
-- the others the mean is over all pairs.
-- @function Contrastive
-- @tparam[opt] table opts
-- @usage losses.Contrastive{ margin = 1 }(twin(a, b), same):backward()
M.Contrastive = base.matrix_class("Contrastive", {
   kind = "contrastive", distance = "l2",
   spec = { margin = options.optional, neg_margin = options.optional, pos_margin = 0, power = 2,
      reduction = options.optional },
   ranges = { margin = ANY, neg_margin = ANY, pos_margin = ANY }, choices = { power = { 1, 2 } },
   init = function(_, o)
      o.margin, o.neg_margin = o.neg_margin or o.margin or 1, nil
   end,
   params = function(_, o)
      return { positive = o.pos_margin, negative = o.margin, squared = o.power == 2,
         reduction = o.reduction or "mean_nonzero" }
   end,
})

--- Raises unless all of `same` are from 0 to 1: with -1 for pairs of two classes, or labels in its place, the
-- loss would have no bottom.
local function check_same(self, same)
   same = type(same) == "table" and core.tensor(same) or same
   if core.is_tensor(same) and same:numel() > 0 then
      local low, high = same:min():item(), same:max():item()
      if not (low >= 0 and high <= 1) then
         core.raise(("%s: same must be 1 or 0 for each pair (or between), got %g"):format(self:full_name(),
            low >= 0 and high or low))
      end
   end
   return same
end

local function contrast(self, distance, same)
   local o = self.options
   same = check_same(self, same)
   if o.reduction == "mean_nonzero" then
      core.raise(self:full_name() .. ": pairs that are given one by one have no reduction 'mean_nonzero'")
   end
   return F.contrastive_loss(distance, same, { margin = o.margin, pos_margin = o.pos_margin,
      power = o.power, reduction = o.reduction })
end

function M.Contrastive:forward(x, y, third, ...)
   if core.is_tensor(x) and x:dim() ~= 2 then
      return contrast(self, x, y)
   elseif base.is_batch(y) then
      base.two_sides(self:full_name(), x, y)
      return contrast(self, self.distance(x, y), third)
   end
   return base.matrix_forward(self, x, y, third, ...)
end

--- Lifted structured loss (Song, Xiang, Jegelka, Savarese 2016, "Deep metric learning via lifted structured
-- feature embedding", eq. 4): for each positive pair max(0, d_ij - pos_margin + log(sum over the negatives k
-- of i and of j of exp(neg_margin - d)))^2 / 2. With references, the negatives of i alone.
--
-- Options `neg_margin` (1), `pos_margin` (0), `distance` ("l2"), `miner`, `reduction` ("mean").
-- @function LiftedStructure
-- @tparam[opt] table opts
M.LiftedStructure = base.matrix_class("LiftedStructure", {
   kind = "lifted_structure", distance = "l2", spec = { neg_margin = 1, pos_margin = 0 },
   ranges = { neg_margin = ANY, pos_margin = ANY },
   params = function(_, o)
      return { positive = o.pos_margin, negative = o.neg_margin, reduction = o.reduction }
   end,
})

--- Multi-similarity loss (Wang, Han, Huang, Dong, Scott 2019, "Multi-similarity loss with general pair
-- weighting for deep metric learning", eq. 15): for each row log(1 + sum over its positives of
-- exp(-alpha (s - base))) / alpha + log(1 + sum over its negatives of exp(beta (s - base))) / beta.
--
-- Options `alpha` (2), `beta` (50), `base` (0.5; of a distance that has no similarity, a distance),
-- `distance` ("cosine"), `miner` (the paper's is `miners.MultiSimilarity`), `reduction` ("mean").
-- @function MultiSimilarity
-- @tparam[opt] table opts
M.MultiSimilarity = base.matrix_class("MultiSimilarity", {
   kind = "multi_similarity", distance = "cosine", similarities = true,
   spec = { alpha = 2, beta = 50, base = 0.5 }, ranges = { alpha = POSITIVE, beta = POSITIVE, base = ANY },
   params = function(self, o)
      local middle = self.distance.has_similarity and o.base or -o.base
      return { positive = middle, negative = middle, scale_positive = o.alpha, scale_negative = o.beta,
         reduction = o.reduction }
   end,
})

local function temperature_class(name, kind, temperature, reduction)
   return base.matrix_class(name, {
      kind = kind, distance = "cosine", similarities = true,
      spec = { temperature = temperature, reduction = reduction }, ranges = { temperature = POSITIVE },
      params = function(_, o)
         return { temperature = o.temperature, reduction = o.reduction }
      end,
   })
end

--- Normalised temperature-scaled cross-entropy (Chen, Kornblith, Norouzi, Hinton 2020, "A simple framework
-- for contrastive learning of visual representations", eq. 1): for each pair of one class
-- -log(exp(s_ij / t) / (exp(s_ij / t) + sum_k exp(s_ik / t))), where k runs over the rows of other classes.
--
--    loss(embeddings [N,D], labels [N], pairs?)   by labels
--    loss(a [N,D], b [N,D])                       two views: row i of a and of b are one class
--
-- Options `temperature` (0.0625), `distance` ("cosine"), `miner`, `reduction` ("mean" over the pairs of one
-- class; "none" gives [N,N]). A batch without such a pair gives 0.
-- @function NTXent
-- @tparam[opt] table opts
M.NTXent = temperature_class("NTXent", "ntxent", 0.0625)

function M.NTXent:forward(x, y, ...)
   if not base.is_batch(y) then
      return base.matrix_forward(self, x, y, ...)
   end
   base.two_views(self:full_name(), x, y, (...))
   local rows = core.arange(1, x:size(1) + 1)
   return base.matrix_forward(self, core.cat({ x, y }, 1), core.cat({ rows, rows }, 1))
end

--- InfoNCE (van den Oord, Li, Vinyals 2018, "Representation learning with contrastive predictive coding",
-- eq. 4): of a batch with labels the same as `NTXent`; of two views
--
--    loss(queries [N,D], keys [N,D])              row i of the keys is the right one among all N
--
-- the cross-entropy of s_ij / t. Options `temperature` (0.07), `distance` ("cosine"), `miner`, `reduction`.
-- @function InfoNCE
-- @tparam[opt] table opts
M.InfoNCE = temperature_class("InfoNCE", "ntxent", 0.07)

function M.InfoNCE:forward(x, y, ...)
   if not base.is_batch(y) then
      return base.matrix_forward(self, x, y, ...)
   end
   base.two_views(self:full_name(), x, y, (...))
   if self.options.reduction == "mean_nonzero" then
      core.raise("losses.InfoNCE: two views have no reduction 'mean_nonzero'")
   end
   return F.margin_softmax(self.distance:similarities(x, y), core.arange(1, x:size(1) + 1),
      { scale = 1 / self.options.temperature, reduction = self.options.reduction })
end

--- Supervised contrastive loss (Khosla, Teterwak, Wang, Sarna, Tian, Isola, Maschinot, Liu, Krishnan 2020,
-- "Supervised contrastive learning", eq. 2): for each row the mean over its positives p of
-- -log(exp(s_ip / t) / sum over all others a of exp(s_ia / t)).
--
-- Options `temperature` (0.1), `distance` ("cosine"), `miner`, `reduction` ("mean_nonzero": rows without a
-- positive count for nothing). A batch of one class gives 0.
-- @function SupCon
-- @tparam[opt] table opts
M.SupCon = temperature_class("SupCon", "supcon", 0.1, "mean_nonzero")

--- Circle loss (Sun, Cheng, Zhang, Zhang, Zheng, Wang, Wei 2020, "Circle loss: a unified perspective of pair
-- similarity optimization", section 3): for each row that has both, log(1 + sum over negatives of
-- exp(gamma a_n (s - m)) sum over positives of exp(-gamma a_p (s - 1 + m))), where a_n = max(0, s + m) and
-- a_p = max(0, 1 + m - s) are weights and get no gradient. On cosines.
--
-- Options `m` (0.4), `gamma` (80), `miner`, `reduction` ("mean_nonzero").
-- @function Circle
-- @tparam[opt] table opts
M.Circle = base.matrix_class("Circle", {
   kind = "circle", similarities = true, spec = { m = 0.4, gamma = 80, reduction = "mean_nonzero" },
   ranges = { m = ANY, gamma = POSITIVE },
   params = function(_, o)
      return { margin = o.m, gamma = o.gamma, reduction = o.reduction }
   end,
})

--- Angular loss (Wang, Zhou, Wen, Liu, Lin 2017, "Deep metric learning with angular loss", section 3): for
-- each positive pair (a, p) log(1 + sum over all n of other classes of exp(4 tan^2(alpha) (a + p) . n - 2
-- (1 + tan^2(alpha)) a . p)), of embeddings brought to length 1 (pytorch-metric-learning leaves n as it is).
-- Of lists, the positive pairs count.
--
-- Options `alpha` (40, degrees), `miner`, `reduction` ("mean").
-- @function Angular
-- @tparam[opt] table opts
M.Angular = base.matrix_class("Angular", {
   kind = "angular", similarities = true, spec = { alpha = 40 }, ranges = { alpha = { 0, 89 } },
   other = function()
      return true
   end,
   params = function(_, o)
      return { alpha = o.alpha, reduction = o.reduction }
   end,
})

--- N-pairs loss (Sohn 2016, "Improved deep metric learning with multi-class N-pair loss objective", section
-- 3): of each class one pair (the first of the lists, or its first two rows); the cross-entropy of an
-- anchor's products with the positives of all classes.
--
-- Options `distance` ("dot"), `miner`, `reduction` ("mean", "sum" or "none": [classes with a pair]).
-- @function NPairs
-- @tparam[opt] table opts
M.NPairs = base.matrix_class("NPairs", {
   distance = "dot", spec = {}, choices = { reduction = base.PLAIN_REDUCTIONS },
   params = function() end,
})
M.NPairs.takes_references = false

function M.NPairs:forward(embeddings, labels, indices)
   local name = self:full_name()
   base.embeddings(name, embeddings)
   labels = base.labels(name, labels, embeddings:size(1))
   indices = indices or self.miner and self.miner(embeddings, labels)
   if indices then
      base.check_lists(name, indices)
   end
   local a, p = core.mining.first_pairs(labels, indices and indices[1], indices and indices[2])
   local anchors, positives = embeddings:index_select(1, a), embeddings:index_select(1, p)
   return F.margin_softmax(self.distance:similarities(anchors, positives), core.arange(1, a:size(1) + 1),
      { reduction = self.options.reduction })
end

return M
