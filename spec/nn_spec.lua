--- Layers as modules: what they make, compute, refuse and print; weight initialisation.
local siamese = require "siamese"
local support = require "spec.support"

local nn, F = siamese.nn, siamese.nn.functional

local function tensor_of(...)
   siamese.manual_seed(5)
   return siamese.randn(...)
end

describe("layers compute what their functions do:", function()
   local x = tensor_of(2, 4, 6, 7)
   local flat = tensor_of(3, 5)
   local cases = {
      { "ReLU", {}, flat, flat:relu() },
      { "LeakyReLU", { negative_slope = 0.3 }, flat, F.leaky_relu(flat, 0.3) },
      { "GELU", {}, flat, F.gelu(flat) },
      { "GELU", { approximate = "tanh" }, flat, F.gelu(flat, { approximate = "tanh" }) },
      { "Sigmoid", {}, flat, flat:sigmoid() },
      { "ReLU6", {}, flat * 5, (flat * 5):clamp(0, 6) },
      { "SiLU", {}, flat, flat * flat:sigmoid() },
      { "Hardsigmoid", {}, flat * 3, (flat / 2 + 0.5):clamp(0, 1) },
      { "Hardswish", {}, flat * 3, flat * 3 * (flat / 2 + 0.5):clamp(0, 1) },
      { "ELU", {}, flat, siamese.where(flat:gt(0), flat, flat:expm1()) },
      { "ELU", { alpha = 0.5 }, flat, siamese.where(flat:gt(0), flat, flat:expm1() * 0.5) },
      { "Softplus", {}, flat, flat:exp():log1p() },
      { "Softplus", { beta = 2, threshold = 1 }, flat, siamese.where((flat * 2):gt(1), flat,
         (flat * 2):exp():log1p() / 2) },
      { "Tanh", {}, flat, flat:tanh() },
      { "Softmax", { dim = 2 }, flat, F.softmax(flat, 2) },
      { "Identity", {}, flat, flat },
      { "Flatten", {}, x, x:reshape(2, 168) },
      { "Flatten", { start_dim = 1, end_dim = 2 }, x, x:reshape(8, 6, 7) },
      { "MaxPool2d", { kernel_size = 2 }, x, F.max_pool2d(x, { kernel_size = 2 }) },
      { "MaxPool2d", { kernel_size = { 3, 2 }, stride = 2, padding = 1, ceil_mode = true }, x,
         F.max_pool2d(x, { kernel_size = { 3, 2 }, stride = 2, padding = 1, ceil_mode = true }) },
      { "AvgPool2d", { kernel_size = 3, padding = 1, count_include_pad = false }, x,
         F.avg_pool2d(x, { kernel_size = 3, padding = 1, count_include_pad = false }) },
      { "AdaptiveAvgPool2d", { output_size = 1 }, x, x:mean({ 3, 4 }, true) },
      { "AdaptiveAvgPool2d", { output_size = { 3, 7 } }, x, F.adaptive_avg_pool2d(x, { 3, 7 }) },
      { "L2Normalize", {}, flat, flat / flat:square():sum(2, true):sqrt() },
   }
   for i, case in ipairs(cases) do
      it(("%s (%d)"):format(case[1], i), function()
         local layer = nn[case[1]](case[2])
         support.close(layer(case[3]), case[4])
         assert.same({}, layer:parameters())
         assert.matches("^" .. case[1] .. "%(", tostring(layer))
      end)
   end
end)

