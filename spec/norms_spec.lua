--- Normalisation of single images and pixels, and pooling heads, as layers: what they keep, refuse and print.
local siamese = require "siamese"
local support = require "spec.support"

local nn, F = siamese.nn, siamese.nn.functional

local function tensor_of(...)
   siamese.manual_seed(5)
   return siamese.randn(...)
end

--- The same values with the channels of a pixel together.
local function image(t)
   return F.max_pool2d(t, { kernel_size = 1 })
end

describe("nn.GroupNorm", function()
   it("normalises the groups of each image by itself", function()
      local x = tensor_of(3, 6, 5, 4) * 3 + 7
      local norm = nn.GroupNorm{ num_groups = 2, num_channels = 6 }
      local y = norm(x):reshape(3, 2, 60)
      support.close(y:mean(3), siamese.zeros(3, 2), 0, 1e-5)
      support.close(y:var(3, { unbiased = false }), siamese.ones(3, 2), 1e-4)
      support.close(norm(x), norm(image(x)))
      assert.same({ 6 }, norm.weight.shape)
      assert.same({}, nn.GroupNorm{ num_groups = 1, num_channels = 6, affine = false }:parameters())
      assert.equal("GroupNorm(2, 6, eps=1e-05, affine=true)", tostring(norm))
   end)

   it("is what its formula gives, forward and backward, for images of many pieces", function()
      local x, w, b = tensor_of(2, 12, 60, 50), siamese.randn(12), siamese.randn(12)
      local g = siamese.randn(2, 12, 60, 50)
      local function by_formula(t, weight, bias)
         local rows = t:reshape(2, 3, 4 * 3000)
         local mean, var = rows:mean(3, true), rows:var(3, { unbiased = false, keepdim = true })
         local hat = ((rows - mean) / (var + 1e-5):sqrt()):reshape(2, 12, 60, 50)
         return hat * weight:view(12, 1, 1) + bias:view(12, 1, 1)
      end
      local results = {}
      for i, f in ipairs{ by_formula, function(t, weight, bias)
         return F.group_norm(t, 3, weight, bias)
      end } do
         local inputs = { x:clone():requires_grad_(), w:clone():requires_grad_(), b:clone():requires_grad_() }
         local y = f(table.unpack(inputs))
         y:backward(g)
         results[i] = { y, inputs[1].grad, inputs[2].grad, inputs[3].grad }
      end
      for k, want in ipairs(results[1]) do
         support.close(results[2][k], want, 1e-4, 1e-3)
      end
   end)

   it("takes an empty batch, and keeps the order of channels", function()
      local norm = nn.GroupNorm{ num_groups = 2, num_channels = 4 }
      assert.same({ 0, 4, 3, 3 }, norm(siamese.zeros(0, 4, 3, 3)).shape)
      assert.equal(1, norm(tensor_of(2, 4, 3, 3)):stride(2))
   end)

   it("names what does not fit", function()
      support.fails("nn.GroupNorm: num_groups (4) must divide num_channels (6)", nn.GroupNorm,
         { num_groups = 4, num_channels = 6 })
      support.fails("nn.GroupNorm: input [2,5,3] has 5 channels, num_channels is 6",
         nn.GroupNorm{ num_groups = 2, num_channels = 6 }, siamese.zeros(2, 5, 3))
      support.fails("group_norm: num_groups (3) must divide the 4 channels of input [2,4]", F.group_norm,
         siamese.zeros(2, 4), 3)
      support.fails("group_norm: weight must be float32 [4] for input [2,4], got float32 [3]", F.group_norm,
         siamese.zeros(2, 4), 2, siamese.zeros(3))
      support.fails("group_norm: input must be float32 [N,C,...], got int64 [2]", F.group_norm,
         siamese.zeros(2, { dtype = "int64" }), 1)
      support.fails("group_norm: more than one value per group is needed, got input [1,4] with 4 groups",
         F.group_norm, siamese.zeros(1, 4), 4)
      support.fails("group_norm: num_groups must be at least 1", F.group_norm, siamese.zeros(2, 4), 0)
   end)
end)

