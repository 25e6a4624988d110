--- Training parts of a network: freezing, held batch norms, groups of parameters, gradual unfreezing.
local siamese = require "siamese"
local support = require "spec.support"

local nn, optim = siamese.nn, siamese.optim

local Net = nn.Module:extend("Net")

--- layer1, layer2, layer10: convolution and batch norm each; fc.
function Net:init()
   for _, name in ipairs{ "layer1", "layer2", "layer10" } do
      self[name] = nn.Sequential{ nn.Conv2d{ in_channels = 1, out_channels = 1, kernel_size = 1 },
         nn.BatchNorm2d{ num_features = 1 } }
   end
   self.fc = nn.Linear{ in_features = 4, out_features = 2 }
end

function Net:forward(x)
   return self.fc(self.layer10(self.layer2(self.layer1(x))):flatten(2))
end

local function trainable(net)
   local names = {}
   for name, tensor in net:named_parameters() do
      if tensor.requires_grad then
         names[#names + 1] = name
      end
   end
   return table.concat(names, " ")
end

local FC = "fc.weight fc.bias"
local function of(layer)
   return ("%s.0.weight %s.0.bias %s.1.weight %s.1.bias"):format(layer, layer, layer, layer)
end

describe("freeze", function()
   it("stops parts by the beginning of their names, and unfreeze starts them again", function()
      local net = Net()
      assert.equal(net, net:freeze("layer2", "fc%.b"))
      assert.equal(of "layer1" .. " " .. of "layer10" .. " fc.weight", trainable(net))
      net(siamese.randn(3, 1, 2, 2)):sum():backward()
      assert.is_nil(net.layer2[1].weight.grad)
      assert.is_truthy(net.layer1[1].weight.grad)
      assert.equal(14, #net:parameters())
      net:unfreeze()
      assert.is_true(net.fc.bias.requires_grad)
      net:freeze()
      assert.equal("", trainable(net))
      assert.is_false(net(siamese.randn(2, 1, 2, 2)).requires_grad)
   end)

   it("takes a whole name for itself alone, and a beginning for all that begin so", function()
      local net = Net()
      net:freeze("layer1")
      assert.equal(of "layer2" .. " " .. of "layer10" .. " " .. FC, trainable(net))
      net:unfreeze()
      net:freeze("layer")
      assert.equal(FC, trainable(net))
      net:unfreeze("layer%d")
      assert.equal(of "layer1" .. " " .. of "layer2" .. " " .. FC, trainable(net))
      net:unfreeze("layer10.1.bias")
      assert.equal(of "layer1" .. " " .. of "layer2" .. " layer10.1.bias " .. FC, trainable(net))
   end)

   it("says which pattern means nothing", function()
      support.fails("freeze: no parameter's name begins with 'cnov'", Net().freeze, Net(), "fc", "cnov")
      support.fails("unfreeze: no parameter's name begins with ''", Net().unfreeze, Net(), "")
      support.fails("freeze: 'f[' is no Lua pattern: malformed pattern", Net().freeze, Net(), "f[")
      support.fails("freeze: a pattern must be a string, got number", Net().freeze, Net(), 1)
   end)

   it("lets gradients go", function()
      local net = Net()
      net(siamese.randn(3, 1, 2, 2)):sum():backward()
      net:freeze("fc")
      assert.is_nil(net.fc.weight.grad)
      assert.is_truthy(net.layer1[1].weight.grad)
   end)
end)

describe("a batch norm in a frozen part", function()
   it("stays in evaluation mode, whatever train says", function()
      local net = Net()
      net:freeze("layer1")
      assert.is_false(net.layer1[2].training)
      net:train()
      assert.is_false(net.layer1[2].training)
      assert.is_true(net.layer2[2].training)
      assert.is_true(net.training)
      local mean = net.layer1[2].running_mean:clone()
      net(siamese.randn(5, 1, 2, 2) + 3)
      assert.is_true(mean == net.layer1[2].running_mean)
      assert.equal(0, net.layer1[2].num_batches_tracked:item())
      assert.equal(1, net.layer2[2].num_batches_tracked:item())
   end)

   it("goes with the network again when it is unfrozen", function()
      local net = Net()
      net:freeze("layer")
      net:unfreeze("layer2")
      assert.is_true(net.layer2[2].training)
      assert.is_false(net.layer10[2].training)
      net:eval()
      net:unfreeze("layer10")
      assert.is_false(net.layer10[2].training)
      net:train()
      assert.is_true(net.layer10[2].training)
      assert.is_false(net.layer1[2].training)
   end)

   it("is held once all it has is frozen, and no sooner", function()
      local net = Net()
      net:freeze("layer1.1.weight")
      assert.is_true(net.layer1[2].training)
      net:freeze("layer1.1.bias")
      assert.is_false(net.layer1[2].training)
      net:unfreeze("layer1.1.weight")
      assert.is_true(net.layer1[2].training)
   end)

   it("is held without parameters of its own", function()
      local net = Net()
      net.layer1[2] = nn.BatchNorm2d{ num_features = 1, affine = false }
      net:freeze("layer1")
      assert.is_false(net:train().layer1[2].training)
      net:unfreeze("layer1")
      assert.is_true(net.layer1[2].training)
   end)

   it("passes gradients to what lies ahead of it", function()
      local net = Net()
      net:freeze("layer2")
      net(siamese.randn(3, 1, 2, 2)):sum():backward()
      assert.is_true(net.layer1[1].bias.grad ~= nil)
   end)
end)

describe("parameter_groups", function()
   it("give parts options of their own, and the rest the optimiser's", function()
      local net = Net()
      local groups = net:parameter_groups{ { "fc", lr = 0.5 }, { "layer1", "layer10", lr = 0.25,
         momentum = 0.5 } }
      assert.equal(3, #groups)
      assert.same({ 2, 8, 4 }, { #groups[1].params, #groups[2].params, #groups[3].params })
      local opt = optim.SGD(groups, { lr = 0.125, momentum = 0.9 })
      assert.same({ 0.5, 0.25, 0.125 }, { opt.param_groups[1].lr, opt.param_groups[2].lr,
         opt.param_groups[3].lr })
      assert.same({ 0.9, 0.5, 0.9 }, { opt.param_groups[1].momentum, opt.param_groups[2].momentum,
         opt.param_groups[3].momentum })
      assert.is_true(rawequal(groups[3].params[1], net.layer2[1].weight))
   end)

   it("move each part at its own rate", function()
      local net = Net()
      local opt = optim.SGD(net:parameter_groups{ { "fc.bias", lr = 1 } }, { lr = 0 })
      local weight, bias = net.fc.weight:detach():clone(), net.fc.bias:detach():clone()
      net(siamese.randn(3, 1, 2, 2)):sum():backward()
      opt:step()
      assert.is_true(weight == net.fc.weight:detach())
      support.close(net.fc.bias, bias - 3)
   end)

   it("take the first entry that fits, and leave no empty rest", function()
      local net = Net()
      local groups = net:parameter_groups{ { "fc.bias", lr = 1 }, { "fc", lr = 2 }, { "layer", lr = 3 } }
      assert.same({ 1, 1, 12 }, { #groups[1].params, #groups[2].params, #groups[3].params })
   end)

   it("hold frozen parameters too, which steps pass over", function()
      local net = Net()
      net:freeze("layer1")
      local opt = optim.AdamW(net:parameter_groups{ { "layer1", lr = 1 } }, { lr = 0 })
      local before = net.layer1[1].weight:detach():clone()
      net(siamese.randn(3, 1, 2, 2)):sum():backward()
      opt:step()
      assert.is_true(before == net.layer1[1].weight:detach())
      net:unfreeze("layer1")
      net(siamese.randn(3, 1, 2, 2)):square():sum():backward()
      opt:step()
      assert.is_false(before == net.layer1[1].weight:detach())
   end)

   it("refuse what is no entry", function()
      local net = Net()
      support.fails("parameter_groups: entry 1 must be a table of patterns and options", net.parameter_groups,
         net, { "fc" })
      support.fails("parameter_groups: entry 1 must be a table", net.parameter_groups, net, { { lr = 1 } })
      support.fails("parameter_groups: no parameter's name begins with 'x'", net.parameter_groups, net,
         { { "x", lr = 1 } })
      support.fails("parameter_groups: entry 2 ('fc.bias') has nothing that the ones before it left",
         net.parameter_groups, net, { { "fc" }, { "fc.bias" } })
      support.fails("parameter_groups: expected a list of entries, got nil", net.parameter_groups, net)
      support.fails("unknown option 'rl'", optim.SGD, net:parameter_groups{ { "fc", rl = 1 } }, { lr = 1 })
   end)
end)

describe("gradual unfreezing", function()
   it("unfreezes one more stage every so many epochs", function()
      local net = Net()
      local thaw = net:gradual_unfreezing{ stages = { "fc", { "layer10", "layer2" }, "layer1" }, every = 2 }
      assert.equal(FC, trainable(net))
      assert.is_false(net.layer10[2].training)
      local seen = {}
      for epoch = 1, 7 do
         seen[epoch] = thaw(epoch)
      end
      assert.same({ 1, 1, 2, 2, 3, 3, 3 }, seen)
      assert.equal(14, select(2, trainable(net):gsub("%S+", "")))
      assert.is_true(net.layer10[2].training)
   end)

   it("goes on from any epoch", function()
      local net = Net()
      net:gradual_unfreezing{ stages = { "fc", "layer10", "layer2" } }(2)
      assert.equal(of "layer10" .. " " .. FC, trainable(net))
   end)

   it("refuses stages that mean nothing", function()
      local net = Net()
      support.fails("gradual_unfreezing: no parameter's name begins with 'fx'", net.gradual_unfreezing, net,
         { stages = { "fc", "fx" } })
      support.fails("gradual_unfreezing: stages must be a list of patterns, got {}", net.gradual_unfreezing,
         net, { stages = {} })
      support.fails("expected the number of an epoch, from 1, got 0",
         net:gradual_unfreezing{ stages = { "fc" } }, 0)
      support.fails("every must be an integer of at least 1", net.gradual_unfreezing, net,
         { stages = { "fc" }, every = 0 })
   end)
end)
