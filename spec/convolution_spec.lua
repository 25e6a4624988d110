--- Conv1d, 1-D pooling and ConvTranspose2d as layers: what they compute, refuse and print.
local siamese = require "siamese"
local support = require "spec.support"

local nn, F = siamese.nn, siamese.nn.functional

local function tensor_of(...)
   siamese.manual_seed(5)
   return siamese.randn(...)
end

describe("nn.Conv1d", function()
   it("is a convolution of images of height 1", function()
      local x = tensor_of(2, 4, 9)
      local conv = nn.Conv1d{ in_channels = 4, out_channels = 6, kernel_size = 3, stride = 2, padding = 2,
         dilation = 2, groups = 2 }
      assert.same({ 6, 2, 3 }, conv.weight.shape)
      assert.same({ 6 }, conv.bias.shape)
      support.close(conv(x), F.conv2d(x:unsqueeze(3), conv.weight:unsqueeze(3), conv.bias,
         { stride = { 1, 2 }, padding = { 0, 2 }, dilation = { 1, 2 }, groups = 2 }):squeeze(3))
      assert.same({ 0, 6, 5 }, conv(siamese.zeros(0, 4, 9)).shape)
   end)

   it("takes no more memory than its convolution of images, and gives it back", function()
      local conv = nn.Conv1d{ in_channels = 16, out_channels = 16, kernel_size = 3, padding = 1 }
      local x = conv(tensor_of(1, 16, 100000)):detach()
      local wide, weight = x:unsqueeze(3), conv.weight:detach():unsqueeze(3)
      assert.equal(1, x:stride(2))
      local function peak(f)
         collectgarbage()
         collectgarbage()
         siamese.reset_peak_memory()
         local before = siamese.memory().live
         siamese.no_grad(f):free()
         assert.is_true(siamese.memory().live - before < 10000)
         return siamese.memory().peak - before
      end
      local image = peak(function()
         return F.conv2d(wide, weight, conv.bias, { padding = { 0, 1 } })
      end)
      assert.near(image, peak(function() return conv(x) end), 10000)
   end)

   it("pads as its mode says", function()
      local x = tensor_of(2, 3, 8)
      for _, mode in ipairs{ "reflect", "replicate", "circular" } do
         local conv = nn.Conv1d{ in_channels = 3, out_channels = 4, kernel_size = 4, padding = 2,
            padding_mode = mode }
         support.close(conv(x), F.conv1d(F.pad(x, { 2, 2 }, mode), conv.weight, conv.bias))
         local same = nn.Conv1d{ in_channels = 3, out_channels = 4, kernel_size = 4, padding = "same",
            padding_mode = mode }
         support.close(same(x), F.conv1d(F.pad(x, { 1, 2 }, mode), same.weight, same.bias))
      end
   end)

   it("begins within 1 / sqrt(fan_in)", function()
      siamese.manual_seed(4)
      local conv = nn.Conv1d{ in_channels = 8, out_channels = 640, kernel_size = 5, groups = 2 }
      local bound = 1 / math.sqrt(4 * 5)
      for _, t in ipairs(conv:parameters()) do
         local most = t:detach():abs():max():item()
         assert.is_true(most <= bound and most > 0.9 * bound)
      end
   end)

   it("prints itself with what is not the default", function()
      assert.equal("Conv1d(1, 2, kernel_size=3, stride=1)",
         tostring(nn.Conv1d{ in_channels = 1, out_channels = 2, kernel_size = 3 }))
      assert.equal("Conv1d(2, 2, kernel_size=3, stride=2, padding=1, groups=2, padding_mode=reflect, "
         .. "bias=false)", tostring(nn.Conv1d{ in_channels = 2, out_channels = 2, kernel_size = 3,
            stride = 2, padding = 1, groups = 2, padding_mode = "reflect", bias = false }))
   end)

   it("names what does not fit", function()
      local conv = nn.Conv1d{ in_channels = 4, out_channels = 6, kernel_size = 3 }
      support.fails("conv1d: input must be float32 [N,C,L], got float32 [2,4]", conv, siamese.zeros(2, 4))
      support.fails("conv1d: input [2,3,9] has 3 channels, weight [6,4,3] with groups = 1 wants 4", conv,
         siamese.zeros(2, 3, 9))
      support.fails("conv1d: weight [6,4,3] (dilation 1) does not fit into input [2,4,2] with padding 0",
         conv, siamese.zeros(2, 4, 2))
      local x, w = siamese.zeros(1, 4, 9), siamese.zeros(6, 4, 3)
      support.fails("conv1d: stride must be an integer from 1 to 2^31 - 1, got 0", F.conv1d, x, w, nil,
         { stride = 0 })
      support.fails("conv1d: padding must be a number, 'same' or 'valid'", F.conv1d, x, w, nil,
         { padding = "full" })
      support.fails("conv1d: padding 'same' needs stride 1 and an odd kernel", F.conv1d, x, w, nil,
         { padding = "same", stride = 2 })
      support.fails("conv1d: bias must be float32 [6]", F.conv1d, x, w, siamese.zeros(5))
      support.fails("conv1d: 4 groups do not divide the 6 output channels of weight [6,1,3]", F.conv1d, x,
         siamese.zeros(6, 1, 3), nil, { groups = 4 })
      support.fails("unknown option 'activation'", F.conv1d, x, w, nil, { activation = "relu" })
      support.fails("nn.Conv1d: kernel_size must be an integer of at least 1, got", nn.Conv1d,
         { in_channels = 4, out_channels = 6, kernel_size = { 3, 3 } })
      support.fails("nn.Conv1d: groups (4) must divide in_channels (4) and out_channels (6)", nn.Conv1d,
         { in_channels = 4, out_channels = 6, kernel_size = 3, groups = 4 })
   end)
end)

