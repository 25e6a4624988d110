--- Inception v3 (Szegedy et al. 2016: "Rethinking the Inception architecture for computer vision"), with
-- torchvision's names.
-- @module siamese.models.inception
local core = require "siamese.core"
local nn = require "siamese.nn"
local options = require "siamese.options"
local parts = require "siamese.models.parts"

local F = core.F
local M = {}

local Conv = parts.BasicConv2d

local function average(x)
   return F.avg_pool2d(x, { kernel_size = 3, stride = 1, padding = 1 })
end

local function largest(x)
   return F.max_pool2d(x, { kernel_size = 3, stride = 2 })
end

--- Figure 5: 5x5 and two 3x3 convolutions in their branches.
local A = nn.Module:extend("InceptionA")

function A:init(cin, pooled)
   self.branch1x1 = Conv(cin, 64, 1)
   self.branch5x5_1 = Conv(cin, 48, 1)
   self.branch5x5_2 = Conv(48, 64, 5, 1, 2)
   self.branch3x3dbl_1 = Conv(cin, 64, 1)
   self.branch3x3dbl_2 = Conv(64, 96, 3, 1, 1)
   self.branch3x3dbl_3 = Conv(96, 96, 3, 1, 1)
   self.branch_pool = Conv(cin, pooled, 1)
end

function A:forward(x)
   return core.cat({ self.branch1x1(x), nn.chain({ self.branch5x5_1, self.branch5x5_2 }, x),
      nn.chain({ self.branch3x3dbl_1, self.branch3x3dbl_2, self.branch3x3dbl_3 }, x),
      self.branch_pool(average(x)) }, 2)
end

--- Figure 10: to half the size.
local B = nn.Module:extend("InceptionB")

function B:init(cin)
   self.branch3x3 = Conv(cin, 384, 3, 2)
   self.branch3x3dbl_1 = Conv(cin, 64, 1)
   self.branch3x3dbl_2 = Conv(64, 96, 3, 1, 1)
   self.branch3x3dbl_3 = Conv(96, 96, 3, 2)
end

function B:forward(x)
   return core.cat({ self.branch3x3(x),
      nn.chain({ self.branch3x3dbl_1, self.branch3x3dbl_2, self.branch3x3dbl_3 }, x), largest(x) }, 2)
end

--- Figure 6: 7x7 convolutions as 1x7 and 7x1.
local C = nn.Module:extend("InceptionC")

local function wide(cin, cout)
   return Conv(cin, cout, { 1, 7 }, 1, { 0, 3 })
end

local function tall(cin, cout)
   return Conv(cin, cout, { 7, 1 }, 1, { 3, 0 })
end

function C:init(cin, c7)
   self.branch1x1 = Conv(cin, 192, 1)
   self.branch7x7_1 = Conv(cin, c7, 1)
   self.branch7x7_2 = wide(c7, c7)
   self.branch7x7_3 = tall(c7, 192)
   self.branch7x7dbl_1 = Conv(cin, c7, 1)
   self.branch7x7dbl_2 = tall(c7, c7)
   self.branch7x7dbl_3 = wide(c7, c7)
   self.branch7x7dbl_4 = tall(c7, c7)
   self.branch7x7dbl_5 = wide(c7, 192)
   self.branch_pool = Conv(cin, 192, 1)
end

function C:forward(x)
   return core.cat({ self.branch1x1(x),
      nn.chain({ self.branch7x7_1, self.branch7x7_2, self.branch7x7_3 }, x),
      nn.chain({ self.branch7x7dbl_1, self.branch7x7dbl_2, self.branch7x7dbl_3, self.branch7x7dbl_4,
         self.branch7x7dbl_5 }, x),
      self.branch_pool(average(x)) }, 2)
end

--- To half the size again.
local D = nn.Module:extend("InceptionD")

