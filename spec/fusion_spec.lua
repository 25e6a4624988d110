--- Layers run together give what they give one by one: conv_norm, residual, chain, nested sequences.
local siamese = require "siamese"
local support = require "spec.support"

local nn = siamese.nn

local function conv(cin, cout, kernel, groups)
   return nn.Conv2d{ in_channels = cin, out_channels = cout, kernel_size = kernel, padding = kernel // 2,
      groups = groups or 1, bias = false }
end

--- A norm with statistics and weights of its own.
local function norm(channels)
   local layer = nn.BatchNorm2d{ num_features = channels }
   layer.running_mean:uniform_(-0.5, 0.5)
   layer.running_var:uniform_(0.5, 2)
   nn.init.uniform_(layer.weight, 0.5, 1.5)
   nn.init.uniform_(layer.bias, -0.5, 0.5)
   return layer
end

--- What the values and gradients are with `f`, in training, in evaluation, and in evaluation without a graph.
local function everything(modules, f, x)
   local list = {}
   for _, mode in ipairs{ "train", "eval" } do
      local state, leaf = {}, x:detach():clone():requires_grad_()
      for i, module in ipairs(modules) do
         module[mode](module)
         module:zero_grad()
         state[i] = module:state_dict()
         for name, tensor in pairs(state[i]) do
            state[i][name] = tensor:clone()
         end
      end
      local y = f(leaf)
      list[#list + 1] = y:detach();
      (y * y):sum():backward()
      list[#list + 1] = leaf.grad
      for i, module in ipairs(modules) do
         for _, tensor in ipairs(module:parameters()) do
            list[#list + 1] = tensor.grad
         end
         for _, tensor in module:named_buffers() do
            list[#list + 1] = tensor:float()
         end
         module:load_state_dict(state[i])
      end
   end
   list[#list + 1] = siamese.no_grad(f, x)
   return list
end

local function check_same(modules, together, apart, x)
   local got, want = everything(modules, together, x), everything(modules, apart, x)
   assert.equal(#want, #got)
   for i = 1, #want do
      support.close(got[i], want[i], 1e-4, 1e-5)
   end
end

describe("conv_norm", function()
   local ACTIVATIONS = { none = false, relu = "relu", relu6 = "relu6", ["a ReLU"] = nn.ReLU{},
      ["a Hardswish"] = nn.Hardswish{}, ["a LeakyReLU"] = nn.LeakyReLU{} }
   local function apply(activation, y)
      if type(activation) == "string" then
         return activation == "relu" and y:relu() or y:clamp(0, 6)
      end
      return activation and activation(y) or y
   end
   for name, activation in pairs(ACTIVATIONS) do
      for _, with_residual in ipairs{ false, true } do
         it(("with %s%s"):format(name, with_residual and " and a residual" or ""), function()
            siamese.manual_seed(3)
            local c, n = conv(3, 4, 3), norm(4)
            local x, r = siamese.randn(2, 3, 5, 4), with_residual and siamese.randn(2, 4, 5, 4) or nil
            check_same({ c, n }, function(v)
               return nn.conv_norm(c, n, v, { residual = r, activation = activation or nil })
            end, function(v)
               local y = n(c(v))
               return apply(activation, r and y + r or y)
            end, x)
         end)
      end
   end

   it("calls what was replaced or overridden", function()
      siamese.manual_seed(3)
      local Doubled = nn.ReLU:extend("Doubled")
      function Doubled:forward(x)
         return nn.ReLU.forward(self, x) * 2
      end
      local c, n, double = conv(2, 2, 1), norm(2), Doubled{}
      local x = siamese.randn(2, 2, 3, 3)
      check_same({ c, n }, function(v)
         return nn.conv_norm(c, n, v, { activation = double })
      end, function(v)
         return n(c(v)):relu() * 2
      end, x)
      local identity = nn.Identity{}
      check_same({ c }, function(v)
         return nn.conv_norm(c, identity, v, { residual = x, activation = "relu" })
      end, function(v)
         return (c(v) + x):relu()
      end, x)
   end)

   it("refuses an activation that it doesn't know", function()
      support.fails("nn.conv_norm: activation must be 'relu', 'relu6' or a module, got 'gelu'", nn.conv_norm,
         conv(1, 1, 1), norm(1), siamese.ones(1, 1, 2, 2), { activation = "gelu" })
   end)
end)

describe("residual", function()
   local function parts()
      siamese.manual_seed(5)
      return { nn.Sequential{ conv(3, 6, 1), norm(6), nn.ReLU6{} }, conv(6, 3, 3), norm(3) }
   end

   local SEQUENCES = {
      ["a convolution and a norm at the end"] = function(p)
         return nn.Sequential{ p[1], p[2], p[3] }
      end,
      ["a sequence of them at the end"] = function(p)
         return nn.Sequential{ p[1], nn.Sequential{ p[2], p[3] } }
      end,
      ["another end"] = function(p)
         return nn.Sequential{ p[1], p[2] }
      end,
      ["a sequence overridden"] = function(p)
         local Halved = nn.Sequential:extend("Halved")
         function Halved:forward(x)
            return nn.Sequential.forward(self, x) / 2
         end
         return Halved{ p[1], p[2], p[3] }
      end,
      ["nothing but a norm"] = function(p)
         return nn.Sequential{ p[3] }
      end,
   }
   for name, make in pairs(SEQUENCES) do
      for _, activation in ipairs{ "none", "relu" } do
         it(("of %s, with %s"):format(name, activation), function()
            local sequence = make(parts())
            local act = activation == "relu" and nn.ReLU{} or nil
            check_same({ sequence }, function(v)
               return nn.residual(sequence, v, { residual = v, activation = act })
            end, function(v)
               local y = sequence(v) + v
               return act and y:relu() or y
            end, siamese.randn(2, 3, 5, 4))
         end)
      end
   end
end)

describe("chain", function()
   it("is a sequence of modules that lie elsewhere", function()
      siamese.manual_seed(6)
      local list = { conv(3, 4, 3), norm(4), nn.ReLU{}, nn.MaxPool2d{ kernel_size = 2 },
         nn.Sequential{ conv(4, 4, 3, 4), norm(4), nn.ReLU6{} }, nn.Flatten{} }
      check_same(list, function(v)
         return nn.chain(list, v)
      end, function(v)
         for _, module in ipairs(list) do
            v = module(v)
         end
         return v
      end, siamese.randn(2, 3, 7, 6))
   end)

   it("hands several values on", function()
      local Two = nn.Module:extend("Two")
      function Two:forward(a, b) -- luacheck: ignore self
         return b, a
      end
      assert.same({ 2, 1 }, { nn.chain({ Two(), nn.Sequential{ Two(), Two() } }, 1, 2) })
      assert.same({ 1, 2 }, { nn.chain({ Two(), nn.Sequential{ Two() } }, 1, 2) })
   end)

   it("leaves what it was given, and what a module keeps", function()
      local Keeper = nn.Module:extend("Keeper")
      function Keeper:forward(x)
         self.kept = x
         return x + 1
      end
      local keeper, x = Keeper(), siamese.ones(1, 1, 2, 2)
      local y = nn.chain({ nn.ReLU{}, nn.Sequential{ keeper }, nn.ReLU{}, nn.ReLU{} }, x)
      assert.equal(1, x[1][1][1][1]:item())
      assert.equal(1, keeper.kept[1][1][1][1]:item())
      assert.equal(2, y[1][1][1][1]:item())
      siamese.no_grad(function()
         local again = nn.Sequential{ nn.Identity{}, nn.Sequential{}, nn.Identity{} }(x)
         assert.is_true(rawequal(again, x))
         assert.equal(1, again[1][1][1][1]:item())
      end)
   end)
end)