describe("1-D pooling", function()
   local x = tensor_of(2, 3, 10)

   it("does what its functions do", function()
      support.close(nn.MaxPool1d{ kernel_size = 3 }(x),
         F.max_pool2d(x:unsqueeze(3), { kernel_size = { 1, 3 } }):squeeze(3))
      support.close(nn.MaxPool1d{ kernel_size = 3, stride = 2, padding = 1, dilation = 2 }(x),
         F.max_pool1d(x, { kernel_size = 3, stride = 2, padding = 1, dilation = 2 }))
      support.close(nn.AvgPool1d{ kernel_size = 10 }(x), x:mean(3, true))
      support.close(nn.AdaptiveAvgPool1d{ output_size = 1 }(x), x:mean(3, true))
      support.close(nn.AdaptiveMaxPool1d{ output_size = 1 }(x), x:amax(3, true))
      assert.equal("MaxPool1d(kernel_size=3, padding=0, dilation=1, ceil_mode=false)",
         tostring(nn.MaxPool1d{ kernel_size = 3 }))
      assert.equal("AdaptiveAvgPool1d(output_size=4)", tostring(nn.AdaptiveAvgPool1d{ output_size = 4 }))
   end)

   it("names what does not fit", function()
      support.fails("max_pool1d: input must be float32 [N,C,L], got float32 [2,3]", F.max_pool1d,
         siamese.zeros(2, 3), { kernel_size = 2 })
      support.fails("max_pool1d: a window of 11 is larger than input [2,3,10] with its padding",
         F.max_pool1d, x, { kernel_size = 11 })
      support.fails("avg_pool1d: padding must be from 0 to half the kernel_size (3), got 2", F.avg_pool1d, x,
         { kernel_size = 3, padding = 2 })
      support.fails("avg_pool1d: kernel_size must be an integer from 1 to 2^31 - 1, got 0", F.avg_pool1d, x,
         {})
      support.fails("unknown option 'dilation'", F.avg_pool1d, x, { kernel_size = 2, dilation = 2 })
      support.fails("adaptive_avg_pool1d: output_size must be from 1 to 2^31 - 1, got 0",
         F.adaptive_avg_pool1d, x, 0)
      support.fails("adaptive_max_pool1d: nothing to pool in input [2,3,0]", F.adaptive_max_pool1d,
         siamese.zeros(2, 3, 0), 1)
      support.fails("nn.AvgPool1d: unknown option 'dilation'", nn.AvgPool1d,
         { kernel_size = 2, dilation = 1 })
      support.fails("nn.AdaptiveMaxPool1d: output_size must be an integer of at least 1",
         nn.AdaptiveMaxPool1d, { output_size = { 1, 2 } })
   end)
end)

