--- Schedules and averages against PyTorch's values (spec/golden/training.lua); state; errors.
local siamese = require "siamese"
local json = require "siamese.json"
local support = require "spec.support"

local nn, optim, averaging = siamese.nn, siamese.optim, siamese.averaging
local S, close, fails = optim.lr_scheduler, support.close, support.fails
local golden = support.golden("training")

local function optimizer(kind)
   local groups = { { params = { siamese.zeros(1):requires_grad_() }, lr = 0.1 },
      { params = { siamese.zeros(1):requires_grad_() }, lr = 0.02 } }
   return kind == "Adam" and optim.Adam(groups, { lr = 1 }) or optim.SGD(groups, { lr = 1, momentum = 0.9 })
end

local function make(source, opt)
   return assert(load("local S, opt = ... return " .. source))(S, opt)
end

local function near(expected, got, what)
   assert.is_true(math.abs(expected - got) <= 1e-12 * math.abs(expected) + 1e-15,
      ("%s: expected %.17g, got %.17g"):format(what, expected, got))
end

local function each_group(opt, visit)
   for i, group in ipairs(opt.param_groups) do
      visit(i, group)
   end
end

describe("PyTorch's rates:", function()
   for _, case in ipairs(golden.schedules) do
      it(case.lua, function()
         for _, kind in ipairs{ "SGD", "Adam" } do
            local opt = optimizer(kind)
            local schedule = make(case.lua, opt)
            assert.is_true(S.is(schedule))
            local momenta = kind == "SGD" and case.momenta or case.betas
            for step, want in ipairs(case.rates) do
               each_group(opt, function(i, group)
                  near(want[i], group.lr, ("step %d, group %d"):format(step - 1, i))
                  if momenta then
                     near(momenta[step][i], group.momentum or group.betas[1], "momentum")
                  end
               end)
               assert.same({ opt.param_groups[1].lr, opt.param_groups[2].lr }, schedule:get_last_lr())
               if step < #case.rates then
                  schedule:step(schedule.kind.wants_metric and golden.metrics[step] or nil)
               end
            end
         end
      end)
   end
end)

describe("a schedule's state", function()
   it("goes through JSON and on with the same rates, at whatever step", function()
      for _, case in ipairs(golden.schedules) do
         for _, at in ipairs{ 0, 1, 5, 12 } do
            local opt = optimizer("SGD")
            local schedule = make(case.lua, opt)
            local wants = schedule.kind.wants_metric
            for step = 1, at do
               schedule:step(wants and golden.metrics[step] or nil)
            end
            local kept, rates = schedule:state_dict(), opt:state_dict()
            if kept.best and kept.best - kept.best == 0 or not kept.best then
               kept = assert(json.decode(json.encode(kept)))
            end
            local other = optimizer("SGD")
            local again = make(case.lua, other)
            other:load_state_dict(rates)
            again:load_state_dict(kept)
            for step = at + 1, #case.rates - 1 do
               schedule:step(wants and golden.metrics[step] or nil)
               again:step(wants and golden.metrics[step] or nil)
               each_group(opt, function(i, group)
                  assert.equal(group.lr, other.param_groups[i].lr)
                  assert.equal(group.momentum, other.param_groups[i].momentum)
               end)
            end
         end
      end
   end)

   it("belongs to a schedule of its kind with its options", function()
      local opt = optimizer()
      local state = S.StepLR(opt, { step_size = 4 }):state_dict()
      local other = S.StepLR(opt, { step_size = 5 })
      fails("lr_scheduler.StepLR: the state was saved with step_size = 4, this one has 5",
         other.load_state_dict, other, state)
      local cosine = S.CosineAnnealingLR(opt, { T_max = 5 })
      fails("lr_scheduler.CosineAnnealingLR: this is the state of StepLR", cosine.load_state_dict, cosine,
         state)
      fails("this is the state of nothing known here", cosine.load_state_dict, cosine, 7)
      local single = S.StepLR(optim.SGD({ siamese.zeros(1):requires_grad_() }, { lr = 1 }),
         { step_size = 4 })
      fails("the state is for 2 group(s), the optimiser has 1", single.load_state_dict, single, state)
      local chain = S.ChainedScheduler{ S.StepLR(opt, { step_size = 4 }) }
      local longer = S.ChainedScheduler{ S.StepLR(opt, { step_size = 4 }), S.StepLR(opt, { step_size = 4 }) }
      fails("the state is of other schedules", chain.load_state_dict, chain, longer:state_dict())
   end)
end)

