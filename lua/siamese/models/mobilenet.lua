--- MobileNets: v1 (Howard et al. 2017) and v2 (Sandler et al. 2018), with torchvision's names. v3 is in
-- `siamese.models.mobilenet_v3`.
-- @module siamese.models.mobilenet
local nn = require "siamese.nn"
local options = require "siamese.options"
local parts = require "siamese.models.parts"

local M = {}

local FAMILY = { spec = options.extend(parts.IMAGE, { width_mult = 1.0, dropout = 0.2 }),
   check = parts.check_width, heads = { "classifier%." } }

local function conv_norm(activation, cin, cout, kernel, stride, groups)
   return nn.Sequential{ parts.conv(cin, cout, kernel, stride, kernel // 2, groups), parts.norm(cout),
      activation{} }
end

--- What the MobileNets do alike: `features`, a global average, `classifier`.
-- @function MobileNet
M.MobileNet = parts.Network:extend("MobileNet")
local MobileNet = M.MobileNet

--- Starts the convolutions, and adds the classifier behind `channels` features: a module of the number of
-- classes, by default torchvision's for v2.
function MobileNet:finish(name, o, channels, classifier)
   parts.init_fan_out(self)
   self.classifier = parts.head(o, channels, function(classes)
      return parts.init_classifier(classifier and classifier(classes)
         or nn.Sequential{ nn.Dropout{ p = o.dropout }, parts.linear(channels, classes) })
   end)
   self:describe(name, o, 1, channels)
end

function MobileNet:forward_features(x)
   return self.features(x)
end

function MobileNet:forward_head(x)
   x = parts.global_average(x)
   return self.classifier and self.classifier(x) or x
end

-- v1

--- The class behind `models.mobilenet_v1`, for subclasses: the stages are `features` and `classifier`.
-- @function MobileNetV1
M.MobileNetV1 = MobileNet:extend("MobileNetV1")

--- Channels that come out and stride of each depthwise separable convolution (Table 1).
local SEPARABLE = { { 64, 1 }, { 128, 2 }, { 128, 1 }, { 256, 2 }, { 256, 1 }, { 512, 2 }, { 512, 1 },
   { 512, 1 }, { 512, 1 }, { 512, 1 }, { 512, 1 }, { 1024, 2 }, { 1024, 1 } }

--- A depthwise 3x3 and a pointwise convolution, each with batch norm and ReLU (Figure 3, right).
local function separable(cin, cout, stride)
   return nn.Sequential{ parts.conv(cin, cin, 3, stride, 1, cin), parts.norm(cin), nn.ReLU{},
      parts.conv(cin, cout, 1), parts.norm(cout), nn.ReLU{} }
end

function M.MobileNetV1:init(opts, name)
   name = name or "models.MobileNetV1"
   local o = parts.check(name, opts, FAMILY)
   local function scaled(channels)
      return math.max(1, math.tointeger(channels * o.width_mult // 1))
   end
   local cin = scaled(32)
   local list = { conv_norm(nn.ReLU, o.in_channels, cin, 3, 2) }
   for _, row in ipairs(SEPARABLE) do
      list[#list + 1] = separable(cin, scaled(row[1]), row[2])
      cin = scaled(row[1])
   end
   self.features = nn.Sequential(list)
   self:finish(name, o, cin)
end

--- MobileNet v1.
-- @function mobilenet_v1
-- @tparam[opt] table opts `in_channels` (3); `width_mult` (1), the paper's alpha, by which channels are
--   multiplied (0.25, 0.5 and 0.75 in the paper; rounded down); `embedding`, the size of a linear layer
--   behind the features, or `num_classes` for a classifier with `dropout` (0.2), or neither for the features
--   themselves (1024 of them at width 1); `weights`, a file (see `siamese.models`)
-- @treturn MobileNetV1 [N,C,H,W] of any size to [N,D]
M.mobilenet_v1 = parts.builder("mobilenet_v1", FAMILY, function(o, name)
   return M.MobileNetV1(o, name)
end)

-- v2

--- An inverted residual block (Figure 3, right): 1x1 expansion, depthwise 3x3, 1x1 projection.
local Inverted = nn.Module:extend("InvertedResidual")

function Inverted:init(cin, cout, stride, expand)
   local hidden = cin * expand
   local list = { conv_norm(nn.ReLU6, hidden, hidden, 3, stride, hidden), parts.conv(hidden, cout, 1),
      parts.norm(cout) }
   if expand ~= 1 then
      table.insert(list, 1, conv_norm(nn.ReLU6, cin, hidden, 1))
   end
   self.conv = nn.Sequential(list)
   self.use_res_connect = stride == 1 and cin == cout
end

function Inverted:forward(x)
   return self.use_res_connect and nn.residual(self.conv, x, { residual = x }) or self.conv(x)
end

--- The class behind `models.mobilenet_v2`, for subclasses: the stages are `features` and `classifier`.
-- @function MobileNetV2
M.MobileNetV2 = MobileNet:extend("MobileNetV2")

--- Expansion, channels, blocks and the first one's stride (Table 2).
local STAGES = { { 1, 16, 1, 1 }, { 6, 24, 2, 2 }, { 6, 32, 3, 2 }, { 6, 64, 4, 2 }, { 6, 96, 3, 1 },
   { 6, 160, 3, 2 }, { 6, 320, 1, 1 } }

function M.MobileNetV2:init(opts, name)
   name = name or "models.MobileNetV2"
   local o = parts.check(name, opts, FAMILY)
   local cin = parts.make_divisible(32 * o.width_mult)
   local list = { conv_norm(nn.ReLU6, o.in_channels, cin, 3, 2) }
   for _, row in ipairs(STAGES) do
      local expand, channels, count, stride = table.unpack(row)
      local cout = parts.make_divisible(channels * o.width_mult)
      for i = 1, count do
         list[#list + 1] = Inverted(cin, cout, i == 1 and stride or 1, expand)
         cin = cout
      end
   end
   local last = parts.make_divisible(1280 * math.max(1, o.width_mult))
   list[#list + 1] = conv_norm(nn.ReLU6, cin, last, 1)
   self.features = nn.Sequential(list)
   self:finish(name, o, last)
end

--- MobileNet v2.
-- @function mobilenet_v2
-- @tparam[opt] table opts `in_channels` (3); `width_mult` (1), by which channels are multiplied, rounded to
--   multiples of 8; `embedding`, the size of a linear layer behind the features, or `num_classes` for
--   torchvision's classifier with `dropout` (0.2), or neither for the features themselves (1280 of them);
--   `weights`, a file (see `siamese.models`)
-- @treturn MobileNetV2 [N,C,H,W] of any size to [N,D]
M.mobilenet_v2 = parts.builder("mobilenet_v2", FAMILY, function(o, name)
   return M.MobileNetV2(o, name)
end)

return M
