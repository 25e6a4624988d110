--- The ready-made encoders: PyTorch's values for whole networks (spec/golden/models.lua), and what
-- they refuse.
local siamese = require "siamese"
local options = require "siamese.options"
local support = require "spec.support"

local models, nn = siamese.models, siamese.nn

local golden = support.golden("models")

--- Element i from -1 to 1, times `scale`, plus `offset`: the rule of spec/golden/make_models.py.
local function fill(shape, seed, scale, offset)
   local n, x, values = 1, (seed * 7919 + 12345) & 0x7FFFFFFF, {}
   for _, size in ipairs(shape) do
      n = n * size
   end
   for i = 1, n do
      x = (x * 1103515245 + 12345) & 0x7FFFFFFF
      values[i] = ((x >> 12) % 1024 - 512) / 512 * scale + (offset or 0)
   end
   return siamese.tensor(values):reshape(shape)
end

--- The norm must agree to 1e-4 of itself, sums to 2e-4 of it; biases ahead of a batch norm have the gradient
-- zero but for rounding, so norms count as 1 at least.
local function check_measures(what, t, want, seed)
   t = t:detach()
   local norm = math.max(want[1], 1)
   local got = { t:norm():item(), t:sum():item(), (t * fill(t.shape, seed, 1)):sum():item() }
   for i, name in ipairs{ "norm", "sum", "product" } do
      local allowed = (i == 1 and 1e-4 or 2e-4) * norm
      if not (math.abs(got[i] - want[i]) <= allowed) then
         error(("%s: %s is %.7g, PyTorch's %.7g"):format(what, name, got[i], want[i]), 2)
      end
   end
end

local function build(case)
   local net = assert(load("local models = ... return " .. case.lua))(models)
   local shapes, state = net:state_dict(), {}
   for seed, weight in ipairs(case.weights) do
      state[weight[1]] = fill(shapes[weight[1]].shape, seed, weight[2], weight[3])
   end
   net:load_state_dict(state, { strict = false })
   return net
end