describe("nn.Conv2d", function()
   it("makes weight [O, C/groups, KH, KW] and bias [O]", function()
      local conv = nn.Conv2d{ in_channels = 4, out_channels = 6, kernel_size = { 3, 2 }, groups = 2 }
      assert.same({ 6, 2, 3, 2 }, conv.weight.shape)
      assert.same({ 6 }, conv.bias.shape)
      assert.is_true(conv.weight.requires_grad)
   end)

   it("does stride, padding and dilation in either direction", function()
      local x = tensor_of(2, 3, 9, 8)
      local conv = nn.Conv2d{ in_channels = 3, out_channels = 2, kernel_size = 3, stride = { 2, 1 },
         padding = { 0, 2 }, dilation = { 1, 2 }, bias = false }
      assert.is_nil(conv.bias)
      support.close(conv(x), F.conv2d(x, conv.weight, nil,
         { stride = { 2, 1 }, padding = { 0, 2 }, dilation = { 1, 2 } }))
   end)

   it("keeps the size with padding 'same' and an even kernel, with one more zero behind", function()
      local x, x1 = siamese.randn(2, 3, 7, 6), siamese.randn(2, 3, 9)
      local conv = nn.Conv2d{ in_channels = 3, out_channels = 4, kernel_size = { 4, 3 }, padding = "same" }
      support.close(conv(x), F.conv2d(F.pad(x, { 1, 1, 1, 2 }), conv.weight, conv.bias))
      conv = nn.Conv1d{ in_channels = 3, out_channels = 4, kernel_size = 2, dilation = 3, padding = "same" }
      support.close(conv(x1), F.conv1d(F.pad(x1, { 1, 2 }), conv.weight, conv.bias, { dilation = 3 }))
      support.fails("nn.Conv1d: padding 'same' needs stride 1, got 2", nn.Conv1d, { in_channels = 1,
         out_channels = 1, kernel_size = 3, stride = 2, padding = "same" })
   end)

   it("keeps the size with padding 'same'", function()
      local conv = nn.Conv2d{ in_channels = 1, out_channels = 1, kernel_size = 5, padding = "same" }
      assert.same({ 1, 1, 7, 9 }, conv(siamese.zeros(1, 1, 7, 9)).shape)
   end)

   it("prints itself with what is not the default", function()
      assert.equal("Conv2d(1, 64, kernel_size=3, stride=1)",
         tostring(nn.Conv2d{ in_channels = 1, out_channels = 64, kernel_size = 3 }))
      assert.equal("Conv2d(4, 4, kernel_size=(3, 5), stride=2, padding=(1, 2), dilation=2, groups=4, "
         .. "bias=false)", tostring(nn.Conv2d{ in_channels = 4, out_channels = 4, kernel_size = { 3, 5 },
            stride = 2, padding = { 1, 2 }, dilation = 2, groups = 4, bias = false }))
   end)

   it("takes an empty batch and a batch of one", function()
      local conv = nn.Conv2d{ in_channels = 1, out_channels = 2, kernel_size = 3 }
      assert.same({ 0, 2, 3, 3 }, conv(siamese.zeros(0, 1, 5, 5)).shape)
      assert.same({ 1, 2, 3, 3 }, conv(siamese.zeros(1, 1, 5, 5)).shape)
   end)

   local function with(more)
      local options = { in_channels = 4, out_channels = 6, kernel_size = 3 }
      for key, value in pairs(more) do
         options[key] = value
      end
      return function()
         local conv = nn.Conv2d(options)
         return conv
      end
   end

   it("refuses options that make no sense", function()
      support.fails("nn.Conv2d: option 'kernel_size' is required", nn.Conv2d,
         { in_channels = 1, out_channels = 2 })
      support.fails("nn.Conv2d: expected a table of options, got number", nn.Conv2d, 1, 64, 3)
      support.fails("nn.Conv2d: unknown option 'kernel' (did you mean 'kernel_size'?)", with{ kernel = 3 })
      support.fails("nn.Conv2d: in_channels must be an integer of at least 1, got 1.5",
         with{ in_channels = 1.5 })
      support.fails("nn.Conv2d: kernel_size must be an integer of at least 1", with{ kernel_size = 0 })
      support.fails("nn.Conv2d: stride must be an integer of at least 1", with{ stride = 0 })
      support.fails("nn.Conv2d: padding must be an integer of at least 0", with{ padding = -1 })
      support.fails("nn.Conv2d: padding must be 'same' or 'valid', got 'full'", with{ padding = "full" })
      support.fails("nn.Conv2d: dilation must be an integer of at least 1", with{ dilation = { 1, 0 } })
      support.fails("nn.Conv2d: groups (4) must divide in_channels (4) and out_channels (6)",
         with{ groups = 4 })
      support.fails("nn.Conv2d: bias must be true or false, got 0", with{ bias = 0 })
   end)

   it("blames the line that made it", function()
      local _, message = pcall(with{ stride = 0 })
      assert.matches("nn_spec.lua:%d+: nn.Conv2d: stride", message)
   end)

   it("names the shapes when the input does not fit", function()
      support.fails("conv2d: input has 3 channels, weight [2,1,3,3] wants 1",
         nn.Conv2d{ in_channels = 1, out_channels = 2, kernel_size = 3 }, siamese.zeros(1, 3, 5, 5))
   end)
end)

