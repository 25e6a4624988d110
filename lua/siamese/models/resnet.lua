--- Residual networks (He, Zhang, Ren, Sun 2016: "Deep residual learning for image recognition"), with
-- torchvision's names. Bottlenecks stride in their 3x3 convolution.
-- @module siamese.models.resnet
local core = require "siamese.core"
local nn = require "siamese.nn"
local options = require "siamese.options"
local parts = require "siamese.models.parts"
local record = require "siamese.record"

local M = {}

local BLOCK = { in_channels = options.required, width = options.required, stride = 1,
   downsample = options.optional }

--- A class of blocks, whose instances have records.
local function block_class(name, expansion, init)
   local class, full = nn.Module:extend(name), "models." .. name
   class.expansion = expansion
   function class:init(cin, width, stride, downsample)
      init(self, cin, width, stride, downsample)
      self.downsample = downsample
      if getmetatable(self) == class.__instance then -- a subclass may do something else
         record.set(self, full, { in_channels = cin, width = width, stride = stride or 1,
            downsample = downsample and (record.of(downsample) or downsample) })
      end
   end
   record.register(full, function(opts)
      local o = options.check(full, opts, BLOCK)
      for _, key in ipairs{ "in_channels", "width", "stride" } do
         options.check_count(full, o, key, 1)
      end
      local downsample, why = nil, nil
      if o.downsample then
         downsample, why = record.build(o.downsample)
      end
      return why and error(why, 0) or class(o.in_channels, o.width, o.stride, downsample)
   end)
   M[name] = class
end

--- Two 3x3 convolutions (their Figure 5, left).
block_class("BasicBlock", 1, function(self, cin, width, stride)
   self.conv1 = parts.conv(cin, width, 3, stride, 1)
   self.bn1 = parts.norm(width)
   self.relu = nn.ReLU{}
   self.conv2 = parts.conv(width, width, 3, 1, 1)
   self.bn2 = parts.norm(width)
end)

function M.BasicBlock:forward(x)
   local shortcut = self.downsample and self.downsample(x) or x
   local h = nn.conv_norm(self.conv1, self.bn1, x, { activation = self.relu })
   return nn.conv_norm(self.conv2, self.bn2, h, { residual = shortcut, activation = self.relu })
end

--- 1x1, 3x3 and 1x1 convolutions, the last of four times the width (their Figure 5, right).
block_class("Bottleneck", 4, function(self, cin, width, stride)
   self.conv1 = parts.conv(cin, width, 1)
   self.bn1 = parts.norm(width)
   self.conv2 = parts.conv(width, width, 3, stride, 1)
   self.bn2 = parts.norm(width)
   self.conv3 = parts.conv(width, 4 * width, 1)
   self.bn3 = parts.norm(4 * width)
   self.relu = nn.ReLU{}
end)

function M.Bottleneck:forward(x)
   local shortcut = self.downsample and self.downsample(x) or x
   local h = nn.conv_norm(self.conv1, self.bn1, x, { activation = self.relu })
   h = nn.conv_norm(self.conv2, self.bn2, h, { activation = self.relu })
   return nn.conv_norm(self.conv3, self.bn3, h, { residual = shortcut, activation = self.relu })
end

local function check_residual(name, o)
   options.check_boolean(name, o, "zero_init_residual")
end

local BUILDER = { spec = options.extend(parts.IMAGE, { zero_init_residual = false }),
   check = check_residual, heads = { "fc%." } }
local CLASS = { spec = options.extend(BUILDER.spec, { block = options.required,
   layers = options.required }) }

function CLASS.check(name, o)
   check_residual(name, o)
   if type(o.block) ~= "table" or math.type(o.block.expansion) ~= "integer" then
      core.raise(name .. ": block must be a class of modules with an expansion, such as models.BasicBlock")
   elseif type(o.layers) ~= "table" or #o.layers ~= 4 then
      core.raise(("%s: layers must be four numbers of blocks, got %s"):format(name, options.text(o.layers)))
   end
   for i = 1, 4 do
      options.check_count(name .. ": layers", o.layers, i, 1)
   end
end