local function check_network(case)
   local net = build(case)
   local x = fill(case.input, 1000, 1):requires_grad_()
   local y = net(x)
   assert.same(case.shape, y.shape)
   check_measures("output", y, case.trained, 4000);
   (y * fill(y.shape, 2000, 1)):sum():backward()
   check_measures("gradient of the input", x.grad, case.input_grad, 5000)
   for i, weight in ipairs(case.weights) do
      check_measures("gradient of " .. weight[1], net:parameters()[i].grad, case.grads[i], 3000 + i)
   end
   local state = net:state_dict()
   for name, want in pairs(case.buffers) do
      support.close(state[name]:reshape(#want), want, 1e-4, 1e-5)
   end
   local z = siamese.no_grad(net:eval(), x)
   check_measures("output in evaluation", z, case.evaluated, 4000)
   support.close(z[1]:narrow(1, 1, #case.first), case.first, 1e-4, 1e-4)
end

describe("PyTorch's values and gradients of", function()
   for _, case in ipairs(golden) do
      it(case.name, function()
         support.each_isa(function()
            check_network(case)
         end)
      end)

      it(case.name .. " by PyTorch's names", function()
         local names = {}
         for name in pairs(build(case):state_dict()) do
            names[#names + 1] = name
         end
         assert.same(case.keys, names)
      end)
   end
end)

describe("models", function()
   it("count as many parameters as published", function()
      assert.equal(640 + 3 * 36928 + 4 * 128, models.conv4{}:num_parameters())
      assert.equal(61706 - 850, models.lenet5{}:num_parameters())
      -- Koch's: 64*101, 128*(64*49+1), 128*(128*16+1), 256*(128*16+1), and 4096 units of 9217.
      local koch = models.koch{ features = 2 }
      assert.equal(6464 + 401536 + 262272 + 524544 + 2 * 9217, koch:num_parameters())
   end)

   it("take other channels and sizes", function()
      assert.same({ 2, 64 }, models.conv4{ in_channels = 3 }(siamese.zeros(2, 3, 28, 28)).shape)
      assert.same({ 1, 10 }, models.conv4{ size = 64, embedding = 10, width = 4 }(
         siamese.zeros(1, 1, 64, 64)).shape)
      assert.same({ 1, 7 }, models.lenet5{ in_channels = 2, embedding = 7 }(
         siamese.zeros(1, 2, 28, 28)).shape)
   end)

   it("take every size that their arithmetic allows, and say which they were made for", function()
      local net = models.conv4{ width = 2 }
      assert.same({ 1, 2 * 1 * 3 }, net(siamese.zeros(1, 1, 16, 48)).shape)
      support.fails("models.conv4: the input [1,1,15,48] is too small: its height and width must be at least "
         .. "16", net, siamese.zeros(1, 1, 15, 48))
      net = models.conv4{ width = 2, size = { 16, 50 }, num_classes = 4 }
      assert.same({ 1, 4 }, net(siamese.zeros(1, 1, 17, 48)).shape)
      support.fails("models.conv4: an input [1,1,16,64] gives 1 x 4 values a channel, and the linear layer "
         .. "takes 1 x 3: build it with size = {16, 64}", net, siamese.zeros(1, 1, 16, 64))
      net = models.lenet5{ size = { 12, 32 }, num_classes = 10 }
      assert.same({ 2, 10 }, net(siamese.zeros(2, 1, 12, 32)).shape)
      assert.equal(10, net.out_features)
      support.fails("models.lenet5: the input must be [N,1,H,W], got [2,3,12,32]", net,
         siamese.zeros(2, 3, 12, 32))
      assert.equal(61706, models.lenet5{ num_classes = 10, size = 32 }:num_parameters() - 120 * 16 * 11)
      net = models.koch{ size = 65, filters = { 1, 1, 1, 2 }, features = 3 }
      assert.same({ 1, 3 }, net(siamese.zeros(1, 1, 65, 65)).shape)
      support.fails("models.koch: size must be an integer of at least 65", models.koch, { size = 64 })
      support.fails("models.koch: size must be at most 65536, got 2000000000", models.koch,
         { size = 2000000000 })
   end)

   it("put an embedding or classes behind Koch's units, begun as any linear layer", function()
      local small = { size = 65, filters = { 1, 1, 1, 2 }, features = 64 }
      for _, head in ipairs{ "embedding", "num_classes" } do
         local net = models.koch(options.extend(small, { [head] = 5 }))
         assert.equal(5, net.out_features)
         assert.same({ 2, 5 }, net(siamese.zeros(2, 1, 65, 65)).shape)
         assert.is_true(net[15].bias:detach():abs():max():item() <= 1 / math.sqrt(64))
         assert.equal(64, net[13].bias:numel())
      end
      support.fails("models.koch: give embedding or num_classes, not both", models.koch,
         { embedding = 1, num_classes = 2 })
   end)

   it("stack linear layers for vectors of any shape", function()
      local net = models.mlp{ in_features = 12, hidden = { 5, 4 }, embedding = 3, batch_norm = true,
         dropout = 0.5 }
      assert.same({ 2, 3 }, net(siamese.randn(2, 3, 2, 2)).shape)
      assert.equal(12 * 5 + 5 + 10 + 5 * 4 + 4 + 8 + 4 * 3 + 3, net:num_parameters())
      assert.same({ 2, 4 }, models.mlp{ in_features = 12, hidden = { 4 } }(siamese.randn(2, 12)).shape)
      assert.same({ 2, 3 }, models.mlp{ in_features = 12, hidden = {}, num_classes = 3 }(
         siamese.randn(2, 12)).shape)
      support.fails("models.mlp: the input must have 12 values for each of N, got [2,5]", net,
         siamese.randn(2, 5))
      support.fails("models.mlp: option 'in_features' is required", models.mlp, {})
      support.fails("models.mlp: hidden: 1 must be an integer of at least 1, got 0", models.mlp,
         { in_features = 2, hidden = { 0 } })
   end)

   it("train Koch's network layer by layer, as he did", function()
      local twin = siamese.Twin{ encoder = models.koch{ filters = { 1, 1, 1, 1 }, features = 2 },
         head = nn.WeightedL1{ features = 2 } }
      local rates = { 0.1, 0.02, 0.03, 0.04, 0.05, 0.06 }
      local opt = siamese.optim.SGD(models.koch_parameter_groups(twin, { lr = rates, weight_decay = 0.01 }),
         { lr = 1 })
      assert.equal(6, #opt.param_groups)
      assert.is_true(rawequal(twin.encoder[4].weight, opt.param_groups[2].params[1]))
      assert.is_true(rawequal(twin.head.linear.bias, opt.param_groups[6].params[2]))
      local mu = { 0.9, 0.9, 0.9, 0.9, 0.8, 0.7 }
      local schedule = models.koch_schedule(opt, { momentum = mu, epochs = 10 })
      for _, epoch in ipairs{ 0, 5, 20 } do
         schedule(epoch)
         for i, group in ipairs(opt.param_groups) do
            assert.near(rates[i] * 0.99 ^ epoch, group.lr, 1e-12)
            assert.near(0.5 + (mu[i] - 0.5) * math.min(1, epoch / 10), group.momentum, 1e-12)
            assert.equal(0.01, group.weight_decay)
         end
      end
      support.fails("models.koch_parameter_groups: lr must be a number or a list of 6, got {1, 2}",
         models.koch_parameter_groups, twin, { lr = { 1, 2 } })
      support.fails("models.koch_schedule: momentum must be a number or a list of 6, got 'x'",
         models.koch_schedule, opt, { momentum = "x" })
      support.fails("models.koch_schedule: expected an optimiser, got nil", models.koch_schedule)
   end)

   it("begin Koch's network with his Gaussians", function()
      siamese.manual_seed(1)
      local net = models.koch{ features = 50, filters = { 8, 8, 8, 16 } }
      assert.near(0.01, net[1].weight:detach():std():item(), 0.002)
      assert.near(0.5, net[1].bias:detach():mean():item(), 0.02)
      assert.near(0.2, net[13].weight:detach():std():item(), 0.01)
   end)

   it("train as a twin's encoder", function()
      siamese.manual_seed(1)
      local twin = siamese.Twin{ encoder = models.conv4{ width = 4 }, head = nn.WeightedL1{ features = 4 } }
      local d = twin(siamese.randn(3, 1, 28, 28), siamese.randn(3, 1, 28, 28))
      assert.same({ 3 }, d.shape)
      d:sum():backward()
      for _, p in ipairs(twin:parameters()) do
         assert.is_truthy(p.grad)
      end
   end)

   it("refuse options that make no sense", function()
      support.fails("models.conv4: unknown option 'widht' (did you mean 'width'?)", models.conv4,
         { widht = 3 })
      support.fails("models.conv4: size must be an integer of at least 16 or a table of two such, got 8",
         models.conv4, { size = 8 })
      support.fails("models.conv4: embedding must be an integer of at least 1, got 0", models.conv4,
         { embedding = 0 })
      support.fails("models.lenet5: embedding must be an integer of at least 1, got x", models.lenet5,
         { embedding = "x" })
      support.fails("models.koch: filters must be four integers, got {1, 2}", models.koch,
         { filters = { 1, 2 } })
   end)

   it("blame the line that gave them what they cannot take", function()
      local wrong = { { models.lenet5{}, siamese.zeros(1, 3, 28, 28) }, { models.lenet5{}, "a name" },
         { models.lenet5{}, siamese.zeros(1, 1, 44, 44) }, { models.resnet20{}, siamese.zeros(1, 2, 9, 9) },
         { models.mlp{ in_features = 2 }, 3 }, { models.mlp{ in_features = 2 }, siamese.zeros(1, 3) },
         { siamese.shapes_only(models.inception_v3), siamese.zeros(1, 3, 74, 75) } }
      local encoder = models.sequence_encoder{ in_features = 2 }
      local gap = siamese.tensor{ { { 1, 1 }, { 0 / 0, 0 / 0 }, { 1, 1 } } }
      for _, x in ipairs{ 3, siamese.zeros(1, 2), gap, gap * (0 / 0) } do
         wrong[#wrong + 1] = { encoder, x }
      end
      for i, case in ipairs(wrong) do
         local _, message = pcall(function()
            local y = case[1](case[2])
            return y
         end)
         assert(message:find("^spec/models_spec.lua:%d+: models%."), i .. ": " .. message)
      end
   end)

   it("name the shapes when the picture has another size", function()
      support.fails("models.lenet5: an input [1,1,44,44] gives 9 x 9 values a channel, and the linear layer "
         .. "takes 5 x 5: build it with size = {44, 44}", models.lenet5{}, siamese.zeros(1, 1, 44, 44))
   end)
end)
