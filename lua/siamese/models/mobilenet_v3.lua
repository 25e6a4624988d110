--- MobileNet v3, small and large (Howard et al. 2019: "Searching for MobileNetV3"), with torchvision's names.
-- @module siamese.models.mobilenet_v3
local nn = require "siamese.nn"
local options = require "siamese.options"
local mobilenet = require "siamese.models.mobilenet"
local parts = require "siamese.models.parts"

local M = {}

--- Convolution, batch norm and, if there is one, an activation.
local function conv_norm(activation, cin, cout, kernel, stride, groups)
   local list = { parts.conv(cin, cout, kernel, stride, kernel // 2, groups),
      nn.BatchNorm2d{ num_features = cout, eps = 0.001, momentum = 0.01 } }
   list[3] = activation and activation{} or nil
   return nn.Sequential(list)
end

--- Squeeze and excitation (Hu et al. 2018, Figure 1; with a hard sigmoid): each channel times a factor that
-- all channels' averages give.
M.SqueezeExcitation = nn.Module:extend("SqueezeExcitation")

function M.SqueezeExcitation:init(channels, squeezed)
   self.avgpool = nn.AdaptiveAvgPool2d{ output_size = 1 }
   self.fc1 = nn.Conv2d{ in_channels = channels, out_channels = squeezed, kernel_size = 1 }
   self.fc2 = nn.Conv2d{ in_channels = squeezed, out_channels = channels, kernel_size = 1 }
   self.activation = nn.ReLU{}
   self.scale_activation = nn.Hardsigmoid{}
end

function M.SqueezeExcitation:forward(x)
   return x * nn.chain({ self.avgpool, self.fc1, self.activation, self.fc2, self.scale_activation }, x)
end

--- Figure 4: expansion, depthwise convolution, squeeze and excitation, projection.
local Inverted = nn.Module:extend("InvertedResidual")

function Inverted:init(row)
   local activation = row.hardswish and nn.Hardswish or nn.ReLU
   local list = {}
   if row.expanded ~= row.cin then
      list[1] = conv_norm(activation, row.cin, row.expanded, 1)
   end
   list[#list + 1] = conv_norm(activation, row.expanded, row.expanded, row.kernel, row.stride, row.expanded)
   if row.squeezes then
      list[#list + 1] = M.SqueezeExcitation(row.expanded, parts.make_divisible(row.expanded // 4))
   end
   list[#list + 1] = conv_norm(nil, row.expanded, row.cout, 1)
   self.block = nn.Sequential(list)
   self.use_res_connect = row.stride == 1 and row.cin == row.cout
end

function Inverted:forward(x)
   return self.use_res_connect and nn.residual(self.block, x, { residual = x }) or self.block(x)
end

--- Rows of Tables 1 and 2: channels in, kernel, expanded channels, channels out, squeeze and excitation, hard
-- swish, stride. Then the classifier's hidden layer.
local PLANS = {
   large = {
      { 16, 3, 16, 16, false, false, 1 },
      { 16, 3, 64, 24, false, false, 2 },
      { 24, 3, 72, 24, false, false, 1 },
      { 24, 5, 72, 40, true, false, 2 },
      { 40, 5, 120, 40, true, false, 1 },
      { 40, 5, 120, 40, true, false, 1 },
      { 40, 3, 240, 80, false, true, 2 },
      { 80, 3, 200, 80, false, true, 1 },
      { 80, 3, 184, 80, false, true, 1 },
      { 80, 3, 184, 80, false, true, 1 },
      { 80, 3, 480, 112, true, true, 1 },
      { 112, 3, 672, 112, true, true, 1 },
      { 112, 5, 672, 160, true, true, 2 },
      { 160, 5, 960, 160, true, true, 1 },
      { 160, 5, 960, 160, true, true, 1 },
      hidden = 1280,
   },
   small = {
      { 16, 3, 16, 16, true, false, 2 },
      { 16, 3, 72, 24, false, false, 2 },
      { 24, 3, 88, 24, false, false, 1 },
      { 24, 5, 96, 40, true, true, 2 },
      { 40, 5, 240, 40, true, true, 1 },
      { 40, 5, 240, 40, true, true, 1 },
      { 40, 5, 120, 48, true, true, 1 },
      { 48, 5, 144, 48, true, true, 1 },
      { 48, 5, 288, 96, true, true, 2 },
      { 96, 5, 576, 96, true, true, 1 },
      { 96, 5, 576, 96, true, true, 1 },
      hidden = 1024,
   },
}

local BUILDER = { spec = options.extend(parts.IMAGE, { width_mult = 1.0, dropout = 0.2 }),
   check = parts.check_width, heads = { "classifier%." } }
local CLASS = { spec = options.extend(BUILDER.spec, { size = options.required }) }

function CLASS.check(name, o)
   parts.check_width(name, o)
   options.check_choice(name, o, "size", { "small", "large" })
end

--- The class behind `models.mobilenet_v3_small` and `_large`, for subclasses: the stages are `features` and
-- `classifier`.
-- @function MobileNetV3
-- @tparam table opts theirs, and `size` ("small" or "large")
M.MobileNetV3 = mobilenet.MobileNet:extend("MobileNetV3")

local function scaled_row(row, scale)
   return { cin = scale(row[1]), kernel = row[2], expanded = scale(row[3]), cout = scale(row[4]),
      squeezes = row[5], hardswish = row[6], stride = row[7] }
end

function M.MobileNetV3:init(opts, name)
   name = name or "models.MobileNetV3"
   local o = parts.check(name, opts, CLASS)
   local plan = PLANS[o.size]
   local function scale(channels)
      return parts.make_divisible(channels * o.width_mult)
   end
   local cout = scale(plan[1][1])
   local list = { conv_norm(nn.Hardswish, o.in_channels, cout, 3, 2) }
   for _, row in ipairs(plan) do
      list[#list + 1] = Inverted(scaled_row(row, scale))
      cout = scale(row[4])
   end
   list[#list + 1] = conv_norm(nn.Hardswish, cout, 6 * cout, 1)
   self.features = nn.Sequential(list)
   self:finish(name, o, 6 * cout, function(classes)
      return nn.Sequential{ parts.linear(6 * cout, scale(plan.hidden)), nn.Hardswish{},
         nn.Dropout{ p = o.dropout }, parts.linear(scale(plan.hidden), classes) }
   end)
end

--- MobileNet v3, small; `mobilenet_v3_large` alike.
-- @function mobilenet_v3_small
-- @tparam[opt] table opts `in_channels` (3); `width_mult` (1), by which channels are multiplied, rounded to
--   multiples of 8; `embedding`, the size of a linear layer behind the features, or `num_classes` for
--   torchvision's classifier of two layers with `dropout` (0.2), or neither for the features themselves (576
--   of the small one, 960 of the large); `weights`, a file (see `siamese.models`)
-- @treturn MobileNetV3 [N,C,H,W] of any size to [N,D]
for _, size in ipairs{ "small", "large" } do
   local short = "mobilenet_v3_" .. size
   M[short] = parts.builder(short, BUILDER, function(o, name)
      return M.MobileNetV3(options.extend(o, { size = size }), name)
   end)
end

return M
