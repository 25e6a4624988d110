--- Watches a metric: knows the best so far, keeps the weights of then, and says when to give up.
--
--    local stopping = siamese.EarlyStopping{ patience = 10, mode = "max", model = twin }
--    for epoch = 1, 100 do
--       ...
--       if stopping:update(accuracy()) then
--          break
--       end
--    end
--    stopping:restore()
--
-- The first value that is a number is the best so far. A value that is not a number is no improvement: a
-- metric that never is one runs out of patience like any other, there is no best then, and `restore` leaves
-- the weights as they are.
-- @module siamese.early_stopping
local core = require "siamese.core"
local Module = require "siamese.nn.module"
local options = require "siamese.options"

--- @type EarlyStopping
local EarlyStopping = {}
EarlyStopping.__index = EarlyStopping

local SPEC = { patience = options.optional, mode = "max", min_delta = 0, model = options.optional }

local function make(class, opts)
   local o = options.check("EarlyStopping", opts, SPEC)
   options.check_choice("EarlyStopping", o, "mode", { "max", "min" })
   options.check_number("EarlyStopping", o, "min_delta", 0, math.huge)
   if o.patience ~= nil then
      options.check_count("EarlyStopping", o, "patience", 0)
   end
   if o.model ~= nil and not Module.is_module(o.model) then
      core.raise("EarlyStopping: model must be a module, got " .. type(o.model))
   end
   return setmetatable({ options = o, model = o.model, updates = 0, bad = 0, improved = false,
      stopped = false }, class)
end

local function is_better(self, value)
   if value ~= value then
      return false
   elseif self.best == nil then
      return true
   elseif self.options.mode == "max" then
      return value > self.best + self.options.min_delta
   end
   return value < self.best - self.options.min_delta
end

local function is_out_of_patience(self)
   local patience = self.options.patience
   return patience ~= nil and self.bad >= math.max(1, patience)
end

local function keep(self)
   self.weights = {}
   for name, tensor in pairs(self.model:state_dict()) do
      self.weights[name] = tensor:clone()
   end
end

--- Takes the next value of the metric.
-- @tparam number value
-- @treturn boolean whether to stop: `patience` values in a row were no improvement (never without a
--   patience). Fields then: `best`, `best_at` (which value that was, from 1), `improved` (whether this one
--   was), `bad` (how many in a row were none), `updates`
function EarlyStopping:update(value)
   if type(value) ~= "number" then
      core.raise("EarlyStopping:update: expected a number, got " .. type(value))
   end
   self.updates = self.updates + 1
   self.improved = is_better(self, value)
   if self.improved then
      self.best, self.best_at, self.bad = value, self.updates, 0
      if self.model then
         keep(self)
      end
   else
      self.bad = self.bad + 1
   end
   self.stopped = is_out_of_patience(self)
   return self.stopped
end

--- Puts the best weights back into the model.
-- @treturn boolean whether there were any
function EarlyStopping:restore()
   if not self.model then
      core.raise("EarlyStopping:restore: it was made without a model")
   elseif not self.weights then
      return false
   end
   self.model:load_state_dict(self.weights)
   return true
end

--- Everything needed to go on later, the best weights included (copied).
-- @treturn table
function EarlyStopping:state_dict()
   local weights
   if self.weights then
      weights = {}
      for name, tensor in pairs(self.weights) do
         weights[name] = tensor:clone()
      end
   end
   return { mode = self.options.mode, best = self.best, best_at = self.best_at, updates = self.updates,
      bad = self.bad, improved = self.improved, stopped = self.stopped, weights = weights }
end

--- Puts a `state_dict` back; whether to stop goes by the patience of now.
function EarlyStopping:load_state_dict(state)
   if type(state) ~= "table" or state.mode ~= self.options.mode then
      core.raise(("EarlyStopping:load_state_dict: expected a state with mode '%s', got %s"):format(
         self.options.mode, type(state) == "table" and options.text(state.mode) or type(state)))
   elseif self.model and state.best ~= nil and not state.weights then
      core.raise("EarlyStopping:load_state_dict: the state has no weights, since it was kept without a model")
   end
   for _, key in ipairs{ "best", "best_at", "updates", "bad", "improved" } do
      self[key] = state[key]
   end
   self.weights = nil
   if self.model and state.weights then
      self.weights = {}
      for name, tensor in pairs(state.weights) do
         self.weights[name] = tensor:clone()
      end
   end
   self.stopped = is_out_of_patience(self)
end

--- Makes one.
-- @function EarlyStopping
-- @tparam[opt] table opts `patience` (so many values in a row without an improvement end it; none: never),
--   `mode` ("max", the default, or "min": what is better), `min_delta` (0; what an improvement must exceed),
--   `model` (its parameters and buffers are kept at each improvement)
return setmetatable(EarlyStopping, { __call = make, __name = "EarlyStopping" })
