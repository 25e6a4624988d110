--- nn.Module: what is tracked, under which names, in which order; state dictionaries; printing.
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

local function names_of(iterator)
   local names = {}
   for name in iterator do
      names[#names + 1] = name
   end
   return names
end

local function keys_of(state)
   local names = {}
   for name in pairs(state) do
      names[#names + 1] = name
   end
   return names
end

describe("a module written in Lua", function()
   it("runs its forward and trains", function()
      siamese.manual_seed(1)
      local net = Net(3)
      local y = net(siamese.randn(5, 1, 4, 4))
      assert.same({ 5, 2 }, y.shape)
      y:sum():backward()
      for name, tensor in net:named_parameters() do
         assert(tensor.grad, name .. " has no gradient")
         assert.same(tensor.shape, tensor.grad.shape)
      end
      net:zero_grad()
      assert.is_nil(net.conv.weight.grad)
   end)

   it("lists parameters in the order of assignment", function()
      assert.same({ "conv.weight", "conv.bias", "norm.weight", "norm.bias", "fc.weight", "fc.bias" },
         names_of(Net(2):named_parameters()))
      assert.equal(6, #Net(2):parameters())
      assert.equal(2 * 9 + 2 + 4 + 16 + 2, Net(2):num_parameters())
   end)

   it("may give several values", function()
      local Two = nn.Module:extend("Two")
      function Two:forward(a, b) -- luacheck: ignore self
         return b, a, 3
      end
      assert.same({ 2, 1, 3 }, { Two()(1, 2) })
   end)

   it("is told when it has no forward", function()
      support.fails("Empty has no forward method", nn.Module:extend("Empty")())
   end)

   it("inherits from another", function()
      local Scaled = nn.Linear:extend("Scaled")
      function Scaled:init(options)
         nn.Linear.init(self, options)
         self.scale = nn.Parameter(siamese.ones(1))
      end
      function Scaled:forward(x)
         return nn.Linear.forward(self, x) * self.scale
      end
      local layer = Scaled{ in_features = 2, out_features = 3 }
      assert.same({ "weight", "bias", "scale" }, names_of(layer:named_parameters()))
      assert.same({ 4, 3 }, layer(siamese.zeros(4, 2)).shape)
      assert.equal("Scaled(in_features=2, out_features=3, bias=true)", tostring(layer))
   end)

   it("may have fields called name, shape or options", function()
      local m = nn.Module:extend("Named")()
      m.name, m.shape, m.options = "a", { 1 }, 5
      assert.equal("Named()", tostring(m))
      assert.same({}, keys_of(m:state_dict()))
   end)

   it("leaves the graph intact when an error is raised in a forward", function()
      local Broken = nn.Module:extend("Broken")
      function Broken:init()
         self.fc = nn.Linear{ in_features = 2, out_features = 2 }
      end
      function Broken:forward(x, fail)
         local y = self.fc(x)
         return fail and error("in the middle") or y
      end
      local net = Broken()
      support.fails("in the middle", net, siamese.ones(1, 2), true)
      net(siamese.ones(1, 2)):sum():backward()
      support.close(net.fc.bias.grad, { 1, 1 })
   end)
end)

describe("fields of a module", function()
   local function empty()
      return nn.Module:extend("M")()
   end

   it("are parameters if they are leaves that require gradients", function()
      local m = empty()
      m.a = siamese.zeros(2, { requires_grad = true })
      m.b = nn.Parameter(siamese.zeros(3))
      m.plain = siamese.zeros(4)
      m.computed = m.a * 2
      assert.same({ "a", "b" }, names_of(m:named_parameters()))
      assert.same({ 4 }, m.plain.shape)
   end)

   it("may be replaced: the name keeps its place", function()
      local net = Net(2)
      net.conv = nn.Identity{}
      net.conv = nn.Conv2d{ in_channels = 3, out_channels = 2, kernel_size = 1, bias = false }
      assert.same({ "conv.weight", "norm.weight", "norm.bias", "fc.weight", "fc.bias" },
         names_of(net:named_parameters()))
   end)

   it("are forgotten when nil is assigned, and come last when they return", function()
      local net = Net(2)
      local conv = net.conv
      net.conv = nil
      assert.is_nil(net.conv)
      assert.equal(4, #net:parameters())
      net.conv = conv
      assert.equal("conv.weight", names_of(net:named_parameters())[5])
   end)

   it("stay parameters when a tensor without gradient replaces them", function()
      local m = empty()
      m.w = nn.Parameter(siamese.zeros(2))
      m.w = siamese.ones(2)
      assert.same({ "w" }, keys_of(m:state_dict()))
      assert.same({ "w" }, names_of(m:named_parameters()))
   end)

   it("do not turn from parameters or modules into something else unseen", function()
      local net = Net(2)
      support.fails("Net.fc is a module; a number cannot take its place", function()
         net.fc = 3
      end)
      support.fails("Linear.weight is a parameter; a table cannot take its place", function()
         net.fc.weight = { 1, 2 }
      end)
   end)

   it("cannot hold the module itself, at any depth", function()
      local net, outer = Net(2), empty()
      outer.net = net
      support.fails("Net.outer: a module cannot contain itself", function()
         net.outer = outer
      end)
      support.fails("Net.me: a module cannot contain itself", function()
         net.me = net
      end)
   end)

   it("have no dots in tracked names", function()
      support.fails("the name of a module must be a string without dots, got 'a.b'", function()
         empty():register_module("a.b", nn.ReLU{})
      end)
   end)

   it("may be numbered", function()
      local m = empty()
      m[1] = nn.Linear{ in_features = 1, out_features = 1 }
      m[2] = nn.Linear{ in_features = 1, out_features = 1 }
      assert.same({ "1.weight", "1.bias", "2.weight", "2.bias" }, names_of(m:named_parameters()))
   end)

   it("are buffers by register_buffer: saved, not trained", function()
      local m = empty()
      m:register_buffer("mean", siamese.zeros(2))
      assert.same({}, m:parameters())
      assert.same({ "mean" }, names_of(m:named_buffers()))
      m.mean = siamese.ones(2)
      assert.same({ 1, 1 }, m:state_dict().mean:totable())
      support.fails("expected a tensor, got number", m.register_buffer, m, "x", 1)
   end)

   it("can be made parameters only of float32 tensors", function()
      support.fails("nn.Parameter: expected a tensor, got table", nn.Parameter, { 1 })
      support.fails("nn.Parameter: only float32 tensors can be trained, got int64", nn.Parameter,
         siamese.zeros(2, { dtype = "int64" }))
   end)

   it("of a parameter shares its memory with the tensor it was made of", function()
      local t = siamese.zeros(2)
      local p = nn.Parameter(t)
      t:fill_(4)
      assert.same({ 4, 4 }, p:totable())
      assert.is_true(p.requires_grad)
      assert.is_false(t.requires_grad)
   end)
end)

describe("one module under two names", function()
   local function shared()
      local m = nn.Module:extend("Shared")()
      m.left = nn.Linear{ in_features = 2, out_features = 1 }
      m.right = m.left
      function m:forward(a, b) -- luacheck: ignore self
         return m.left(a) + m.right(b)
      end
      return m
   end

   it("has its parameters listed once and saved under both", function()
      local m = shared()
      assert.equal(2, #m:parameters())
      assert.equal(3, m:num_parameters())
      assert.same({ "left.weight", "left.bias", "right.weight", "right.bias" }, keys_of(m:state_dict()))
   end)

   it("gets the sum of both sides' gradients", function()
      local m = shared()
      m(siamese.tensor{ { 1, 2 } }, siamese.tensor{ { 10, 20 } }):sum():backward()
      support.close(m.left.weight.grad, { { 11, 22 } })
      support.close(m.left.bias.grad, { 2 })
   end)

   it("is visited once by apply and named_modules", function()
      local count, m = 0, shared()
      m:apply(function()
         count = count + 1
      end)
      assert.equal(2, count)
      assert.same({ "", "left" }, names_of(m:named_modules()))
   end)
end)

describe("a state dictionary", function()
   it("holds parameters and buffers in order, as aliases outside the graph", function()
      local net = Net(2)
      local state = net:state_dict()
      assert.same({ "conv.weight", "conv.bias", "norm.weight", "norm.bias", "norm.running_mean",
         "norm.running_var", "norm.num_batches_tracked", "fc.weight", "fc.bias" }, keys_of(state))
      assert.is_false(state["fc.bias"].requires_grad)
      state["fc.bias"]:fill_(7)
      assert.same({ 7, 7 }, net.fc.bias:totable())
   end)

   it("goes from one network into another", function()
      siamese.manual_seed(3)
      local a, b = Net(2), Net(2)
      local x = siamese.randn(3, 1, 4, 4)
      a(x)
      b:load_state_dict(a:state_dict())
      support.close(b:eval()(x), a:eval()(x), 0, 0)
      assert.equal(1, b.norm.num_batches_tracked:item())
      a.fc.bias:detach():fill_(9)
      assert.are_not.equal(9, b.fc.bias[1]:item())
   end)

   it("names everything that is missing, unexpected or of another shape, and copies nothing", function()
      local net, other = Net(2), Net(3)
      local state = other:state_dict()
      state["norm.bias"] = nil
      state.extra = siamese.zeros(1)
      state["norm.weight"] = "w"
      local before = net.fc.bias:clone()
      local ok, message = pcall(net.load_state_dict, net, state)
      assert.is_false(ok)
      for _, text in ipairs{ "load_state_dict of Net", "missing: norm.bias", "unexpected: extra",
         "conv.weight: expected shape [2,1,3,3], got [3,1,3,3]", "norm.weight: expected a tensor, got string",
         "fc.weight: expected shape [2,8], got [2,12]" } do
         assert(message:find(text, 1, true), message)
      end
      assert.is_true(net.fc.bias == before)
   end)

   it("may be partial when not strict, and what was left out is returned", function()
      local net = Net(2)
      local missing, unexpected = net:load_state_dict({ ["fc.bias"] = siamese.tensor{ 5, 6 },
         b = siamese.zeros(1), a = siamese.zeros(1) }, { strict = false })
      assert.same({ "conv.weight", "conv.bias", "norm.weight", "norm.bias", "norm.running_mean",
         "norm.running_var", "norm.num_batches_tracked", "fc.weight" }, missing)
      assert.same({ "a", "b" }, unexpected)
      assert.same({ 5, 6 }, net.fc.bias:totable())
   end)

   it("must fit in shape even when not strict", function()
      support.fails("fc.bias: expected shape [2], got [3]", Net(2).load_state_dict, Net(2),
         { ["fc.bias"] = siamese.zeros(3) }, { strict = false })
   end)

   it("is told from a module and from other things", function()
      support.fails("got a module (give its state_dict())", Net(2).load_state_dict, Net(2), Net(2))
      support.fails("expected a table of tensors, got nil", Net(2).load_state_dict, Net(2))
      support.fails("unknown option 'strickt' (did you mean 'strict'?)", Net(2).load_state_dict, Net(2), {},
         { strickt = false })
   end)
end)

describe("modes", function()
   it("train and eval reach everything below", function()
      local net = nn.Sequential{ Net(2), nn.Dropout{} }
      assert.is_true(net[1].norm.training)
      assert.equal(net, net:eval())
      assert.is_false(net[1].norm.training)
      assert.is_false(net[2].training)
      net:train()
      assert.is_true(net[1].norm.training)
   end)
end)

describe("printing", function()
   it("shows the tree", function()
      assert.equal([[
Net(
  (conv): Conv2d(1, 2, kernel_size=3, stride=1)
  (norm): BatchNorm2d(2, eps=1e-05, momentum=0.1, affine=true, track_running_stats=true)
  (fc): Linear(in_features=8, out_features=2, bias=true)
)]], tostring(Net(2)))
      assert.equal("Outer(\n  (inner): Sequential(\n    (0): ReLU()\n  )\n)", tostring((function()
         local m = nn.Module:extend("Outer")()
         m.inner = nn.Sequential{ nn.ReLU{} }
         return m
      end)()))
   end)

   it("tells a class from a module", function()
      assert.equal("Net: a kind of module; call it to make one", tostring(Net))
      assert.equal("Conv2d: a kind of module; call it to make one", tostring(nn.Conv2d))
   end)
end)

describe("containers", function()
   local function three()
      return nn.Sequential{ nn.Linear{ in_features = 2, out_features = 3 }, nn.ReLU{},
         nn.Linear{ in_features = 3, out_features = 1 } }
   end

   it("count from 1 in Lua and from 0 in names, as PyTorch's do", function()
      local seq = three()
      assert.equal(3, #seq)
      assert.equal("ReLU()", tostring(seq[2]))
      assert.equal(seq[3], seq[-1])
      assert.is_nil(seq[4])
      assert.is_nil(seq[0])
      assert.same({ "0.weight", "0.bias", "2.weight", "2.bias" }, names_of(seq:named_parameters()))
      local count = 0
      for i, module in ipairs(seq) do
         assert.equal(seq[i], module)
         count = count + 1
      end
      assert.equal(3, count)
   end)

   it("take replacements, additions, and give the last one up", function()
      local seq = three()
      seq[2] = nn.Tanh{}
      seq[-1] = nn.Identity{}
      seq[4] = nn.ReLU{}
      assert.equal(seq, seq:append(nn.Sigmoid{}))
      assert.equal("Tanh()", tostring(seq[2]))
      assert.equal(5, #seq)
      assert.same({ 1, 3 }, seq(siamese.zeros(1, 2)).shape)
      seq[5] = nil
      assert.equal(4, #seq)
      support.fails("only the last module can be taken out", function()
         seq[1] = nil
      end)
      support.fails("there is no place 9 among 4 modules", function()
         seq[9] = nn.ReLU{}
      end)
   end)

   it("may be subclassed", function()
      local Block = nn.Sequential:extend("Block")
      local block = Block{ nn.ReLU{}, nn.Tanh{} }
      assert.equal("Tanh()", tostring(block[2]))
      assert.equal(2, #block)
      assert.matches("^Block%(", tostring(block))
   end)

   it("pass several values on", function()
      local Split = nn.Module:extend("Split")
      function Split:forward(x) -- luacheck: ignore self
         return x, x * 2
      end
      local Join = nn.Module:extend("Join")
      function Join:forward(a, b) -- luacheck: ignore self
         return b - a
      end
      support.close(nn.Sequential{ Split(), nn.Identity{}, Join() }(siamese.tensor{ 5 }), { 5 })
   end)

   it("give their input back when empty", function()
      local x = siamese.ones(2)
      assert.equal(x, nn.Sequential{}(x))
      assert.equal("Sequential()", tostring(nn.Sequential{}))
   end)

   it("give the same with ReLU fused and on its own", function()
      siamese.manual_seed(2)
      local conv = nn.Conv2d{ in_channels = 1, out_channels = 4, kernel_size = 3 }
      local norm = nn.BatchNorm2d{ num_features = 4 }
      local x = siamese.randn(2, 1, 6, 6)
      support.close(nn.Sequential{ conv, nn.ReLU{} }(x), conv(x):relu())
      support.close(nn.Sequential{ conv, norm, nn.ReLU{} }:eval()(x), norm(conv(x)):relu())
   end)

   it("do not fuse into a subclass with a forward of its own", function()
      local Doubled = nn.Conv2d:extend("Doubled")
      function Doubled:forward(x)
         return nn.Conv2d.forward(self, x) * -2
      end
      local Negated = nn.ReLU:extend("Negated")
      function Negated:forward(x) -- luacheck: ignore self
         return -x:relu()
      end
      local conv = Doubled{ in_channels = 1, out_channels = 2, kernel_size = 1 }
      local x = siamese.randn(1, 1, 3, 3)
      support.close(nn.Sequential{ conv, nn.ReLU{} }(x), conv(x):relu())
      local plain = nn.Conv2d{ in_channels = 1, out_channels = 2, kernel_size = 1 }
      support.close(nn.Sequential{ plain, Negated{} }(x), -plain(x):relu())
   end)

   it("say which element is no module", function()
      support.fails("nn.Sequential: element 2 is the class ReLU itself (write ReLU{...}), expected a module",
         nn.Sequential, { nn.ReLU{}, nn.ReLU })
      support.fails("nn.Sequential: element 1 is a number, expected a module", nn.Sequential, { 5 })
      support.fails("nn.Sequential: element 2 is a nil, expected a module", nn.Sequential,
         { nn.ReLU{}, nil, nn.ReLU{} })
      support.fails("got the key 'conv'", nn.Sequential, { conv = nn.ReLU{} })
      support.fails("expected a table of modules, got a module", nn.Sequential, nn.ReLU{}, nn.ReLU{})
      support.fails("nn.Sequential:append: got a nil, expected a module", three().append, three())
   end)

   it("hold lists without a forward", function()
      local List = nn.Module:extend("List")
      function List:init()
         self.layers = nn.ModuleList{ nn.Linear{ in_features = 1, out_features = 1 } }
      end
      assert.same({ "layers.0.weight", "layers.0.bias" }, names_of(List():named_parameters()))
      support.fails("ModuleList has no forward method", nn.ModuleList{}, 1)
   end)
end)
