--- Losses of logits and targets.
-- @module siamese.losses.plain
local core = require "siamese.core"
local base = require "siamese.losses.base"

local F = core.F
local M = {}

--- A loss that is a function of the core with options.
local function plain(name, spec, f)
   spec.reduction = "mean"
   local class = base.class(name, spec, { choices = { reduction = base.PLAIN_REDUCTIONS } })
   function class:forward(input, target)
      return f(input, target, self.options)
   end
   M[name] = class
end

--- Binary cross-entropy on logits, as Koch, Zemel, Salakhutdinov 2015 ("Siamese neural networks for one-shot
-- image recognition", section 3.2) train their head: loss(logits [N], same [N]). `pos_weight` (1) weighs
-- same pairs.
-- @function BCEWithLogits
plain("BCEWithLogits", { pos_weight = 1 }, F.binary_cross_entropy_with_logits)

--- Cross-entropy: loss(logits [N,C], labels [N] from 1). `label_smoothing` (0) as in Szegedy, Vanhoucke,
-- Ioffe, Shlens, Wojna 2016 ("Rethinking the inception architecture", section 7).
-- @function CrossEntropy
plain("CrossEntropy", { label_smoothing = 0 }, F.cross_entropy)

--- Mean squared error: loss(input, target).
-- @function MSE
plain("MSE", {}, F.mse_loss)

return M
