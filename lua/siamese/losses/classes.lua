--- Losses that learn something for each class: a weight, a proxy, a centre.
--
-- They are modules with parameters, which the optimiser must get with the network's:
--
--    local loss = losses.ArcFace{ num_classes = 1000, embedding_size = 128 }
--    local opt = optim.AdamW({ { params = net:parameters() }, { params = loss:parameters(), lr = 1e-2 } })
--    loss(net(x), labels):backward()
--
-- Each is called as loss(embeddings [N,D], labels [N] from 1 to num_classes, pairs_or_triplets?). Lists
-- weigh the rows: by how often they name one, over the most. `loss:logits(embeddings)` gives
-- [N,num_classes] without margins, largest for the likeliest class. Options of all: `num_classes`,
-- `embedding_size` (required), `reduction` ("mean", "sum", or "none": [N]).
-- @module siamese.losses.classes
local core = require "siamese.core"
local Module = require "siamese.nn.module"
local base = require "siamese.losses.base"
local distances = require "siamese.distances"
local options = require "siamese.options"

local F = core.F
local M = {}

local ANY, POSITIVE = { -math.huge, math.huge }, { 1e-6, math.huge }

local CLASS_OPTIONS = { num_classes = options.required, embedding_size = options.required,
   reduction = "mean" }

--- A class of losses with a row for each class in the parameter `field`, drawn from a standard normal.
local function define(name, field, spec, more)
   more = more or {}
   local class = base.class(name, options.extend(CLASS_OPTIONS, spec), {
      ranges = more.ranges, booleans = more.booleans, choices = { reduction = base.PLAIN_REDUCTIONS },
      init = function(self, o, full)
         options.check_count(full, o, "num_classes", 1)
         options.check_count(full, o, "embedding_size", 1)
         self[field] = Module.Parameter(core.randn(o.num_classes, o.embedding_size))
         if more.init then
            more.init(self, o, full)
         end
      end,
   })
   M[name] = class
   return class
end

--- The checked labels, and the rows' weights (or nil).
local function arguments(self, embeddings, labels, indices)
   local name, o = self:full_name(), self.options
   base.embeddings(name, embeddings)
   if embeddings:size(2) ~= o.embedding_size then
      core.raise(("%s: embeddings must be [N,%d], got [%d,%d]"):format(name, o.embedding_size,
         embeddings:size(1), embeddings:size(2)))
   end
   labels = base.labels(name, labels, embeddings:size(1))
   if labels:numel() > 0 and (labels:min():item() < 1 or labels:max():item() > o.num_classes) then
      core.raise(("%s: labels must be from 1 to %d (num_classes), got %d to %d"):format(name, o.num_classes,
         labels:min():item(), labels:max():item()))
   end
   return labels, base.row_weights(name, indices, embeddings:size(1))
end

--- Cosines [N,C] of embeddings and the rows of a parameter.
local function cosines(embeddings, rows)
   return F.normalize(embeddings, 2):matmul(F.normalize(rows, 2):t())
end

--- A loss that is cross-entropy over scaled cosines with a margin.
local function cosine_class(name, field, spec, more, how)
   local class = define(name, field, spec, more)
   function class:logits(embeddings)
      return cosines(embeddings, self[field]) * self.scale
   end
   function class:forward(embeddings, labels, indices)
      local wanted, weights = arguments(self, embeddings, labels, indices)
      return F.margin_softmax(cosines(embeddings, self[field]), wanted, { kind = how,
         margin = self.options.margin, scale = self.scale, weights = weights,
         reduction = self.options.reduction })
   end
   return class
end

local function scaled(self, o)
   self.scale = o.scale
end

--- Softmax cross-entropy over a linear layer, as classifiers are trained: -log softmax(W x + b)[label].
-- Option `bias` (true).
-- @function Softmax
-- @tparam table opts
local Softmax = define("Softmax", "weight", { bias = true }, {
   booleans = { "bias" },
   init = function(self, o)
      local bound = 1 / math.sqrt(o.embedding_size)
      core.no_grad(function()
         self.weight:uniform_(-bound, bound)
      end)
      if o.bias then
         self.bias = Module.Parameter(core.rand(o.num_classes) * (2 * bound) - bound)
      end
   end,
})

function Softmax:logits(embeddings)
   return F.linear(embeddings, self.weight, self.bias)
end

function Softmax:forward(embeddings, labels, indices)
   local wanted, weights = arguments(self, embeddings, labels, indices)
   return F.margin_softmax(self:logits(embeddings), wanted,
      { weights = weights, reduction = self.options.reduction })
end

--- Normalised softmax (Zhai, Wu 2019, "Classification is a strong baseline for deep metric learning", and
-- Wang, Xiang, Cheng, Yuille 2017, "NormFace: L2 hypersphere embedding for face verification"): -log
-- softmax(cos(x, w) / temperature)[label]. Option `temperature` (0.05).
-- @function NormalizedSoftmax
-- @tparam table opts
cosine_class("NormalizedSoftmax", "weight", { temperature = 0.05 }, {
   ranges = { temperature = POSITIVE },
   init = function(self, o)
      self.scale = 1 / o.temperature
   end,
}, "none")