function D:init(cin)
   self.branch3x3_1 = Conv(cin, 192, 1)
   self.branch3x3_2 = Conv(192, 320, 3, 2)
   self.branch7x7x3_1 = Conv(cin, 192, 1)
   self.branch7x7x3_2 = wide(192, 192)
   self.branch7x7x3_3 = tall(192, 192)
   self.branch7x7x3_4 = Conv(192, 192, 3, 2)
end

function D:forward(x)
   return core.cat({ nn.chain({ self.branch3x3_1, self.branch3x3_2 }, x),
      nn.chain({ self.branch7x7x3_1, self.branch7x7x3_2, self.branch7x7x3_3, self.branch7x7x3_4 }, x),
      largest(x) }, 2)
end

--- Figure 7: branches that part again into 1x3 and 3x1.
local E = nn.Module:extend("InceptionE")

function E:init(cin)
   self.branch1x1 = Conv(cin, 320, 1)
   self.branch3x3_1 = Conv(cin, 384, 1)
   self.branch3x3_2a = Conv(384, 384, { 1, 3 }, 1, { 0, 1 })
   self.branch3x3_2b = Conv(384, 384, { 3, 1 }, 1, { 1, 0 })
   self.branch3x3dbl_1 = Conv(cin, 448, 1)
   self.branch3x3dbl_2 = Conv(448, 384, 3, 1, 1)
   self.branch3x3dbl_3a = Conv(384, 384, { 1, 3 }, 1, { 0, 1 })
   self.branch3x3dbl_3b = Conv(384, 384, { 3, 1 }, 1, { 1, 0 })
   self.branch_pool = Conv(cin, 192, 1)
end

function E:forward(x)
   local single = self.branch3x3_1(x)
   local double = nn.chain({ self.branch3x3dbl_1, self.branch3x3dbl_2 }, x)
   return core.cat({ self.branch1x1(x), self.branch3x3_2a(single), self.branch3x3_2b(single),
      self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double), self.branch_pool(average(x)) }, 2)
end

--- The auxiliary classifier (section 4).
local Auxiliary = nn.Module:extend("InceptionAux")

function Auxiliary:init(cin, classes)
   self.conv0 = Conv(cin, 128, 1)
   self.conv1 = Conv(128, 768, 5)
   self.fc = parts.linear(768, classes)
end

function Auxiliary:forward(x)
   x = F.avg_pool2d(x, { kernel_size = 5, stride = 3 })
   return self.fc(parts.global_average(nn.chain({ self.conv0, self.conv1 }, x)))
end

local FAMILY = { spec = options.extend(parts.IMAGE, { aux_logits = false, transform_input = false,
   dropout = 0.5 }), check = parts.check_auxiliary, heads = { "fc%.", "AuxLogits%." },
   extra_heads = { "AuxLogits%." } }

--- The class behind `models.inception_v3`, for subclasses: the stages are `Conv2d_1a_3x3` to
-- `Conv2d_4a_3x3`, `maxpool1`, `maxpool2`, `Mixed_5b` to `Mixed_7c`, `AuxLogits`, `avgpool`, `dropout` and
-- `fc`.
-- @function InceptionV3
-- @tparam table opts those of `models.inception_v3`
M.InceptionV3 = parts.Network:extend("Inception3")

local STEM = { "Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "maxpool1", "Conv2d_3b_1x1",
   "Conv2d_4a_3x3", "maxpool2" }
local TO_AUXILIARY = { "Mixed_5b", "Mixed_5c", "Mixed_5d", "Mixed_6a", "Mixed_6b", "Mixed_6c", "Mixed_6d",
   "Mixed_6e" }
local FROM_AUXILIARY = { "Mixed_7a", "Mixed_7b", "Mixed_7c" }

local function make_stem(self, o)
   self.Conv2d_1a_3x3 = Conv(o.in_channels, 32, 3, 2)
   self.Conv2d_2a_3x3 = Conv(32, 32, 3)
   self.Conv2d_2b_3x3 = Conv(32, 64, 3, 1, 1)
   self.maxpool1 = nn.MaxPool2d{ kernel_size = 3, stride = 2 }
   self.Conv2d_3b_1x1 = Conv(64, 80, 1)
   self.Conv2d_4a_3x3 = Conv(80, 192, 3)
   self.maxpool2 = nn.MaxPool2d{ kernel_size = 3, stride = 2 }