describe("a schedule", function()
   it("says what is wrong with its options", function()
      local opt = optimizer()
      fails("lr_scheduler.StepLR: option 'step_size' is required", S.StepLR, opt)
      fails("step_size must be an integer of at least 1, got 0", S.StepLR, opt, { step_size = 0 })
      fails("lr_scheduler.StepLR: expected an optimiser, got nil", S.StepLR, nil, { step_size = 1 })
      fails("unknown option 'T_maks' (did you mean 'T_max'?)", S.CosineAnnealingLR, opt, { T_maks = 1 })
      fails("milestones must be a list", S.MultiStepLR, opt, { milestones = 3 })
      fails("start_factor must be above 0", S.LinearLR, opt, { start_factor = 0 })
      fails("give total_steps, or epochs and steps_per_epoch", S.OneCycleLR, opt, { max_lr = 1 })
      fails("max_lr has 3 values, the optimiser 2 group(s)", S.OneCycleLR, opt,
         { max_lr = { 1, 2, 3 }, total_steps = 5 })
      fails("lr_lambda must be a function", S.LambdaLR, opt, { lr_lambda = 0.5 })
      fails("factor must be below 1", S.ReduceLROnPlateau, opt, { factor = 1 })
      fails("2 schedulers want 1 milestone(s), got 2", S.SequentialLR, opt, { milestones = { 1, 2 },
         schedulers = { S.StepLR(opt, { step_size = 1 }), S.StepLR(opt, { step_size = 1 }) } })
      fails("scheduler 1 is a ReduceLROnPlateau, which wants a metric", S.ChainedScheduler,
         { S.ReduceLROnPlateau(opt) })
      fails("scheduler 2 is for another optimiser", S.ChainedScheduler,
         { S.StepLR(opt, { step_size = 1 }), S.StepLR(optimizer(), { step_size = 1 }) })
      local plateau = S.ReduceLROnPlateau(opt)
      fails("step wants the metric, got nil", plateau.step, plateau)
      local cycle = S.OneCycleLR(opt, { max_lr = 1, total_steps = 1 })
      cycle:step()
      fails("lr_scheduler.OneCycleLR: step 2 of 1", cycle.step, cycle)
   end)

   it("prints its options", function()
      assert.equal("StepLR(gamma=0.1, step_size=4)", tostring(S.StepLR(optimizer(), { step_size = 4 })))
   end)
end)

local function network()
   return nn.Sequential{ nn.Linear{ in_features = 3, out_features = 4 }, nn.BatchNorm1d{ num_features = 4 },
      nn.ReLU{}, nn.Linear{ in_features = 4, out_features = 2 } }
end

--- PyTorch counts the layers of a Sequential from 0, as we do in names.
local function load_state(net, state)
   for name, tensor in pairs(net:state_dict()) do
      tensor:copy_(siamese.tensor(state[name]):reshape(tensor.shape))
   end
end

local function check_state(net, state, counter)
   for name, tensor in pairs(net:state_dict()) do
      if name == "1.num_batches_tracked" and counter then
         state = setmetatable({ [name] = { counter } }, { __index = state })
      end
      close(tensor:float():reshape(tensor:numel()), state[name], 1e-5, 1e-6)
   end
end

