--- What the networks of the zoo share: their options, the check of what comes in, heads, initialisation.
-- @module siamese.models.parts
local core = require "siamese.core"
local nn = require "siamese.nn"
local options = require "siamese.options"
local record = require "siamese.record"
local weights = require "siamese.weights"

local F = core.F
local M = {}

--- Options of every network of pictures.
M.IMAGE = { in_channels = 3, embedding = options.optional, num_classes = options.optional }

--- Checks a table of options against a family's: { spec =, check = function(name, o) }.
-- @treturn table a new table
function M.check(name, opts, family)
   local o = options.check(name, opts, family.spec)
   for _, key in ipairs{ "in_channels", "embedding", "num_classes" } do
      if o[key] ~= nil then
         options.check_count(name, o, key, 1)
      end
   end
   if o.embedding and o.num_classes then
      core.raise(name .. ": give embedding or num_classes, not both")
   end
   if o.dropout ~= nil then
      options.check_number(name, o, "dropout", 0, 1)
   end
   if family.check then
      family.check(name, o)
   end
   return o
end

--- Reads a file of weights into a network that was just built. Without classes its heads need not be the
-- file's; extra heads of the file are left out.
local function load_weights(net, path, reading, o, family)
   local heads = family.heads or {}
   return weights.load_into(net, path, options.extend(reading, { new = o.num_classes and {} or heads,
      left_out = o.num_classes and (family.extra_heads or {}) or heads }))
end

--- Takes `weights` out of the options: nil, or the name of a file and options for `weights.load_into`.
local function take_weights(name, o)
   local path, reading = o.weights, {}
   o.weights = nil
   if type(path) == "table" and path[1] ~= nil then
      reading = options.extend(path, {})
      path, reading[1] = reading[1], nil
      reading = options.check(name .. ": weights", reading, weights.OPTIONS)
      weights.check_options(name .. ": weights", reading)
   end
   if path ~= nil and (type(path) ~= "string" or path == "") then
      core.raise(("%s: weights must be the name of a file, got %s"):format(name, options.text(path)))
   end
   return path, reading
end

--- A builder: function(options) for `models`, registered under its name for files. It takes `weights`, the
-- name of a file (or a table of it and how to read it), too, and returns the report of what was loaded behind
-- the network; or nil and a message.
-- @tparam string short name in `models`
-- @tparam table family { spec =, check =, heads = patterns of names that a network without classes has
--   otherwise or not, extra_heads = those of them that one with classes may lack }
-- @tparam function make from (checked options, full name) to a network
-- @treturn function
function M.builder(short, family, make)
   local name = "models." .. short
   local with_weights = { spec = options.extend(family.spec, { weights = options.optional }),
      check = family.check }
   record.register(name, function(opts)
      local o = M.check(name, opts, family)
      return record.set(make(o, name), name, o)
   end)
   return function(opts)
      local o = M.check(name, opts, with_weights)
      local path, reading = take_weights(name, o)
      local net = record.set(make(o, name), name, o)
      if not path then
         return net
      end
      local report, message = load_weights(net, path, reading, o, family)
      if not report then
         return nil, message
      end
      return net, report
   end
end

-- Networks

local function size_text(size)
   return size[1] == size[2] and "at least " .. size[1] or ("at least %d and %d"):format(size[1], size[2])
end

--- Raises, in the script that called the network, unless x is [N,C,H,W] with the network's channels and no
-- smaller than its arithmetic allows: `least`, or what the network says.
function M.check_input(net, x, least)
   if not core.is_tensor(x) then
      core.raise(("%s: expected a tensor, got %s"):format(net.model, type(x)))
   end
   local shape = x.shape
   local text = "[" .. table.concat(shape, ",") .. "]"
   if #shape ~= 4 or shape[2] ~= net.in_channels then
      core.raise(("%s: the input must be [N,%d,H,W], got %s"):format(net.model, net.in_channels, text))
   elseif x.dtype ~= "float32" then
      core.raise(("%s: the input must be float32, got %s"):format(net.model, x.dtype))
   end
   least = least or net.minimum_size
   if shape[3] < least[1] or shape[4] < least[2] then
      core.raise(("%s: the input %s is too small: its height and width must be %s"):format(net.model, text,
         size_text(least)))
   end
end

--- The base of networks of pictures. `forward` is `forward_head(forward_features(x))`; a subclass may
-- replace either. Fields: `model` (its name in messages), `in_channels`, `minimum_size` ({height, width}),
-- `out_features` (what it gives for one picture).
M.Network = nn.Module:extend("Network")
local Network = M.Network

--- Sets those fields; `least` is the smallest height and width.
function Network:describe(name, o, least, out_features)
   self.model, self.in_channels = name, o.in_channels
   self.minimum_size = { least, least }
   self.out_features = o.num_classes or o.embedding or out_features
