--- The loop of siamese.fit: epochs, what comes between steps, checkpoints, the end.
-- @module siamese.fit.run
local core = require "siamese.core"
local EarlyStopping = require "siamese.early_stopping"
local averaging = require "siamese.averaging"
local checkpoint = require "siamese.checkpoint"
local lr_scheduler = require "siamese.lr_scheduler"
local position = require "siamese.fit.position"
local progress = require "siamese.progress"
local settings = require "siamese.fit.settings"
local step = require "siamese.fit.step"

local NAME = "siamese.fit"

--- What draws random numbers besides siamese's own generator.
local function drawing(o)
   local things = {}
   for key, thing in pairs(o.state) do
      things["state." .. key] = thing
   end
   if o.augment and checkpoint.has_state(o.augment) then
      things.augment = o.augment
   end
   return things
end

--- Everything whose state a checkpoint holds.
local function all_things(run)
   local o, things = run.o, { model = run.o.model, optimizer = run.o.optimizer, history = run.o.history }
   things.schedule = lr_scheduler.is(o.schedule) and o.schedule or nil
   things.average, things.stopping = o.average, run.stopping
   things.loss = o.loss and checkpoint.has_state(o.loss) and o.loss or nil
   for name, thing in pairs(run.drawing) do
      things[name] = thing
   end
   return things
end

local function base_rates(optimizer)
   local list = {}
   for i, group in ipairs(optimizer.param_groups) do
      list[i] = group.initial_lr or group.lr
   end
   return list
end

