--- One step of siamese.fit: batches, the loss, gradients, the optimiser.
--
-- A run is a table: `o`, the options; `s`, what callbacks see; `position`, `parameters`, `rates` (the groups'
-- first rates), and what else siamese.fit.run keeps.
-- @module siamese.fit.step
local core = require "siamese.core"
local lr_scheduler = require "siamese.lr_scheduler"
local optim = require "siamese.optim"
local options = require "siamese.options"

local NAME = "siamese.fit"
local M = {}

--- Seconds of training so far, those of earlier processes included.
function M.now(run)
   run.s.seconds = run.before + core.clock() - run.started
   return run.s.seconds
end

--- How far it is, from 0 to 1, by whichever limit is nearest.
local function share_done(run)
   local o, s = run.o, run.s
   local done = 0
   if o.steps then
      done = s.step / o.steps
   end
   if o.seconds then
      done = math.max(done, M.now(run) / o.seconds)
   end
   if o.epochs then
      local part = o.steps_per_epoch and s.epoch_steps / o.steps_per_epoch or 0
      done = math.max(done, (s.epoch - 1 + part) / o.epochs)
   end
   return math.min(1, done)
end

local function gather(run, indices)
   local x = run.o.set:batch(indices)
   return run.o.augment and run.o.augment(x) or x
end

local function embed(model, x)
   return type(model.embed) == "function" and model:embed(x) or model(x)
end

--- Embeddings of several batches of one size, made in one pass.
local function embed_sides(model, sides)
   local x, n = embed(model, core.cat(sides, 1)), sides[1]:size(1)
   for k = 1, #sides do
      sides[k] = x:narrow(1, (k - 1) * n + 1, n)
   end
   return table.unpack(sides)
end

--- The loss of a batch, and how many images it had.
function M.compute(run, batch)
   local o, model = run.o, run.o.model
   if o.objective then
      return o.objective(table.unpack(batch, 1, batch.n))
   end
   local a, b, c = batch[1], batch[2], batch[3]
   if batch.lists == 1 then -- a loader's third value of one list are its indices
      c = nil
   end
   local count = core.is_tensor(a) and a:size(1) or #a
   local ready = o.set and gather or function(_, x)
      return o.augment and o.augment(x) or x
   end
   if batch.lists == 3 then
      return o.loss(embed_sides(model, { ready(run, a), ready(run, b), ready(run, c) })), 3 * count
   elseif c ~= nil then
      a, b = ready(run, a), ready(run, b)
      return o.loss(model(a, b), c), 2 * count
   end
   return o.loss(embed(model, ready(run, a)), b), count
end

local function check_loss(run, value)
   if not core.is_tensor(value) or value:numel() ~= 1 then
      core.raise(("%s: the %s must give one number, got %s"):format(NAME,
         run.o.loss and "loss" or "objective",
         core.is_tensor(value) and options.text(value.shape) or type(value)))
   end
   local number = value:item()
   if number - number ~= 0 then
      core.raise(("%s: the loss of step %d is %s (epoch %d)"):format(NAME, run.s.step + 1, number,
         run.s.epoch))
   end
   return number
end

local function clip(run)
   local o = run.o
   if o.clip_value then
      optim.clip_grad_value(run.parameters, o.clip_value)
   end
   if o.clip_norm then
      local norm = optim.clip_grad_norm(run.parameters, o.clip_norm)
      if norm - norm ~= 0 then
         core.raise(("%s: the gradient of step %d has norm %s (epoch %d)"):format(NAME, run.s.step + 1, norm,
            run.s.epoch))
      end
      run.s.grad_norm = norm
   end
end

local FALL = {
   constant = function() return 1 end,
   linear = function(done) return 1 - done end,
   cosine = function(done) return 0.5 + 0.5 * math.cos(math.pi * done) end,
}

--- Sets the rates of a schedule by name or function; others set them after the step.
local function set_rates(run)
   local o, s = run.o, run.s
   local rule = FALL[o.schedule] or type(o.schedule) == "function" and o.schedule
      or o.warmup > 0 and FALL.constant
   if not rule or lr_scheduler.is(o.schedule) then
      return
   end
   local factor = rule(s.progress, s)
   if o.warmup > 0 then
      factor = factor * math.min(1, (s.step + 1) / o.warmup)
   end
   for i, group in ipairs(o.optimizer.param_groups) do
      group.lr = run.rates[i] * factor
   end
end

--- Calls one of the user's callbacks.
function M.call(run, name)
   local fn = run.o.callbacks[name]
   if fn and fn(run.s) == "stop" then
      run.stop = run.stop or "callback"
   end
end

--- The batches of one step; nil if the epoch ended before the first.
function M.draw(run)
   local batches = {}
   while #batches < run.o.accumulate do
      local batch = run.position:next()
      if not batch then
         run.ended = true
         break
      end
      batches[#batches + 1] = batch
      batch.lists = type(run.position.iterator) == "table" and run.position.iterator.lists or nil
   end
   return #batches > 0 and batches or nil
end

local function scale_gradients(run, factor)
   core.no_grad(function()
      for _, tensor in ipairs(run.parameters) do
         if tensor.grad then
            tensor.grad:mul_(factor)
         end
      end
   end)
end

function M.take(run, batches)
   local o, s = run.o, run.s
   local sum, images = 0, 0
   s.progress = share_done(run)
   set_rates(run)
   M.call(run, "on_step_begin")
   o.optimizer:zero_grad()
   for _, batch in ipairs(batches) do
      local value, count = M.compute(run, batch)
      sum, images = sum + check_loss(run, value), images + (count or 0)
      value:backward()
   end
   if #batches > 1 then
      scale_gradients(run, 1 / #batches)
   end
   clip(run)
   o.optimizer:step()
   s.step, s.epoch_steps, s.batch = s.step + 1, s.epoch_steps + 1, s.batch + #batches
   s.loss, s.lr, s.images = sum / #batches, o.optimizer.param_groups[1].lr, s.images + images
   run.sum, run.count = run.sum + s.loss, run.count + 1
   if run.line then
      run.line:update{ images = images, loss = s.loss }
   end
end

--- Gives the rates back that a schedule by name or function began with, so that another run may begin.
function M.reset_rates(run)
   if run.s.progress and not lr_scheduler.is(run.o.schedule) and (run.o.schedule or run.o.warmup > 0) then
      for i, group in ipairs(run.o.optimizer.param_groups) do
         group.lr = run.rates[i]
      end
   end
end

return M