end

--- x [N,C,H,W] to [N,out_features].
function Network:forward(x)
   M.check_input(self, x)
   return self:forward_head(self:forward_features(x))
end

--- The head in place of a classifier: it, a linear layer to the embedding, or nothing.
-- @tparam table o options
-- @tparam int features what comes in
-- @tparam[opt] function classifier from the number of classes to a module; a linear layer by default
function M.head(o, features, classifier)
   if o.num_classes and classifier then
      return classifier(o.num_classes)
   end
   local out = o.num_classes or o.embedding
   return out and M.linear(features, out)
end

--- Averages [N,C,H,W] to [N,C].
function M.global_average(x)
   return F.adaptive_avg_pool2d(x, 1):flatten(2)
end

-- Layers

function M.linear(features, out)
   return nn.Linear{ in_features = features, out_features = out }
end

function M.conv(cin, cout, kernel, stride, padding, groups)
   return nn.Conv2d{ in_channels = cin, out_channels = cout, kernel_size = kernel, stride = stride or 1,
      padding = padding or 0, groups = groups or 1, bias = false }
end

function M.norm(channels)
   return nn.BatchNorm2d{ num_features = channels }
end

--- Convolution, batch norm and ReLU as one module, as in torchvision's inception networks: `conv`, `bn`
-- (epsilon 0.001).
M.BasicConv2d = nn.Module:extend("BasicConv2d")

function M.BasicConv2d:init(cin, cout, kernel, stride, padding)
   self.conv = M.conv(cin, cout, kernel, stride, padding)
   self.bn = nn.BatchNorm2d{ num_features = cout, eps = 0.001 }
end

function M.BasicConv2d:forward(x)
   return nn.conv_norm(self.conv, self.bn, x, { activation = "relu" })
end

--- The channels that MobileNets round to: the nearest multiple of 8, but no more than a tenth below.
function M.make_divisible(channels)
   local rounded = math.max(8, (channels + 4) // 8 * 8)
   return math.tointeger(rounded < 0.9 * channels and rounded + 8 or rounded)
end

--- MobileNets' multiplier of widths.
function M.check_width(name, o)
   options.check_number(name, o, "width_mult", 0, 1000)
   if o.width_mult == 0 then
      core.raise(name .. ": width_mult must be above 0")
   end
end

-- Initialisation

--- Calls fn(layer) for the convolutions below a module.
local function each_conv(module, fn)
   module:apply(function(layer)
      if core.is_tensor(layer.weight) and layer.weight:dim() == 4 then
         fn(layer)
      end
   end)
end

--- He et al. 2015 by what goes out, for convolutions; their biases are 0.
function M.init_fan_out(module)
   each_conv(module, function(layer)
      nn.init.kaiming_normal_(layer.weight, { mode = "fan_out", nonlinearity = "relu" })
      if layer.bias then
         nn.init.zeros_(layer.bias)
      end
   end)
end

--- A classifier's linear layers from N(0, 0.01^2), biases 0.
function M.init_classifier(module)
   module:apply(function(layer)
      if core.is_tensor(layer.weight) and layer.weight:dim() == 2 then
         nn.init.normal_(layer.weight, 0, 0.01)
         nn.init.zeros_(layer.bias)
      end
   end)
   return module
end

--- Convolutions and linear layers from N(0, std^2), without what lies beyond 2; `deviation(layer)` may say
-- another deviation for one of them.
function M.init_truncated(module, std, deviation)
   return module:apply(function(layer)
      if core.is_tensor(layer.weight) and layer.weight:dim() > 1 then
         local own = deviation and deviation(layer) or std
         nn.init.trunc_normal_(layer.weight, { std = own, a = -2, b = 2 })
      end
   end)
end

-- What the inception networks share

--- Auxiliary heads need classes; `transform_input` three channels.
function M.check_auxiliary(name, o)
   options.check_boolean(name, o, "aux_logits")
   options.check_boolean(name, o, "transform_input")
   if o.aux_logits and not o.num_classes then
      core.raise(name .. ": aux_logits needs num_classes")
   elseif o.transform_input and o.in_channels ~= 3 then
      core.raise(name .. ": transform_input needs 3 channels")
   end
end

--- From pictures normalised by ImageNet's means and deviations to those normalised to -1 ... 1.
function M.transform_input(x)
   local scale = core.tensor{ 0.229 / 0.5, 0.224 / 0.5, 0.225 / 0.5 }
   local shift = core.tensor{ (0.485 - 0.5) / 0.5, (0.456 - 0.5) / 0.5, (0.406 - 0.5) / 0.5 }
   return x * scale:view(3, 1, 1) + shift:view(3, 1, 1)
end

return M
