--- GoogLeNet (Szegedy et al. 2015: "Going deeper with convolutions"), with batch norm and torchvision's
-- names; its "5x5" convolutions are 3x3, as torchvision's are.
-- @module siamese.models.googlenet
local core = require "siamese.core"
local nn = require "siamese.nn"
local options = require "siamese.options"
local parts = require "siamese.models.parts"

local F = core.F
local M = {}

local Conv = parts.BasicConv2d

--- An inception module (Figure 2b): four branches, joined by their channels.
M.Inception = nn.Module:extend("Inception")

--- Channels in; of the 1x1 branch; reduced and out of the 3x3 branch; of the "5x5" branch; of the pooling.
function M.Inception:init(cin, b1, reduced3, b3, reduced5, b5, pooled)
   self.branch1 = Conv(cin, b1, 1)
   self.branch2 = nn.Sequential{ Conv(cin, reduced3, 1), Conv(reduced3, b3, 3, 1, 1) }
   self.branch3 = nn.Sequential{ Conv(cin, reduced5, 1), Conv(reduced5, b5, 3, 1, 1) }
   self.branch4 = nn.Sequential{
      nn.MaxPool2d{ kernel_size = 3, stride = 1, padding = 1, ceil_mode = true }, Conv(cin, pooled, 1) }
end

function M.Inception:forward(x)
   return core.cat({ self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x) }, 2)
end

--- An auxiliary classifier (section 5), pooled to 4 x 4 whatever comes in.
local Auxiliary = nn.Module:extend("InceptionAux")

function Auxiliary:init(cin, classes, dropout)
   self.conv = Conv(cin, 128, 1)
   self.fc1 = parts.linear(2048, 1024)
   self.fc2 = parts.linear(1024, classes)
   self.dropout = nn.Dropout{ p = dropout }
end

function Auxiliary:forward(x)
   x = self.conv(F.adaptive_avg_pool2d(x, 4)):flatten(2)
   return self.fc2(self.dropout(F.relu(self.fc1(x))))
end

local FAMILY = { spec = options.extend(parts.IMAGE, { aux_logits = false, transform_input = false,
   dropout = 0.2, dropout_aux = 0.7 }), heads = { "fc%.", "aux[12]%." },
   extra_heads = { "aux[12]%." } }

function FAMILY.check(name, o)
   options.check_number(name, o, "dropout_aux", 0, 1)
   parts.check_auxiliary(name, o)
end

--- The class behind `models.googlenet`, for subclasses: the stages are `conv1` to `conv3`, `maxpool1` to
-- `maxpool4`, `inception3a` to `inception5b`, `aux1`, `aux2`, `avgpool`, `dropout` and `fc`.
-- @function GoogLeNet
-- @tparam table opts those of `models.googlenet`
M.GoogLeNet = parts.Network:extend("GoogLeNet")

--- Modules in the order of Table 1.
local INCEPTIONS = { { "3a", 192, 64, 96, 128, 16, 32, 32 }, { "3b", 256, 128, 128, 192, 32, 96, 64 },
   { "4a", 480, 192, 96, 208, 16, 48, 64 }, { "4b", 512, 160, 112, 224, 24, 64, 64 },
   { "4c", 512, 128, 128, 256, 24, 64, 64 }, { "4d", 512, 112, 144, 288, 32, 64, 64 },
   { "4e", 528, 256, 160, 320, 32, 128, 128 }, { "5a", 832, 256, 160, 320, 32, 128, 128 },
   { "5b", 832, 384, 192, 384, 48, 128, 128 } }

local function pool(kernel)
   return nn.MaxPool2d{ kernel_size = kernel, stride = 2, ceil_mode = true }
end

function M.GoogLeNet:init(opts, name)
   name = name or "models.GoogLeNet"
   local o = parts.check(name, opts, FAMILY)
   self.transform_input = o.transform_input
   self.conv1 = Conv(o.in_channels, 64, 7, 2, 3)
   self.maxpool1 = pool(3)
   self.conv2 = Conv(64, 64, 1)
   self.conv3 = Conv(64, 192, 3, 1, 1)
   self.maxpool2 = pool(3)
   self.maxpool3 = pool(3)
   self.maxpool4 = pool(2)
   for _, row in ipairs(INCEPTIONS) do
      self["inception" .. row[1]] = M.Inception(table.unpack(row, 2))
   end
   if o.aux_logits then
      self.aux1 = Auxiliary(512, o.num_classes, o.dropout_aux)
      self.aux2 = Auxiliary(528, o.num_classes, o.dropout_aux)
   end
   self.avgpool = nn.AdaptiveAvgPool2d{ output_size = 1 }
   self.dropout = o.num_classes and nn.Dropout{ p = o.dropout } or nil
   parts.init_truncated(self, 0.01)
   self.fc = parts.head(o, 1024, function(classes)
      return parts.init_truncated(parts.linear(1024, classes), 0.01)
   end)
   self:describe(name, o, 15, 1024)
end

--- x [N,C,H,W] to the last module's map [N,1024,H/32,W/32]; in training with auxiliary heads, what `aux2`
-- and `aux1` give behind it.
function M.GoogLeNet:forward_features(x)
   x = self.transform_input and parts.transform_input(x) or x
   local aux1, aux2
   x = nn.chain({ self.conv1, self.maxpool1, self.conv2, self.conv3, self.maxpool2, self.inception3a,
      self.inception3b, self.maxpool3, self.inception4a }, x)
   aux1 = self.training and self.aux1 and self.aux1(x) or nil
   x = nn.chain({ self.inception4b, self.inception4c, self.inception4d }, x)
   aux2 = self.training and self.aux2 and self.aux2(x) or nil
   x = nn.chain({ self.inception4e, self.maxpool4, self.inception5a, self.inception5b }, x)
   if aux1 then
      return x, aux2, aux1
   end
   return x
end

function M.GoogLeNet:forward_head(x, ...)
   x = self.avgpool(x):flatten(2)
   x = self.dropout and self.dropout(x) or x
   return self.fc and self.fc(x) or x, ...
end

--- GoogLeNet, Inception v1.
-- @function googlenet
-- @tparam[opt] table opts `in_channels` (3); `embedding`, the size of a linear layer behind the features,
--   or `num_classes` for torchvision's classifier with `dropout` (0.2), or neither for the 1024 features
--   themselves; `aux_logits` (false): auxiliary classifiers, with `dropout_aux` (0.7), for which there must
--   be classes; `transform_input` (false): from the normalisation of torchvision's other networks to the
--   one that its weights for this network were trained with; `weights`, a file (see `siamese.models`)
-- @treturn GoogLeNet [N,C,H,W] of at least 15 x 15 to [N,D]; in training with `aux_logits` three values:
--   the logits, those of `aux2` and those of `aux1`
M.googlenet = parts.builder("googlenet", FAMILY, function(o, name)
   return M.GoogLeNet(o, name)
end)

return M
