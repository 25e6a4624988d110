--- Losses of two views of the same samples, without negatives: loss(a [N,D], b [N,D]), where row i of both is
-- of one sample.
-- @module siamese.losses.views
local core = require "siamese.core"
local base = require "siamese.losses.base"

local F = core.F
local M = {}

local ANY = { -math.huge, math.huge }

--- Barlow twins (Zbontar, Jing, Misra, LeCun, Deny 2021, "Barlow twins: self-supervised learning via
-- redundancy reduction", eq. 1): with C [D,D] the cross-correlation of the two views' features over the
-- batch, the sum of (1 - C_ii)^2 plus `lambda` times the sum of the other C_ij^2. A feature that does not
-- vary has a correlation of 0.
--
-- Options `lambda` (0.005), `eps` (1e-5: added to the features' variances).
-- @function BarlowTwins
-- @tparam[opt] table opts
M.BarlowTwins = base.class("BarlowTwins", { lambda = 0.005, eps = 1e-5 },
   { ranges = { lambda = ANY, eps = { 0, 1 } } })

--- Features with mean 0 and deviation 1 over the batch; of one row, 0.
local function standardised(x, eps)
   if x:size(1) == 1 then
      return x * 0
   end
   return F.batch_norm(x, nil, nil, nil, nil, { training = true, eps = eps })
end

function M.BarlowTwins:forward(a, b, more)
   local o = self.options
   base.two_views(self:full_name(), a, b, more)
   local n, d = a:size(1), a:size(2)
   if n == 0 then
      return (a:sum() + b:sum()) * 0
   end
   local correlation = standardised(a, o.eps):t():matmul(standardised(b, o.eps)) / n
   local diagonal = core.eye(d)
   return ((correlation - diagonal):square() * (diagonal * (1 - o.lambda) + o.lambda)):sum()
end

--- VICReg (Bardes, Ponce, LeCun 2022, "VICReg: variance-invariance-covariance regularization for
-- self-supervised learning", eq. 1 to 6): `invariance` times the mean squared difference of the views, plus
-- `variance` times how far the features' deviations are below 1, max(0, 1 - sqrt(var + eps)), plus
-- `covariance` times the sum of their squared covariances over D; variance and covariance of both views,
-- unbiased, the variances' mean over features and views. The variance of one row is 0.
--
-- Options `invariance` (25), `variance` (25), `covariance` (1), `eps` (1e-4).
-- @function VICReg
-- @tparam[opt] table opts
M.VICReg = base.class("VICReg", { invariance = 25, variance = 25, covariance = 1, eps = 1e-4 },
   { ranges = { invariance = ANY, variance = ANY, covariance = ANY, eps = { 1e-12, 1 } } })

--- The terms of variance and covariance of one view.
local function spread(x, eps)
   local n, d = x:size(1), x:size(2)
   local centred = x - x:mean(1, true)
   local covariance = centred:t():matmul(centred) / math.max(n - 1, 1)
   local others = 1 - core.eye(d)
   local deviation = (centred:square():sum(1) / math.max(n - 1, 1) + eps):sqrt()
   return (1 - deviation):relu():mean() / 2, (covariance * others):square():sum() / d
end

function M.VICReg:forward(a, b, more)
   local o = self.options
   base.two_views(self:full_name(), a, b, more)
   if a:numel() == 0 then
      return (a:sum() + b:sum()) * 0
   end
   local variance_a, covariance_a = spread(a, o.eps)
   local variance_b, covariance_b = spread(b, o.eps)
   return F.mse_loss(a - b, core.zeros(1, 1):expand(a:size(1), a:size(2))) * o.invariance
      + (variance_a + variance_b) * o.variance + (covariance_a + covariance_b) * o.covariance
end

return M
