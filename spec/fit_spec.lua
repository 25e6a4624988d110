--- siamese.fit: the same numbers as a loop by hand, going on from a checkpoint, stopping, errors.
local siamese = require "siamese"
local files = require "spec.support_files"
local runs = require "spec.support_fit"
local support = require "spec.support"

local data, nn, optim = siamese.data, siamese.nn, siamese.optim
local fails = support.fails

local function with_folder(fn)
   return function()
      local folder = files.temp_folder()
      local ok, message = pcall(fn, folder)
      files.remove(folder)
      if not ok then
         error(message, 0)
      end
   end
end

--- Runs are compared tensor by tensor, bit by bit, and record by record.
local function assert_same(a, b)
   local state, records = table.unpack(a)
   local other, lines = table.unpack(b)
   for name, tensor in pairs(state) do
      assert.is_true(tensor == other[name], name)
   end
   assert.equal(records, lines)
end

local function run(o)
   local result, why = siamese.fit(o)
   assert(result, why)
   return { runs.outcome(o, result) }, result
end

--- A linear model on numbers, with all that fit needs.
local function tiny(more)
   siamese.manual_seed(1)
   local net = nn.Linear{ in_features = 2, out_features = 1 }
   local x = siamese.randn(12, 2)
   local y = x:matmul(siamese.tensor{ { 1 }, { -2 } })
   local o = { model = net, optimizer = optim.SGD(net:parameters(), { lr = 0.1 }),
      loss = function(out, target) return nn.functional.mse_loss(out, target) end,
      data = function()
         local at = 0
         return function()
            at = at + 1
            if at <= 4 then
               return x:narrow(1, 3 * at - 2, 3), y:narrow(1, 3 * at - 2, 3)
            end
         end
      end }
   for key, value in pairs(more or {}) do
      o[key] = value
   end
   return o, net
end

