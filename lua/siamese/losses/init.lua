--- Losses as objects: options once, then called like functions. The functions behind them are in
-- `siamese.nn.functional`.
--
--    local loss = losses.Contrastive{ margin = 1 }
--    loss(twin(a, b), same):backward()
--
-- @module siamese.losses
local core = require "siamese.core"
local options = require "siamese.options"

local F = core.F
local M = {}

--- A class of losses: its options with their defaults and what it computes.
local function loss_class(name, spec, compute)
   local class = { __name = name }
   class.__index = class
   spec = options.extend(spec, { reduction = "mean" })
   function class:__call(...)
      return compute(self.options, ...)
   end
   function class:__tostring()
      local parts = {}
      for key, value in pairs(self.options) do
         parts[#parts + 1] = ("%s=%s"):format(key, tostring(value))
      end
      table.sort(parts)
      return ("%s(%s)"):format(name, table.concat(parts, ", "))
   end
   M[name] = function(opts)
      local o = options.check("losses." .. name, opts, spec)
      if o.reduction ~= "mean" and o.reduction ~= "sum" and o.reduction ~= "none" then
         error(("losses.%s: reduction must be 'mean', 'sum' or 'none', got '%s'"):format(name,
            tostring(o.reduction)), 2)
      end
      return setmetatable({ options = o }, class)
   end
end

--- Contrastive loss (Hadsell, Chopra, LeCun 2006, eq. 4): loss(distance [N], same [N]) pulls same
-- pairs together and pushes different ones beyond `margin` (1).
-- @function Contrastive
loss_class("Contrastive", { margin = 1 }, function(o, distance, same)
   return F.contrastive_loss(distance, same, o)
end)

--- Binary cross-entropy on logits, as Koch et al. 2015 train their head: loss(logit [N], same [N]).
-- `pos_weight` (1) weighs same pairs.
-- @function BCEWithLogits
loss_class("BCEWithLogits", { pos_weight = 1 }, function(o, logits, targets)
   return F.binary_cross_entropy_with_logits(logits, targets, o)
end)

--- Cross-entropy: loss(logits [N,C], labels [N] from 1). `label_smoothing` (0).
-- @function CrossEntropy
loss_class("CrossEntropy", { label_smoothing = 0 }, function(o, logits, labels)
   return F.cross_entropy(logits, labels, o)
end)

--- Mean squared error: loss(input, target).
-- @function MSE
loss_class("MSE", {}, function(o, input, target)
   return F.mse_loss(input, target, o)
end)

local function reduce(losses, reduction)
   if reduction == "none" then
      return losses
   end
   return reduction == "sum" and losses:sum() or losses:mean()
end

--- Triplet margin loss, as PyTorch's: loss(anchor, positive, negative), all [N,D]:
-- max(0, margin + |a - p| - |a - n|). Options `margin` (1), `p` (2), `eps` (1e-6), `swap` (false: with
-- it the positive serves as the anchor where that is harder, Balntas et al. 2016).
-- @function Triplet
loss_class("Triplet", { margin = 1, p = 2, eps = 1e-6, swap = false },
   function(o, anchor, positive, negative)
      local metric = { p = o.p, eps = o.eps }
      local apart = F.pairwise_distance(anchor, negative, metric)
      if o.swap then
         apart = apart:minimum(F.pairwise_distance(positive, negative, metric))
      end
      local losses = (F.pairwise_distance(anchor, positive, metric) - apart + o.margin):clamp(0)
      return reduce(losses, o.reduction)
   end)

--- The function behind `Triplet`.
-- @tparam tensor anchor [N,D]
-- @tparam tensor positive [N,D]
-- @tparam tensor negative [N,D]
-- @tparam[opt] table opts as `Triplet`'s
function F.triplet_margin_loss(anchor, positive, negative, opts)
   return M.Triplet(opts)(anchor, positive, negative)
end

--- Batch-hard triplet loss (Hermans, Beyer, Leibe 2017, eq. 5): loss(embeddings [N,D], labels [N]),
-- for batches of P classes by K samples. Options `margin` (0.2), `soft` (false: log(1 + exp) in place
-- of the hinge), `squared` (false).
-- @function BatchHardTriplet
loss_class("BatchHardTriplet", { margin = 0.2, soft = false, squared = false },
   function(o, embeddings, labels)
      return F.batch_hard_triplet_loss(embeddings, labels, o)
   end)

--- Normalised temperature-scaled cross-entropy over a class batch (Chen et al. 2020, eq. 1; without the
-- normalisation the multi-class N-pair loss of Sohn 2016): loss(embeddings [N,D], labels [N]).
--
-- For each pair of one class, -log(exp(s_ij / t) / (exp(s_ij / t) + sum_k exp(s_ik / t))), where s is the
-- cosine and k runs over the rows of other classes; the mean over the pairs. Option `temperature`
-- (0.0625). A batch without a pair of one class gives 0.
-- @function NTXent
loss_class("NTXent", { temperature = 0.0625 }, function(o, embeddings, labels)
   local n = embeddings:size(1)
   labels = core.is_tensor(labels) and labels or core.tensor(labels, { dtype = "int64" })
   if embeddings:dim() ~= 2 or labels:numel() ~= n then
      error(("losses.NTXent: embeddings must be [N,D] with a label for each row, got [%s] and [%s]")
         :format(table.concat(embeddings.shape, ","), table.concat(labels.shape, ",")), 3)
   end
   local unit = F.normalize(embeddings, 2)
   local similarity = unit:matmul(unit:t()) / o.temperature
   local of_class = labels:reshape(n, 1):eq(labels:reshape(1, n))
   local pairs_of_class = (of_class:float() - core.eye(n)):reshape(n * n):gt(0)
   local others = similarity:masked_fill(of_class, -1e9):logsumexp(2, true)
   local losses = (others - similarity):softplus():reshape(n * n)
   local kept = core.where(pairs_of_class, losses, 0)
   if o.reduction == "none" then
      return kept:reshape(n, n)
   end
   local count = pairs_of_class:sum():item()
   return o.reduction == "sum" and kept:sum() or kept:sum() / math.max(count, 1)
end)

return M