describe("nn.ConvTranspose2d", function()
   local function layer(more)
      local o = { in_channels = 4, out_channels = 6, kernel_size = 3 }
      for key, value in pairs(more or {}) do
         o[key] = value
      end
      return nn.ConvTranspose2d(o)
   end

   it("is the gradient of a convolution for its input", function()
      for _, o in ipairs{ {}, { stride = 2 }, { stride = 2, padding = 1 }, { dilation = 2, padding = 1 },
         { groups = 2, stride = 3 } } do
         local conv = layer{ stride = o.stride, padding = o.padding, dilation = o.dilation, groups = o.groups,
            bias = false }
         local dy = tensor_of(2, 4, 5, 4)
         local y = conv(dy)
         local x = siamese.zeros(y.shape):requires_grad_()
         F.conv2d(x, conv.weight:detach(), nil, o):backward(dy)
         support.close(y, x.grad, 1e-4, 1e-5)
      end
   end)

   it("makes weight [I, O/groups, KH, KW]", function()
      local conv = layer{ groups = 2, kernel_size = { 2, 3 } }
      assert.same({ 4, 3, 2, 3 }, conv.weight.shape)
      assert.same({ 6 }, conv.bias.shape)
      local bound = 1 / math.sqrt(3 * 6)
      assert.is_true(conv.weight:detach():abs():max():item() <= bound)
      assert.same({ 0, 6, 4, 5 }, conv(siamese.zeros(0, 4, 3, 3)).shape)
   end)

   it("takes the size wanted where the stride leaves a choice", function()
      local conv, x = layer{ stride = 2, padding = 1 }, tensor_of(1, 4, 5, 5)
      assert.same({ 1, 6, 9, 9 }, conv(x).shape)
      assert.same({ 1, 6, 10, 9 }, conv(x, { 10, 9 }).shape)
      support.close(conv(x, { 10, 9 }):narrow(3, 1, 9), conv(x))
      support.fails("nn.ConvTranspose2d: output_size 1 must be from 9 to 10, got 11", conv, x, { 11, 9 })
      support.fails("nn.ConvTranspose2d: output_size must be {height, width}, got 9", conv, x, 9)
   end)

   it("prints itself with what is not the default", function()
      assert.equal("ConvTranspose2d(4, 6, kernel_size=3, stride=1)", tostring(layer()))
      assert.equal("ConvTranspose2d(4, 6, kernel_size=3, stride=2, padding=1, output_padding=1, bias=false)",
         tostring(layer{ stride = 2, padding = 1, output_padding = 1, bias = false }))
   end)

   it("names what does not fit", function()
      support.fails("conv_transpose2d: input has 3 channels, weight [4,6,3,3] wants 4", layer(),
         siamese.zeros(1, 3, 5, 5))
      support.fails("conv_transpose2d: input must be 4-D [N,I,H,W], got shape [4,5]", layer(),
         siamese.zeros(4, 5))
      support.fails("conv_transpose2d: output_padding must be at least 0 and below the stride or the "
         .. "dilation, got 2", layer{ output_padding = 2, stride = 2 }, siamese.zeros(1, 4, 5, 5))
      support.fails("conv_transpose2d: nothing is left of input [1,4,1,5]: the output's height would be -1",
         layer{ padding = 2 }, siamese.zeros(1, 4, 1, 5))
      local x, w = siamese.zeros(1, 4, 5, 5), siamese.zeros(4, 3, 3, 3)
      support.fails("conv_transpose2d: bias must be [6], got [3]", F.conv_transpose2d, x, w, siamese.zeros(3),
         { groups = 2 })
      support.fails("conv_transpose2d: 3 groups do not divide the 4 channels of input [1,4,5,5]",
         F.conv_transpose2d, x, w, nil, { groups = 3 })
      support.fails("conv_transpose2d: stride and dilation must be at least 1", F.conv_transpose2d, x, w, nil,
         { stride = 0 })
      support.fails("nn.ConvTranspose2d: unknown option 'padding_mode'", nn.ConvTranspose2d,
         { in_channels = 1, out_channels = 1, kernel_size = 1, padding_mode = "zeros" })
   end)
end)