describe("siamese.fit", function()
   it("does what a loop by hand does", function()
      local o, net = tiny{ epochs = 3 }
      local result = assert(siamese.fit(o))
      assert.same({ 12, 3, 36, "epochs" }, { result.steps, result.epochs, result.images, result.stopped })
      local by_hand, other = tiny()
      for epoch = 1, 3 do
         for x, y in by_hand.data(epoch) do
            by_hand.optimizer:zero_grad()
            nn.functional.mse_loss(other(x), y):backward()
            by_hand.optimizer:step()
         end
      end
      assert.is_true(net.weight:detach() == other.weight:detach())
      assert.is_true(net.bias:detach() == other.bias:detach())
      local losses = result.history:column("loss")
      assert.equal(3, #losses)
      assert.is_true(losses[3] < losses[1])
   end)

   it("takes indices of a set, images, and pairs; augments; counts images", function()
      siamese.manual_seed(2)
      local set = data.glyphs{ classes = 6, samples = 4, size = 12 }
      local twin = siamese.Twin{ encoder = nn.Sequential{ nn.Flatten{},
         nn.Linear{ in_features = 144, out_features = 4 } } }
      local opt, seen = optim.Adam(twin:parameters()), 0
      local function augment(x)
         seen = seen + x:size(1)
         return x * 0.9
      end
      local function fit(more)
         seen = 0
         local o = { model = twin, optimizer = opt, augment = augment, steps = 3 }
         for key, value in pairs(more) do
            o[key] = value
         end
         local result = assert(siamese.fit(o))
         assert.equal(3, result.steps)
         assert.equal(seen, result.images)
         return result
      end
      local function classes()
         return data.class_batches(set, { classes = 3, samples = 2, seed = 1 })
      end
      assert.equal(18, fit{ set = set, data = classes, loss = siamese.losses.NTXent{} }.images)
      local result = fit{ set = set, loss = siamese.losses.Contrastive{}, data = function()
         return data.pairs(set, { batch_size = 5, seed = 1 })
      end }
      assert.equal(30, result.images)
      result = fit{ loss = siamese.losses.NTXent{}, data = function()
         local sampler = classes()
         return function()
            local indices, labels = sampler()
            return (set:batch(indices)), labels
         end
      end }
      assert.equal(18, result.images)
      seen = 0
      result = assert(siamese.fit{ model = twin, optimizer = opt, steps = 2, data = classes,
         objective = function(indices, labels)
            seen = seen + 1
            return siamese.losses.NTXent{}(twin:embed((set:batch(indices))), labels), 100
         end })
      assert.same({ 2, 200 }, { seen, result.images })
   end)

   it("accumulates to what one large batch gives, and to a smaller last one", function()
      local o, net = tiny{ epochs = 1, accumulate = 3 }
      local result = assert(siamese.fit(o))
      assert.equal(2, result.steps)
      local by_hand, other = tiny()
      local iterator = by_hand.data()
      for _, count in ipairs{ 3, 1 } do
         by_hand.optimizer:zero_grad()
         for _ = 1, count do
            local x, y = iterator();
            (nn.functional.mse_loss(other(x), y) / count):backward()
         end
         by_hand.optimizer:step()
      end
      support.close(net.weight, other.weight, 1e-5, 1e-6)
   end)

   it("clips, and says how long the gradient was", function()
      local o, net = tiny{ steps = 1, clip_norm = 1e-3 }
      local before = net.weight:detach():clone()
      local result = assert(siamese.fit(o))
      assert.is_true((net.weight:detach() - before):abs():max():item() <= 1.001e-4)
      assert.is_true(result.history.records[1].grad_norm > 1e-3)
      o, net = tiny{ steps = 1, clip_value = 1e-3 }
      before = net.weight:detach():clone()
      assert(siamese.fit(o))
      assert.is_true((net.weight:detach() - before):abs():max():item() <= 1.001e-4)
   end)

   it("sets rates: by name with a warm-up, by a function, by a schedule, and gives them back", function()
      local function rates(more)
         local o = tiny(more)
         local list = {}
         o.callbacks = { on_step = function(s) list[#list + 1] = s.lr end }
         assert(siamese.fit(o))
         return list, o.optimizer.param_groups[1].lr
      end
      local list, after = rates{ steps = 4, schedule = "cosine" }
      for i = 1, 4 do
         assert.is_true(math.abs(list[i] - 0.1 * (0.5 + 0.5 * math.cos(math.pi * (i - 1) / 4))) < 1e-12)
      end
      assert.equal(0.1, after)
      support.close(rates{ steps = 4, warmup = 2 }, { 0.05, 0.1, 0.1, 0.1 })
      support.close(rates{ steps = 4, schedule = "linear", warmup = 2 }, { 0.05, 0.075, 0.05, 0.025 })
      support.close(rates{ epochs = 2, steps_per_epoch = 2, schedule = function(done, s)
         return done + s.step
      end }, { 0, 0.125, 0.25, 0.375 })
      local o = tiny{ epochs = 3 }
      o.schedule, o.schedule_every = optim.lr_scheduler.StepLR(o.optimizer, { step_size = 1 }), "epoch"
      assert(siamese.fit(o))
      assert.is_true(math.abs(o.optimizer.param_groups[1].lr - 1e-4) < 1e-12)
      o = tiny{ epochs = 4, validate = function() return 1 end }
      o.schedule = optim.lr_scheduler.ReduceLROnPlateau(o.optimizer, { patience = 1 })
      assert(siamese.fit(o))
      assert.is_true(math.abs(o.optimizer.param_groups[1].lr - 0.01) < 1e-12)
   end)

   it("ends at the nearest limit, and epochs where data or steps_per_epoch do", function()
      assert.same({ 5, "steps" }, (function(r) return { r.steps, r.stopped } end)(
         assert(siamese.fit((tiny{ steps = 5, epochs = 9 })))))
      local result = assert(siamese.fit((tiny{ seconds = 0.05 })))
      assert.equal("seconds", result.stopped)
      assert.is_true(result.seconds >= 0.05 and result.seconds < 5)
      result = assert(siamese.fit((tiny{ epochs = 3, steps_per_epoch = 2 })))
      assert.equal(6, result.steps)
      local o = tiny{ epochs = 9, callbacks = { on_epoch = function(s)
         return s.epoch == 2 and "stop" or nil
      end } }
      result = assert(siamese.fit(o))
      assert.same({ 8, 2, "callback" }, { result.steps, result.epochs, result.stopped })
   end)

   it("calls back at each point with the run's state", function()
      local calls = {}
      local callbacks = {}
      for _, name in ipairs{ "on_epoch_begin", "on_step_begin", "on_step", "on_epoch", "on_validation" } do
         callbacks[name] = function(s)
            calls[#calls + 1] = ("%s %d.%d"):format(name:sub(4), s.epoch, s.step)
         end
      end
      local o = tiny{ epochs = 1, steps_per_epoch = 2, callbacks = callbacks, validate = function(model, s)
         assert.is_false(model.training)
         assert.equal(2, s.step)
         return 0.5
      end }
      local result = assert(siamese.fit(o))
      assert.same({ "epoch_begin 1.0", "step_begin 1.0", "step 1.1", "step_begin 1.1", "step 1.2",
         "validation 1.2", "epoch 1.2" }, calls)
      assert.equal(0.5, result.best)
      assert.is_true(o.model.training)
   end)
end)

describe("validation in siamese.fit", function()
   it("stops early on a metric that never improves, with the best weights back", function()
      local values, weights = { 0.3, 0.2, 0.3, 0.1 }, {}
      local at = 0
      local o, net = tiny{ epochs = 50, patience = 3, keep_best = true, validate = function(model)
         at = at + 1
         weights[at] = model.weight:detach():clone()
         return { accuracy = values[at] or 0, other = 1 }
      end, monitor = "accuracy" }
      local result = assert(siamese.fit(o))
      assert.same({ 4, "patience", 0.3, 1 }, { result.epochs, result.stopped, result.best, result.best_at })
      assert.is_true(weights[1] == net.weight:detach())
      assert.same({ 0.3, 0.2, 0.3, 0.1 }, (result.history:column("accuracy")))
   end)

   it("stops early on one that never is a number, and leaves the last weights", function()
      local last
      local o, net = tiny{ epochs = 50, patience = 2, keep_best = true, validate = function(model)
         last = model.weight:detach():clone()
         return 0 / 0
      end }
      local result = assert(siamese.fit(o))
      assert.same({ 2, "patience" }, { result.epochs, result.stopped })
      assert.is_nil(result.best)
      assert.is_true(last == net.weight:detach())
   end)

   it("does not move training's random numbers", function()
      local function outcome(validate)
         local o = runs.options(8)
         o.steps, o.validate, o.keep_best, o.schedule = 8, validate, false, nil
         return { runs.outcome(o, assert(siamese.fit(o))) }
      end
      local state = outcome(function()
         siamese.rand(1000)
         return 1
      end)[1]
      for name, tensor in pairs(outcome()[1]) do
         assert.is_true(tensor == state[name], name)
      end
   end)

   it("sees averages of each step, and the model has them in the end; SWA measures batch norm", function()
      local o, net = tiny{ steps = 6, validate_every = { steps = 1 } }
      local seen, own = {}, {}
      o.average = siamese.averaging.EMA(net, { decay = 0.5 })
      o.validate = function(model)
         seen[#seen + 1] = model.weight:detach():clone()
         return 1
      end
      o.callbacks = { on_step = function() own[#own + 1] = net.weight:detach():clone() end }
      assert(siamese.fit(o))
      support.close(seen[1], own[1])
      support.close(seen[2], (own[1] + own[2]) / 2, 1e-5, 1e-6)
      assert.is_true(seen[6] == net.weight:detach())

      local p = runs.options(8)
      p.average, p.keep_best, p.validate, p.validate_every = siamese.averaging.SWA(p.model), false, nil, nil
      p.epochs, p.average_from, p.schedule = 3, 2, nil
      assert(siamese.fit(p))
      assert.equal(2, p.average.count)
      local norm = p.model.encoder[3]
      assert.equal(7, norm.num_batches_tracked:item())
   end)
end)

describe("a checkpoint of siamese.fit", function()
   local STEPS = 23

   local function whole()
      local o = runs.options()
      o.steps = STEPS
      return (run(o))
   end

   it("goes on to the same bits, wherever it was left", with_folder(function(folder)
      local wanted = whole()
      for _, at in ipairs{ 1, 3, 4, 5, 11, 22 } do -- an epoch has four steps
         local path = folder .. "/" .. at
         local o = runs.options()
         o.steps, o.checkpoint = at, { path = path, every_steps = 2 }
         o.history = siamese.History{ csv = path .. ".csv" }
         run(o)
         siamese.rand(7)
         o = runs.options()
         o.steps, o.checkpoint = STEPS, { path = path }
         o.history = siamese.History{ csv = path .. ".csv" }
         local got, result = run(o)
         assert.equal(at, result.resumed)
         assert_same(wanted, got)
      end
   end))

   it("of a finished run gives its result again; with a longer limit it goes on", with_folder(function(folder)
      local path = folder .. "/run.ckpt"
      local function start(steps)
         local o = runs.options()
         o.steps, o.checkpoint = steps, { path = path }
         return run(o)
      end
      local first = start(6)
      local again, result = start(6)
      assert_same(first, again)
      assert.same({ 6, 6, "steps" }, { result.steps, result.resumed, result.stopped })
      assert_same(whole(), (start(STEPS)))
   end))

   it("remembers that patience ran out", with_folder(function(folder)
      local function start()
         local o = tiny{ epochs = 50, patience = 2, validate = function() return 1 end,
            checkpoint = { path = folder .. "/run.ckpt" } }
         return assert(siamese.fit(o))
      end
      assert.equal(3, start().epochs)
      local result = start()
      assert.same({ 3, "patience", 12 }, { result.epochs, result.stopped, result.resumed })
   end))

   it("starts anew where it is told to", with_folder(function(folder)
      local path = folder .. "/run.ckpt"
      for _ = 1, 2 do
         local o = runs.options()
         o.steps, o.checkpoint = 5, { path = path, resume = false }
         local _, result = run(o)
         assert.is_nil(result.resumed)
      end
   end))

   it("comes back to iterators that go on for epochs, and to those that know their state",
      with_folder(function(folder)
         --- One iterator for all epochs: numbers that its own generator draws.
         local function closure()
            local generator, count = siamese.Generator(4), 0
            return function()
               count = count + 1
               if count % 6 ~= 0 then
                  return generator:uniform()
               end
            end
         end
         local function object()
            local sampler = { generator = siamese.Generator(4), count = 0, calls = 0 }
            function sampler:state()
               return { generator = self.generator:get_state(), count = self.count }
            end
            function sampler:restore(state)
               self.generator:set_state(state.generator)
               self.count = state.count
            end
            return setmetatable(sampler, { __call = function(self)
               self.count, self.calls = self.count + 1, self.calls + 1
               if self.count % 6 ~= 0 then
                  return self.generator:uniform()
               end
            end })
         end
         --- One that has a generator, and does not say so.
         local function bare()
            local iterator = object()
            iterator.state, iterator.restore = nil, nil
            return iterator
         end
         for kind, make in pairs{ closure = closure, object = object, bare = bare } do
            local seen, iterator
            local function start(steps, path)
               local o, net = tiny{ steps = steps, checkpoint = path and { path = path } }
               iterator = make()
               o.loss, o.data = nil, function() return iterator end
               o.objective = function(number)
                  seen[#seen + 1] = number
                  return (net.weight * number):sum() ^ 2
               end
               assert(siamese.fit(o))
            end
            seen = {}
            start(17)
            local wanted = seen
            for _, at in ipairs{ 3, 5, 8, 10, 13 } do
               seen = {}
               start(at, folder .. "/" .. kind .. at)
               start(17, folder .. "/" .. kind .. at)
               assert.same(wanted, seen)
               if kind == "object" then
                  assert.is_true(iterator.calls <= 17 - at + 3, "it was wound forward")
               end
            end
         end
      end))

   it("is refused by a run with other options, which it names", with_folder(function(folder)
      local path = folder .. "/run.ckpt"
      local function start(change)
         local o = runs.options()
         o.steps, o.checkpoint = 4, { path = path }
         change(o)
         return siamese.fit(o)
      end
      assert(start(function() end))
      local function refused(text, change)
         fails(path .. " was written with " .. text, start, change)
      end
      refused("accumulate = 2, this run has 1", function(o) o.accumulate = 1 end)
      refused("clip_norm = 1, this run has nil", function(o) o.clip_norm = nil end)
      refused("keep_best = true, this run has false", function(o) o.keep_best = false end)
      refused("schedule = 'OneCycleLR', this run has 'cosine'", function(o) o.schedule = "cosine" end)
      refused("optimizer = 'AdamW', this run has 'Adam'", function(o)
         o.optimizer, o.schedule = optim.Adam(o.model:parameters(), { lr = 1e-2 }), "cosine"
      end)
      refused("weight_decay = 0.01 in group 1 of the optimiser, this run has 0.2", function(o)
         o.optimizer.param_groups[1].weight_decay = 0.2
      end)
      fails("the state was saved with total_steps = 1000, this one has 900", start, function(o)
         o.schedule = optim.lr_scheduler.OneCycleLR(o.optimizer, { max_lr = 2e-2, total_steps = 900 })
      end)
      fails("the state was saved with decay = 0.9, this one has 0.5", start, function(o)
         o.average = siamese.averaging.EMA(o.model, { decay = 0.5 })
      end)
      fails("holds the state of 'average', which nothing here takes", start, function(o)
         o.average, o.average_every = nil, "step"
      end)
      fails("the state of 'model' does not fit", start, function(o)
         o.model.encoder = nn.Linear{ in_features = 144, out_features = 8 }
      end)
      -- What may differ:
      assert(start(function(o)
         o.steps, o.epochs, o.patience, o.checkpoint.every_seconds = 6, 90, 7, 100
      end))
   end))

   it("that is broken is a failure, as is one that cannot be written", with_folder(function(folder)
      local path = folder .. "/run.ckpt"
      files.write(path, "nothing of the kind")
      local result, why = siamese.fit((tiny{ steps = 1, checkpoint = { path = path } }))
      assert.is_nil(result)
      assert.matches("run.ckpt", why)
      assert(siamese.checkpoint.save(path, {}))
      result, why = siamese.fit((tiny{ steps = 1, checkpoint = { path = path } }))
      assert.is_nil(result)
      assert.matches("is no checkpoint of siamese.fit", why)
      result, why = siamese.fit((tiny{ steps = 9,
         checkpoint = { path = folder .. "/no/run", every_steps = 2 } }))
      assert.is_nil(result)
      assert.matches("/no/run: could not be written", why)
      result, why = siamese.fit((tiny{ epochs = 9, history = siamese.History{ csv = folder .. "/no/h" } }))
      assert.is_nil(result)
      assert.matches("/no/h", why)
   end))

   it("is written before a loss that is not a number can spoil it", with_folder(function(folder)
      local path = folder .. "/run.ckpt"
      local o, net = tiny{ epochs = 2, checkpoint = { path = path, every_steps = 1 } }
      local loss, count = o.loss, 0
      o.loss = function(...)
         count = count + 1
         return loss(...) * (count == 6 and 0 / 0 or 1)
      end
      fails("siamese.fit: the loss of step 6 is", siamese.fit, o)
      assert.equal(5, siamese.checkpoint.read(path).extra.run.step)
      assert.equal(0, net.weight:isnan():sum():item())
      o = tiny{ steps = 1, clip_norm = 1 }
      o.objective, o.loss = function()
         return (o.model.weight * 0):sum():sqrt()
      end, nil
      fails("siamese.fit: the gradient of step 1 has norm", siamese.fit, o)
   end))
end)

describe("siamese.fit's errors", function()
   it("name the option", function()
      local function refuse(text, more, without)
         local o = tiny{ steps = 1 }
         for key, value in pairs(more) do
            o[key] = value
         end
         for _, key in ipairs(without or {}) do
            o[key] = nil
         end
         fails("siamese.fit: " .. text, siamese.fit, o)
      end
      refuse("unknown option 'epoch' (did you mean 'epochs'?)", { epoch = 1 })
      refuse("model must be a module, got table", { model = {} })
      refuse("optimizer must be one of siamese.optim, got string", { optimizer = "SGD" })
      refuse("give either a loss or an objective", {}, { "loss" })
      refuse("data must be a function, got table", { data = {} })
      refuse("give a limit: epochs, steps or seconds", {}, { "steps" })
      refuse("steps must be an integer of at least 1, got 0", { steps = 0 })
      refuse("schedule must be one of optim.lr_scheduler", { schedule = "cos" })
      refuse("patience needs validate", { patience = 3 })
      refuse("mode must be 'max' or 'min', got 'up'", { validate = print, mode = "up" })
      refuse("history must be a siamese.History, got table", { history = {} })
      refuse("state['x'] is a number without a state", { state = { x = 1 } })
      refuse("set must be a data set, got string", { set = "images" })
      refuse("average must be one of siamese.averaging, got boolean", { average = true })
      refuse("data must be a function that gives an iterator for each epoch; it gave a tensor",
         { data = tiny().data() })
      refuse("the data of epoch 1 are empty", { data = function() return function() end end })
      refuse("the loss must give one number, got {3, 1}", { loss = function(out) return out end })
      refuse("validate must give a number or a table of numbers, got nil", { validate = function() end,
         validate_every = { steps = 1 } })
      refuse("validate gives several numbers; say which one to go by: monitor",
         { validate = function() return { a = 1, b = 2 } end, validate_every = { steps = 1 } })
      refuse("validate gives no number 'c'", { validate = function() return { a = 1 } end, monitor = "c",
         validate_every = { steps = 1 } })
      fails("siamese.fit checkpoint: option 'path' is required", siamese.fit, (tiny{ steps = 1,
         checkpoint = {} }))
      fails("siamese.fit callbacks: unknown option 'on_steps' (did you mean 'on_step'?)", siamese.fit,
         (tiny{ steps = 1, callbacks = { on_steps = print } }))
      local o = tiny{ steps = 1 }
      o.schedule = optim.lr_scheduler.StepLR(tiny().optimizer, { step_size = 1 })
      fails("siamese.fit: the schedule is for another optimiser", siamese.fit, o)
   end)
end)