--- The class behind `models.resnet18` and its like, for subclasses: the stages are `conv1`, `bn1`, `relu`,
-- `maxpool`, `layer1` to `layer4`, `avgpool` and `fc`.
-- @function ResNet
-- @tparam table opts those of `models.resnet18`, and `block` (a class, called with channels in, width,
--   stride, and the shortcut's module or nil; its field `expansion` times the width comes out), `layers`
--   (blocks in each of the four stages)
-- @usage local Mine = models.ResNet:extend("Mine")
--function Mine:init(opts)
--   models.ResNet.init(self, { block = models.BasicBlock, layers = { 2, 2, 2, 2 } })
--   self.layer4 = nn.Conv2d{ in_channels = 256, out_channels = 64, kernel_size = 1 }
--end
M.ResNet = parts.Network:extend("ResNet")

local function stage(block, cin, width, count, stride)
   local blocks, cout = {}, width * block.expansion
   for i = 1, count do
      local downsample
      if i == 1 and (stride ~= 1 or cin ~= cout) then
         downsample = nn.Sequential{ parts.conv(cin, cout, 1, stride), parts.norm(cout) }
      end
      blocks[i] = block(i == 1 and cin or cout, width, i == 1 and stride or 1, downsample)
   end
   return nn.Sequential(blocks), cout
end

--- Goyal et al. 2017, section 5.1: blocks begin as identities.
local function zero_last_norms(net)
   net:apply(function(module)
      local last = module.bn3 or module.bn2
      if last and last.weight then
         nn.init.zeros_(last.weight)
      end
   end)
end

function M.ResNet:init(opts, name)
   name = name or "models.ResNet"
   local o = parts.check(name, opts, CLASS)
   local cin = 64
   self.conv1 = parts.conv(o.in_channels, cin, 7, 2, 3)
   self.bn1 = parts.norm(cin)
   self.relu = nn.ReLU{}
   self.maxpool = nn.MaxPool2d{ kernel_size = 3, stride = 2, padding = 1 }
   for i = 1, 4 do
      self["layer" .. i], cin = stage(o.block, cin, 32 << i, o.layers[i], i == 1 and 1 or 2)
   end
   self.avgpool = nn.AdaptiveAvgPool2d{ output_size = 1 }
   parts.init_fan_out(self)
   if o.zero_init_residual then
      zero_last_norms(self)
   end
   self.fc = parts.head(o, cin)
   self:describe(name, o, 1, cin)
end

--- x [N,C,H,W] to the last stage's map [N,D,H/32,W/32], rounded up.
function M.ResNet:forward_features(x)
   return nn.chain({ self.conv1, self.bn1, self.relu, self.maxpool, self.layer1, self.layer2, self.layer3,
      self.layer4 }, x)
end

function M.ResNet:forward_head(x)
   x = self.avgpool(x):flatten(2)
   return self.fc and self.fc(x) or x
end

--- ResNet-18; `resnet34`, `resnet50`, `resnet101` and `resnet152` alike.
-- @function resnet18
-- @tparam[opt] table opts `in_channels` (3); `embedding`, the size of a linear layer behind the features, or
--   `num_classes` for torchvision's classifier, or neither for the features themselves (512, or 2048 from
--   `resnet50` on); `zero_init_residual` (false); `weights`, a file (see `siamese.models`)
-- @treturn ResNet [N,C,H,W] of any size to [N,D]
-- @usage local twin = siamese.Twin{ encoder = models.resnet18{ embedding = 128 } }
for depth, plan in pairs{ [18] = { M.BasicBlock, { 2, 2, 2, 2 } }, [34] = { M.BasicBlock, { 3, 4, 6, 3 } },
   [50] = { M.Bottleneck, { 3, 4, 6, 3 } }, [101] = { M.Bottleneck, { 3, 4, 23, 3 } },
   [152] = { M.Bottleneck, { 3, 8, 36, 3 } } } do
   M["resnet" .. depth] = parts.builder("resnet" .. depth, BUILDER, function(o, name)
      return M.ResNet(options.extend(o, { block = plan[1], layers = plan[2] }), name)
   end)
end

return M
