--- The options of siamese.fit, checked.
-- @module siamese.fit.check
local core = require "siamese.core"
local History = require "siamese.history"
local Module = require "siamese.nn.module"
local checkpoint = require "siamese.checkpoint"
local lr_scheduler = require "siamese.lr_scheduler"
local options = require "siamese.options"

local NAME = "siamese.fit"

local OPTIONAL = options.optional
local SPEC = {
   model = options.required, loss = OPTIONAL, objective = OPTIONAL, data = options.required, set = OPTIONAL,
   augment = OPTIONAL, optimizer = options.required, schedule = OPTIONAL, schedule_every = "step", warmup = 0,
   epochs = OPTIONAL, steps = OPTIONAL, seconds = OPTIONAL, steps_per_epoch = OPTIONAL,
   accumulate = 1, clip_norm = OPTIONAL, clip_value = OPTIONAL,
   average = OPTIONAL, average_every = OPTIONAL, average_from = 1,
   validate = OPTIONAL, validate_every = OPTIONAL, monitor = OPTIONAL, mode = "max", min_delta = 0,
   patience = OPTIONAL, keep_best = false,
   checkpoint = OPTIONAL, history = OPTIONAL, history_every = OPTIONAL, state = {},
   progress = false, callbacks = {},
}
local CHECKPOINT = { path = options.required, every_steps = OPTIONAL, every_epochs = OPTIONAL,
   every_seconds = OPTIONAL, resume = true }
local CALLBACKS = { on_epoch_begin = OPTIONAL, on_step_begin = OPTIONAL, on_step = OPTIONAL,
   on_epoch = OPTIONAL, on_validation = OPTIONAL, on_checkpoint = OPTIONAL }

local function fail(text, ...)
   core.raise(("%s: %s"):format(NAME, text:format(...)))
end

local function is_callable(value)
   local meta = getmetatable(value)
   return type(value) == "function" or Module.is_module(value) or type(meta) == "table"
      and meta.__call ~= nil
end

local function check_parts(o)
   if not Module.is_module(o.model) then
      fail("model must be a module, got %s", type(o.model))
   elseif type(o.optimizer) ~= "table" or type(o.optimizer.param_groups) ~= "table" then
      fail("optimizer must be one of siamese.optim, got %s", type(o.optimizer))
   elseif (o.loss == nil) == (o.objective == nil) then
      fail("give either a loss or an objective")
   elseif o.set ~= nil and (type(o.set) ~= "table" or type(o.set.batch) ~= "function") then
      fail("set must be a data set, got %s", type(o.set))
   end
   for _, key in ipairs{ "loss", "objective", "augment", "validate", "data" } do
      if o[key] ~= nil and not is_callable(o[key]) then
         fail("%s must be a function, got %s", key, type(o[key]))
      end
   end
end

local function check_limits(o)
   for _, key in ipairs{ "epochs", "steps", "steps_per_epoch", "history_every", "accumulate",
      "average_from" } do
      if o[key] ~= nil then
         options.check_count(NAME, o, key, 1)
      end
   end
   options.check_count(NAME, o, "warmup", 0)
   for _, key in ipairs{ "seconds", "clip_norm", "clip_value", "min_delta" } do
      if o[key] ~= nil then
         options.check_number(NAME, o, key, 0, math.huge)
      end
   end
   if not (o.epochs or o.steps or o.seconds) then
      fail("give a limit: epochs, steps or seconds")
   end
end

local SCHEDULES = { constant = true, linear = true, cosine = true }

local function check_schedule(o)
   options.check_choice(NAME, o, "schedule_every", { "step", "epoch" })
   if o.schedule == nil or type(o.schedule) == "function" or SCHEDULES[o.schedule] then
      return
   elseif not lr_scheduler.is(o.schedule) then
      fail("schedule must be one of optim.lr_scheduler, 'constant', 'linear', 'cosine' or a function, got %s",
         options.text(o.schedule))
   elseif o.schedule.optimizer ~= o.optimizer then
      fail("the schedule is for another optimiser")
   elseif o.schedule.kind.wants_metric and not o.validate then
      fail("%s wants a metric: give validate", o.schedule.kind.name)
   elseif o.warmup > 0 then
      fail("warmup is for schedules by name; use a LinearLR in front of %s", o.schedule.kind.name)
   end
end

local function check_average(o)
   if o.average == nil then
      return
   elseif type(o.average) ~= "table" or type(o.average.update) ~= "function" then
      fail("average must be one of siamese.averaging, got %s", type(o.average))
   elseif o.average.model ~= o.model then
      fail("the average is of another model")
   end
   o.average_every = o.average_every or o.average.kind == "SWA" and "epoch" or "step"
   options.check_choice(NAME, o, "average_every", { "step", "epoch" })
end

local function check_validation(o)
   local every = o.validate_every
   if math.type(every) == "integer" then
      every = { epochs = every }
   end
   if every ~= nil then
      every = options.check(NAME .. " validate_every", every, { epochs = OPTIONAL, steps = OPTIONAL })
      for key in pairs(every) do
         options.check_count(NAME .. " validate_every", every, key, 1)
      end
   end
   o.validate_every = every or { epochs = 1 }
   options.check_choice(NAME, o, "mode", { "max", "min" })
   options.check_boolean(NAME, o, "keep_best")
   if not o.validate and (o.patience or o.keep_best or o.monitor) then
      fail("%s needs validate", o.patience and "patience" or o.keep_best and "keep_best" or "monitor")
   end
   if o.patience ~= nil then
      options.check_count(NAME, o, "patience", 0)
   end
end

local function check_records(o)
   if o.checkpoint ~= nil then
      o.checkpoint = options.check(NAME .. " checkpoint", o.checkpoint, CHECKPOINT)
      options.check_boolean(NAME .. " checkpoint", o.checkpoint, "resume")
      for _, key in ipairs{ "every_steps", "every_epochs" } do
         if o.checkpoint[key] ~= nil then
            options.check_count(NAME .. " checkpoint", o.checkpoint, key, 1)
         end
      end
      if o.checkpoint.every_seconds ~= nil then
         options.check_number(NAME .. " checkpoint", o.checkpoint, "every_seconds", 0, math.huge)
      elseif not o.checkpoint.every_steps and not o.checkpoint.every_epochs then
         o.checkpoint.every_epochs = 1
      end
   end
   o.history = o.history or History{}
   if getmetatable(o.history) ~= History then
      fail("history must be a siamese.History, got %s", type(o.history))
   end
   o.callbacks = options.check(NAME .. " callbacks", o.callbacks, CALLBACKS)
   for key, fn in pairs(o.callbacks) do
      if not is_callable(fn) then
         fail("callbacks.%s must be a function, got %s", key, type(fn))
      end
   end
   for key, thing in pairs(o.state) do
      if type(key) ~= "string" or not checkpoint.has_state(thing) then
         fail("state['%s'] is a %s without a state", tostring(key), type(thing))
      end
   end
end

return function(opts)
   local o = options.check(NAME, opts, SPEC)
   check_parts(o)
   check_limits(o)
   check_schedule(o)
   check_average(o)
   check_validation(o)
   check_records(o)
   return o
end
