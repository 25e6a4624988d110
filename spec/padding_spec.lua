--- Padding as a function, as layers and around convolutions.
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

describe("F.pad", function()
   local row = siamese.tensor{ 1, 2, 3, 4 }

   it("puts numbers, mirrored edges, edges or the other end around", function()
      support.close(F.pad(row, { 1, 2 }), { 0, 1, 2, 3, 4, 0, 0 })
      support.close(F.pad(row, { 1, 2 }, "constant", -1 / 0), { -1 / 0, 1, 2, 3, 4, -1 / 0, -1 / 0 })
      support.close(F.pad(row, { 3, 2 }, "reflect"), { 4, 3, 2, 1, 2, 3, 4, 3, 2 })
      support.close(F.pad(row, { 2, 1 }, "replicate"), { 1, 1, 1, 2, 3, 4, 4 })
      support.close(F.pad(row, { 2, 4 }, "circular"), { 3, 4, 1, 2, 3, 4, 1, 2, 3, 4 })
   end)

   it("cuts off where sizes are negative", function()
      support.close(F.pad(row, { -1, -2 }), { 2 })
      support.close(F.pad(row, { -2, 3 }), { 3, 4, 0, 0, 0 })
      support.close(F.pad(row, { -1, 3 }, "circular"), { 2, 3, 4, 2, 3, 4 })
      support.close(F.pad(row, { -2, 2 }, "reflect"), { 3, 4, 3, 2 })
      assert.same({ 0 }, F.pad(row, { -4, 0 }).shape)
   end)

   it("pads any number of dimensions from the last on, and none", function()
      assert.same({ 2, 5, 7 }, F.pad(siamese.zeros(2, 3, 4), { 1, 2, 1, 1 }).shape)
      assert.same({ 4, 3, 4 }, F.pad(siamese.zeros(2, 3, 4), { 0, 0, 0, 0, 1, 1 }).shape)
      assert.is_true(F.pad(row, {}) == row)
      local x = tensor_of(2, 3, 4, 2, 3)
      support.close(F.pad(x, { 0, 0, 1, 1, 0, 0, 2, 0 }, "constant", 7):narrow(2, 3, 3):narrow(4, 2, 2), x)
   end)

   it("keeps integers, and the order of channels", function()
      local whole = siamese.tensor({ 1, 2 }, { dtype = "int64" })
      assert.same({ -9, 1, 2 }, F.pad(whole, { 1, 0 }, "constant", -9):totable())
      assert.equal("int64", F.pad(whole, { 1, 0 }).dtype)
      local bytes = siamese.tensor({ 1, 2 }, { dtype = "uint8" })
      assert.same({ 255, 1, 2 }, F.pad(bytes, { 1, 0 }, "constant", 300):totable())
      local x = tensor_of(2, 3, 4, 5)
      assert.equal(1, F.pad(image(x), { 1, 1 }):stride(2))
      assert.is_true(F.pad(x, { 1, 1 }):is_contiguous())
   end)

   it("takes empty tensors", function()
      assert.same({ 0, 3, 6 }, F.pad(siamese.zeros(0, 3, 4), { 1, 1 }, "reflect").shape)
      support.close(F.pad(siamese.zeros(2, 0), { 1, 2 }, "constant", 5), siamese.full({ 2, 3 }, 5))
      local x = siamese.zeros({ 2, 0 }, { requires_grad = true })
      F.pad(x, { 1, 2 }):sum():backward()
      assert.same({ 2, 0 }, x.grad.shape)
   end)

   it("gives the same bits on any number of #threads", function()
      local threads, first = siamese.get_threads(), nil
      local x, g = image(tensor_of(1, 5, 60, 70)), tensor_of(1, 5, 67, 75)
      for _, n in ipairs{ 1, 2, 5 } do
         siamese.set_threads(n)
         local leaf = x:clone():requires_grad_()
         F.pad(leaf, { 2, 3, 4, 3 }, "reflect"):backward(g)
         assert.is_true(first == nil or first == leaf.grad)
         first = leaf.grad
      end
      siamese.set_threads(threads)
   end)

   it("names what does not fit", function()
      support.fails("pad: expected two sizes for each dimension from the last on", F.pad, row, { 1 })
      support.fails("pad: size 2 must be an integer, got 1.5", F.pad, row, { 1, 1.5 })
      support.fails("pad: padding for 2 dimensions, input has shape [4]", F.pad, row, { 1, 1, 1, 1 })
      support.fails("pad: mode must be 'constant', 'reflect', 'replicate' or 'circular', got 'zeros'", F.pad,
         row, { 1, 1 }, "zeros")
      support.fails("pad: mode 'reflect' pads dimension 1 of input [4] by at most 3, got 4", F.pad, row,
         { 0, 4 }, "reflect")
      support.fails("pad: mode 'circular' pads dimension 1 of input [4] by at most 4, got 5", F.pad, row,
         { 5, 0 }, "circular")
      support.fails("pad: mode 'circular' pads dimension 1 of input [4] by at most 2, got 3", F.pad, row,
         { -2, 3 }, "circular")
      support.fails("pad: mode 'circular' pads dimension 1 of input [4] by at most 0, got 6", F.pad, row,
         { -5, 6 }, "circular")
      support.fails("pad: nothing is left of dimension 1 of input [4] padded by -3 and -2", F.pad, row,
         { -3, -2 })
      support.fails("pad: nothing is left of dimension 2 of input [2,0] padded by 1 and 0", F.pad,
         siamese.zeros(2, 0), { 1, 0 }, "replicate")
      support.fails("pad: padding must be below 2^31, got 0 and 2147483648", F.pad, row, { 0, 1 << 31 })
      support.fails("tensor expected, got number", F.pad, 1, { 1, 1 })
   end)
end)

