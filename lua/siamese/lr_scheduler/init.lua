--- Learning-rate schedules, with PyTorch's names, options, defaults and values (torch.optim.lr_scheduler).
-- They are in `siamese.optim.lr_scheduler`.
--
--    local opt = optim.SGD(net:parameters(), { lr = 0.1, momentum = 0.9 })
--    local schedule = lr_scheduler.CosineAnnealingLR(opt, { T_max = 100 })
--    for step = 1, 100 do
--       ...
--       opt:step()
--       schedule:step()
--    end
--
-- A schedule sets the rate of every group, from the rate that the group began with (`initial_lr`), and
-- counts its own steps: call `step` once a batch or once an epoch, as its options count. Most multiply what
-- the rate is now, as PyTorch's do, so that they can be chained. Warm-up is a `LinearLR` in front
-- (`SequentialLR`) or on top (`ChainedScheduler`).
--
-- State: `state_dict` is data; the rates themselves are the optimiser's state. A state is taken back by a
-- schedule with the same options only: with others it is an error, not (as in PyTorch) a silent change.
-- @module siamese.lr_scheduler
local core = require "siamese.core"
local shared = require "siamese.lr_scheduler.base"
local combined = require "siamese.lr_scheduler.combined"
local options = require "siamese.options"
local plateau = require "siamese.lr_scheduler.plateau"

local define, number, count = shared.define, shared.number, shared.count
local per_group, check_milestones = shared.per_group, shared.check_milestones
local REQUIRED, OPTIONAL = options.required, options.optional
local cos, pi = math.cos, math.pi

local M = { SequentialLR = combined.SequentialLR, ChainedScheduler = combined.ChainedScheduler,
   ReduceLROnPlateau = plateau.ReduceLROnPlateau }

--- The rate is the first one times a function of the number of steps so far.
-- @function LambdaLR
-- @tparam Optimizer optimizer
-- @tparam table opts `lr_lambda` (a function from 0, 1, 2, ... to a factor, or a list of such, one a group;
--   functions are no part of the state)
-- @treturn LRScheduler
M.LambdaLR = define({ name = "LambdaLR", check = function(name, o, optimizer)
   if type(o.lr_lambda) == "function" then
      return
   elseif type(o.lr_lambda) ~= "table" or #o.lr_lambda ~= #optimizer.param_groups then
      core.raise(name .. ": lr_lambda must be a function, or a list with one for each group")
   end
end, rate = function(self, o, _, base, _, i)
   return base * (type(o.lr_lambda) == "table" and o.lr_lambda[i] or o.lr_lambda)(self.last_epoch)
end }, { lr_lambda = REQUIRED })

