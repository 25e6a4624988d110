--- Distances between embeddings, as losses, miners and twins take them.
--
--    local d = distances.L2{ normalize = true }
--    d(a, b)                        -- [N]: row i of a from row i of b
--    d:matrix(a, b)                 -- [N,M]: all rows of a from all of b; b defaults to a
--    losses.Triplet{ distance = d }
--    siamese.Twin{ encoder = net, distance = d }
--
-- All are small for what is alike: cosine is 1 - cos, dot is -a . b. Losses that are defined on similarities
-- ask for `d:similarities(a, b)`: the cosine, the product, and -d for the others.
--
-- Where names are taken, "l1", "l2", "squared_l2", "cosine", "dot" and "snr" stand for the distances with
-- their defaults. Distances are modules: the learned ones have parameters, and a loss or a twin that holds
-- one hands them to the optimiser with its own.
-- @module siamese.distances
local core = require "siamese.core"
local Module = require "siamese.nn.module"
local options = require "siamese.options"
local record = require "siamese.record"

local F = core.F
local M = {}

--- @type Distance
local Distance = Module:extend("Distance")
M.Distance = Distance

--- Whether `similarities` are something else than the negated distances.
Distance.has_similarity = false

--- Distances of all rows from all: a [N,D], b [M,D] (default a) give [N,M].
-- @function Distance:matrix
-- @tparam tensor a
-- @tparam[opt] tensor b
-- @treturn tensor

--- Similarities of all rows with all: large for what is alike.
-- @tparam tensor a [N,D]
-- @tparam[opt] tensor b [M,D]
-- @treturn tensor [N,M]
function Distance:similarities(a, b)
   return -self:matrix(a, b)
end

--- Similarities from 0 to 1 of distances: exp(-d), or what suits the distance better.
-- @tparam tensor d
-- @treturn tensor
function Distance:unit(d) -- luacheck: ignore self
   return (-d):exp()
end