describe("nn.Linear", function()
   it("multiplies the last dimension", function()
      local fc = nn.Linear{ in_features = 5, out_features = 3 }
      local x = tensor_of(2, 4, 5)
      assert.same({ 3, 5 }, fc.weight.shape)
      support.close(fc(x), x:matmul(fc.weight:t()) + fc.bias)
      assert.same({ 0, 3 }, fc(siamese.zeros(0, 5)).shape)
      assert.equal("Linear(in_features=5, out_features=3, bias=true)", tostring(fc))
   end)

   it("refuses options that make no sense", function()
      support.fails("nn.Linear: option 'out_features' is required", nn.Linear, { in_features = 2 })
      support.fails("nn.Linear: out_features must be an integer of at least 1, got two", nn.Linear,
         { in_features = 2, out_features = "two" })
   end)
end)

describe("nn.BatchNorm2d", function()
   it("normalises a batch in training, and with running statistics in evaluation", function()
      local x = tensor_of(4, 3, 5, 5) * 2 + 1
      local norm = nn.BatchNorm2d{ num_features = 3 }
      local y = norm(x)
      support.close(y:mean({ 1, 3, 4 }), { 0, 0, 0 }, 0, 1e-5)
      support.close(y:var({ 1, 3, 4 }, { unbiased = false }), { 1, 1, 1 }, 1e-4)
      support.close(norm.running_mean, x:mean({ 1, 3, 4 }) * 0.1)
      support.close(norm.running_var, x:var({ 1, 3, 4 }) * 0.1 + 0.9)
      assert.equal("int64", norm.num_batches_tracked.dtype)
      norm(x)
      assert.equal(2, norm.num_batches_tracked:item())
      norm:eval()
      local mean = norm.running_mean:view(1, 3, 1, 1)
      local var = norm.running_var:view(1, 3, 1, 1)
      support.close(norm(x), (x - mean) / (var + 1e-5):sqrt(), 1e-4, 1e-5)
      assert.equal(2, norm.num_batches_tracked:item())
   end)

   it("averages with the momentum given", function()
      local x = tensor_of(4, 2, 3, 3)
      local norm = nn.BatchNorm2d{ num_features = 2, momentum = 0.5 }
      norm(x)
      support.close(norm.running_mean, x:mean({ 1, 3, 4 }) * 0.5)
   end)

   it("does without weights and without statistics", function()
      local x = tensor_of(4, 2, 3, 3)
      local norm = nn.BatchNorm2d{ num_features = 2, affine = false, track_running_stats = false }
      assert.same({}, norm:parameters())
      assert.is_nil(next(norm:state_dict()))
      support.close(norm:eval()(x), norm:train()(x))
   end)

   it("names the dimensions it wants", function()
      support.fails("nn.BatchNorm2d: input must be [N,C,H,W], got [2,3]",
         nn.BatchNorm2d{ num_features = 3 }, siamese.zeros(2, 3))
      support.fails("nn.BatchNorm1d: input must be [N,C] or [N,C,L], got [2,3,1,1]",
         nn.BatchNorm1d{ num_features = 3 }, siamese.zeros(2, 3, 1, 1))
      support.fails("nn.BatchNorm2d: expected a tensor, got nil", nn.BatchNorm2d{ num_features = 3 })
      support.fails("nn.BatchNorm2d: momentum must be a number from 0 to 1, got 9", nn.BatchNorm2d,
         { num_features = 3, momentum = 9 })
   end)

   it("of one dimension normalises features", function()
      local y = nn.BatchNorm1d{ num_features = 5 }(tensor_of(8, 5))
      support.close(y:mean(1), siamese.zeros(5), 0, 1e-5)
   end)
end)

describe("nn.LayerNorm", function()
   it("normalises the last dimensions", function()
      local x = tensor_of(3, 4, 5)
      local one, two = nn.LayerNorm{ normalized_shape = 5 }, nn.LayerNorm{ normalized_shape = { 4, 5 } }
      assert.same({ 4, 5 }, two.weight.shape)
      support.close(one(x):mean(3), siamese.zeros(3, 4), 0, 1e-5)
      support.close(two(x):mean({ 2, 3 }), siamese.zeros(3), 0, 1e-5)
      assert.equal("LayerNorm((4, 5), eps=1e-05, elementwise_affine=true)", tostring(two))
      assert.same({}, nn.LayerNorm{ normalized_shape = 5, elementwise_affine = false }:parameters())
   end)

   it("refuses shapes that are none", function()
      support.fails("normalized_shape must be a positive integer or a table of such, got {4, x}",
         nn.LayerNorm, { normalized_shape = { 4, "x" } })
      support.fails("normalized_shape must be", nn.LayerNorm, { normalized_shape = {} })
   end)
end)