--- The rate is multiplied by `gamma` every `step_size` steps.
-- @function StepLR
-- @tparam Optimizer optimizer
-- @tparam table opts `step_size` (required), `gamma` (0.1)
-- @treturn LRScheduler
M.StepLR = define({ name = "StepLR", check = function(name, o)
   count(name, o, "step_size", 1)
   number(name, o, "gamma", -math.huge, math.huge)
end, rate = function(self, o, lr)
   return (self.last_epoch == 0 or self.last_epoch % o.step_size ~= 0) and lr or lr * o.gamma
end, closed = function(self, o, base)
   return base * o.gamma ^ (self.last_epoch // o.step_size)
end }, { step_size = REQUIRED, gamma = 0.1 })

local function times_in(list, value)
   local n = 0
   for _, item in ipairs(list) do
      n = n + (item == value and 1 or 0)
   end
   return n
end

--- The rate is multiplied by `gamma` at each milestone.
-- @function MultiStepLR
-- @tparam Optimizer optimizer
-- @tparam table opts `milestones` (list of numbers of steps, required), `gamma` (0.1)
-- @treturn LRScheduler
M.MultiStepLR = define({ name = "MultiStepLR", check = function(name, o)
   check_milestones(name, o)
   number(name, o, "gamma", -math.huge, math.huge)
end, rate = function(self, o, lr)
   local hits = times_in(o.milestones, self.last_epoch)
   return hits == 0 and lr or lr * o.gamma ^ hits
end, closed = function(self, o, base)
   local passed = 0
   for _, milestone in ipairs(o.milestones) do
      passed = passed + (milestone <= self.last_epoch and 1 or 0)
   end
   return base * o.gamma ^ passed
end }, { milestones = REQUIRED, gamma = 0.1 })

--- The rate is multiplied by `factor` for `total_iters` steps.
-- @function ConstantLR
-- @tparam Optimizer optimizer
-- @tparam[opt] table opts `factor` (1/3), `total_iters` (5)
-- @treturn LRScheduler
M.ConstantLR = define({ name = "ConstantLR", check = function(name, o)
   number(name, o, "factor", 0, 1)
   count(name, o, "total_iters", 0)
end, rate = function(self, o, lr)
   if self.last_epoch == 0 then
      return lr * o.factor
   end
   return self.last_epoch ~= o.total_iters and lr or lr * (1 / o.factor)
end, closed = function(self, o, base)
   return base * (o.factor + (self.last_epoch >= o.total_iters and 1 or 0) * (1 - o.factor))
end }, { factor = 1 / 3, total_iters = 5 })

--- The factor on the rate goes from `start_factor` to `end_factor` in `total_iters` steps: a warm-up.
-- @function LinearLR
-- @tparam Optimizer optimizer
-- @tparam[opt] table opts `start_factor` (1/3, above 0), `end_factor` (1), `total_iters` (5)
-- @treturn LRScheduler
M.LinearLR = define({ name = "LinearLR", check = function(name, o)
   number(name, o, "start_factor", 0, 1)
   number(name, o, "end_factor", 0, 1)
   count(name, o, "total_iters", 1)
   if o.start_factor == 0 then
      core.raise(name .. ": start_factor must be above 0")
   end
end, rate = function(self, o, lr)
   if self.last_epoch == 0 then
      return lr * o.start_factor
   elseif self.initial or self.last_epoch > o.total_iters then
      return lr
   end
   local rise = o.end_factor - o.start_factor
   return lr * (1.0 + rise / (o.total_iters * o.start_factor + (self.last_epoch - 1) * rise))
end, closed = function(self, o, base)
   return base * (o.start_factor + (o.end_factor - o.start_factor)
      * math.min(o.total_iters, self.last_epoch) / o.total_iters)
end }, { start_factor = 1 / 3, end_factor = 1.0, total_iters = 5 })

--- The rate is multiplied by `gamma` every step.
-- @function ExponentialLR
-- @tparam Optimizer optimizer
-- @tparam table opts `gamma` (required)
-- @treturn LRScheduler
M.ExponentialLR = define({ name = "ExponentialLR", check = function(name, o)
   number(name, o, "gamma", -math.huge, math.huge)
end, rate = function(self, o, lr)
   return self.initial and lr or lr * o.gamma
end, closed = function(self, o, base)
   return base * o.gamma ^ self.last_epoch
end }, { gamma = REQUIRED })

--- The rate falls to 0 in `total_iters` steps, as (1 - step / total_iters) ^ power.
-- @function PolynomialLR
-- @tparam Optimizer optimizer
-- @tparam[opt] table opts `total_iters` (5), `power` (1)
-- @treturn LRScheduler
M.PolynomialLR = define({ name = "PolynomialLR", check = function(name, o)
   count(name, o, "total_iters", 1)
   number(name, o, "power", -math.huge, math.huge)
end, rate = function(self, o, lr)
   local at, all = self.last_epoch, o.total_iters
   if self.initial or at > all then
      return lr
   end
   return lr * ((1.0 - at / all) / (1.0 - (at - 1) / all)) ^ o.power
end, closed = function(self, o, base)
   return base * (1.0 - math.min(o.total_iters, self.last_epoch) / o.total_iters) ^ o.power
end }, { total_iters = 5, power = 1.0 })

--- The rate falls from the first one to `eta_min` along half a cosine, in `T_max` steps (Loshchilov and
-- Hutter 2017, without restarts; further steps let it rise again).
-- @function CosineAnnealingLR
-- @tparam Optimizer optimizer
-- @tparam table opts `T_max` (required), `eta_min` (0)
-- @treturn LRScheduler
M.CosineAnnealingLR = define({ name = "CosineAnnealingLR", check = function(name, o)
   count(name, o, "T_max", 1)
   number(name, o, "eta_min", -math.huge, math.huge)
end, rate = function(self, o, lr, base)
   local at = self.last_epoch
   if self.initial then
      return lr
   elseif (at - 1 - o.T_max) % (2 * o.T_max) == 0 then
      return lr + (base - o.eta_min) * (1 - cos(pi / o.T_max)) / 2
   end
   return (1 + cos(pi * at / o.T_max)) / (1 + cos(pi * (at - 1) / o.T_max)) * (lr - o.eta_min) + o.eta_min
end, closed = function(self, o, base)
   return o.eta_min + (base - o.eta_min) * (1 + cos(pi * self.last_epoch / o.T_max)) / 2
end }, { T_max = REQUIRED, eta_min = 0.0 })

--- Cosines that begin anew: the first lasts `T_0` steps, each further one `T_mult` times as long as the one
-- before (SGDR, Loshchilov and Hutter 2017).
-- @function CosineAnnealingWarmRestarts
-- @tparam Optimizer optimizer
-- @tparam table opts `T_0` (required), `T_mult` (1), `eta_min` (0)
-- @treturn LRScheduler
M.CosineAnnealingWarmRestarts = define({ name = "CosineAnnealingWarmRestarts", state = { "T_cur", "T_i" },
   check = function(name, o)
      count(name, o, "T_0", 1)
      count(name, o, "T_mult", 1)
      number(name, o, "eta_min", -math.huge, math.huge)
   end, start = function(self, o)
      self.T_cur, self.T_i = -1, o.T_0
   end, advance = function(self, o)
      if self.last_epoch == 0 then
         self.T_cur, self.T_i = 0, o.T_0
         return
      end
      self.T_cur = self.T_cur + 1
      if self.T_cur >= self.T_i then
         self.T_cur, self.T_i = self.T_cur % self.T_i, self.T_i * o.T_mult
      end
   end, rate = function(self, o, _, base)
      return o.eta_min + (base - o.eta_min) * (1 + cos(pi * self.T_cur / self.T_i)) / 2
   end }, { T_0 = REQUIRED, T_mult = 1, eta_min = 0.0 })

-- One cycle

local function one_cycle_steps(name, o)
   if o.total_steps then
      count(name, o, "total_steps", 1)
   elseif o.epochs and o.steps_per_epoch then
      count(name, o, "epochs", 1)
      count(name, o, "steps_per_epoch", 1)
      o.total_steps = o.epochs * o.steps_per_epoch
   else
      core.raise(name .. ": give total_steps, or epochs and steps_per_epoch")
   end
   o.epochs, o.steps_per_epoch = nil, nil
end

--- Ends of the phases, and between which keys of a group the rate and the momentum go.
local function phases(o)
   local last = o.total_steps - 1
   local up = { last = o.pct_start * o.total_steps - 1, "initial_lr", "max_lr", "max_momentum",
      "base_momentum" }
   if o.three_phase then
      return { up, { last = 2 * o.pct_start * o.total_steps - 2, "max_lr", "initial_lr", "base_momentum",
         "max_momentum" }, { last = last, "initial_lr", "min_lr", "max_momentum", "max_momentum" } }
   end
   return { up, { last = last, "max_lr", "min_lr", "base_momentum", "max_momentum" } }
end

local ANNEAL = {
   cos = function(from, to, share)
      return to + (from - to) / 2.0 * (cos(pi * share) + 1)
   end,
   linear = function(from, to, share)
      return (to - from) * share + from
   end,
}

local function set_momentum(group, value)
   if group.betas then
      group.betas = { value, group.betas[2] }
   else
      group.momentum = value
   end
end

--- Up to `max_lr` and down again to next to nothing, momentum the other way round (Smith and Topin 2018).
-- Step it once a batch.
-- @function OneCycleLR
-- @tparam Optimizer optimizer
-- @tparam table opts `max_lr` (required; a number or one a group), `total_steps` (or `epochs` and
--   `steps_per_epoch`), `pct_start` (0.3), `anneal_strategy` ("cos" or "linear"), `cycle_momentum` (true),
--   `base_momentum` (0.85), `max_momentum` (0.95), `div_factor` (25), `final_div_factor` (1e4),
--   `three_phase` (false)
-- @treturn LRScheduler
M.OneCycleLR = define({ name = "OneCycleLR", check = function(name, o, optimizer)
   one_cycle_steps(name, o)
   number(name, o, "pct_start", 0, 1)
   options.check_choice(name, o, "anneal_strategy", { "cos", "linear" })
   options.check_boolean(name, o, "cycle_momentum")
   for _, key in ipairs{ "max_lr", "base_momentum", "max_momentum" } do
      o[key] = per_group(name, o, key, optimizer)
   end
   for _, group in ipairs(optimizer.param_groups) do
      if o.cycle_momentum and group.momentum == nil and group.betas == nil then
         core.raise(name .. ": cycle_momentum wants an optimiser with momentum or betas")
      end
   end
end, start = function(self, o)
   for i, group in ipairs(self.optimizer.param_groups) do
      group.initial_lr, group.max_lr = o.max_lr[i] / o.div_factor, o.max_lr[i]
      group.min_lr = group.initial_lr / o.final_div_factor
      if o.cycle_momentum then
         group.max_momentum, group.base_momentum = o.max_momentum[i], o.base_momentum[i]
         set_momentum(group, o.max_momentum[i])
      end
   end
end, rate = function(self, o, _, _, group)
   if self.last_epoch > o.total_steps then
      core.raise(("lr_scheduler.OneCycleLR: step %d of %d"):format(self.last_epoch, o.total_steps))
   end
   local first, all = 0.0, phases(o)
   for i, phase in ipairs(all) do
      if self.last_epoch <= phase.last or i == #all then
         local share = (self.last_epoch - first) / (phase.last - first)
         local anneal = ANNEAL[o.anneal_strategy]
         if o.cycle_momentum then
            set_momentum(group, anneal(group[phase[3]], group[phase[4]], share))
         end
         return anneal(group[phase[1]], group[phase[2]], share)
      end
      first = phase.last
   end
end }, { max_lr = REQUIRED, total_steps = OPTIONAL, epochs = OPTIONAL, steps_per_epoch = OPTIONAL,
   pct_start = 0.3, anneal_strategy = "cos", cycle_momentum = true, base_momentum = 0.85,
   max_momentum = 0.95, div_factor = 25.0, final_div_factor = 1e4, three_phase = false })

--- Goes to a constant rate for stochastic weight averaging (torch.optim.swa_utils.SWALR).
-- @function SWALR
-- @tparam Optimizer optimizer
-- @tparam table opts `swa_lr` (required; a number or one a group), `anneal_epochs` (10; steps on the way),
--   `anneal_strategy` ("cos" or "linear")
-- @treturn LRScheduler
M.SWALR = define({ name = "SWALR", check = function(name, o, optimizer)
   o.swa_lr = per_group(name, o, "swa_lr", optimizer)
   count(name, o, "anneal_epochs", 0)
   options.check_choice(name, o, "anneal_strategy", { "cos", "linear" })
end, rate = function(self, o, lr, _, _, i)
   local step = self.step_count - 1
   if o.anneal_epochs == 0 then
      step = math.max(1, step)
   end
   local function alpha(at)
      local t = math.max(0, math.min(1, at / math.max(1, o.anneal_epochs)))
      return o.anneal_strategy == "linear" and t or (1 - cos(pi * t)) / 2
   end
   local before, now = alpha(step - 1), alpha(step)
   local first = before == 1 and o.swa_lr[i] or (lr - before * o.swa_lr[i]) / (1 - before)
   return o.swa_lr[i] * now + first * (1 - now)
end }, { swa_lr = REQUIRED, anneal_epochs = 10, anneal_strategy = "cos" })

local CLASSES = { [shared.Scheduler] = true, [combined.Sequential] = true, [combined.Chained] = true,
   [plateau.Plateau] = true }

--- Whether a value is a schedule of this module.
function M.is(value)
   return type(value) == "table" and CLASSES[getmetatable(value)] == true
end

return M