function Distance:extra_repr()
   local parts = {}
   for key, value in pairs(self.options) do
      parts[#parts + 1] = ("%s=%s"):format(key, tostring(value))
   end
   table.sort(parts)
   return table.concat(parts, ", ")
end

--- A class of distances with its options; `check` looks at them.
local function class(name, spec, check)
   local full = "distances." .. name
   local made = Distance:extend(name)
   function made:init(opts)
      self.options = options.check(full, opts, spec)
      for key, default in pairs(spec) do
         if type(default) == "boolean" then
            options.check_boolean(full, self.options, key)
         end
      end
      if check then
         check(self, self.options, full)
      end
   end
   record.register_class(full, made, function(distance)
      return distance.options
   end)
   M[name] = made
   return made
end

--- f(a) and f(b); without b, or where it is a itself, f(a) twice.
local function each(f, a, b)
   local done = f(a)
   return done, b and not rawequal(a, b) and f(b) or done
end

local function unit_rows(x)
   return F.normalize(x, 2)
end

local function both(self, a, b)
   if self.options.normalize then
      return each(unit_rows, a, b)
   end
   return a, b or a
end

--- Sum of absolute differences. Option `normalize` (false): brings embeddings to length 1 first. Every pair
-- of rows is walked; there is no product that computes this.
-- @function L1
-- @tparam[opt] table opts
local L1 = class("L1", { normalize = false })

function L1:forward(a, b)
   a, b = both(self, a, b)
   return F.pairwise_distance(a, b, { p = 1, eps = 0 })
end

function L1:matrix(a, b)
   a, b = both(self, a, b)
   return F.cdist(a, b, { p = 1 })
end

--- Euclidean distance. Option `normalize` (false): brings embeddings to length 1 first.
-- @function L2
-- @tparam[opt] table opts
local L2 = class("L2", { normalize = false })

function L2:forward(a, b)
   a, b = both(self, a, b)
   return F.pairwise_distance(a, b, { eps = 0 })
end

function L2:matrix(a, b)
   a, b = both(self, a, b)
   return F.cdist(a, b)
end

--- Squared Euclidean distance. Option `normalize` (false).
-- @function SquaredL2
-- @tparam[opt] table opts
local SquaredL2 = class("SquaredL2", { normalize = false })

function SquaredL2:forward(a, b)
   a, b = both(self, a, b)
   return (a - b):square():sum(2)
end

function SquaredL2:matrix(a, b)
   a, b = both(self, a, b)
   return F.cdist(a, b, { squared = true })
end

--- 1 - cos(a, b), from 0 to 2; its similarity is the cosine.
-- @function Cosine
local Cosine = class("Cosine", {})
Cosine.has_similarity = true

function Cosine:forward(a, b) -- luacheck: ignore self
   return 1 - F.cosine_similarity(a, b)
end

function Cosine:matrix(a, b)
   return 1 - self:similarities(a, b)
end

function Cosine:similarities(a, b) -- luacheck: ignore self
   a, b = each(unit_rows, a, b)
   return a:matmul(b:t())
end

function Cosine:unit(d) -- luacheck: ignore self
   return 1 - d / 2
end

--- -a . b, which has no smallest value; its similarity is the product. Option `normalize` (false).
-- @function Dot
-- @tparam[opt] table opts
local Dot = class("Dot", { normalize = false })
Dot.has_similarity = true

function Dot:forward(a, b)
   a, b = both(self, a, b)
   return -(a * b):sum(2)
end

function Dot:matrix(a, b)
   return -self:similarities(a, b)
end

function Dot:similarities(a, b)
   a, b = both(self, a, b)
   return a:matmul(b:t())
end

function Dot:unit(d) -- luacheck: ignore self
   return (-d):sigmoid()
end

--- The signal-to-noise distance var(a - b) / var(a) over the features (Yuan, Deng, Tang, Tang, Chen 2019,
-- "Signal-to-noise ratio: a robust distance metric for deep metric learning"). It is not symmetric: a
-- is the anchor. Option `normalize` (false). An anchor without variance counts as one with a variance of
-- 1e-12.
-- @function SNR
-- @tparam[opt] table opts
local SNR = class("SNR", { normalize = false })

local NO_VARIANCE = 1e-12

local function variance(x)
   return x:var(2, { unbiased = false }):clamp(NO_VARIANCE)
end

function SNR:forward(a, b)
   a, b = both(self, a, b)
   return (a - b):var(2, { unbiased = false }) / variance(a)
end

--- The variance of a difference is the squared distance of what is left without the means.
function SNR:matrix(a, b)
   a, b = both(self, a, b)
   local centred, other = each(function(x)
      return x - x:mean(2, true)
   end, a, b)
   return F.cdist(centred, other, { squared = true }) / (variance(a) * a:size(2)):unsqueeze(2)
end

local function check_features(self, o, name)
   options.check_count(name, o, "features", 1)
   self.features = o.features
end

--- A learned weight for each feature: sum_j |w_j| |a_j - b_j|, with w starting at 1. The distance of
-- Koch, Zemel, Salakhutdinov 2015 (section 3.1) without its sigmoid, and with weights that cannot make it
-- negative; their head, which gives a logit, is `nn.WeightedL1`.
-- @function WeightedL1
-- @tparam table opts `features`: the size of the embeddings
local WeightedL1 = class("WeightedL1", { features = options.required }, function(self, o, name)
   check_features(self, o, name)
   self.weight = Module.Parameter(core.ones(o.features))
end)

function WeightedL1:forward(a, b)
   return F.pairwise_distance(a * self.weight, b * self.weight, { p = 1, eps = 0 })
end

function WeightedL1:matrix(a, b)
   a, b = each(function(x)
      return x * self.weight
   end, a, b)
   return F.cdist(a, b, { p = 1 })
end

--- A learned Mahalanobis distance |L a - L b|, with L [rank, features] starting as the identity: so
-- sqrt((a - b)^T M (a - b)) with M = L^T L, which stays positive semi-definite (Weinberger, Saul 2009,
-- "Distance metric learning for large margin nearest neighbor classification", section 2).
-- @function Mahalanobis
-- @tparam table opts `features` (the size of the embeddings), `rank` (default `features`)
local Mahalanobis = class("Mahalanobis", { features = options.required, rank = options.optional },
   function(self, o, name)
      check_features(self, o, name)
      o.rank = o.rank or o.features
      options.check_count(name, o, "rank", 1)
      local square = core.eye(math.max(o.rank, o.features))
      self.transform = Module.Parameter(square:narrow(1, 1, o.rank):narrow(2, 1, o.features):contiguous())
   end)

function Mahalanobis:forward(a, b)
   return F.pairwise_distance(F.linear(a, self.transform), F.linear(b, self.transform), { eps = 0 })
end

function Mahalanobis:matrix(a, b)
   return F.cdist(each(function(x)
      return F.linear(x, self.transform)
   end, a, b))
end

local NAMES = { l1 = L1, l2 = L2, squared_l2 = SquaredL2, cosine = Cosine, dot = Dot, snr = SNR }

--- Whether a value is a distance.
function M.is_distance(value)
   return Module.is_module(value) and value.matrix ~= nil and value.similarities ~= nil
end

--- The distance that an option means.
-- @tparam string|Distance value
-- @tparam string name whose option it is, for the message
-- @treturn Distance
function M.get(value, name)
   if M.is_distance(value) then
      return value
   end
   local known = NAMES[value]
   if not known then
      core.raise(("%s: distance must be 'l1', 'l2', 'squared_l2', 'cosine', 'dot', 'snr' or one of "
         .. "siamese.distances, got %s"):format(name, options.text(value)))
   end
   return known()
end

return M
