--- Losses over the triplets of a batch.
--
-- Each is called as loss(embeddings [N,D], labels [N], triplets?): without triplets, all of the batch count
-- (no list of them is made); triplets are {anchors, positives, negatives}, as `siamese.miners` give them,
-- or pairs {anchors, positives, anchors, negatives}, of which all with one anchor are combined.
-- @module siamese.losses.triplets
local core = require "siamese.core"
local Module = require "siamese.nn.module"
local base = require "siamese.losses.base"
local distances = require "siamese.distances"
local miners = require "siamese.miners"
local options = require "siamese.options"

local F = core.F
local M = {}

local ANY = { -math.huge, math.huge }

--- The distances of the option, or those of `p`.
local function triplet_distance(o, full)
   if o.distance ~= nil then
      local distance = distances.get(o.distance, full)
      return distance
   elseif o.p == 1 or o.p == 2 then
      return o.p == 1 and distances.L1() or distances.L2()
   end
end

--- Triplet loss (Schroff, Kalenichenko, Philbin 2015, "FaceNet: a unified embedding for face recognition and
-- clustering", section 3.1, on the distance, as PyTorch's): max(0, d_ap - d_an + margin).
--
--    loss(embeddings [N,D], labels [N], triplets?)      all triplets of the batch, or those
--    loss(anchor [N,D], positive [N,D], negative [N,D]) row by row
--
-- Options `margin` (1; with `soft` 0), `soft` (false: log(1 + exp(v)) in place of max(0, v), Hermans,
-- Beyer, Leibe 2017, section 2), `triplets` ("all"; "hard": the negative is no farther than the positive;
-- "semihard": farther, but by the margin at most), `swap` (false: the positive serves as the anchor where
-- that is harder, Balntas, Riba, Ponsa, Mikolajczyk 2016), `distance` (default Euclidean, by `p`, 2 or 1),
-- `miner`, `reduction` (batches: "mean_nonzero", over the triplets that are not 0; "none" gives a sum for
-- each anchor. Row by row: "mean"). Row by row `p` may be any number above 0 and `eps` (1e-6) is added to
-- differences, as in PyTorch.
-- @function Triplet
-- @tparam[opt] table opts
M.Triplet = base.matrix_class("Triplet", {
   kind = "triplet", distance = false,
   spec = { margin = options.optional, p = 2, eps = 1e-6, swap = false, soft = false, triplets = "all",
      distance = options.optional, reduction = options.optional },
   ranges = { margin = ANY, p = { 1e-6, math.huge }, eps = { 0, 1 } }, booleans = { "swap", "soft" },
   choices = { triplets = { "all", "hard", "semihard" } },
   init = function(self, o, full)
      o.margin = o.margin or (o.soft and 0 or 1)
      self.distance = triplet_distance(o, full)
   end,
   other = function(self)
      return self.options.swap
   end,
   params = function(_, o)
      local some = o.triplets ~= "all"
      return { margin = o.margin, soft = o.soft, swap = o.swap, low = o.triplets == "semihard" and 0 or nil,
         high = some and (o.triplets == "hard" and 0 or o.margin) or nil,
         reduction = o.reduction or "mean_nonzero" }
   end,
})

local function reduce(losses, reduction)
   if reduction == "none" then
      return losses
   end
   return reduction == "sum" and losses:sum() or losses:mean()
end

local function row_by_row(self, anchor, positive, negative)
   local o = self.options
   if o.reduction == "mean_nonzero" or o.triplets ~= "all" then
      core.raise("losses.Triplet: row by row, there is no 'mean_nonzero' and triplets are 'all'")
   end
   local function distance(a, b)
      if o.distance ~= nil then
         return self.distance(a, b)
      end
      return F.pairwise_distance(a, b, { p = o.p, eps = o.eps })
   end
   local apart = distance(anchor, negative)
   if o.swap then
      apart = apart:minimum(distance(positive, negative))
   end
   local gap = distance(anchor, positive) - apart + o.margin
   return reduce(o.soft and gap:softplus() or gap:clamp(0), o.reduction)
end

function M.Triplet:forward(x, y, third, ...)
   if base.is_batch(y) then
      return row_by_row(self, x, y, third)
   elseif not self.distance then
      core.raise(("losses.Triplet: a batch with labels needs a distance or p = 1 or 2, got p = %s"):format(
         tostring(self.options.p)))
   end
   return base.matrix_forward(self, x, y, third, ...)
end

--- The function behind `Triplet`, row by row.
-- @tparam tensor anchor [N,D]
-- @tparam tensor positive [N,D]
-- @tparam tensor negative [N,D]
-- @tparam[opt] table opts as `Triplet`'s
function F.triplet_margin_loss(anchor, positive, negative, opts)
   return M.Triplet(opts)(anchor, positive, negative)
end

--- Batch-hard triplet loss (Hermans, Beyer, Leibe 2017, "In defense of the triplet loss for person
-- re-identification", eq. 5): for each row its farthest positive and its closest negative;
-- loss(embeddings [N,D], labels [N]), for batches of P classes by K samples.
--
-- Options `margin` (0.2), `soft` (false: log(1 + exp) in place of the hinge, without a margin), `squared`
-- (false), `distance` (Euclidean), `reduction` ("mean" over the rows that have both).
-- @function BatchHardTriplet
-- @tparam[opt] table opts
M.BatchHardTriplet = base.class("BatchHardTriplet",
   { margin = 0.2, soft = false, squared = false, reduction = "mean", distance = options.optional },
   { ranges = { margin = ANY }, booleans = { "soft", "squared" },
      choices = { reduction = base.PLAIN_REDUCTIONS },
      init = function(self, o, full)
         if o.distance ~= nil then
            self.distance = distances.get(o.distance, full)
            self.miner = miners.BatchHard{ distance = self.distance }
            self.triplet = M.Triplet{ margin = o.soft and 0 or o.margin, soft = o.soft,
               distance = self.distance, reduction = o.reduction }
         end
      end })

function M.BatchHardTriplet:forward(embeddings, labels, indices)
   local o, name = self.options, self:full_name()
   base.embeddings(name, embeddings)
   if indices ~= nil then
      core.raise(name .. ": finds its triplets itself; losses.Triplet takes lists")
   end
   labels = base.labels(name, labels, embeddings:size(1))
   if self.triplet then
      return self.triplet(embeddings, labels, self.miner(embeddings, labels))
   end
   return F.batch_hard_triplet_loss(embeddings, labels, { margin = o.margin, soft = o.soft,
      squared = o.squared, reduction = o.reduction })
end

--- Margin loss (Wu, Manmatha, Smola, Krähenbühl 2017, "Sampling matters in deep embedding learning",
-- section 4): for each triplet max(0, d_ap - beta + margin) + max(0, beta - d_an + margin), over the number
-- of hinges that are not 0. Its sampling by distance is `miners.DistanceWeighted`.
--
-- Options `margin` (0.2), `beta` (1.2, the boundary it starts with), `learn_beta` (true: beta is a
-- parameter; hand the loss's parameters to the optimiser, too), `num_classes` (a beta for each label
-- 1..num_classes; else one for all), `nu` (0, section 4: the weight of beta itself in the loss),
-- `distance` (Euclidean, of embeddings brought to length 1), `miner`, `reduction` ("mean_nonzero"; "mean":
-- over the triplets).
-- @function Margin
-- @tparam[opt] table opts
-- @usage local loss = losses.Margin{ num_classes = 100, miner = miners.DistanceWeighted{ seed = 1 } }
M.Margin = base.matrix_class("Margin", {
   kind = "margin", distance = false,
   spec = { margin = 0.2, beta = 1.2, nu = 0, learn_beta = true, num_classes = options.optional,
      distance = options.optional, reduction = "mean_nonzero" },
   ranges = { margin = ANY, beta = ANY, nu = ANY }, booleans = { "learn_beta" },
   init = function(self, o, full)
      if o.num_classes ~= nil then
         options.check_count(full, o, "num_classes", 1)
      end
      self.distance = o.distance == nil and distances.L2{ normalize = true }
         or distances.get(o.distance, full)
      local beta = core.full({ o.num_classes or 1 }, o.beta)
      if o.learn_beta then
         self.beta = Module.Parameter(beta)
      else
         self:register_buffer("beta", beta)
      end
   end,
   params = function(_, o)
      return { margin = o.margin, nu = o.learn_beta and o.nu or 0, reduction = o.reduction }
   end,
})

return M