describe("padding layers", function()
   local x = tensor_of(2, 3, 4, 5)

   it("do what F.pad does", function()
      for name, mode in pairs{ ZeroPad = "constant", ReflectionPad = "reflect", ReplicationPad = "replicate",
         CircularPad = "circular" } do
         support.close(nn[name .. "2d"]{ padding = { 1, 2, 3, 0 } }(x), F.pad(x, { 1, 2, 3, 0 }, mode))
         support.close(nn[name .. "2d"]{ padding = 2 }(x), F.pad(x, { 2, 2, 2, 2 }, mode))
         support.close(nn[name .. "1d"]{ padding = { 1, 2 } }(x[1]), F.pad(x[1], { 1, 2 }, mode))
      end
      support.close(nn.ConstantPad2d{ padding = 1, value = 3 }(x), F.pad(x, { 1, 1, 1, 1 }, "constant", 3))
      support.close(nn.ConstantPad1d{ padding = 1, value = 3 }(x[1]), F.pad(x[1], { 1, 1 }, "constant", 3))
   end)

   it("print their sizes", function()
      assert.equal("ReflectionPad2d(padding=(1, 1, 1, 1))", tostring(nn.ReflectionPad2d{ padding = 1 }))
      assert.equal("ConstantPad1d(padding=(1, 2), value=0.5)",
         tostring(nn.ConstantPad1d{ padding = { 1, 2 }, value = 0.5 }))
   end)

   it("refuse options and inputs that make no sense", function()
      support.fails("nn.ZeroPad2d: padding must be an integer or a table of 4 such, got {1, 2}", nn.ZeroPad2d,
         { padding = { 1, 2 } })
      support.fails("nn.CircularPad1d: padding must be an integer or a table of 2 such, got {1, 2, 3}",
         nn.CircularPad1d, { padding = { 1, 2, 3 } })
      support.fails("nn.ConstantPad2d: option 'value' is required", nn.ConstantPad2d, { padding = 1 })
      support.fails("nn.ReplicationPad2d: input must be [N,C,H,W], got [3,4,5]",
         nn.ReplicationPad2d{ padding = 1 }, x[1])
      support.fails("nn.ReplicationPad1d: expected a tensor, got nil", nn.ReplicationPad1d{ padding = 1 })
   end)
end)

describe("nn.Conv2d with a padding_mode", function()
   local function conv(mode, padding, more)
      siamese.manual_seed(2)
      return nn.Conv2d{ in_channels = 3, out_channels = 4, kernel_size = { 3, 4 }, padding = padding,
         padding_mode = mode, dilation = more }
   end

   it("pads its input so", function()
      local x = tensor_of(2, 3, 6, 7)
      for _, mode in ipairs{ "reflect", "replicate", "circular" } do
         local layer = conv(mode, { 2, 1 })
         support.close(layer(x), F.conv2d(F.pad(x, { 1, 1, 2, 2 }, mode), layer.weight, layer.bias))
         support.close(conv(mode, "valid")(x), conv("zeros", 0)(x))
         assert.same({ 2, 4, 6, 7 }, conv(mode, "same")(x).shape)
         support.close(conv(mode, "same")(x),
            F.conv2d(F.pad(x, { 1, 2, 1, 1 }, mode), layer.weight, layer.bias))
      end
      assert.equal("Conv2d(3, 4, kernel_size=(3, 4), stride=1, padding=(2, 1), padding_mode=reflect)",
         tostring(conv("reflect", { 2, 1 })))
   end)

   it("does so where batch norm and an activation are folded in", function()
      local x = tensor_of(2, 3, 6, 7)
      local net = nn.Sequential{ conv("reflect", 1), nn.BatchNorm2d{ num_features = 4 }, nn.ReLU{} }
      net(x)
      net:eval()
      support.close(siamese.no_grad(net, x), net(x), 1e-4, 1e-5)
      local alone = nn.Sequential{ conv("circular", 1), nn.ReLU{} }
      support.close(siamese.no_grad(alone, x), alone[1](x):relu())
   end)

   it("refuses a mode that is none", function()
      support.fails("nn.Conv2d: padding_mode must be 'zeros' or 'reflect' or 'replicate' or 'circular', "
         .. "got 'mirror'", conv, "mirror", 1)
      support.fails("pad: mode 'reflect' pads dimension 4 of input [1,3,9,2] by at most 1, got 2",
         conv("reflect", 2), siamese.zeros(1, 3, 9, 2))
   end)
end)
