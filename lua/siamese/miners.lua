--- Miners: which pairs or triplets of a batch are worth a loss.
--
--    local miner = miners.BatchHard{ distance = "l2" }
--    loss(embeddings, labels, miner(embeddings, labels)):backward()
--    losses.Triplet{ margin = 0.2, miner = miner }        -- the same, each time
--
-- Called as miner(embeddings [N,D], labels [N]); gives a list of int64 tensors of row numbers, {anchors,
-- positives, negatives} or {anchors, positives, anchors, negatives}, which losses take. With references,
-- miner(embeddings, labels, ref [M,D], ref_labels [M]), positives and negatives are rows of those. No
-- gradient comes through a miner. Options of all: `distance`, a name or one of `siamese.distances`.
-- @module siamese.miners
local core = require "siamese.core"
local Module = require "siamese.nn.module"
local base = require "siamese.losses.base"
local distances = require "siamese.distances"
local options = require "siamese.options"

local M = {}

local ANY = { -math.huge, math.huge }

--- @type Miner
local Miner = Module:extend("Miner")
M.Miner = Miner

Miner.extra_repr = base.Loss.extra_repr

--- A class of miners: `kind` (see mining.select), `spec`, `distance` (the default; nil: unit vectors and
-- `similar` or Euclidean distances), `similar` (whether it looks at similarities), `other` (whether at the
-- columns' among themselves), `ranges`, `choices`, `init`, `params` (what mining.select takes).
local function define(name, how)
   local class, full = Miner:extend(name), "miners." .. name
   local spec = options.extend(how.spec or {}, { distance = how.distance })
   function class:init(opts)
      local o = options.check(full, opts, spec)
      for key, range in pairs(how.ranges or {}) do
         options.check_number(full, o, key, range[1], range[2])
      end
      for key, choices in pairs(how.choices or {}) do
         options.check_choice(full, o, key, choices)
      end
      self.options = o
      self.distance = distances.get(o.distance or how.fixed(), full)
      if how.init then
         how.init(self, o, full)
      end
      self.call_options = how.params(self, o)
   end
   class.full, class.how = full, how
   M[name] = class
   return class
end

local function mine(self, embeddings, labels, ref, ref_labels, own)
   local how, distance = self.how, self.distance
   local method = how.similar and "similarities" or "matrix"
   local call = options.extend(self.call_options, { labels = labels, ref_labels = ref_labels, own = own })
   if how.random then
      call.generator, call.size = self.generator, embeddings:size(2)
   end
   embeddings = embeddings:detach()
   local matrix = distance[method](distance, embeddings, ref)
   if how.other then
      call.other = ref and distance[method](distance, ref) or matrix
   end
   return table.pack(core.mining.select(how.kind, matrix, call))
end

--- Mines with a generator of the miner's own, where its state says that it is.
local function mine_in_position(self, ...)
   local position = self.position
   self.generator:set_state{ key = position[1]:item(), counter = position[2]:item() }
   local lists = mine(self, ...)
   position[2] = self.generator:get_state().counter
   return lists
end

--- The lists of a miner.
local function choose(self, embeddings, labels, ref, ref_labels, own)
   base.embeddings(self.full, embeddings)
   labels = base.labels(self.full, labels, embeddings:size(1))
   if ref ~= nil then
      base.embeddings(self.full .. ": references", ref)
      ref_labels = base.labels(self.full .. ": references", ref_labels, ref:size(1))
   else
      ref_labels, own = nil, 1
   end
   local how_to = self.position and mine_in_position or mine
   local lists = core.no_grad(how_to, self, embeddings, labels, ref, ref_labels, own)
   lists.n = nil
   return lists
end

--- Chooses.
-- @tparam tensor embeddings [N,D]
-- @tparam tensor|table labels [N]
-- @tparam[opt] tensor ref [M,D]
-- @tparam[opt] tensor|table ref_labels [M]
-- @tparam[opt] int own the row of `ref` that is the first embedding itself: none is paired with itself
-- @treturn {tensor,...} three or four lists
function Miner:forward(embeddings, labels, ref, ref_labels, own)
   local lists = choose(self, embeddings, labels, ref, ref_labels, own)
   return lists
end

local function easy_hard_params(_, o)
   return { choose_positive = o.pos_strategy, choose_negative = o.neg_strategy,
      positive_range = o.allowed_pos_range, negative_range = o.allowed_neg_range }
end

local STRATEGIES = { "hard", "semihard", "easy", "all" }

local function check_strategies(_, o, full)
   local p, n = o.pos_strategy, o.neg_strategy
   if (p == "semihard" or n == "semihard") and (p == n or p == "all" or n == "all") then
      core.raise(("%s: 'semihard' needs a 'hard' or an 'easy' one on the other side, got pos_strategy '%s' "
         .. "and neg_strategy '%s'"):format(full, p, n))
   end
   for _, key in ipairs{ "allowed_pos_range", "allowed_neg_range" } do
      local range = o[key]
      if range ~= nil and (type(range) ~= "table" or type(range[1]) ~= "number"
         or type(range[2]) ~= "number") then
         core.raise(("%s: %s must be a table {low, high}, got %s"):format(full, key, options.text(range)))
      end
   end
end

--- For each row one positive and one negative, easy or hard (Xuan, Stylianou, Pless 2020, "Improved
-- embeddings with easy positive triplet mining", section 3; Hermans, Beyer, Leibe 2017): pairs. Rows that
-- lack either are left out.
--
-- Options `pos_strategy` ("easy": the closest; "hard": the farthest; "semihard": the farthest that is
-- closer than the negative; "all"), `neg_strategy` ("semihard": the closest that is farther than the
-- positive; "hard": the closest; "easy": the farthest; "all"), `allowed_pos_range` and `allowed_neg_range`
-- ({low, high}: distances that may be chosen), `distance` ("l2").
-- @function BatchEasyHard
-- @tparam[opt] table opts
define("BatchEasyHard", {
   kind = "easy_hard", distance = "l2", choices = { pos_strategy = STRATEGIES, neg_strategy = STRATEGIES },
   spec = { pos_strategy = "easy", neg_strategy = "semihard", allowed_pos_range = options.optional,
      allowed_neg_range = options.optional },
   init = check_strategies, params = easy_hard_params,
})

--- For each row its farthest positive and its closest negative (Hermans, Beyer, Leibe 2017, "In defense of
-- the triplet loss for person re-identification", section 2): triplets. Options `allowed_pos_range`,
-- `allowed_neg_range`, `distance` ("l2").
-- @function BatchHard
-- @tparam[opt] table opts
local BatchHard = define("BatchHard", {
   kind = "easy_hard", distance = "l2",
   spec = { allowed_pos_range = options.optional, allowed_neg_range = options.optional },
   init = function(self, o, full)
      o.pos_strategy, o.neg_strategy = "hard", "hard"
      check_strategies(self, o, full)
   end,
   params = easy_hard_params,
})

function BatchHard:forward(...)
   local lists = choose(self, ...)
   return { lists[1], lists[2], lists[4] }
end

local function triplet_margin(name, kind_of_triplets)
   define(name, {
      kind = "triplets", distance = "l2", spec = { margin = 0.2, type_of_triplets = kind_of_triplets },
      ranges = { margin = ANY }, choices = { type_of_triplets = { "all", "hard", "semihard", "easy" } },
      params = function(_, o)
         local kind = o.type_of_triplets
         return { low = kind == "semihard" and 0 or kind == "easy" and o.margin or nil,
            high = kind == "hard" and math.min(0, o.margin) or kind ~= "easy" and o.margin or nil }
      end,
   })
end

--- The triplets of the batch by how far the negative is from the anchor beyond the positive (Schroff,
-- Kalenichenko, Philbin 2015, "FaceNet: a unified embedding for face recognition and clustering", section
-- 3.2).
--
-- Options `margin` (0.2), `type_of_triplets` ("all": by no more than the margin; "hard": not at all;
-- "semihard": at all, but by no more than the margin; "easy": by more), `distance` ("l2").
-- @function TripletMargin
-- @tparam[opt] table opts
triplet_margin("TripletMargin", "all")

--- `TripletMargin` for semi-hard triplets.
-- @function SemiHard
-- @tparam[opt] table opts
triplet_margin("SemiHard", "semihard")

--- Multi-similarity mining (Wang, Han, Huang, Dong, Scott 2019, "Multi-similarity loss with general pair
-- weighting for deep metric learning"): pairs; positives less similar than the row's most
-- similar negative plus `epsilon`, negatives more similar than its least similar positive minus `epsilon`.
--
-- Options `epsilon` (0.1), `distance` ("cosine").
-- @function MultiSimilarity
-- @tparam[opt] table opts
define("MultiSimilarity", {
   kind = "similar", similar = true, distance = "cosine", spec = { epsilon = 0.1 },
   ranges = { epsilon = ANY },
   params = function(_, o)
      return { epsilon = o.epsilon }
   end,
})

--- Pairs by margins: positives farther than `pos_margin` (0.2), negatives closer than `neg_margin` (0.8).
-- Option `distance` ("l2").
-- @function PairMargin
-- @tparam[opt] table opts
define("PairMargin", {
   kind = "margins", distance = "l2", spec = { pos_margin = 0.2, neg_margin = 0.8 },
   ranges = { pos_margin = ANY, neg_margin = ANY },
   params = function(_, o)
      return { positive = o.pos_margin, negative = o.neg_margin }
   end,
})

--- Triplets whose angle at the negative, atan(|a - p| / (2 |n - (a + p) / 2|)), is above `angle` (20
-- degrees), of embeddings brought to length 1 (Wang, Zhou, Wen, Liu, Lin 2017, "Deep metric learning with
-- angular loss", section 3).
-- @function Angular
-- @tparam[opt] table opts
define("Angular", {
   kind = "angles", similar = true, other = true, fixed = distances.Cosine, spec = { angle = 20 },
   ranges = { angle = { 0, 89 } },
   params = function(_, o)
      return { tangent = math.tan(math.rad(o.angle)) }
   end,
})

--- The generator of a miner's options. Where it is the miner's own, its position is part of the miner's
-- state, so that training that goes on from a checkpoint draws what it would have drawn.
local function seeded(self, o, full)
   if o.seed ~= nil and math.type(o.seed) ~= "integer" then
      core.raise(("%s: seed must be an integer, got %s"):format(full, tostring(o.seed)))
   end
   self.generator = o.generator or core.Generator(o.seed)
   if o.generator == nil then
      local state = self.generator:get_state()
      self:register_buffer("position", core.tensor({ state.key, state.counter }, { dtype = "int64" }))
   end
end

--- Distance-weighted sampling (Wu, Manmatha, Smola, Krähenbühl 2017, "Sampling matters in deep embedding
-- learning", section 4): triplets; for each positive pair a negative, drawn with a weight inverse to the
-- density q(d) = d^(D-2) (1 - d^2 / 4)^((D-3)/2) of distances on the sphere, so that all distances are as
-- likely. On embeddings brought to length 1.
--
-- Options `cutoff` (0.5: smaller distances count as this), `nonzero_loss_cutoff` (1.4: farther negatives
-- are not drawn; an anchor without another is left out), `seed` or `generator` (a siamese.Generator).
-- @function DistanceWeighted
-- @tparam[opt] table opts
define("DistanceWeighted", {
   kind = "weighted", random = true,
   fixed = function()
      return distances.L2{ normalize = true }
   end,
   spec = { cutoff = 0.5, nonzero_loss_cutoff = 1.4, seed = options.optional, generator = options.optional },
   ranges = { cutoff = { 1e-3, 2 }, nonzero_loss_cutoff = { 0, math.huge } }, init = seeded,
   params = function(_, o)
      return { cutoff = o.cutoff, zero_cutoff = o.nonzero_loss_cutoff }
   end,
})

--- Pairs drawn so that all distances are as frequent: between the smallest and the largest distance lie
-- `num_bins` (100) equal intervals; from each that is not empty, `pos_per_bin` (10) positive and
-- `neg_per_bin` (10) negative pairs are drawn, with replacement.
--
-- Options also `distance` ("l2"), `seed` or `generator` (a siamese.Generator).
-- @function UniformHistogram
-- @tparam[opt] table opts
define("UniformHistogram", {
   kind = "histogram", random = true, distance = "l2",
   spec = { num_bins = 100, pos_per_bin = 10, neg_per_bin = 10, seed = options.optional,
      generator = options.optional },
   init = function(self, o, full)
      for _, key in ipairs{ "num_bins", "pos_per_bin", "neg_per_bin" } do
         options.check_count(full, o, key, 1)
      end
      seeded(self, o, full)
   end,
   params = function(_, o)
      return { bins = o.num_bins, positive_each = o.pos_per_bin, negative_each = o.neg_per_bin }
   end,
})

return M
