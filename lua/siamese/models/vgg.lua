--- VGG (Simonyan and Zisserman 2015: "Very deep convolutional networks for large-scale image recognition",
-- Table 1: configurations A, B, D and E), with torchvision's names.
-- @module siamese.models.vgg
local core = require "siamese.core"
local nn = require "siamese.nn"
local options = require "siamese.options"
local parts = require "siamese.models.parts"

local M = {}

local BUILDER = { spec = options.extend(parts.IMAGE, { dropout = 0.5 }), heads = { "classifier%." } }
local CLASS = { spec = options.extend(BUILDER.spec, { layers = options.required, batch_norm = false }) }

function CLASS.check(name, o)
   options.check_boolean(name, o, "batch_norm")
   if type(o.layers) ~= "table" or #o.layers == 0 then
      core.raise(name .. ": layers must be a list of numbers of filters, and \"M\" for pooling")
   end
   for i, item in ipairs(o.layers) do
      if item ~= "M" then
         options.check_count(name .. ": layers", o.layers, i, 1)
      end
   end
end

--- The class behind `models.vgg11` and its like, for subclasses: the stages are `features`, `avgpool` and
-- `classifier`.
-- @function VGG
-- @tparam table opts those of `models.vgg11`, and `layers` (filters of each 3x3 convolution, "M" for
--   pooling), `batch_norm` (false)
M.VGG = parts.Network:extend("VGG")

--- The layers, the channels that come out, and how often the size is halved.
local function features(o)
   local list, cin, halvings = {}, o.in_channels, 0
   for _, item in ipairs(o.layers) do
      if item == "M" then
         list[#list + 1] = nn.MaxPool2d{ kernel_size = 2, stride = 2 }
         halvings = halvings + 1
      else
         list[#list + 1] = nn.Conv2d{ in_channels = cin, out_channels = item, kernel_size = 3, padding = 1 }
         list[#list + 1] = o.batch_norm and parts.norm(item) or nil
         list[#list + 1] = nn.ReLU{}
         cin = item
      end
   end
   return nn.Sequential(list), cin, halvings
end

function M.VGG:init(opts, name)
   name = name or "models.VGG"
   local o = parts.check(name, opts, CLASS)
   local channels, halvings
   self.features, channels, halvings = features(o)
   parts.init_fan_out(self)
   self.avgpool = nn.AdaptiveAvgPool2d{ output_size = o.num_classes and 7 or 1 }
   self.classifier = parts.head(o, channels, function(classes)
      return parts.init_classifier(nn.Sequential{
         parts.linear(channels * 49, 4096), nn.ReLU{}, nn.Dropout{ p = o.dropout },
         parts.linear(4096, 4096), nn.ReLU{}, nn.Dropout{ p = o.dropout },
         parts.linear(4096, classes) })
   end)
   self:describe(name, o, 1 << halvings, channels)
end

--- x [N,C,H,W] to [N,512,H/32,W/32].
function M.VGG:forward_features(x)
   return self.features(x)
end

function M.VGG:forward_head(x)
   x = self.avgpool(x):flatten(2)
   return self.classifier and self.classifier(x) or x
end

local PLANS = {
   [11] = { 64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M" },
   [13] = { 64, 64, "M", 128, 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M" },
   [16] = { 64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M" },
   [19] = { 64, 64, "M", 128, 128, "M", 256, 256, 256, 256, "M", 512, 512, 512, 512, "M", 512, 512, 512, 512,
      "M" },
}

--- VGG-11; `vgg13`, `vgg16` and `vgg19` alike, and with batch norm `vgg11_bn`, `vgg13_bn`, `vgg16_bn` and
-- `vgg19_bn`.
-- @function vgg11
-- @tparam[opt] table opts `in_channels` (3); `embedding`, the size of a linear layer behind the features,
--   or `num_classes` for the paper's classifier of three layers (with torchvision's pooling to 7 x 7 ahead
--   of it), or neither for the 512 features themselves, averaged over the picture; `dropout` (0.5), in the
--   classifier; `weights`, a file (see `siamese.models`)
-- @treturn VGG [N,C,H,W] of at least 32 x 32 to [N,D]
for depth, plan in pairs(PLANS) do
   for _, batch_norm in ipairs{ false, true } do
      local short = ("vgg%d%s"):format(depth, batch_norm and "_bn" or "")
      M[short] = parts.builder(short, BUILDER, function(o, name)
         return M.VGG(options.extend(o, { layers = plan, batch_norm = batch_norm }), name)
      end)
   end
end

return M
