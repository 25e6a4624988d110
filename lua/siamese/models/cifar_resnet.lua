--- The thin residual networks for pictures of 32 x 32 (He et al. 2016, section 4.2): 6n + 2 layers in three
-- stages of 16, 32 and 64 filters. Names are those of akamaster/pytorch_resnet_cifar10, whose weights load.
-- @module siamese.models.cifar_resnet
local core = require "siamese.core"
local nn = require "siamese.nn"
local options = require "siamese.options"
local parts = require "siamese.models.parts"

local F = core.F
local M = {}

--- The shortcut without parameters: every second pixel, and zeros in place of channels there are too few of.
local Padded = nn.Module:extend("PaddedShortcut")

function Padded:init(cin, cout, stride)
   self.stride, self.ahead, self.behind = stride, (cout - cin) // 2, cout - cin - (cout - cin) // 2
end

--- x [N,C,H,W] to [N,O,H/stride,W/stride], rounded up.
function Padded:forward(x)
   x = self.stride > 1 and F.avg_pool2d(x, { kernel_size = 1, stride = self.stride }) or x
   local list, n, h, w = { x }, x:size(1), x:size(3), x:size(4)
   if self.ahead > 0 then
      table.insert(list, 1, core.zeros(n, self.ahead, h, w))
   end
   if self.behind > 0 then
      list[#list + 1] = core.zeros(n, self.behind, h, w)
   end
   return core.cat(list, 2)
end

function Padded:extra_repr()
   return ("stride=%d, %d channels ahead, %d behind"):format(self.stride, self.ahead, self.behind)
end

local Block = nn.Module:extend("BasicBlock")

function Block:init(cin, width, stride, kind)
   self.conv1 = parts.conv(cin, width, 3, stride, 1)
   self.bn1 = parts.norm(width)
   self.conv2 = parts.conv(width, width, 3, 1, 1)
   self.bn2 = parts.norm(width)
   if stride == 1 and cin == width then
      return
   elseif kind == "A" then
      self.shortcut = Padded(cin, width, stride)
   else
      self.shortcut = nn.Sequential{ parts.conv(cin, width, 1, stride), parts.norm(width) }
   end
end

function Block:forward(x)
   local shortcut = self.shortcut and self.shortcut(x) or x
   local h = nn.conv_norm(self.conv1, self.bn1, x, { activation = "relu" })
   return nn.conv_norm(self.conv2, self.bn2, h, { residual = shortcut, activation = "relu" })
end

local BUILDER = { spec = options.extend(parts.IMAGE, { shortcut = "A" }), heads = { "linear%." } }
local CLASS = { spec = options.extend(BUILDER.spec, { depth = options.required }) }

function BUILDER.check(name, o)
   options.check_choice(name, o, "shortcut", { "A", "B" })
end

function CLASS.check(name, o)
   BUILDER.check(name, o)
   options.check_count(name, o, "depth", 8)
   if o.depth % 6 ~= 2 then
      core.raise(("%s: depth must be 6 n + 2 (20, 32, 44, 56, 110, ...), got %d"):format(name, o.depth))
   end
end

--- The class behind `models.resnet20` and its like, for subclasses: the stages are `conv1`, `bn1`, `layer1`
-- to `layer3` and `linear`.
-- @function CifarResNet
-- @tparam table opts those of `models.resnet20`, and `depth` (6 n + 2)
M.CifarResNet = parts.Network:extend("CifarResNet")

local function stage(cin, width, count, stride, kind)
   local blocks = {}
   for i = 1, count do
      blocks[i] = Block(i == 1 and cin or width, width, i == 1 and stride or 1, kind)
   end
   return nn.Sequential(blocks)
end

function M.CifarResNet:init(opts, name)
   name = name or "models.CifarResNet"
   local o = parts.check(name, opts, CLASS)
   local count = (o.depth - 2) // 6
   self.conv1 = parts.conv(o.in_channels, 16, 3, 1, 1)
   self.bn1 = parts.norm(16)
   self.layer1 = stage(16, 16, count, 1, o.shortcut)
   self.layer2 = stage(16, 32, count, 2, o.shortcut)
   self.layer3 = stage(32, 64, count, 2, o.shortcut)
   self.linear = parts.head(o, 64)
   self:apply(function(layer)
      if core.is_tensor(layer.weight) and layer.weight:dim() > 1 then
         nn.init.kaiming_normal_(layer.weight)
      end
   end)
   self:describe(name, o, 1, 64)
end

--- x [N,C,H,W] to [N,64,H/4,W/4], rounded up.
function M.CifarResNet:forward_features(x)
   x = nn.conv_norm(self.conv1, self.bn1, x, { activation = "relu" })
   return nn.chain({ self.layer1, self.layer2, self.layer3 }, x)
end

function M.CifarResNet:forward_head(x)
   x = parts.global_average(x)
   return self.linear and self.linear(x) or x
end

--- ResNet-20; `resnet32`, `resnet44`, `resnet56` and `resnet110` alike.
-- @function resnet20
-- @tparam[opt] table opts `in_channels` (3); `embedding`, the size of a linear layer behind the features, or
--   `num_classes` for a classifier, or neither for the 64 features themselves; `shortcut` where the shape
--   changes: "A", every second pixel and channels of zeros, or "B", a 1x1 convolution and batch norm;
--   `weights`, a file (see `siamese.models`)
-- @treturn CifarResNet [N,C,H,W] of any size to [N,D]
for _, depth in ipairs{ 20, 32, 44, 56, 110 } do
   M["resnet" .. depth] = parts.builder("resnet" .. depth, BUILDER, function(o, name)
      return M.CifarResNet(options.extend(o, { depth = depth }), name)
   end)
end

return M
