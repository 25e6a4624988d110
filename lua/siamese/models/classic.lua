--- The small encoders of the literature on one-shot recognition, and a multilayer perceptron.
-- @module siamese.models.classic
local core = require "siamese.core"
local nn = require "siamese.nn"
local options = require "siamese.options"
local parts = require "siamese.models.parts"
local record = require "siamese.record"

local M = {}

local function conv(cin, cout, kernel, padding, bias)
   return nn.Conv2d{ in_channels = cin, out_channels = cout, kernel_size = kernel, padding = padding or 0,
      bias = bias ~= false }
end

local function pool()
   return nn.MaxPool2d{ kernel_size = 2 }
end

--- The map's side from the picture's, by what each step makes of it: "p" halves, a number takes so many
-- pixels away.
local function map_side(side, steps)
   for _, step in ipairs(steps) do
      side = step == "p" and side // 2 or side - step
   end
   return side
end

local function smallest_side(steps)
   local side = 1
   while map_side(side, steps) < 1 do
      side = side + 1
   end
   return side
end

local function map_of(size, steps)
   return { map_side(size[1], steps), map_side(size[2], steps) }
end

--- A sequence for pictures; with a linear layer behind the map, for those whose map has one size.
local Sized = nn.Sequential:extend("Sized")

--- Says what the sequence is called and takes; `map` is {height, width} ahead of the linear layer, or nil.
function Sized:describe(name, o, steps, map, out_features)
   local least = smallest_side(steps)
   self.model, self.in_channels, self.minimum_size = name, o.in_channels, { least, least }
   self.steps, self.map, self.out_features = steps, map, out_features
   return self
end

function Sized:forward(x)
   parts.check_input(self, x)
   local map = map_of({ x:size(3), x:size(4) }, self.steps)
   if self.map and (map[1] ~= self.map[1] or map[2] ~= self.map[2]) then
      core.raise(("%s: an input [%s] gives %d x %d values a channel, and the linear layer takes %d x %d: "
         .. "build it with size = {%d, %d}"):format(self.model, table.concat(x.shape, ","), map[1], map[2],
         self.map[1], self.map[2], x:size(3), x:size(4)))
   end
   return nn.Sequential.forward(self, x)
end

local LARGEST = 65536 -- a picture's side

--- Raises unless o.size is a size, or two, that the steps leave something of; returns {height, width} of the
-- map.
local function check_size(name, o, steps)
   local size = options.check_pair(name, o, "size", smallest_side(steps))
   if math.max(size[1], size[2]) > LARGEST then
      core.raise(("%s: size must be at most %d, got %s"):format(name, LARGEST, options.text(o.size)))
   end
   return map_of(size, steps)
end

local function square(name, o, key)
   local both = options.check_pair(name, o, key, 1)
   return both[1] == both[2] and both[1] or both
end

-- conv4

local CONV4 = { "p", "p", "p", "p" }
local CONV4_FAMILY = { spec = options.extend(parts.IMAGE, { in_channels = 1, width = 64, size = 28,
   bias = true }), heads = { "17%." } }

function CONV4_FAMILY.check(name, o)
   options.check_count(name, o, "width", 1)
   options.check_boolean(name, o, "bias")
   check_size(name, o, CONV4)
   o.size = square(name, o, "size")
end

M.Conv4 = Sized:extend("Conv4")