describe("averages of weights, beside PyTorch's,", function()
   local case = golden.averages

   local function run(make_average)
      local net = network()
      local average = make_average(net)
      for _, state in ipairs(case.states) do
         load_state(net, state)
         average:update()
      end
      return net, average
   end

   it("agree: EMA, SWA, and with buffers", function()
      for name, make_average in pairs{
         ema = function(net) return averaging.EMA(net, { decay = 0.8 }) end,
         ema_buffers = function(net) return averaging.EMA(net, { decay = 0.9, use_buffers = true }) end,
         swa = averaging.SWA,
      } do
         local net, average = run(make_average)
         local last = case.states[#case.states]
         average:with(function()
            check_state(net, case[name], 5) -- PyTorch averages the counter, which is an integer
         end)
         check_state(net, last)
         check_state(average:copy_to(network()), name == "ema_buffers" and case[name]
            or setmetatable({ ["1.running_mean"] = { 0, 0, 0, 0 }, ["1.running_var"] = { 1, 1, 1, 1 } },
               { __index = case[name] }), name == "ema_buffers" and 5 or 0)
         average:swap()
         check_state(net, case[name], 5)
      end
   end)

   it("measure batch norm anew", function()
      local net, average = run(averaging.SWA)
      average:swap()
      net:eval()
      local batches = {}
      for i, batch in ipairs(case.batches) do
         batches[i] = siamese.tensor(batch)
      end
      local momentum = net[2].options.momentum
      assert.equal(4, averaging.update_bn(net, batches))
      check_state(net, case.measured)
      assert.is_false(net[2].training)
      assert.equal(momentum, net[2].options.momentum)
      local at = 0
      averaging.update_bn(net, function()
         at = at + 1
         return batches[at], "more"
      end, function(x, more)
         assert.equal("more", more)
         net(x)
      end)
      check_state(net, case.measured)
   end)
end)

describe("an average", function()
   it("is put back when what runs with it fails", function()
      local net = network()
      local average = averaging.EMA(net)
      average:update()
      net:parameters()[1]:detach():fill_(7)
      fails("in the middle", average.with, average, function()
         error("in the middle")
      end)
      assert.equal(7, net:parameters()[1]:min():item())
   end)

   it("goes on from its state bit by bit", function()
      siamese.manual_seed(1)
      local net = network()
      local first = averaging.EMA(net, { decay = 0.9, use_buffers = true })
      first:update()
      local second = averaging.EMA(net, { decay = 0.9, use_buffers = true })
      net:parameters()[1]:detach():fill_(2)
      first:update()
      second:load_state_dict(first:state_dict())
      net:parameters()[1]:detach():fill_(3)
      first:update()
      second:update()
      for name, tensor in pairs(first.shadow) do
         assert.is_true(tensor == second.shadow[name])
      end
      assert.equal(3, second.count)
   end)

   it("refuses states of others", function()
      local average = averaging.EMA(network())
      fails("this is no state of EMA", average.load_state_dict, average,
         averaging.SWA(network()):state_dict())
      fails("the state was saved with decay = 0.5, this one has 0.999", average.load_state_dict, average,
         averaging.EMA(network(), { decay = 0.5 }):state_dict())
      local small = averaging.EMA(nn.Linear{ in_features = 3, out_features = 4 })
      fails("the state has no '0.weight' of the network's shape", average.load_state_dict, average,
         small:state_dict())
      fails("decay must be a number from 0 to 1, got 2", averaging.EMA, network(), { decay = 2 })
      fails("averaging.SWA: expected a module, got table", averaging.SWA, {})
      fails("averaging.update_bn: batches must be an iterator or a list, got nil", averaging.update_bn,
         network())
   end)

   it("leaves frozen batch norms alone", function()
      local net = network():freeze("1")
      local before = net[2].running_mean:clone()
      assert.equal(0, averaging.update_bn(net, { siamese.randn(5, 3) }))
      assert.is_true(before == net[2].running_mean)
   end)
end)