describe("nn.Dropout", function()
   it("zeroes a share and scales the rest, in training only, from the seed", function()
      local drop, x = nn.Dropout{ p = 0.25 }, siamese.ones(100, 100)
      siamese.manual_seed(1)
      local a = drop(x)
      siamese.manual_seed(1)
      assert.is_true(a == drop(x))
      assert.is_false(a == drop(x))
      assert.near(0.25, a:eq(0):float():mean():item(), 0.02)
      assert.near(4 / 3, a:max():item(), 1e-6)
      assert.is_true(drop:eval()(x) == x)
   end)

   it("refuses what is no probability", function()
      support.fails("nn.Dropout: p must be a number from 0 to 1, got 1.5", nn.Dropout, { p = 1.5 })
   end)
end)

describe("layers without parameters refuse", function()
   it("unknown options and wrong values, when they are made", function()
      support.fails("nn.ReLU: unknown option 'inplace' (it has none)", nn.ReLU, { inplace = true })
      support.fails("nn.Softmax: option 'dim' is required", nn.Softmax)
      support.fails("nn.Softmax: dim must be an integer (the first is 1, the last -1), got 0", nn.Softmax,
         { dim = 0 })
      support.fails("nn.GELU: approximate must be 'none' or 'tanh', got 'fast'", nn.GELU,
         { approximate = "fast" })
      support.fails("nn.MaxPool2d: option 'kernel_size' is required", nn.MaxPool2d, {})
      support.fails("nn.MaxPool2d: stride must be an integer of at least 1", nn.MaxPool2d,
         { kernel_size = 2, stride = 0 })
      support.fails("nn.AvgPool2d: ceil_mode must be true or false, got 1", nn.AvgPool2d,
         { kernel_size = 2, ceil_mode = 1 })
      support.fails("nn.AvgPool2d: unknown option 'dilation'", nn.AvgPool2d,
         { kernel_size = 2, dilation = 1 })
      support.fails("nn.AdaptiveAvgPool2d: output_size must be", nn.AdaptiveAvgPool2d, { output_size = "a" })
      support.fails("nn.Flatten: dim must be an integer", nn.Flatten, { start_dim = 0 })
   end)
end)

describe("nn.PReLU", function()
   it("learns one slope, or one for each channel", function()
      local x = tensor_of(2, 3, 4, 5)
      local one, three = nn.PReLU{}, nn.PReLU{ num_parameters = 3, init = 0.5 }
      assert.same({ 1 }, one.weight.shape)
      assert.equal(0.25, one.weight:item())
      support.close(one(x), F.leaky_relu(x, 0.25))
      support.close(three(x), F.leaky_relu(x, 0.5))
      three(x):sum():backward()
      support.close(three.weight.grad, x:clamp(nil, 0):sum({ 1, 3, 4 }))
      assert.equal("PReLU(num_parameters=3)", tostring(three))
   end)

   it("names the shapes that do not fit", function()
      support.fails("prelu: weight must be [1] or [C] for input [2,4], got [3]",
         nn.PReLU{ num_parameters = 3 }, siamese.zeros(2, 4))
      support.fails("nn.PReLU: num_parameters must be an integer of at least 1, got 0", nn.PReLU,
         { num_parameters = 0 })
   end)
end)

describe("a pool's only window", function()
   it("may reach beyond the image with ceil_mode, as PyTorch's", function()
      local x = tensor_of(1, 2, 2, 5)
      for _, name in ipairs{ "max_pool2d", "avg_pool2d" } do
         local whole = F[name](x, { kernel_size = 3, stride = 2, ceil_mode = true })
         assert.same({ 1, 2, 1, 2 }, whole.shape)
         support.close(whole, F[name](x, { kernel_size = { 2, 3 }, stride = 2 }))
         support.gradcheck(function(v)
            return F[name](v, { kernel_size = 3, stride = 2, ceil_mode = true })
         end, { tensor_of(1, 1, 2, 5) })
         support.fails("window 3x3 is larger than input [1,1,1,4]", F[name], siamese.zeros(1, 1, 1, 4),
            { kernel_size = 3, stride = 2, ceil_mode = true })
      end
   end)
end)

