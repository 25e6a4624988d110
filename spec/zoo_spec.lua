--- The networks of the literature against torchvision's: structure, published sizes, values and gradients
-- (spec/golden/zoo.lua); what they take and refuse; and real weights.
local siamese = require "siamese"
local record = require "siamese.record"
local support = require "spec.support"

local models, nn = siamese.models, siamese.nn
local golden = support.golden("zoo")

local TORCHVISION = { "vgg11", "vgg13", "vgg16", "vgg19", "vgg11_bn", "vgg13_bn", "vgg16_bn", "vgg19_bn",
   "resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "googlenet", "inception_v3", "mobilenet_v2",
   "mobilenet_v3_small", "mobilenet_v3_large" }
local WITH_HEADS = { googlenet = true, inception_v3 = true }
local CIFAR = { "resnet20", "resnet32", "resnet44", "resnet56", "resnet110" }
local IMAGES = { "mobilenet_v1" }
for _, list in ipairs{ TORCHVISION, CIFAR } do
   table.move(list, 1, #list, #IMAGES + 1, IMAGES)
end

--- A network's shapes alone: no time, no memory.
local function outline(name, options)
   return siamese.shapes_only(models[name], options)
end

local function with_classes(name)
   return outline(name, { num_classes = 1000, aux_logits = WITH_HEADS[name] })
end

-- The rules of spec/golden/make_zoo.py

local function fill(shape, seed)
   local n = 1
   for _, size in ipairs(shape) do
      n = n * size
   end
   local k = (siamese.arange(n, { dtype = "int64" }) + 7919 * seed) % 10007
   return ((k * k * 3 + k * 5 + 11 * seed) % 2003 - 1001):float():div_(1024):reshape(shape)
end

local function power_of_two(x)
   return 2.0 ^ math.floor(math.log(x, 2))
end

--- Scale, offset and whether every fourth value changes sign, by the tensor's role.
local function rule(name, shape, weight_dims, smooth)
   local kind, fan = name:match("[^.]+$"), 1
   for d = 2, #shape do
      fan = fan * shape[d]
   end
   if #shape > 1 then
      return power_of_two(1.5 / math.sqrt(fan)), 0, false
   elseif kind == "running_var" then
      return 0.25, 1, false
   elseif weight_dims == 1 and kind == "weight" then
      return smooth and 0.0625 or 0.25, smooth and 0.375 or 1, false
   elseif weight_dims == 1 and kind == "bias" and smooth then
      return 0.125, 1.125, not (name:find("bn[23]%.") or name:find("downsample%.1%.")
         or name:find("shortcut%.1%."))
   end
   return 0.25, 0, false
end

local function set_state(net, smooth)
   local state, seed = net:state_dict(), 0
   for name, tensor in pairs(state) do
      if not name:find("num_batches_tracked$") then
         seed = seed + 1
         local sibling = state[(name:match("^(.*)%.") or "") .. ".weight"]
         local scale, offset, flip = rule(name, tensor.shape, sibling and sibling:dim() or 0, smooth)
         local value = fill(tensor.shape, seed) * scale + offset
         if flip then
            local place = siamese.arange(value:numel(), { dtype = "int64" }) % 4
            value = siamese.where(place:eq(1), -value, value)
         end
         tensor:copy_(value)
      end
   end
end

local function checksum(state)
   local h = 0x811C9DC5
   for name, tensor in pairs(state) do
      for _, byte in ipairs{ (name .. " " .. table.concat(tensor.shape, ",") .. "\n"):byte(1, -1) } do
         h = ((h ~ byte) * 0x01000193) & 0xFFFFFFFF
      end
   end
   return h
end

-- Values

--- Both relative to the largest of `want`.
local function near(what, got, want, limit)
   got, want = got:detach():reshape(#want), siamese.tensor(want)
   local off = (got - want):abs():max():item() / want:abs():max():item()
   assert(off <= limit, ("%s: off by %g of the largest"):format(what, off))
end

local function check_values(net, case)
   set_state(net, false)
   local x = fill(case.shape, case.seed) * 2
   near("evaluation without a graph", siamese.no_grad(net:eval(), x), case.evaluated, 1e-4)
   near("evaluation", net(x), case.evaluated, 1e-4)
   local outputs = { net:train()(x) }
   assert.equal(#case.trained, #outputs)
   local limit = math.max(1e-4, 4 * case.own)
   for k, y in ipairs(outputs) do
      near("output " .. k .. " in training", y, case.trained[k], limit)
   end
   local state = net:state_dict()
   for key, want in pairs(case.buffers) do
      near(key, state[key]:narrow(1, 1, #want), want, limit)
   end
end

local function check_gradients(net, case)
   set_state(net, true)
   local x = (fill(case.shape, case.seed) * 2):requires_grad_()
   local loss = siamese.zeros(1)
   for k, y in ipairs{ net:train()(x) } do
      loss = loss + (y * fill(y.shape, 1999 + k)):sum()
   end
   loss:backward()
   local grads = { input = x.grad }
   for name, tensor in net:named_parameters() do
      grads[name] = tensor.grad
   end
   for _, item in ipairs(case.gradients) do
      local key, norm, product, scale = table.unpack(item)
      local g = grads[key]
      local off = math.max(math.abs(g:norm():item() - norm),
         math.abs((g * fill(g.shape, 3000)):sum():item() - product)) / scale
      assert(off <= 1e-4, ("gradient of %s: off by %g of the norm"):format(key, off))
   end
end

describe("as PyTorch's:", function()
   for _, case in ipairs(golden.cases) do
      it(case.name, function()
         local net = assert(load("local models = ... return " .. case.lua))(models)
         assert.equal(case.checksum, checksum(net:state_dict()))
         check_values(net, case)
         check_gradients(net, case)
      end)
   end
end)

describe("names and shapes of torchvision's", function()
   for _, name in ipairs(TORCHVISION) do
      it(name, function()
         assert.equal(golden.structures[name], checksum(with_classes(name):state_dict()))
      end)
   end
end)

-- Published parameters with 1,000 classes (and auxiliary heads), and GFLOPs: torchvision's documentation
-- of the weights; MobileNet v1: Howard et al. 2017, Tables 4 and 6, to the million.
local PUBLISHED = { resnet18 = { 11689512, 1.814 }, resnet34 = { 21797672, 3.664 },
   resnet50 = { 25557032, 4.089 }, resnet101 = { 44549160, 7.801 }, resnet152 = { 60192808, 11.514 },
   vgg11 = { 132863336, 7.609 }, vgg13 = { 133047848, 11.308 }, vgg16 = { 138357544, 15.47 },
   vgg19 = { 143667240, 19.632 }, vgg11_bn = { 132868840, 7.609 }, vgg13_bn = { 133053736, 11.308 },
   vgg16_bn = { 138365992, 15.47 }, vgg19_bn = { 143678248, 19.632 }, googlenet = { 13004888, 1.498 },
   inception_v3 = { 27161264, 5.713 }, mobilenet_v2 = { 3504872, 0.301 },
   mobilenet_v3_small = { 2542856, 0.057 }, mobilenet_v3_large = { 5483032, 0.217 } }

describe("a summary's totals", function()
   for name, want in pairs(PUBLISHED) do
      it("of " .. name .. " are the published ones", function()
         local side = name == "inception_v3" and 299 or 224
         local s = with_classes(name):summary{ input = { 1, 3, side, side } }
         assert.equal(want[1], s.parameters)
         assert.equal(want[1], s.trainable)
         assert.near(want[2] * 1e9, s.multiply_adds, 0.5e6 + 1)
         assert.equal(4 * s.parameters, s.memory.parameters)
         local sum = 0
         for _, row in ipairs(s.layers) do
            sum = sum + row.parameters
         end
         assert.equal(s.parameters, sum)
      end)
   end

   it("are those without auxiliary heads, too", function()
      for name, want in pairs{ googlenet = 6624904, inception_v3 = 23834568 } do
         assert.equal(want, outline(name, { num_classes = 1000 }):num_parameters())
      end
   end)

   it("of MobileNet v1 are the paper's", function()
      for alpha, want in pairs{ [1] = { 4.2, 569 }, [0.75] = { 2.6, 325 }, [0.5] = { 1.3, 149 },
         [0.25] = { 0.5, 41 } } do
         local s = outline("mobilenet_v1", { num_classes = 1000, width_mult = alpha }):summary{
            input = { 1, 3, 224, 224 } }
         assert.near(want[1], s.parameters / 1e6, 0.05)
         assert.near(want[2], s.multiply_adds / 1e6, 1)
      end
   end)

   it("of the thin ResNets are the paper's: 0.27 to 1.7 million parameters", function()
      for name, want in pairs{ resnet20 = 0.27, resnet32 = 0.46, resnet44 = 0.66, resnet56 = 0.85,
         resnet110 = 1.7 } do
         assert.near(want, models[name]{ num_classes = 10 }:num_parameters() / 1e6, 0.03)
      end
   end)
end)

-- What they take

local function quick(net, x)
   return siamese.shapes_only(net, x)
end

describe("every network of pictures", function()
   for _, name in ipairs(IMAGES) do
      it("of the name " .. name .. " takes one channel, any size that it can", function()
         local net = outline(name, { in_channels = 1, embedding = 7 }):eval()
         assert.equal(7, net.out_features)
         local h, w = table.unpack(net.minimum_size)
         for _, size in ipairs{ { h, w }, { h + 1, w + 38 }, { h + 62, w + 13 } } do
            assert.same({ 1, 7 }, quick(net, siamese.zeros(1, 1, size[1], size[2])).shape)
         end
         net = outline(name, {})
         assert.same({ 2, net.out_features }, quick(net, siamese.zeros(2, 3, h + 3, w + 6)).shape)
         assert.same({ 1, 11 }, quick(outline(name, { num_classes = 11 }):eval(),
            siamese.zeros(1, 3, h + 9, w)).shape)
      end)

      it("of the name " .. name .. " names the smallest picture", function()
         local net = outline(name, {})
         local h, w = table.unpack(net.minimum_size)
         if h > 1 then
            support.fails(("models.%s: the input [1,3,%d,%d] is too small: its height and width must be at "
               .. "least %d"):format(name, h - 1, w + 5, h), net, siamese.zeros(1, 3, h - 1, w + 5))
            support.fails("is too small", net, siamese.zeros(1, 3, h + 5, w - 1))
            net.minimum_size = { 1, 1 } -- and it is right: a kernel no longer fits
            assert.is_false(pcall(quick, net, siamese.zeros(1, 3, h - 1, w + 5)))
         end
         support.fails(("models.%s: the input must be [N,3,H,W], got [1,1,%d,%d]"):format(name, h, w), net,
            siamese.zeros(1, 1, h, w))
         support.fails(("models.%s: the input must be [N,3,H,W], got [3,%d,%d]"):format(name, h, w), net,
            siamese.zeros(3, h, w))
         support.fails(("models.%s: expected a tensor, got nil"):format(name), net)
      end)

      it("of the name " .. name .. " can be built again from its record", function()
         siamese.shapes_only(function()
            local net = models[name]{ in_channels = 2, embedding = 3 }
            local made = assert(record.of(net))
            assert.equal("models." .. name, made.name)
            local again = assert(record.build(made))
            assert.equal(tostring(net), tostring(again))
            assert.equal(checksum(net:state_dict()), checksum(again:state_dict()))
         end)
      end)
   end

   it("refuses options that make no sense", function()
      support.fails("models.resnet18: unknown option 'embeding' (did you mean 'embedding'?)", models.resnet18,
         { embeding = 3 })
      support.fails("models.vgg11: give embedding or num_classes, not both", models.vgg11,
         { embedding = 3, num_classes = 4 })
      support.fails("models.vgg11: dropout must be a number from 0 to 1, got 2", models.vgg11,
         { dropout = 2 })
      support.fails("models.resnet50: num_classes must be an integer of at least 1, got 0", models.resnet50,
         { num_classes = 0 })
      support.fails("models.resnet20: shortcut must be 'A' or 'B', got 'C'", models.resnet20,
         { shortcut = "C" })
      support.fails("models.googlenet: aux_logits needs num_classes", models.googlenet, { aux_logits = true })
      support.fails("models.inception_v3: transform_input needs 3 channels", models.inception_v3,
         { in_channels = 1, transform_input = true })
      support.fails("models.mobilenet_v2: width_mult must be above 0", models.mobilenet_v2,
         { width_mult = 0 })
      support.fails("models.CifarResNet: depth must be 6 n + 2 (20, 32, 44, 56, 110, ...), got 21",
         models.CifarResNet, { depth = 21 })
      support.fails("models.ResNet: layers must be four numbers of blocks, got {1, 2}", models.ResNet,
         { block = models.BasicBlock, layers = { 1, 2 } })
      support.fails("models.ResNet: block must be a class of modules", models.ResNet,
         { block = nn.ReLU, layers = { 1, 1, 1, 1 } })
      support.fails("models.VGG: layers: 2 must be an integer of at least 1, got X", models.VGG,
         { layers = { 8, "X" } })
      support.fails("models.MobileNetV3: size must be 'small' or 'large', got 'medium'", models.MobileNetV3,
         { size = "medium" })
   end)

   it("blames the line that asked", function()
      local _, message = pcall(function()
         local net = models.resnet18{ embedding = 0 }
         return net
      end)
      assert.matches("^spec/zoo_spec.lua:%d+: models.resnet18", message)
      _, message = pcall(function()
         local net = models.ResNet{ block = models.BasicBlock, layers = { 1, 1, 1, 0 } }
         return net
      end)
      assert.matches("^spec/zoo_spec.lua:%d+: models.ResNet: layers: 4", message)
   end)
end)

describe("auxiliary heads", function()
   it("give their logits in training only, the deeper one first", function()
      local net = outline("googlenet", { num_classes = 3, aux_logits = true })
      local x = siamese.zeros(2, 3, 32, 32)
      local y, aux2, aux1, none = quick(net, x)
      assert.same({ { 2, 3 }, { 2, 3 }, { 2, 3 } }, { y.shape, aux2.shape, aux1.shape })
      assert.is_nil(none)
      assert.equal(1, select("#", quick(net:eval(), x)))
   end)

   it("of Inception v3 need pictures of 299 x 299 in training", function()
      local net = outline("inception_v3", { num_classes = 3, aux_logits = true })
      assert.equal(2, select("#", quick(net, siamese.zeros(2, 3, 299, 300))))
      support.fails("models.inception_v3: the input [2,3,298,299] is too small: its height and width must be "
         .. "at least 299", net, siamese.zeros(2, 3, 298, 299))
      net:eval()
      assert.equal(1, select("#", quick(net, siamese.zeros(2, 3, 298, 299))))
   end)
end)

describe("a network's start", function()
   it("is torchvision's", function()
      siamese.manual_seed(2)
      local net = models.resnet18{ num_classes = 10 }
      assert.near(math.sqrt(2 / (128 * 9)), net.layer2[1].conv1.weight:detach():std():item(), 5e-4)
      assert.near(1 / math.sqrt(3 * 512), net.fc.weight:detach():std():item(), 2e-3)
      net = models.mobilenet_v2{ num_classes = 100, width_mult = 0.35 }
      assert.near(0.01, net.classifier[2].weight:detach():std():item(), 2e-4)
      assert.equal(0, net.classifier[2].bias:detach():abs():max():item())
      net = models.inception_v3{ num_classes = 10, aux_logits = true }
      assert.near(0.1, net.Mixed_7c.branch_pool.conv.weight:detach():std():item(), 1e-3)
      assert.near(0.01, net.AuxLogits.conv1.conv.weight:detach():std():item(), 1e-4)
      assert.near(0.001, net.AuxLogits.fc.weight:detach():std():item(), 5e-5)
      local zero = models.ResNet{ block = models.BasicBlock, layers = { 1, 1, 1, 1 },
         zero_init_residual = true }
      assert.equal(0, zero.layer1[1].bn2.weight:detach():max():item())
      assert.equal(1, zero.layer1[1].bn1.weight:detach():max():item())
   end)
end)

describe("a stage", function()
   it("of an instance can be replaced", function()
      local net = models.resnet18{}
      net.layer4 = nn.Conv2d{ in_channels = 256, out_channels = 9, kernel_size = 1 }
      assert.same({ 1, 9 }, net(siamese.zeros(1, 3, 40, 40)).shape)
      net.fc = nn.Linear{ in_features = 9, out_features = 4 }
      assert.same({ 1, 4 }, net(siamese.zeros(1, 3, 40, 40)).shape)
      net.relu = nn.LeakyReLU{ negative_slope = 1 } -- no activation at all behind the stem
      local stem = net.bn1:eval()(net.conv1(siamese.ones(1, 3, 40, 40)))
      net.maxpool, net.layer1, net.layer2, net.layer3, net.layer4 = nn.Identity{}, nn.Identity{},
         nn.Identity{}, nn.Identity{}, nn.Identity{}
      support.close(net:eval():forward_features(siamese.ones(1, 3, 40, 40)), stem, 1e-5, 1e-5)
   end)

   it("can be another in a subclass, which trains and saves like any network", function()
      local Mine = models.ResNet:extend("Mine")
      function Mine:init(width)
         models.ResNet.init(self, { block = models.BasicBlock, layers = { 1, 1, 1, 1 }, embedding = 6 })
         self.layer4 = nn.Sequential{ nn.Conv2d{ in_channels = 256, out_channels = width, kernel_size = 3,
            padding = 1, bias = false }, nn.BatchNorm2d{ num_features = width }, nn.ReLU{} }
         self.fc = nn.Linear{ in_features = 2 * width, out_features = 6 }
      end
      function Mine:forward_head(x) -- mean and largest value of each channel
         return self.fc(siamese.cat({ x:mean{ 3, 4 }, (x:amax{ 3, 4 }) }, 2))
      end
      local net = Mine(8)
      local twin = siamese.Twin{ encoder = net }
      local x = siamese.randn(3, 3, 45, 37)
      twin(x, x * 0.5 + 0.1):sum():backward()
      for name, tensor in twin:named_parameters() do
         assert(tensor.grad, name .. " has no gradient")
      end
      assert.is_nil(record.of(net))
      local other = Mine(8)
      other:load_state_dict(net:state_dict())
      support.close(other:eval()(x), net:eval()(x))
      assert.equal("Mine(", tostring(net):match("^%w+%("))
   end)

   it("can be another kind of block", function()
      local Block = models.BasicBlock:extend("Block")
      Block.expansion = 2
      function Block:init(cin, width, stride, downsample)
         models.BasicBlock.init(self, cin, 2 * width, stride, downsample)
         self.relu = nn.Hardswish{}
      end
      local net = models.ResNet{ block = Block, layers = { 1, 1, 1, 1 } }
      assert.equal(1024, net.out_features)
      assert.same({ 1, 1024 }, net(siamese.zeros(1, 3, 33, 33)).shape)
   end)

   it("can be frozen, and has its own learning rate", function()
      local net = models.resnet20{ embedding = 4 }
      net:freeze("conv1", "bn1", "layer1")
      net:train()
      assert.is_false(net.layer1[1].bn1.training)
      assert.is_true(net.layer2[1].bn1.training)
      local opt = siamese.optim.SGD(net:parameter_groups{ { "layer3", lr = 1e-3 }, { "linear", lr = 1e-2 } },
         { lr = 1e-4 })
      local before = net.layer1[1].conv1.weight:clone()
      net(siamese.randn(2, 3, 16, 16)):sum():backward()
      opt:step()
      assert.is_true(before == net.layer1[1].conv1.weight:detach())
   end)
end)

describe("a network's weights", function()
   local path = os.tmpname()

   after_each(function()
      os.remove(path)
   end)

   local function save(net)
      assert(siamese.save(path, net:state_dict()))
   end

   it("go into one with an embedding, which is new; the classifier is left out", function()
      local from = models.resnet20{ num_classes = 10 }
      save(from)
      local net, report = models.resnet20{ weights = path, embedding = 4 }
      assert.same({ "linear.weight", "linear.bias" }, report.new)
      assert.same({ "linear.weight", "linear.bias" }, report.left_out)
      assert.matches("left out: linear.weight %[10,64%]", tostring(report))
      assert.is_true(net.layer3[3].conv2.weight == from.layer3[3].conv2.weight)
      net, report = models.resnet20{ weights = path }
      assert.same({}, report.new)
      assert.is_true(net.bn1.running_var == from.bn1.running_var)
      net, report = models.resnet20{ weights = path, num_classes = 10 }
      assert.same({}, report.left_out)
      assert.is_true(net.linear.weight == from.linear.weight)
      assert.is_nil(assert(record.of(net)).options.weights)
   end)

   it("leave auxiliary heads out where there are none", function()
      save(models.googlenet{ num_classes = 3, aux_logits = true })
      local net, report = models.googlenet{ weights = path, num_classes = 3 }
      assert.is_nil(net.aux1)
      assert.equal("aux1.conv.conv.weight", report.left_out[1])
      local none, message = models.googlenet{ weights = path, num_classes = 4 }
      assert.is_nil(none)
      assert.matches("fc.weight: expected shape %[4,1024%], got %[3,1024%]", message)
   end)

   it("of another network, or another number of channels, are refused by name and shape", function()
      save(models.resnet20{ num_classes = 10 })
      local net, message = models.resnet32{ weights = path }
      assert.is_nil(net)
      assert.matches("missing: layer1.3.conv1.weight", message)
      net, message = models.resnet20{ weights = path, in_channels = 1 }
      assert.is_nil(net)
      assert.matches("conv1.weight: expected shape %[16,1,3,3%], got %[16,3,3,3%]", message)
   end)

   it("may be a part of a file, which says what to take away", function()
      local from = models.resnet20{ embedding = 4 }
      assert(siamese.save(path, siamese.Twin{ encoder = from }))
      local net, message = models.resnet20{ weights = path, embedding = 4 }
      assert.is_nil(net)
      assert.matches("its names begin with 'encoder.', which the option strip_prefix takes away", message)
      local report
      net, report = models.resnet20{ weights = { path, strip_prefix = "encoder." }, embedding = 4 }
      assert.same({ {}, {} }, { report.new, report.left_out })
      assert.is_true(net.linear.weight == from.linear.weight)
      net, message = models.resnet20{ weights = { path, key = "state" } }
      assert.is_nil(net)
      assert.matches("has no 'state'", message)
      support.fails("models.resnet20: weights: unknown option 'prefix'", models.resnet20,
         { weights = { path, prefix = "encoder." } })
      support.fails("models.resnet20: weights: strip_prefix must be true, a string", models.resnet20,
         { weights = { path, strip_prefix = 3 } })
      support.fails("models.resnet20: weights must be the name of a file, got {}", models.resnet20,
         { weights = {} })
   end)

   it("that are not there are nil and a message", function()
      local net, message = models.vgg11_bn{ weights = path .. ".none" }
      assert.is_nil(net)
      assert.matches("%.none", message)
      support.fails("models.vgg11: weights must be the name of a file, got 3", models.vgg11, { weights = 3 })
   end)

   it("are not taken from where a record says", function()
      save(models.resnet20{})
      local net, message = record.build{ name = "models.resnet20", options = { weights = path } }
      assert.is_nil(net)
      assert.matches("unknown option 'weights'", message)
   end)
end)

describe("weights from the field", function()
   local folder = (os.getenv("SIAMESE_DATA") or "../shared/data") .. "/weights/"

   --- What a network gives for the reference's input, against the reference.
   local function check(name, file)
      local want = siamese.load(folder .. name .. "_cifar10_reference.safetensors")
      local with = want and models[name]{ weights = folder .. file, num_classes = 10 }
      if not with then
         return pending("no weights in " .. folder)
      end
      local bare = assert(models[name]{ weights = folder .. file }):eval()
      support.close(siamese.no_grad(with:eval(), want.input), want.logits, 1e-4, 1e-4)
      support.close(siamese.no_grad(bare, want.input), want.embedding, 1e-4, 1e-4)
      support.close(bare(want.input), want.embedding, 1e-4, 1e-4)
   end

   for _, case in ipairs{ { "resnet20", "resnet20_cifar10.safetensors" },
      { "resnet56", "resnet56_cifar10.safetensors" }, { "resnet20", "resnet20_cifar10.pt" },
      { "resnet20", "resnet20_cifar10_legacy.th" } } do
      it("give the reference's embeddings and logits: " .. case[2], function()
         check(case[1], case[2])
      end)
   end
end)
