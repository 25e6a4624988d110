--- net:summary: rows, totals, modes, what it refuses.
local siamese = require "siamese"
local support = require "spec.support"

local nn = siamese.nn

local Net = nn.Module:extend("Net")

function Net:init(width)
   self.conv = nn.Conv2d{ in_channels = 1, out_channels = width, kernel_size = 3 }
   self.norm = nn.BatchNorm2d{ num_features = width }
   self.fc = nn.Linear{ in_features = width * 4, out_features = 2 }
end

function Net:forward(x)
   return self.fc(self.norm(self.conv(x)):relu():flatten(2))
end

describe("a summary", function()
   it("lists layers with shapes, parameters and multiply-adds, and leaves the network as it was", function()
      local net = Net(2)
      net.norm:eval()
      local s = net:summary{ input = { 1, 1, 4, 4 } }
      local text = tostring(s)
      assert.matches("^layer +output +parameters +multiply%-adds +memory\nNet +%[1,2%] +0 +0 ", text)
      assert.matches("\n  conv: Conv2d +%[1,2,2,2%] +20 +72 +32 B\n", text)
      assert.matches("\n  norm: BatchNorm2d +%[1,2,2,2%] +4 +0 +32 B\n", text)
      assert.matches("\n  fc: Linear +%[1,2%] +18 +16 +8 B\n", text)
      assert.matches("\ntotal +42 +88 +%d+ B\n42 parameters can be trained%. ", text)
      assert.is_true(net.training)
      assert.is_false(net.norm.training)
      assert.equal(0, net.norm.num_batches_tracked:item())
   end)

   it("gives the totals as numbers", function()
      local net = Net(2)
      net:freeze("conv")
      local s = net:summary{ input = { 3, 1, 4, 4 } }
      assert.same({ 42, 22, 3 * 88 }, { s.parameters, s.trainable, s.multiply_adds })
      assert.same({ input = 3 * 16 * 4, parameters = 42 * 4, buffers = 4 * 4 + 8, outputs = s.memory.outputs,
         total = 3 * 16 * 4 + 42 * 4 + 4 * 4 + 8 + s.memory.outputs }, s.memory)
      -- conv and norm; ReLU and flatten, a copy from channels-last, are the network's own; fc.
      assert.equal(3 * 4 * (8 + 8 + 8 + 8 + 2), s.memory.outputs)
      assert.equal(4, #s.layers)
      local conv = s.layers[2]
      assert.same({ "conv", "Conv2d", 1, 20, 3 * 72, 3 * 32 }, { conv.name, conv.kind, conv.depth,
         conv.parameters, conv.multiply_adds, conv.bytes })
      assert.same({ "[3,2,2,2]" }, conv.outputs)
   end)

   it("takes neither time nor memory for what is large", function()
      local live, start = siamese.memory().live, siamese.core.clock()
      local net = siamese.shapes_only(nn.Linear, { in_features = 1 << 15, out_features = 1 << 15 })
      local s = net:summary{ input = { 1 << 10, 1 << 15 } }
      assert.same({ (1 << 30) + (1 << 15), 1 << 40 }, { s.parameters, s.multiply_adds })
      assert.same({ 1 << 15, 1 << 15 }, net.weight.shape)
      assert.is_true(siamese.core.clock() - start < 0.5)
      net = nil -- luacheck: ignore
      collectgarbage()
      collectgarbage()
      assert.is_true(siamese.memory().live - live < 1 << 20)
   end)

   it("counts what is called twice once, and says what is not called", function()
      local Twice = nn.Module:extend("Twice")
      function Twice:init()
         self.fc = nn.Linear{ in_features = 3, out_features = 3 }
         self.aux = nn.Sequential{ nn.Linear{ in_features = 3, out_features = 1 } }
      end
      function Twice:forward(x)
         return self.fc(self.fc(x))
      end
      local s = Twice():summary{ input = { 1, 3 } }
      assert.same({ 16, 18 }, { s.parameters, s.multiply_adds })
      local sum = 0
      for _, row in ipairs(s.layers) do
         sum = sum + row.parameters
      end
      assert.equal(s.parameters, sum)
      assert.matches("\n  fc: Linear +%[1,3%] +12 .*\n  fc: Linear +%[1,3%] +0 .*\n"
         .. "  aux%.0: Linear +%(not called%) +4 ", tostring(s))
   end)

   it("folds what lies deeper than `depth` into what is shown", function()
      local net = nn.Sequential{ nn.Sequential{ nn.Linear{ in_features = 2, out_features = 3 }, nn.ReLU{} },
         nn.Linear{ in_features = 3, out_features = 1 } }
      local text = tostring(net:summary{ input = { 5, 2 }, depth = 1 })
      assert.matches("\n  0: Sequential +%[5,3%] +9 +30 +120 B\n  1: Linear +%[5,1%] +4 +15 +20 B\n"
         .. "total +13 +45", text)
      assert.matches("\nSequential +%[5,1%] +13 +45 +140 B\ntotal", tostring(net:summary{ input = { 5, 2 },
         depth = 0 }))
   end)

   it("takes several inputs, and tensors as they are", function()
      local twin = siamese.Twin{ encoder = nn.Flatten{} }
      assert.matches("Twin +%[3%]", tostring(twin:summary{ input = { { 3, 2, 2 }, { 3, 2, 2 } } }))
      local Choose = nn.Module:extend("Choose")
      function Choose:forward(x, i) -- luacheck: ignore self
         return x:index_select(2, i)
      end
      local i = siamese.tensor({ 3, 1 }, { dtype = "int64" })
      assert.matches("Choose +%[4,2%]", tostring(Choose():summary{ input = { siamese.ones(4, 3), i } }))
   end)

   it("says what does not fit, and works afterwards", function()
      local net = Net(2)
      support.fails("conv2d: input has 3 channels", net.summary, net, { input = { 1, 3, 4, 4 } })
      support.fails("summary: input must be a shape", net.summary, net, { input = 3 })
      support.fails("summary: input must be a shape", net.summary, net, { input = net })
      support.fails("summary: option 'input' is required", net.summary, net)
      support.fails("summary: depth must be an integer of at least 0, got -1", net.summary, net,
         { input = { 1, 1, 4, 4 }, depth = -1 })
      assert.same({ 1, 2 }, net(siamese.zeros(1, 1, 4, 4)).shape)
      assert.is_true(net(siamese.ones(1, 1, 4, 4)):abs():sum():item() > 0)
   end)
end)
