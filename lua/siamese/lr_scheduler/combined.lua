--- Schedules of schedules: one after another, several at once. They are in siamese.lr_scheduler.
-- @module siamese.lr_scheduler.combined
local core = require "siamese.core"
local base = require "siamese.lr_scheduler.base"
local options = require "siamese.options"

local data, rates = base.data, base.rates
local M = {}

local function check_schedules(name, list)
   if type(list) ~= "table" or #list == 0 then
      core.raise(name .. ": schedulers must be a list of at least one")
   end
   for i, one in ipairs(list) do
      if type(one) ~= "table" or type(one.step) ~= "function" or one.kind == nil then
         core.raise(("%s: scheduler %d is a %s"):format(name, i, type(one)))
      elseif one.kind.name == "ReduceLROnPlateau" then
         core.raise(("%s: scheduler %d is a ReduceLROnPlateau, which wants a metric"):format(name, i))
      elseif one.optimizer ~= list[1].optimizer then
         core.raise(("%s: scheduler %d is for another optimiser"):format(name, i))
      end
   end
end

local function states_of(list)
   local states = {}
   for i, one in ipairs(list) do
      states[i] = one:state_dict()
   end
   return states
end

local function load_states(name, list, states)
   if type(states) ~= "table" or #states ~= #list then
      core.raise(("%s: the state is of other schedules"):format(name))
   end
   for i, one in ipairs(list) do
      one:load_state_dict(states[i])
   end
end

local Sequential = base.subclass{
   step = function(self)
      self.last_epoch = self.last_epoch + 1
      local at = 1
      for _, milestone in ipairs(self.options.milestones) do
         at = at + (milestone <= self.last_epoch and 1 or 0)
      end
      local one = self.schedulers[at]
      if at > 1 and self.options.milestones[at - 1] == self.last_epoch then
         base.jump(one, 0)
      else
         one:step()
      end
      self.last_lr = one.last_lr
   end,
   state_dict = function(self)
      return { name = self.kind.name, options = data(self.options), last_epoch = self.last_epoch,
         last_lr = data(self.last_lr), base_lrs = rates(self.optimizer, "initial_lr"),
         schedulers = states_of(self.schedulers) }
   end,
   load_state_dict = function(self, state)
      base.check_state(self, state)
      load_states("lr_scheduler." .. self.kind.name, self.schedulers, state.schedulers)
      self.last_epoch, self.last_lr = state.last_epoch, data(state.last_lr)
   end,
}

local function undo(one)
   for _, inner in ipairs(one.schedulers or {}) do
      undo(inner)
   end
   if not one.schedulers then
      one.last_epoch = one.last_epoch - 1
   end
end

--- One schedule after another: number i + 1 takes over, from its beginning, at milestone i.
-- @tparam Optimizer optimizer
-- @tparam table opts `schedulers` (list), `milestones` (list of numbers of steps, one fewer, growing)
-- @treturn LRScheduler
-- @usage local warm = lr_scheduler.LinearLR(opt, { start_factor = 0.01, total_iters = 100 })
-- local fall = lr_scheduler.CosineAnnealingLR(opt, { T_max = 900 })
-- local schedule = lr_scheduler.SequentialLR(opt, { schedulers = { warm, fall }, milestones = { 100 } })
function M.SequentialLR(optimizer, opts)
   local name = "lr_scheduler.SequentialLR"
   local o = options.check(name, opts, { schedulers = options.required, milestones = options.required })
   check_schedules(name, o.schedulers)
   base.check_milestones(name, o)
   if #o.milestones ~= #o.schedulers - 1 then
      core.raise(("%s: %d schedulers want %d milestone(s), got %d"):format(name, #o.schedulers,
         #o.schedulers - 1, #o.milestones))
   elseif o.schedulers[1].optimizer ~= optimizer then
      core.raise(name .. ": the schedulers are for another optimiser")
   end
   for i = 2, #o.milestones do
      if o.milestones[i] <= o.milestones[i - 1] then
         core.raise(name .. ": milestones must grow")
      end
   end
   local self = setmetatable({ kind = { name = "SequentialLR" }, optimizer = optimizer,
      options = { milestones = o.milestones }, schedulers = o.schedulers, last_epoch = 0 }, Sequential)
   for _, group in ipairs(optimizer.param_groups) do
      group.lr = group.initial_lr
   end
   undo(self)
   local first = o.milestones[1] == 0 and 2 or 1
   base.initial_step(self.schedulers[first])
   self.last_lr = self.schedulers[first].last_lr
   return self
end

local Chained = base.subclass{
   step = function(self)
      for _, one in ipairs(self.schedulers) do
         one:step()
      end
      self.last_lr = rates(self.optimizer)
   end,
   state_dict = function(self)
      return { name = self.kind.name, options = {}, last_lr = data(self.last_lr),
         base_lrs = rates(self.optimizer, "initial_lr"), schedulers = states_of(self.schedulers) }
   end,
   load_state_dict = function(self, state)
      base.check_state(self, state)
      load_states("lr_scheduler." .. self.kind.name, self.schedulers, state.schedulers)
      self.last_lr = data(state.last_lr)
   end,
}

--- Several schedules at once: their factors multiply.
-- @tparam {LRScheduler,...} schedulers of one optimiser
-- @treturn LRScheduler
function M.ChainedScheduler(schedulers)
   check_schedules("lr_scheduler.ChainedScheduler", schedulers)
   local optimizer = schedulers[1].optimizer
   return setmetatable({ kind = { name = "ChainedScheduler" }, optimizer = optimizer, options = {},
      schedulers = schedulers, last_lr = rates(optimizer) }, Chained)
end

M.Sequential, M.Chained = Sequential, Chained

return M
