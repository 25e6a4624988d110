--- What all schedules of siamese.lr_scheduler share: steps, state, checks.
-- @module siamese.lr_scheduler.base
local core = require "siamese.core"
local options = require "siamese.options"

local M = {}

--- @type LRScheduler
local Scheduler = {}
Scheduler.__index = Scheduler

local function rates(optimizer, key)
   local list = {}
   for i, group in ipairs(optimizer.param_groups) do
      list[i] = group[key or "lr"]
   end
   return list
end

local function set_rates(self, values)
   for i, group in ipairs(self.optimizer.param_groups) do
      group.lr = values[i]
   end
   self.last_lr = values
end

--- The rates of now, each changed by a rule.
local function each(self, fn)
   local list = {}
   for i, group in ipairs(self.optimizer.param_groups) do
      list[i] = fn(group.lr, self.base_lrs[i], group, i)
   end
   return list
end

--- Moves to an epoch out of order, as SequentialLR does when a schedule's turn comes.
local function jump(self, epoch)
   self.last_epoch = epoch
   set_rates(self, each(self, self.kind.closed and function(_, base)
      return self.kind.closed(self, self.options, base)
   end or function(...)
      return self.kind.rate(self, self.options, ...)
   end))
end

--- One step on: sets the rates of the groups.
function Scheduler:step()
   self.step_count, self.last_epoch = self.step_count + 1, self.last_epoch + 1
   if self.kind.advance then
      self.kind.advance(self, self.options)
   end
   set_rates(self, each(self, function(...)
      return self.kind.rate(self, self.options, ...)
   end))
end

local function initial_step(self)
   self.step_count, self.initial = 0, true
   self:step()
   self.initial = false
end

--- The rates that it set last, one a group.
-- @treturn {number,...}
function Scheduler:get_last_lr()
   return table.move(self.last_lr, 1, #self.last_lr, 1, {})
end

--- Copies of data; what is none (functions) is left out.
local function data(value)
   if type(value) ~= "table" then
      return type(value) ~= "function" and value or nil
   end
   local out = {}
   for key, item in pairs(value) do
      out[key] = data(item)
   end
   return out
end

local function same(a, b)
   if type(a) ~= "table" or type(b) ~= "table" then
      return a == b
   end
   for key, value in pairs(a) do
      if not same(value, b[key]) then
         return false
      end
   end
   for key in pairs(b) do
      if a[key] == nil then
         return false
      end
   end
   return true
end

local STATE = { "last_epoch", "step_count", "base_lrs", "last_lr" }

--- Everything needed to go on later (with the optimiser's state), as data.
-- @treturn table
function Scheduler:state_dict()
   local state = { name = self.kind.name, options = data(self.options) }
   for _, key in ipairs(STATE) do
      state[key] = data(self[key])
   end
   for _, key in ipairs(self.kind.state or {}) do
      state[key] = data(self[key])
   end
   return state
end

--- Raises unless the state is one of this schedule with these options.
local function check_state(self, state)
   local name = "lr_scheduler." .. self.kind.name
   if type(state) ~= "table" or state.name ~= self.kind.name then
      core.raise(("%s: this is the state of %s"):format(name, type(state) == "table" and state.name
         and tostring(state.name) or "nothing known here"))
   end
   local mine = data(self.options)
   for key, value in pairs(mine) do
      if not same(value, state.options[key]) then
         core.raise(("%s: the state was saved with %s = %s, this one has %s"):format(name, key,
            options.text(state.options[key]), options.text(value)))
      end
   end
   if #state.base_lrs ~= #self.optimizer.param_groups then
      core.raise(("%s: the state is for %d group(s), the optimiser has %d"):format(name, #state.base_lrs,
         #self.optimizer.param_groups))
   end
end

--- Puts a `state_dict` back.
function Scheduler:load_state_dict(state)
   check_state(self, state)
   for _, key in ipairs(STATE) do
      self[key] = data(state[key])
   end
   for _, key in ipairs(self.kind.state or {}) do
      self[key] = data(state[key])
   end
end

function Scheduler:__tostring()
   local parts = {}
   for key, value in pairs(self.options) do
      parts[#parts + 1] = ("%s=%s"):format(key, options.text(value))
   end
   table.sort(parts)
   return ("%s(%s)"):format(self.kind.name, table.concat(parts, ", "))
end

local function check_optimizer(name, optimizer)
   if type(optimizer) ~= "table" or type(optimizer.param_groups) ~= "table" then
      core.raise(("%s: expected an optimiser, got %s"):format(name, type(optimizer)))
   end
end

--- A schedule of a kind. `kind`: `name`; `check(name, o)` for its options; `start(self, o)` before the
-- first step; `rate(self, o, lr, base, group, i)` gives a group's next rate; `closed(self, o, base)` the rate
-- by the number of steps alone; `advance`; `state`, the keys of what else it remembers.
function M.define(kind, spec)
   return function(optimizer, opts)
      local name = "lr_scheduler." .. kind.name
      check_optimizer(name, optimizer)
      local o = options.check(name, opts, spec)
      if kind.check then
         kind.check(name, o, optimizer)
      end
      local self = setmetatable({ kind = kind, optimizer = optimizer, options = o, last_epoch = -1 },
         Scheduler)
      for _, group in ipairs(optimizer.param_groups) do
         group.initial_lr = group.initial_lr or group.lr
      end
      if kind.start then
         kind.start(self, o)
      end
      self.base_lrs = rates(optimizer, "initial_lr")
      initial_step(self)
      return self
   end
end

function M.number(name, o, key, low, high)
   options.check_number(name, o, key, low, high)
end

function M.count(name, o, key, least)
   options.check_count(name, o, key, least)
end

--- One value for all groups, or a list with one a group.
function M.per_group(name, o, key, optimizer)
   local value, groups = o[key], #optimizer.param_groups
   if type(value) ~= "table" then
      value = {}
      for i = 1, groups do
         value[i] = o[key]
      end
   end
   if #value ~= groups then
      core.raise(("%s: %s has %d values, the optimiser %d group(s)"):format(name, key, #value, groups))
   end
   for _, item in ipairs(value) do
      options.check_number(name, { [key] = item }, key, -math.huge, math.huge)
   end
   return value
end

function M.check_milestones(name, o)
   if type(o.milestones) ~= "table" then
      core.raise(("%s: milestones must be a list of numbers of steps, got %s"):format(name,
         type(o.milestones)))
   end
   for _, milestone in ipairs(o.milestones) do
      options.check_count(name, { milestones = milestone }, "milestones", 0)
   end
end

--- A class like Scheduler's with methods of its own.
function M.subclass(methods)
   local class = {}
   for key, value in pairs(Scheduler) do
      class[key] = value
   end
   for key, value in pairs(methods) do
      class[key] = value
   end
   class.__index = class
   return class
end

M.Scheduler, M.rates, M.data, M.jump, M.check_state, M.initial_step = Scheduler, rates, data, jump,
   check_state, initial_step

return M