end

local function make_modules(self, o)
   self.Mixed_5b = A(192, 32)
   self.Mixed_5c = A(256, 64)
   self.Mixed_5d = A(288, 64)
   self.Mixed_6a = B(288)
   self.Mixed_6b = C(768, 128)
   self.Mixed_6c = C(768, 160)
   self.Mixed_6d = C(768, 160)
   self.Mixed_6e = C(768, 192)
   self.AuxLogits = o.aux_logits and Auxiliary(768, o.num_classes) or nil
   self.Mixed_7a = D(768)
   self.Mixed_7b = E(1280)
   self.Mixed_7c = E(2048)
end

function M.InceptionV3:init(opts, name)
   name = name or "models.InceptionV3"
   local o = parts.check(name, opts, FAMILY)
   self.transform_input = o.transform_input
   make_stem(self, o)
   make_modules(self, o)
   self.avgpool = nn.AdaptiveAvgPool2d{ output_size = 1 }
   self.dropout = o.num_classes and nn.Dropout{ p = o.dropout } or nil
   local deviations = self.AuxLogits and { [self.AuxLogits.conv1.conv] = 0.01, [self.AuxLogits.fc] = 0.001 }
      or {}
   parts.init_truncated(self, 0.1, function(layer)
      return deviations[layer]
   end)
   self.fc = parts.head(o, 2048, function(classes)
      return parts.init_truncated(parts.linear(2048, classes), 0.1)
   end)
   self:describe(name, o, 75, 2048)
end

local function stages(self, names)
   local list = {}
   for i, name in ipairs(names) do
      list[i] = self[name]
   end
   return list
end

--- What the auxiliary classifier can take: its pooling by 5 in steps of 3 must leave 5 x 5 of the map.
local WITH_AUXILIARY = { 299, 299 }

--- x [N,C,H,W] to [N,out_features], and the auxiliary classifier's output behind it.
function M.InceptionV3:forward(x)
   parts.check_input(self, x, self.training and self.AuxLogits and WITH_AUXILIARY)
   return self:forward_head(self:forward_features(x))
end

--- x [N,C,H,W] to the last module's map [N,2048,H',W']; in training with an auxiliary classifier, what it
-- gives behind it.
function M.InceptionV3:forward_features(x)
   x = self.transform_input and parts.transform_input(x) or x
   x = nn.chain(stages(self, TO_AUXILIARY), nn.chain(stages(self, STEM), x))
   local aux = self.training and self.AuxLogits and self.AuxLogits(x) or nil
   x = nn.chain(stages(self, FROM_AUXILIARY), x)
   if aux then
      return x, aux
   end
   return x
end

function M.InceptionV3:forward_head(x, ...)
   x = self.avgpool(x)
   x = (self.dropout and self.dropout(x) or x):flatten(2)
   return self.fc and self.fc(x) or x, ...
end

--- Inception v3.
-- @function inception_v3
-- @tparam[opt] table opts `in_channels` (3); `embedding`, the size of a linear layer behind the features,
--   or `num_classes` for torchvision's classifier with `dropout` (0.5), or neither for the 2048 features
--   themselves; `aux_logits` (false): an auxiliary classifier, for which there must be classes;
--   `transform_input` (false): from the normalisation of torchvision's other networks to the one that its
--   weights for this network were trained with; `weights`, a file (see `siamese.models`)
-- @treturn InceptionV3 [N,C,H,W] of at least 75 x 75 to [N,D]; in training with `aux_logits`, where
--   pictures must be 299 x 299 or larger, two values: the logits and the auxiliary classifier's
M.inception_v3 = parts.builder("inception_v3", FAMILY, function(o, name)
   return M.InceptionV3(o, name)
end)

return M