local function new_run(o)
   local run = { o = o, drawing = drawing(o), rates = base_rates(o.optimizer), parameters = {} }
   for _, group in ipairs(o.optimizer.param_groups) do
      table.move(group.params, 1, #group.params, #run.parameters + 1, run.parameters)
   end
   if o.validate then
      run.stopping = EarlyStopping{ patience = o.patience, mode = o.mode, min_delta = o.min_delta,
         model = o.keep_best and o.model or nil }
   end
   run.settings = settings.of(o)
   run.position = position.new(o.data, run.drawing)
   run.s = { model = o.model, optimizer = o.optimizer, history = o.history, step = 0, epoch = 1, batch = 0,
      epoch_steps = 0, images = 0, seconds = 0 }
   run.sum, run.count = 0, 0
   return run
end

local function record(run, metrics)
   local s = run.s
   if run.count == 0 and not metrics then
      return
   end
   local entry = { step = s.step, epoch = s.epoch, seconds = step.now(run), images = s.images,
      lr = run.o.optimizer.param_groups[1].lr, grad_norm = s.grad_norm }
   if run.count > 0 then
      entry.loss = run.sum / run.count
      run.sum, run.count = 0, 0
   end
   for key, value in pairs(metrics or {}) do
      entry[key] = value
   end
   local ok, why = run.o.history:add(entry)
   run.failure = run.failure or not ok and why or nil
end

local function as_metrics(run, value)
   if type(value) == "number" then
      return { [run.o.monitor or "validation"] = value }, value
   elseif type(value) ~= "table" then
      core.raise(("%s: validate must give a number or a table of numbers, got %s"):format(NAME, type(value)))
   end
   local key = run.o.monitor or next(value)
   if run.o.monitor == nil and next(value, key) ~= nil then
      core.raise(NAME .. ": validate gives several numbers; say which one to go by: monitor")
   elseif type(value[key]) ~= "number" then
      core.raise(("%s: validate gives no number '%s'"):format(NAME, tostring(key)))
   end
   return value, value[key]
end

--- Runs validation without moving the random numbers of training, in evaluation mode; with the averages
-- inside where there are such of each step.
local function validate(run)
   local o, s = run.o, run.s
   local random = position.random_of(run.drawing)
   local function measure()
      o.model:eval()
      local metrics, value = as_metrics(run, core.no_grad(o.validate, o.model, s))
      s.metrics, s.value = metrics, value
      run.stopping:update(value)
   end
   if o.average and o.average_every == "step" and o.average.count > 0 then
      o.average:with(measure)
   else
      measure()
   end
   o.model:train()
   position.set_random(run.drawing, random)
   s.best, s.improved = run.stopping.best, run.stopping.improved
   if lr_scheduler.is(o.schedule) and o.schedule.kind.wants_metric then
      o.schedule:step(s.value)
   end
   record(run, s.metrics)
   step.call(run, "on_validation")
   if run.stopping.stopped then
      run.stop = run.stop or "patience"
   end
end

local function due(run, unit, count)
   local every = run.o.validate and run.o.validate_every[unit]
   return every and count % every == 0
end

--- A schedule that goes by steps or by epochs.
local function advance_schedule(run, unit)
   local schedule = run.o.schedule
   if lr_scheduler.is(schedule) and not schedule.kind.wants_metric and run.o.schedule_every == unit then
      schedule:step()
   end
end

local function advance_average(run, unit)
   local o = run.o
   if o.average and o.average_every == unit and run.s.epoch >= o.average_from then
      o.average:update()
   end
end

local function save(run)
   local s, path = run.s, run.o.checkpoint.path
   local ok, why = checkpoint.save(path, run.things, { settings = run.settings, seconds = step.now(run),
      position = run.position:state(), ended = run.between, sum = run.sum, count = run.count,
      run = { step = s.step, epoch = s.epoch, batch = s.batch, epoch_steps = s.epoch_steps,
         images = s.images, loss = s.loss, grad_norm = s.grad_norm } })
   if not ok then
      run.failure = why
      return
   end
   run.saved, run.saved_step, run.saved_between = core.clock(), s.step, run.between
   step.call(run, "on_checkpoint")
end

local function maybe_save(run, unit, count)
   local c = run.o.checkpoint
   local every = c and c["every_" .. unit]
   if every and count % every == 0 or c and c.every_seconds
      and core.clock() - run.saved >= c.every_seconds then
      save(run)
   end
end

local function limit_reached(run)
   local o, s = run.o, run.s
   return run.stop or run.failure and "failure" or o.steps and s.step >= o.steps and "steps"
      or o.seconds and step.now(run) >= o.seconds and "seconds"
end

local function after_step(run)
   local s = run.s
   advance_schedule(run, "step")
   advance_average(run, "step")
   if due(run, "steps", s.step) then
      validate(run)
   elseif run.o.history_every and s.step % run.o.history_every == 0 then
      record(run)
   end
   step.call(run, "on_step")
   maybe_save(run, "steps", s.step)
end

local function after_epoch(run)
   local s = run.s
   advance_schedule(run, "epoch")
   advance_average(run, "epoch")
   if due(run, "epochs", s.epoch) then
      validate(run)
   else
      record(run)
   end
   step.call(run, "on_epoch")
   run.between = true
   maybe_save(run, "epochs", s.epoch)
end

local function epochs_done(run)
   return run.o.epochs and run.s.epoch >= run.o.epochs and "epochs"
end

--- An epoch, or what is left of it. Nothing is done where the limit is reached already.
local function run_epoch(run)
   local o, s = run.o, run.s
   run.ended = o.steps_per_epoch ~= nil and s.epoch_steps >= o.steps_per_epoch
   while not run.ended do
      run.reason = limit_reached(run)
      if run.reason then
         return
      end
      local batches = step.draw(run)
      if batches then
         step.take(run, batches)
         after_step(run)
      end
      run.ended = run.ended or o.steps_per_epoch ~= nil and s.epoch_steps >= o.steps_per_epoch
   end
   if s.epoch_steps == 0 then
      core.raise(("%s: the data of epoch %d are empty"):format(NAME, s.epoch))
   end
   after_epoch(run)
   run.reason = limit_reached(run) or epochs_done(run)
end

local function run_all(run)
   local s = run.s
   run.reason = limit_reached(run) or run.between and epochs_done(run)
   while not run.reason do
      if run.between or not run.position.iterator then
         s.epoch = run.between and s.epoch + 1 or s.epoch
         s.batch, s.epoch_steps, run.between = 0, 0, false
         step.call(run, "on_epoch_begin")
         run.position:begin(s.epoch)
      end
      run_epoch(run)
   end
end

-- From a checkpoint, and to the end

local function resume(run)
   local c = run.o.checkpoint
   if not c or not c.resume or core.path_kind(c.path) == "none" then
      return true
   end
   local card, why = checkpoint.read(c.path)
   if not card then
      return nil, why
   elseif type(card.extra.settings) ~= "table" then
      return nil, c.path .. ": is no checkpoint of siamese.fit"
   end
   local different = settings.difference(card.extra.settings, run.settings)
   if different then
      core.raise(("%s: %s was written with %s; resume = false starts anew"):format(NAME, c.path, different))
   end
   for key, value in pairs(card.extra.run) do
      run.s[key] = value
   end
   step.call(run, "on_epoch_begin")
   run.position:go_to(card.extra.position)
   checkpoint.apply(NAME, c.path, card, run.things)
   run.between, run.sum, run.count = card.extra.ended, card.extra.sum, card.extra.count
   run.before, run.resumed = card.extra.seconds, card.extra.run.step
   run.stop = run.stopping and run.stopping.stopped and "patience" or nil
   return true
end

--- Statistics of batch norm for averaged weights, over as many batches as an epoch had.
local function measure_average(run)
   local s, count = run.s, 0
   run.position:begin(s.epoch + 1)
   averaging.update_bn(run.o.model, function()
      count = count + 1
      return count <= s.batch and run.position:next() or nil
   end, function(batch)
      step.compute(run, batch)
   end)
end

--- The weights that the model is left with.
local function finish_weights(run)
   local o = run.o
   if o.keep_best and run.stopping:restore() then
      return
   elseif o.average and o.average.count > 0 then
      o.average:swap()
      if o.average.kind == "SWA" and not o.average.options.use_buffers then
         measure_average(run)
      end
   end
end

local function result_of(run)
   local s, stopping = run.s, run.stopping
   return { steps = s.step, epochs = run.between and s.epoch or s.epoch - 1, seconds = step.now(run),
      images = s.images, loss = s.loss, metrics = s.metrics, stopped = run.reason,
      resumed = run.resumed, history = run.o.history, best = stopping and stopping.best,
      best_at = stopping and stopping.best_at }
end

local function save_last(run)
   local as_saved = run.saved_step == run.s.step and run.saved_between == run.between
   if run.o.checkpoint and not run.failure and not as_saved and run.position.iterator then
      save(run)
   end
end

local function execute(run)
   local ok, why = resume(run)
   if not ok then
      return nil, why
   end
   local o = run.o
   run.started, run.before, run.saved = core.clock(), run.before or 0, core.clock()
   if o.progress then
      run.line = progress.new{ batches = o.steps_per_epoch or o.steps or math.maxinteger,
         epochs = o.steps_per_epoch and o.epochs or 1, seconds = o.seconds,
         label = type(o.progress) == "string" and o.progress or nil }
   end
   o.model:train()
   run_all(run)
   if run.line then
      run.line:finish()
   end
   save_last(run)
   if run.count > 0 and not run.failure then
      record(run) -- not in the checkpoint: a longer run would have none here
   end
   if run.failure then
      return nil, run.failure
   end
   finish_weights(run)
   step.reset_rates(run)
   return result_of(run)
end

--- Runs what was checked.
-- @treturn as siamese.fit
return function(o)
   local run = new_run(o)
   run.things = all_things(run)
   return execute(run)
end
