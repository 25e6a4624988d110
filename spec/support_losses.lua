--- What the specs of losses share: every loss of embeddings, with options that work in 5 dimensions.
local siamese = require "siamese"

local L, M = siamese.losses, siamese.miners
local SIZES = { num_classes = 9, embedding_size = 5 }

local function sized(class, more)
   local o = { num_classes = SIZES.num_classes, embedding_size = SIZES.embedding_size }
   for key, value in pairs(more or {}) do
      o[key] = value
   end
   return function(opts)
      for key, value in pairs(opts or {}) do
         o[key] = value
      end
      return class(o)
   end
end

local function made(class, more)
   return function(opts)
      local o = {}
      for _, part in ipairs{ more or {}, opts or {} } do
         for key, value in pairs(part) do
            o[key] = value
         end
      end
      return class(o)
   end
end

local S = {}

--- Losses over the matrix of a batch: name, a function of options that makes one, whether its items are
-- pairs.
S.matrix = {
   { "Contrastive", made(L.Contrastive, { margin = 3, pos_margin = 0.3 }), true },
   { "Contrastive of hinges", made(L.Contrastive, { power = 1, margin = 3 }), true },
   { "LiftedStructure", made(L.LiftedStructure), true },
   { "MultiSimilarity", made(L.MultiSimilarity, { beta = 5 }) },
   { "NTXent", made(L.NTXent, { temperature = 0.3 }), true },
   { "InfoNCE", made(L.InfoNCE, { temperature = 0.3 }), true },
   { "SupCon", made(L.SupCon, { temperature = 0.3 }) },
   { "Circle", made(L.Circle, { gamma = 3 }) },
   { "Angular", made(L.Angular, { alpha = 35 }), true },
   { "Triplet", made(L.Triplet, { margin = 0.6 }) },
   { "Triplet, soft", made(L.Triplet, { soft = true }) },
   { "Triplet, swapped", made(L.Triplet, { margin = 0.6, swap = true }) },
   { "Triplet, semihard", made(L.Triplet, { margin = 0.6, triplets = "semihard" }) },
   { "Triplet, taxicab", made(L.Triplet, { margin = 0.6, distance = "l1" }) },
   { "Margin", made(L.Margin, { nu = 0.1 }) },
   { "Margin of classes", made(L.Margin, { nu = 0.1, num_classes = 9 }) },
}

--- The others that are called with embeddings and labels.
S.others = {
   { "NPairs", made(L.NPairs) },
   { "BatchHardTriplet", made(L.BatchHardTriplet) },
   { "BatchHardTriplet with a distance", made(L.BatchHardTriplet, { distance = "l1" }) },
   { "Softmax", sized(L.Softmax) },
   { "NormalizedSoftmax", sized(L.NormalizedSoftmax) },
   { "ArcFace", sized(L.ArcFace, { scale = 4 }) },
   { "CosFace", sized(L.CosFace, { scale = 4 }) },
   { "SphereFace", sized(L.SphereFace) },
   { "ProxyNCA", sized(L.ProxyNCA) },
   { "ProxyAnchor", sized(L.ProxyAnchor, { alpha = 3 }) },
   { "Center", sized(L.Center) },
   { "Prototypical", made(L.Prototypical) },
   { "CrossBatchMemory", function()
      return L.CrossBatchMemory{ loss = L.Triplet{}, embedding_size = 5, memory_size = 400 }
   end },
   { "MultipleLosses", function()
      return L.MultipleLosses{ losses = { L.Triplet{}, L.Margin{} }, weights = { 1, 0.5 },
         miners = { M.BatchHard{}, M.DistanceWeighted{ seed = 1 } } }
   end },
}

--- All of them.
S.all = {}
for _, list in ipairs{ S.matrix, S.others } do
   for _, entry in ipairs(list) do
      S.all[#S.all + 1] = entry
   end
end

--- Every miner.
S.miners = {
   { "BatchEasyHard", made(M.BatchEasyHard) }, { "BatchHard", made(M.BatchHard) },
   { "BatchEasyHard of all", made(M.BatchEasyHard, { pos_strategy = "all", neg_strategy = "all" }) },
   { "TripletMargin", made(M.TripletMargin) }, { "SemiHard", made(M.SemiHard, { margin = 1 }) },
   { "MultiSimilarity", made(M.MultiSimilarity) }, { "PairMargin", made(M.PairMargin) },
   { "Angular", made(M.Angular) }, { "DistanceWeighted", made(M.DistanceWeighted, { seed = 3 }) },
   { "UniformHistogram", made(M.UniformHistogram, { seed = 3 }) },
}

--- Labels 1..classes in turn.
function S.labels(n, classes)
   local list = {}
   for i = 1, n do
      list[i] = (i - 1) % classes + 1
   end
   return siamese.tensor(list, { dtype = "int64" })
end

--- Whether every element is a finite number.
function S.is_finite(t)
   return t:numel() == 0 or t:isfinite():float():min():item() == 1
end

return S