--- ArcFace (Deng, Guo, Xue, Zafeiriou 2019, "ArcFace: additive angular margin loss for deep face
-- recognition", eq. 3): the right class' cos(t) becomes cos(t + margin); beyond pi - margin, where that
-- would rise again, cos(t) - margin sin(margin), so that it always falls with the angle. Options `margin`
-- (0.5 radians: 28.6 degrees), `scale` (64).
-- @function ArcFace
-- @tparam table opts
cosine_class("ArcFace", "weight", { margin = 0.5, scale = 64 },
   { ranges = { margin = { 0, math.pi }, scale = POSITIVE }, init = scaled }, "arc")

--- CosFace (Wang, Wang, Zhou, Ji, Gong, Zhou, Li, Liu 2018, "CosFace: large margin cosine loss for deep
-- face recognition", eq. 4): the right class' cos(t) becomes cos(t) - margin. Options `margin` (0.35),
-- `scale` (64).
-- @function CosFace
-- @tparam table opts
cosine_class("CosFace", "weight", { margin = 0.35, scale = 64 },
   { ranges = { margin = ANY, scale = POSITIVE }, init = scaled }, "cosine")

--- SphereFace (Liu, Wen, Yu, Li, Raj, Song 2017, "SphereFace: deep hypersphere embedding for face
-- recognition", section 3.2): the right class' cos(t) becomes (-1)^k cos(margin t) - 2 k, with k the number
-- of whole pi / margin in t; all are multiplied by the embedding's length. Options `margin` (4, a whole
-- number), `scale` (1).
-- @function SphereFace
-- @tparam table opts
local SphereFace = define("SphereFace", "weight", { margin = 4, scale = 1 }, {
   ranges = { scale = POSITIVE },
   init = function(_, o, full)
      options.check_count(full, o, "margin", 1)
   end,
})

function SphereFace:logits(embeddings)
   return embeddings:matmul(F.normalize(self.weight, 2):t()) * self.options.scale
end

function SphereFace:forward(embeddings, labels, indices)
   local o = self.options
   local wanted, weights = arguments(self, embeddings, labels, indices)
   return F.margin_softmax(cosines(embeddings, self.weight), wanted, { kind = "sphere", margin = o.margin,
      scale = o.scale, lengths = embeddings:norm(2, 2), weights = weights, reduction = o.reduction })
end

--- ProxyNCA++ (Teh, DeVries, Taylor 2020, "ProxyNCA++: revisiting and revitalizing proxy neighborhood
-- component analysis", section 3): -log softmax(-d^2 / temperature)[label], with d the distance of the
-- embedding and a proxy, both brought to length 1. Option `temperature` (1/9, the paper's; 1 is ProxyNCA
-- with the right class in the sum).
-- @function ProxyNCA
-- @tparam table opts
local ProxyNCA = cosine_class("ProxyNCA", "proxies", { temperature = 1 / 9 }, {
   ranges = { temperature = POSITIVE },
   init = function(self, o) -- d^2 = 2 - 2 cos, and softmax does not see the 2
      self.scale = 2 / o.temperature
   end,
}, "none")

function ProxyNCA:logits(embeddings)
   return (cosines(embeddings, self.proxies) - 1) * self.scale
end

--- Proxy-anchor loss (Kim, Kim, Cho, Kwak 2020, "Proxy anchor loss for deep metric learning", eq. 4): the
-- proxies are the anchors, the batch their positives and negatives; the mean over proxies with a positive of
-- log(1 + sum over their positives of exp(-alpha (s - margin))), plus the mean over all proxies of
-- log(1 + sum over their negatives of exp(alpha (s + margin))). Lists weigh the rows w in these sums by
-- exp(w - 1).
--
-- Options `margin` (0.1), `alpha` (32), `reduction` ("none" gives [num_classes]).
-- @function ProxyAnchor
-- @tparam table opts
local ProxyAnchor = define("ProxyAnchor", "proxies", { margin = 0.1, alpha = 32 },
   { ranges = { margin = ANY, alpha = POSITIVE } })

function ProxyAnchor:logits(embeddings)
   return cosines(embeddings, self.proxies)
end

function ProxyAnchor:forward(embeddings, labels, indices)
   local o = self.options
   local wanted, weights = arguments(self, embeddings, labels, indices)
   return F.matrix_loss("multi_similarity", cosines(self.proxies, embeddings), {
      labels = core.arange(1, o.num_classes + 1), ref_labels = wanted, apart = true, positive = o.margin,
      negative = -o.margin, scale_positive = o.alpha, scale_negative = o.alpha, reduction = o.reduction,
      weights = weights and (weights - 1):exp() })
end

--- Centre loss (Wen, Zhang, Li, Qiao 2016, "A discriminative feature learning approach for deep face
-- recognition", eq. 2): half the squared distance of an embedding to its class' centre, the mean over the
-- batch (the paper's sum with `reduction` "sum"). The centres are parameters that the optimiser moves, in
-- place of the paper's own rule; it is meant to be added to a loss that separates the classes:
--
--    losses.MultipleLosses{ losses = { softmax, center }, weights = { 1, 0.003 } }
-- @function Center
-- @tparam table opts
local Center = define("Center", "centers", {})
local SQUARED = distances.SquaredL2()

function Center:logits(embeddings)
   return SQUARED:matrix(embeddings, self.centers) / -2
end

function Center:forward(embeddings, labels, indices)
   local o = self.options
   local wanted, weights = arguments(self, embeddings, labels, indices)
   local rows = SQUARED(embeddings, self.centers:index_select(1, wanted)) / 2
   rows = weights and rows * weights or rows
   if o.reduction == "none" then
      return rows
   end
   return o.reduction == "sum" and rows:sum() or rows:sum() / math.max(embeddings:size(1), 1)
end

return M