describe("nn.init.trunc_normal_", function()
   it("draws from a normal distribution cut off at both ends", function()
      siamese.manual_seed(4)
      local t = siamese.nn.init.trunc_normal_(siamese.zeros(20000), { mean = 1, std = 2, a = 0, b = 4 })
      assert.is_true(t:min():item() >= 0 and t:max():item() <= 4)
      -- The mean of N(1, 2^2) within [0, 4]: 1 + 2 (phi(-1/2) - phi(3/2)) / (Phi(3/2) - Phi(-1/2)).
      local function phi(z) return math.exp(-z * z / 2) / math.sqrt(2 * math.pi) end
      local mass = 0.9331928 - 0.3085375
      assert.near(1 + 2 * (phi(-0.5) - phi(1.5)) / mass, t:mean():item(), 0.03)
      t = siamese.nn.init.trunc_normal_(siamese.zeros(20000), { std = 0.01 })
      assert.near(0.01, t:std():item(), 2e-4)
   end)

   it("refuses an interval that holds next to nothing", function()
      support.fails("nn.init.trunc_normal_: [5, 6] holds too little of N(0, 1^2) to draw from",
         siamese.nn.init.trunc_normal_, siamese.zeros(2), { a = 5, b = 6 })
      support.fails("[1, -1] holds too little", siamese.nn.init.trunc_normal_, siamese.zeros(2),
         { a = 1, b = -1 })
      support.fails("expected a tensor, got nil", siamese.nn.init.trunc_normal_)
   end)
end)

describe("activations", function()
   it("keep the order of an image's channels, forward and backward", function()
      local image = F.max_pool2d(tensor_of(2, 3, 4, 5), { kernel_size = 1 })
      assert.is_false(image:is_contiguous())
      for _, name in ipairs{ "relu6", "hardswish", "hardsigmoid", "silu", "elu", "softplus" } do
         local x = image:detach():requires_grad_()
         local y = F[name](x)
         assert.same({ y:stride(1), y:stride(2), y:stride(3), y:stride(4) }, { 60, 1, 15, 3 })
         support.close(y, F[name](image:contiguous()))
      end
   end)

   it("take numbers and integers, too", function()
      assert.equal(3, F.relu6(3):item())
      support.close(F.hardswish(siamese.tensor({ -4, 0, 4 }, { dtype = "int64" })), { 0, 0, 4 })
   end)

   it("refuse options that make no sense", function()
      support.fails("nn.Softplus: beta must be above 0", nn.Softplus, { beta = 0 })
      support.fails("softplus: beta must be above 0", F.softplus, tensor_of(2), -1)
      support.fails("nn.ELU: alpha must be a number", nn.ELU, { alpha = "x" })
      support.fails("nn.Hardswish: unknown option 'inplace' (it has none)", nn.Hardswish, { inplace = true })
   end)

   it("blame the line that made them", function()
      for _, make in ipairs{ function() local layer = nn.Softmax{ dim = 0 } return layer end,
         function() local layer = nn.Flatten{ start_dim = 0 } return layer end,
         function() local layer = nn.Softplus{ beta = 0 } return layer end } do
         local _, message = pcall(make)
         assert.matches("nn_spec.lua:%d+: nn%.", message)
      end
   end)
end)

describe("weights begin", function()
   it("as PyTorch's do: uniform within 1 / sqrt(fan_in)", function()
      siamese.manual_seed(4)
      local conv = nn.Conv2d{ in_channels = 8, out_channels = 64, kernel_size = 5, groups = 2 }
      local fc = nn.Linear{ in_features = 400, out_features = 100 }
      for _, item in ipairs{ { conv, 1 / math.sqrt(4 * 25) }, { fc, 1 / math.sqrt(400) } } do
         local layer, bound = item[1], item[2]
         for _, t in ipairs{ layer.weight, layer.bias } do
            t = t:detach()
            assert.is_true(t:abs():max():item() <= bound)
            assert.is_true(t:abs():max():item() > 0.9 * bound)
         end
         assert.near(bound / math.sqrt(3), layer.weight:detach():std():item(), 0.03 * bound)
         assert.near(0, layer.weight:detach():mean():item(), 0.03 * bound)
      end
   end)

   it("the same from the same seed", function()
      siamese.manual_seed(9)
      local a = nn.Linear{ in_features = 3, out_features = 3 }
      siamese.manual_seed(9)
      local b = nn.Linear{ in_features = 3, out_features = 3 }
      assert.is_true(a.weight == b.weight and a.bias == b.bias)
      assert.is_false(a.weight == nn.Linear{ in_features = 3, out_features = 3 }.weight)
   end)
end)

