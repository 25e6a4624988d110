--- A schedule that waits for a metric to stand still. It is in siamese.lr_scheduler.
-- @module siamese.lr_scheduler.plateau
local core = require "siamese.core"
local base = require "siamese.lr_scheduler.base"
local options = require "siamese.options"

local M = {}

local Plateau = base.subclass{}

local function is_better(o, value, best)
   if o.threshold_mode == "rel" then
      best = best * (o.mode == "min" and 1.0 - o.threshold or o.threshold + 1.0)
   else
      best = best + (o.mode == "min" and -o.threshold or o.threshold)
   end
   if o.mode == "min" then
      return value < best
   end
   return value > best
end

local function reduce(self)
   for i, group in ipairs(self.optimizer.param_groups) do
      local lower = math.max(group.lr * self.options.factor, self.options.min_lr[i])
      if group.lr - lower > self.options.eps then
         group.lr = lower
      end
   end
end

--- One step on.
-- @tparam number metric of now; one that is not a number is no improvement
function Plateau:step(metric)
   local o = self.options
   if type(metric) ~= "number" then
      core.raise("lr_scheduler.ReduceLROnPlateau: step wants the metric, got " .. type(metric))
   end
   self.last_epoch = self.last_epoch + 1
   if is_better(o, metric, self.best) then
      self.best, self.num_bad_epochs = metric, 0
   else
      self.num_bad_epochs = self.num_bad_epochs + 1
   end
   if self.cooldown_counter > 0 then
      self.cooldown_counter, self.num_bad_epochs = self.cooldown_counter - 1, 0
   end
   if self.num_bad_epochs > o.patience then
      reduce(self)
      self.cooldown_counter, self.num_bad_epochs = o.cooldown, 0
   end
   self.last_lr = base.rates(self.optimizer)
end

local PLATEAU = { name = "ReduceLROnPlateau", wants_metric = true,
   state = { "best", "num_bad_epochs", "cooldown_counter" } }

--- The rate is multiplied by `factor` when a metric has not improved for more than `patience` steps. Call
-- `step(metric)`.
-- @tparam Optimizer optimizer
-- @tparam[opt] table opts `mode` ("min" or "max"), `factor` (0.1), `patience` (10), `threshold` (1e-4),
--   `threshold_mode` ("rel" or "abs"), `cooldown` (0), `min_lr` (0; a number or one a group), `eps` (1e-8;
--   smaller changes are not made)
-- @treturn LRScheduler
function M.ReduceLROnPlateau(optimizer, opts)
   local name = "lr_scheduler.ReduceLROnPlateau"
   if type(optimizer) ~= "table" or type(optimizer.param_groups) ~= "table" then
      core.raise(("%s: expected an optimiser, got %s"):format(name, type(optimizer)))
   end
   local o = options.check(name, opts, { mode = "min", factor = 0.1, patience = 10, threshold = 1e-4,
      threshold_mode = "rel", cooldown = 0, min_lr = 0, eps = 1e-8 })
   options.check_choice(name, o, "mode", { "min", "max" })
   options.check_choice(name, o, "threshold_mode", { "rel", "abs" })
   options.check_number(name, o, "factor", 0, 1)
   options.check_count(name, o, "patience", 0)
   options.check_count(name, o, "cooldown", 0)
   if o.factor == 1 then
      core.raise(name .. ": factor must be below 1")
   end
   o.min_lr = base.per_group(name, o, "min_lr", optimizer)
   return setmetatable({ kind = PLATEAU, optimizer = optimizer, options = o, last_epoch = 0, step_count = 0,
      best = o.mode == "min" and math.huge or -math.huge, num_bad_epochs = 0, cooldown_counter = 0,
      base_lrs = base.rates(optimizer), last_lr = base.rates(optimizer) }, Plateau)
end

M.Plateau = Plateau

return M