function M.Conv4:init(opts, name)
   name = name or "models.Conv4"
   local o = parts.check(name, opts, CONV4_FAMILY)
   local layers, cin = {}, o.in_channels
   for _ = 1, 4 do
      layers[#layers + 1] = conv(cin, o.width, 3, 1, o.bias)
      layers[#layers + 1] = parts.norm(o.width)
      layers[#layers + 1] = nn.ReLU{}
      layers[#layers + 1] = pool()
      cin = o.width
   end
   layers[#layers + 1] = nn.Flatten{}
   local map = check_size(name, o, CONV4)
   local features = o.width * map[1] * map[2]
   local head = parts.head(o, features)
   layers[#layers + 1] = head
   nn.Sequential.init(self, layers)
   self:describe(name, o, CONV4, head and map, o.num_classes or o.embedding or features)
end

--- The few-shot papers' encoder (Vinyals et al. 2016, Snell et al. 2017): four blocks of 3x3 convolution,
-- batch norm, ReLU and 2x2 max-pooling, then the features as they lie.
-- @function conv4
-- @tparam[opt] table opts `in_channels` (1), `width` (filters a block, 64); `embedding` (size of a linear
--   layer behind the features) or `num_classes`, none by default; `size` (of the input, an integer or
--   {height, width}, which that layer must know; 28); `bias` (true), of the convolutions
-- @treturn Module [N,C,H,W] of at least 16 x 16 to [N,D]; 64 features at 28 x 28
-- @usage local twin = siamese.Twin{ encoder = models.conv4{}, distance = "l2" }
M.conv4 = parts.builder("conv4", CONV4_FAMILY, function(o, name)
   return M.Conv4(o, name)
end)

-- LeNet-5

local LENET = { "p", 4, "p" }
local LENET_FAMILY = { spec = options.extend(parts.IMAGE, { in_channels = 1, size = 28 }),
   heads = { "9%.", "11%." } }

function LENET_FAMILY.check(name, o)
   check_size(name, o, LENET)
   o.size = square(name, o, "size")
   if not o.num_classes then
      o.embedding = o.embedding or 84
   end
end

M.LeNet5 = Sized:extend("LeNet5")

function M.LeNet5:init(opts, name)
   name = name or "models.LeNet5"
   local o = parts.check(name, opts, LENET_FAMILY)
   local map = check_size(name, o, LENET)
   local layers = { conv(o.in_channels, 6, 5, 2), nn.ReLU{}, pool(), conv(6, 16, 5), nn.ReLU{}, pool(),
      nn.Flatten{}, parts.linear(16 * map[1] * map[2], 120), nn.ReLU{},
      parts.linear(120, o.embedding or 84) }
   if o.num_classes then
      layers[11], layers[12] = nn.ReLU{}, parts.linear(84, o.num_classes)
   end
   nn.Sequential.init(self, layers)
   self:describe(name, o, LENET, map, o.num_classes or o.embedding)
end

--- LeNet-5 (LeCun, Bottou, Bengio, Haffner 1998) with ReLU and max-pooling.
-- @function lenet5
-- @tparam[opt] table opts `in_channels` (1); `embedding` (84), the size of its last hidden layer, or
--   `num_classes` for an output behind the 84; `size` of the input (28; an integer or {height, width})
-- @treturn Module [N,C,H,W] of that size, at least 12 x 12, to [N,D]
M.lenet5 = parts.builder("lenet5", LENET_FAMILY, function(o, name)
   return M.LeNet5(o, name)
end)

-- Koch's network

local KOCH = { 9, "p", 6, "p", 3, "p", 3 }
local KOCH_FAMILY = { spec = options.extend(parts.IMAGE, { in_channels = 1, filters = { 64, 128, 128, 256 },
   features = 4096, size = 105 }), heads = { "14%." } }

function KOCH_FAMILY.check(name, o)
   options.check_count(name, o, "features", 1)
   if type(o.filters) ~= "table" or #o.filters ~= 4 then
      core.raise(name .. ": filters must be four integers, got " .. options.text(o.filters))
   end
   for i = 1, 4 do
      options.check_count(name .. ": filters", o.filters, i, 1)
   end
   check_size(name, o, KOCH)
   o.size = square(name, o, "size")
end

M.Koch = Sized:extend("Koch")

function M.Koch:init(opts, name)
   name = name or "models.Koch"
   local o = parts.check(name, opts, KOCH_FAMILY)
   local map = check_size(name, o, KOCH)
   local a, b, c, d = table.unpack(o.filters)
   nn.Sequential.init(self, { conv(o.in_channels, a, 10), nn.ReLU{}, pool(), conv(a, b, 7), nn.ReLU{},
      pool(), conv(b, c, 4), nn.ReLU{}, pool(), conv(c, d, 4), nn.ReLU{}, nn.Flatten{},
      parts.linear(d * map[1] * map[2], o.features), nn.Sigmoid{} })
   nn.init.koch_(self)
   local head = parts.head(o, o.features)
   if head then
      self:append(head)
   end
   self:describe(name, o, KOCH, map, o.num_classes or o.embedding or o.features)
end

--- The network of Koch, Zemel, Salakhutdinov 2015 (their Figure 4), with its initialisation (section
-- 3.2): 64 filters 10x10, 128 of 7x7, 128 of 4x4, 256 of 4x4, max-pooling after the first three, and 4096
-- sigmoid units, which are the embedding. Goes with `nn.WeightedL1{ features = 4096 }` as the twin's head,
-- and with `models.koch_parameter_groups` and `models.koch_schedule`.
-- @function koch
-- @tparam[opt] table opts `in_channels` (1), `filters` ({64, 128, 128, 256}), `features` (4096); `embedding`
--   or `num_classes`, the size of a linear layer behind them, which the paper doesn't have, none by default;
--   `size` of the input (105; an integer or {height, width}); `weights`, a file (see `siamese.models`)
-- @treturn Module [N,C,H,W] of that size, at least 65 x 65, to [N,D]
-- @usage local twin = siamese.Twin{ encoder = models.koch{}, head = nn.WeightedL1{ features = 4096 } }
M.koch = parts.builder("koch", KOCH_FAMILY, function(o, name)
   return M.Koch(o, name)
end)

--- Modules with weights of their own, in order.
local function weighted_layers(net)
   local layers = {}
   net:apply(function(module)
      if #module:own_parameters() > 0 then
         layers[#layers + 1] = module
      end
   end)
   return layers
end

--- Value number i of an option that is one number for all layers or a list with one for each.
local function of_layer(name, o, key, i, count)
   local value = o[key]
   if type(value) == "table" then
      if #value ~= count then
         core.raise(("%s: %s must be a number or a list of %d, got %s"):format(name, key, count,
            options.text(value)))
      end
      value = value[i]
   end
   if type(value) ~= "number" then
      core.raise(("%s: %s must be a number or a list of %d, got %s"):format(name, key, count,
         options.text(o[key])))
   end
   return value
end

--- A group of parameters for each layer (Koch et al. 2015, section 3.3): learning rates eta_j and L2
-- weights lambda_j layer by layer, momentum 0.5, from where `koch_schedule` raises it. The paper searched
-- eta in [1e-4, 1e-1] and lambda in [0, 0.1] and doesn't say what was found; the defaults are this
-- library's.
-- @tparam Module net Koch's network, or a twin of it with its head
-- @tparam[opt] table opts `lr` (1e-2), `weight_decay` (2e-4): a number, or a list with one for each layer
-- @treturn {table,...} groups for `optim.SGD`
-- @usage local groups = models.koch_parameter_groups(twin, { lr = { 1e-2, 1e-2, 1e-2, 1e-2, 1e-3, 1e-3 } })
--local sgd = optim.SGD(groups, { lr = 1e-2 })
function M.koch_parameter_groups(net, opts)
   local name = "models.koch_parameter_groups"
   if not nn.is_module(net) then
      core.raise(("%s: expected a module, got %s"):format(name, type(net)))
   end
   local o = options.check(name, opts, { lr = 1e-2, weight_decay = 2e-4 })
   local layers, groups = weighted_layers(net), {}
   for i, layer in ipairs(layers) do
      groups[i] = { params = layer:own_parameters(), lr = of_layer(name, o, "lr", i, #layers),
         momentum = 0.5, weight_decay = of_layer(name, o, "weight_decay", i, #layers) }
   end
   return groups
end

--- The schedule of Koch et al. 2015, section 3.3: rates fall by 1 % an epoch; momentum rises linearly from
-- 0.5 to mu_j of each layer.
-- @tparam Optimizer optimizer
-- @tparam[opt] table opts `momentum` (0.9), mu: a number, or a list with one for each group; `epochs` (200)
--   until it is reached
-- @treturn function to be called with the number of epochs that are behind, from 0; fractions may be given
function M.koch_schedule(optimizer, opts)
   local name = "models.koch_schedule"
   if type(optimizer) ~= "table" or type(optimizer.param_groups) ~= "table" then
      core.raise(("%s: expected an optimiser, got %s"):format(name, type(optimizer)))
   end
   local o = options.check(name, opts, { momentum = 0.9, epochs = 200 })
   options.check_number(name, o, "epochs", 1e-3, math.huge)
   local groups, begun = optimizer.param_groups, {}
   for i, group in ipairs(groups) do
      begun[i] = { lr = group.lr, momentum = of_layer(name, o, "momentum", i, #groups) }
   end
   return function(epoch)
      for i, group in ipairs(groups) do
         group.lr = begun[i].lr * 0.99 ^ epoch
         group.momentum = 0.5 + (begun[i].momentum - 0.5) * math.min(1, epoch / o.epochs)
      end
   end
end

-- A multilayer perceptron

local MLP_FAMILY = { spec = { in_features = options.required, hidden = { 512, 512 },
   embedding = options.optional, num_classes = options.optional, batch_norm = false, dropout = 0.0 } }

function MLP_FAMILY.check(name, o)
   options.check_count(name, o, "in_features", 1)
   options.check_boolean(name, o, "batch_norm")
   if type(o.hidden) == "number" then
      o.hidden = { o.hidden }
   elseif type(o.hidden) ~= "table" then
      core.raise(name .. ": hidden must be a list of sizes, got " .. options.text(o.hidden))
   end
   for i = 1, #o.hidden do
      options.check_count(name .. ": hidden", o.hidden, i, 1)
   end
end

M.MLP = nn.Sequential:extend("MLP")

function M.MLP:init(opts, name)
   name = name or "models.MLP"
   local o = parts.check(name, opts, MLP_FAMILY)
   local layers, size = { nn.Flatten{} }, o.in_features
   for _, width in ipairs(o.hidden) do
      layers[#layers + 1] = parts.linear(size, width)
      layers[#layers + 1] = o.batch_norm and nn.BatchNorm1d{ num_features = width } or nil
      layers[#layers + 1] = nn.ReLU{}
      layers[#layers + 1] = o.dropout > 0 and nn.Dropout{ p = o.dropout } or nil
      size = width
   end
   layers[#layers + 1] = parts.head(o, size)
   nn.Sequential.init(self, layers)
   self.model, self.in_features = name, o.in_features
   self.out_features = o.num_classes or o.embedding or size
end

--- x [N,...] with `in_features` values each to [N,out_features].
function M.MLP:forward(x)
   if not core.is_tensor(x) then
      core.raise(("%s: expected a tensor, got %s"):format(self.model, type(x)))
   elseif x:dim() < 2 or x:numel() ~= x:size(1) * self.in_features then
      core.raise(("%s: the input must have %d values for each of N, got [%s]"):format(self.model,
         self.in_features, table.concat(x.shape, ",")))
   end
   return nn.Sequential.forward(self, x)
end

--- A multilayer perceptron: linear layers with ReLU, for feature vectors or small pictures.
-- @function mlp
-- @tparam table opts `in_features` (required), the values of one input, however they lie; `hidden`
--   ({512, 512}), sizes of the hidden layers; `embedding` or `num_classes`, the size of a last linear layer,
--   none by default; `batch_norm` (false) ahead of each ReLU, `dropout` (0) behind it
-- @treturn Module [N,...] to [N,D]
-- @usage local net = models.mlp{ in_features = 28 * 28, hidden = { 256 }, embedding = 64 }
M.mlp = parts.builder("mlp", MLP_FAMILY, function(o, name)
   return M.MLP(o, name)
end)

for _, class in ipairs{ M.Conv4, M.LeNet5, M.Koch, M.MLP } do
   record.describe_as(class, nn.Sequential)
end

return M