describe("nn.init", function()
   local init = nn.init
   local weight = siamese.zeros({ 200, 50, 3, 3 }, { requires_grad = true })
   local function spread()
      local w = weight:detach()
      return w:mean():item(), w:std():item(), w:abs():max():item()
   end

   it("fills in place, outside the graph, and returns the tensor", function()
      assert.equal(weight, init.constant_(weight, 3))
      assert.same({ 3, 0, 3 }, { spread() })
      init.ones_(weight)
      assert.equal(1, (spread()))
      init.zeros_(weight)
      assert.equal(0, (spread()))
      assert.is_true(weight.requires_grad and weight.is_leaf)
      init.uniform_(weight, 2, 4)
      assert.near(3, (spread()), 0.02)
      init.normal_(weight, -1, 0.5)
      local mean, std = spread()
      assert.near(-1, mean, 0.01)
      assert.near(0.5, std, 0.01)
   end)

   for _, case in ipairs{
      { "kaiming_normal_", { nonlinearity = "relu" }, math.sqrt(2 / 450) },
      { "kaiming_normal_", { mode = "fan_out" }, math.sqrt(2 / 1800) },
      { "kaiming_uniform_", {}, math.sqrt(2 / 450) },
      { "kaiming_uniform_", { a = math.sqrt(5) }, math.sqrt(1 / 3 / 450) },
      { "kaiming_uniform_", { nonlinearity = "tanh" }, 5 / 3 / math.sqrt(450) },
      { "xavier_normal_", 2, 2 * math.sqrt(2 / 2250) },
      { "xavier_uniform_", nil, math.sqrt(2 / 2250) } } do
      it(("%s gives a standard deviation of %.4f"):format(case[1], case[3]), function()
         siamese.manual_seed(6)
         assert.equal(weight, init[case[1]](weight, case[2]))
         local mean, std, largest = spread()
         assert.near(0, mean, 0.02 * case[3])
         assert.near(case[3], std, 0.02 * case[3])
         if case[1]:find("uniform") then
            assert.is_true(largest <= case[3] * math.sqrt(3) * 1.0001)
         end
      end)
   end

   it("koch_ gives the published Gaussians", function()
      siamese.manual_seed(7)
      local net = nn.Sequential{ nn.Conv2d{ in_channels = 8, out_channels = 64, kernel_size = 7 },
         nn.Linear{ in_features = 300, out_features = 200 }, nn.BatchNorm2d{ num_features = 2 } }
      assert.equal(net, init.koch_(net))
      for _, item in ipairs{ { net[1].weight, 0, 0.01 }, { net[2].weight, 0, 0.2 },
         { net[1].bias, 0.5, 0.01 },
         { net[2].bias, 0.5, 0.01 } } do
         local t = item[1]:detach()
         assert.near(item[2], t:mean():item(), 4 * item[3] / math.sqrt(t:numel()))
         assert.near(item[3], t:std():item(), 0.25 * item[3])
      end
      assert.same({ 1, 1 }, net[3].weight:totable())
   end)

   it("refuses what it cannot do", function()
      support.fails("nn.init.kaiming_normal_: expected a tensor of at least 2 dimensions, got [3]",
         init.kaiming_normal_, siamese.zeros(3))
      support.fails("nn.init.xavier_uniform_: expected a tensor of at least 2 dimensions, got nil",
         init.xavier_uniform_)
      support.fails("nn.init.kaiming_normal_: mode must be 'fan_in' or 'fan_out', got 'fan'",
         init.kaiming_normal_, weight, { mode = "fan" })
      support.fails("nn.init.kaiming_uniform_: unknown option 'gain'", init.kaiming_uniform_, weight,
         { gain = 2 })
      support.fails("nn.init.normal_: expected a tensor, got table", init.normal_, {})
   end)
end)
