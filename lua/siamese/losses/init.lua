--- Losses as objects: options once, then called like functions.
--
--    local loss = losses.Contrastive{ margin = 1 }
--    loss(twin(a, b), same):backward()                    -- pairs
--    loss(embeddings, labels):backward()                  -- all pairs of a batch with labels
--    loss(embeddings, labels, miner(embeddings, labels))  -- those that a miner chose
--
-- All losses of embeddings are called as loss(embeddings [N,D], labels [N], pairs_or_triplets?). Labels are
-- an int64 tensor or a table; pairs are {anchors, positives, anchors, negatives}, triplets {anchors,
-- positives, negatives}, lists of row numbers from 1. A batch without a positive, without a negative, or
-- without rows has a defined loss, mostly 0, and a gradient; never NaN. They work in C over the whole
-- batch.
--
-- Losses are modules (those with proxies, weights or a beta have parameters), so that they can be saved, and
-- handed to an optimiser. Their options, where they have them:
--
-- - `distance`: a name or one of `siamese.distances`
-- - `miner`: one of `siamese.miners`, which chooses the pairs or triplets where none are given
-- - `reduction`: "mean", "mean_nonzero" (over what is above 0), "sum" or "none"
--
-- | | |
-- |---|---|
-- | pairs | `Contrastive`, `LiftedStructure`, `MultiSimilarity`, `NTXent`, `InfoNCE`, `SupCon`, `Circle` |
-- | pairs against classes | `Angular`, `NPairs` |
-- | triplets | `Triplet`, `BatchHardTriplet`, `Margin` |
-- | classes | `Softmax`, `NormalizedSoftmax`, `ArcFace`, `CosFace`, `SphereFace` |
-- | proxies, centres | `ProxyNCA`, `ProxyAnchor`, `Center` |
-- | episodes | `Prototypical` |
-- | two views | `BarlowTwins`, `VICReg`, `NTXent`, `InfoNCE` |
-- | around others | `CrossBatchMemory`, `MultipleLosses` |
-- | logits | `BCEWithLogits`, `CrossEntropy`, `MSE` |
--
-- @module siamese.losses
local M = {}

for _, part in ipairs{ "plain", "pairs", "triplets", "classes", "episodes", "views", "around" } do
   for name, class in pairs(require("siamese.losses." .. part)) do
      M[name] = class
   end
end

return M