describe("nn.InstanceNorm2d", function()
   it("normalises each channel of each image, with neither weights nor statistics by default", function()
      local x = tensor_of(3, 2, 5, 4) * 3 + 7
      local norm = nn.InstanceNorm2d{ num_features = 2 }
      assert.is_nil(next(norm:state_dict()))
      support.close(norm(x):mean({ 3, 4 }), siamese.zeros(3, 2), 0, 1e-5)
      support.close(norm(x), norm:eval()(x))
      assert.equal("InstanceNorm2d(2, eps=1e-05, momentum=0.1, affine=false, track_running_stats=false)",
         tostring(norm))
   end)

   it("averages the images' statistics when asked to, and uses them in evaluation", function()
      local x = tensor_of(3, 2, 5, 4) * 3 + 7
      local norm = nn.InstanceNorm2d{ num_features = 2, track_running_stats = true, affine = true,
         momentum = 0.25 }
      norm(x)
      support.close(norm.running_mean, x:mean({ 3, 4 }):mean(1) * 0.25)
      support.close(norm.running_var, x:var({ 3, 4 }):mean(1) * 0.25 + 0.75)
      assert.equal(0, norm.num_batches_tracked:item())
      local names = {}
      for name in pairs(norm:state_dict()) do
         names[#names + 1] = name
      end
      assert.same({ "weight", "bias", "running_mean", "running_var", "num_batches_tracked" }, names)
      norm:eval()
      support.close(norm(x), (x - norm.running_mean:view(1, 2, 1, 1))
         / (norm.running_var:view(1, 2, 1, 1) + 1e-5):sqrt(), 1e-4, 1e-5)
   end)

   it("names what does not fit", function()
      support.fails("nn.InstanceNorm2d: input must be [N,C,H,W] with C = 3, got [2,3,4]",
         nn.InstanceNorm2d{ num_features = 3 }, siamese.zeros(2, 3, 4))
      support.fails("nn.InstanceNorm1d: input must be [N,C,L] with C = 3, got [2,4,4]",
         nn.InstanceNorm1d{ num_features = 3 }, siamese.zeros(2, 4, 4))
      support.fails("instance_norm: more than one value per channel and image is needed, got input [2,3,1,1]",
         nn.InstanceNorm2d{ num_features = 3 }, siamese.zeros(2, 3, 1, 1))
      support.fails("instance_norm: needs running_mean and running_var", F.instance_norm,
         siamese.zeros(2, 3, 4), nil, nil, nil, nil, { use_input_stats = false })
      support.fails("instance_norm: running_mean must not require a gradient", F.instance_norm,
         siamese.zeros(2, 3, 4), siamese.zeros({ 3 }, { requires_grad = true }))
   end)
end)

describe("nn.LocalResponseNorm", function()
   it("divides by the neighbours' squares", function()
      local x = siamese.ones(1, 4, 2, 2)
      local norm = nn.LocalResponseNorm{ size = 3, alpha = 3, beta = 1 }
      support.close(norm(x):select(3, 1):select(3, 1), { { 1 / 3, 1 / 4, 1 / 4, 1 / 3 } })
      assert.equal("LocalResponseNorm(size=3, alpha=3, beta=1, k=1.0)", tostring(norm))
   end)

   it("names what does not fit", function()
      support.fails("nn.LocalResponseNorm: size must be an integer of at least 1, got 0",
         nn.LocalResponseNorm, { size = 0 })
      support.fails("local_response_norm: size must be at least 1, got -2", F.local_response_norm,
         siamese.zeros(1, 2, 3), -2)
      support.fails("local_response_norm: input must be float32 [N,C,L,...], got float32 [2,3]",
         F.local_response_norm, siamese.zeros(2, 3), 5)
   end)
end)

describe("nn.GeM", function()
   it("is the average with p = 1, and near the maximum with a large p", function()
      local x = siamese.rand(2, 3, 5, 6) + 0.1
      support.close(nn.GeM{ p = 1 }(x), x:mean({ 3, 4 }, true))
      support.close(nn.GeM{ p = 80 }(x), x:amax({ 3, 4 }, true), 0.05)
      assert.same({ 2, 3, 1, 1 }, nn.GeM{}(x).shape)
   end)

   it("learns p", function()
      local head = nn.GeM{}
      assert.same({ 1 }, head.p.shape)
      assert.equal(3, head.p:item())
      head(siamese.rand(2, 3, 5, 6)):sum():backward()
      assert.is_true(head.p.grad:item() > 0)
      assert.equal("GeM(p=3.0000, eps=1e-06)", tostring(head))
      head:freeze()
      head:zero_grad()
      head(siamese.rand(2, 3, 5, 6):requires_grad_()):sum():backward()
      assert.is_nil(head.p.grad)
   end)

   it("names what does not fit", function()
      support.fails("nn.GeM: p must not be 0", nn.GeM, { p = 0 })
      local x = siamese.zeros(1, 2, 3)
      support.fails("gem: input must be float32 [N,C,L,...], got float32 [3]", nn.GeM{}, siamese.zeros(3))
      support.fails("gem: p must be one number, got shape [2]", F.gem, x, siamese.ones(2))
      support.fails("gem: nothing to average in input [1,2,0]", F.gem, siamese.zeros(1, 2, 0))
      support.fails("gem: eps must be at least 0, got -1", F.gem, x, 3, -1)
   end)
end)

describe("nn.AdaptiveMaxPool2d", function()
   it("takes the maxima of even bins", function()
      local x = tensor_of(2, 70, 7, 5)
      support.close(nn.AdaptiveMaxPool2d{ output_size = 1 }(x), x:amax({ 3, 4 }, true))
      support.close(nn.AdaptiveMaxPool2d{ output_size = { 7, 5 } }(x), x)
      assert.equal("AdaptiveMaxPool2d(output_size=(7, 5))",
         tostring(nn.AdaptiveMaxPool2d{ output_size = { 7, 5 } }))
   end)

   it("names what does not fit", function()
      support.fails("nn.AdaptiveMaxPool2d: output_size must be", nn.AdaptiveMaxPool2d, { output_size = 0 })
      support.fails("adaptive_max_pool2d: input must be 4-D [N,C,H,W], got shape [2,3]",
         F.adaptive_max_pool2d, siamese.zeros(2, 3), 1)
      support.fails("adaptive_max_pool2d: nothing to choose from in input [1,2,0,3]", F.adaptive_max_pool2d,
         siamese.zeros(1, 2, 0, 3), 1)
   end)
end)

describe("these layers give the same bits", function()
   local threads = siamese.get_threads()

   after_each(function()
      siamese.set_threads(threads)
   end)

   it("on any number of #threads", function()
      local x = tensor_of(3, 24, 40, 40)
      local norm = nn.GroupNorm{ num_groups = 4, num_channels = 24 }
      local head, max = nn.GeM{}, nn.AdaptiveMaxPool2d{ output_size = 7 }
      local lrn = nn.LocalResponseNorm{ size = 5, alpha = 1 }
      local first
      for _, n in ipairs{ 1, 2, 3, 7 } do
         siamese.set_threads(n)
         local a = x:clone():requires_grad_()
         norm:zero_grad()
         head:zero_grad()
         local h = lrn(norm(a));
         (head(h):sum() + max(h):square():sum()):backward()
         local now = { a.grad, norm.weight.grad, norm.bias.grad, head.p.grad }
         for i, gradient in ipairs(first or now) do
            assert.is_true(gradient == now[i])
         end
         first = now
      end
   end)
end)
