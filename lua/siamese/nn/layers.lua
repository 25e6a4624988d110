--- Layers. Constructors take one table of options, in PyTorch's terms.
-- @module siamese.nn.layers
local core = require "siamese.core"
local Module = require "siamese.nn.module"
local options = require "siamese.options"
local parts = require "siamese.nn.parts"

local F = core.F
local M = {}
local required, optional = options.required, options.optional

local pair_text, parameter, start = parts.pair_text, parts.parameter, parts.start
local check_dim, repr_of = parts.check_dim, parts.repr_of

local function simple(...)
   parts.simple(M, ...)
end

--- 2-D convolution: input [N,C,H,W], output [N,O,OH,OW].
-- @function Conv2d
-- @tparam table opts `in_channels`, `out_channels`, `kernel_size` (required); `stride` (1), `padding`
--   (0, a number, a pair, "same" or "valid"), `dilation` (1), `groups` (1), `bias` (true), `padding_mode`
--   ("zeros", "reflect", "replicate" or "circular")
-- @usage nn.Conv2d{ in_channels = 1, out_channels = 64, kernel_size = 3, padding = 1 }
M.Conv2d = Module:extend("Conv2d")

function M.Conv2d:init(opts)
   local name = "nn.Conv2d"
   local o = options.check(name, opts, { in_channels = required, out_channels = required,
      kernel_size = required, stride = 1, padding = 0, dilation = 1, groups = 1, bias = true,
      padding_mode = "zeros" })
   options.check_count(name, o, "in_channels", 1)
   options.check_count(name, o, "out_channels", 1)
   options.check_count(name, o, "groups", 1)
   if o.in_channels % o.groups ~= 0 or o.out_channels % o.groups ~= 0 then
      core.raise(("%s: groups (%d) must divide in_channels (%d) and out_channels (%d)"):format(name,
         o.groups, o.in_channels, o.out_channels))
   end
   options.check_boolean(name, o, "bias")
   local kernel = options.check_pair(name, o, "kernel_size", 1)
   local padding = o.padding
   if type(padding) == "string" then
      options.check_choice(name, o, "padding", { "same", "valid" })
   else
      padding = options.check_pair(name, o, "padding", 0)
   end
   self.options = o
   options.check_choice(name, o, "padding_mode", { "zeros", "reflect", "replicate", "circular" })
   local dilation = options.check_pair(name, o, "dilation", 1)
   local stride = options.check_pair(name, o, "stride", 1)
   self.around, self.around_mode = parts.padding_apart(name, o, kernel, stride, dilation)
   self.call_options = { stride = stride, padding = self.around and 0 or padding, dilation = dilation,
      groups = o.groups }
   self.fused_options = {}
   for _, activation in ipairs{ "relu", "relu6" } do
      self.fused_options[activation] = options.extend(self.call_options, { activation = activation })
   end
   self.weight = parameter{ o.out_channels, o.in_channels // o.groups, kernel[1], kernel[2] }
   if o.bias then
      self.bias = parameter{ o.out_channels }
   end
   start(self.weight, self.bias, o.in_channels // o.groups * kernel[1] * kernel[2])
end

--- The input with what lies around it; x itself where the op's own zeros will do.
function M.Conv2d:pad(x)
   return self.around and F.pad(x, self.around, self.around_mode) or x
end

function M.Conv2d:forward(x, fused)
   return F.conv2d(self:pad(x), self.weight, self.bias,
      fused and self.fused_options[fused.activation] or self.call_options)
end

M.Conv2d.fuses_activation, M.Conv2d.folds_norm = M.Conv2d.forward, M.Conv2d.forward

function M.Conv2d:extra_repr()
   local o = self.options
   local text = ("%d, %d, kernel_size=%s, stride=%s"):format(o.in_channels, o.out_channels,
      pair_text(o.kernel_size), pair_text(o.stride))
   for _, key in ipairs{ "padding", "dilation", "groups" } do
      if o[key] ~= (key == "padding" and 0 or 1) then
         text = ("%s, %s=%s"):format(text, key, pair_text(o[key]))
      end
   end
   if o.padding_mode ~= "zeros" then
      text = ("%s, padding_mode=%s"):format(text, o.padding_mode)
   end
   return o.bias and text or text .. ", bias=false"
end

--- y = x W^T + b: input [..., in_features], output [..., out_features].
-- @function Linear
-- @tparam table opts `in_features`, `out_features` (required), `bias` (true)
M.Linear = Module:extend("Linear")

function M.Linear:init(opts)
   local o = options.check("nn.Linear", opts, { in_features = required, out_features = required,
      bias = true })
   options.check_count("nn.Linear", o, "in_features", 1)
   options.check_count("nn.Linear", o, "out_features", 1)
   options.check_boolean("nn.Linear", o, "bias")
   self.options = o
   self.weight = parameter{ o.out_features, o.in_features }
   if o.bias then
      self.bias = parameter{ o.out_features }
   end
   start(self.weight, self.bias, o.in_features)
end

function M.Linear:forward(x)
   return F.linear(x, self.weight, self.bias)
end

function M.Linear:extra_repr()
   local o = self.options
   return ("in_features=%d, out_features=%d, bias=%s"):format(o.in_features, o.out_features, o.bias)
end

local BATCH_NORM = { num_features = required, eps = 1e-5, momentum = 0.1, affine = true,
   track_running_stats = true }

local function init_batch_norm(self, opts)
   local name = "nn." .. self.__name
   local o = options.check(name, opts, BATCH_NORM)
   options.check_count(name, o, "num_features", 1)
   options.check_number(name, o, "eps", 0, math.huge)
   options.check_number(name, o, "momentum", 0, 1)
   options.check_boolean(name, o, "affine")
   options.check_boolean(name, o, "track_running_stats")
   self.options = o
   if o.affine then
      self.weight = core.ones({ o.num_features }, { requires_grad = true })
      self.bias = parameter{ o.num_features }
   end
   if o.track_running_stats then
      self:register_buffer("running_mean", core.zeros(o.num_features))
      self:register_buffer("running_var", core.ones(o.num_features))
      self:register_buffer("num_batches_tracked", core.tensor(0, { dtype = "int64" }))
   end
end

local function forward_batch_norm(self, x, fused)
   local o = self.options
   if self.training and self.num_batches_tracked then
      self.num_batches_tracked:add_(1)
   end
   return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias,
      { training = self.training or not o.track_running_stats, momentum = o.momentum, eps = o.eps,
         activation = fused and fused.activation, residual = fused and fused.residual })
end

local function repr_batch_norm(self)
   local o = self.options
   return ("%d, eps=%g, momentum=%g, affine=%s, track_running_stats=%s"):format(o.num_features,
      o.eps, o.momentum, o.affine, o.track_running_stats)
end

local function batch_norm(name, dims)
   local class = Module:extend(name)
   class.init = init_batch_norm
   class.extra_repr = repr_batch_norm
   function class:forward(x, fused)
      if not core.is_tensor(x) then
         core.raise(("nn.%s: expected a tensor, got %s"):format(name, type(x)))
      elseif not dims[x.ndim] then
         core.raise(("nn.%s: input must be %s, got [%s]"):format(name, dims.text,
            table.concat(x.shape, ",")))
      end
      return forward_batch_norm(self, x, fused)
   end
   class.fuses_activation = class.forward
   return class
end

--- Batch normalisation (Ioffe and Szegedy 2015) of [N,C,H,W], with PyTorch's running statistics.
-- @function BatchNorm2d
-- @tparam table opts `num_features` (required), `eps` (1e-5), `momentum` (0.1), `affine` (true),
--   `track_running_stats` (true)
M.BatchNorm2d = batch_norm("BatchNorm2d", { [4] = true, text = "[N,C,H,W]" })
M.BatchNorm2d.is_norm = M.BatchNorm2d.forward
--- Batch normalisation of [N,C] or [N,C,L]. Options as BatchNorm2d's.
-- @function BatchNorm1d
M.BatchNorm1d = batch_norm("BatchNorm1d", { [2] = true, [3] = true, text = "[N,C] or [N,C,L]" })

--- Layer normalisation (Ba, Kiros, Hinton 2016) over the last dimensions.
-- @function LayerNorm
-- @tparam table opts `normalized_shape` (required; an integer or a table), `eps` (1e-5),
--   `elementwise_affine` (true)
M.LayerNorm = Module:extend("LayerNorm")

function M.LayerNorm:init(opts)
   local o = options.check("nn.LayerNorm", opts, { normalized_shape = required, eps = 1e-5,
      elementwise_affine = true })
   local shape = type(o.normalized_shape) == "table" and o.normalized_shape or { o.normalized_shape }
   for i = 1, math.max(1, #shape) do
      if math.type(shape[i]) ~= "integer" or shape[i] < 1 then
         core.raise("nn.LayerNorm: normalized_shape must be a positive integer or a table of such, got "
            .. options.text(o.normalized_shape))
      end
   end
   options.check_number("nn.LayerNorm", o, "eps", 0, math.huge)
   options.check_boolean("nn.LayerNorm", o, "elementwise_affine")
   self.options = o
   self.shape = table.move(shape, 1, #shape, 1, {})
   self.eps = o.eps
   if o.elementwise_affine then
      self.weight = core.ones(self.shape, { requires_grad = true })
      self.bias = parameter(self.shape)
   end
end

function M.LayerNorm:forward(x)
   return F.layer_norm(x, self.shape, self.weight, self.bias, self.eps)
end

function M.LayerNorm:extra_repr()
   return ("(%s), eps=%g, elementwise_affine=%s"):format(table.concat(self.shape, ", "), self.eps,
      self.weight ~= nil)
end

--- Dropout{ p = 0.5 } (Srivastava et al. 2014): nothing in evaluation.
simple("Dropout", { p = 0.5 }, function(name, o)
   options.check_number(name, o, "p", 0, 1)
end, function(self, x)
   return F.dropout(x, self.options.p, self.training)
end, repr_of("p"))

local function check_pool(name, o)
   options.check_pair(name, o, "kernel_size", 1)
   options.check_pair(name, o, "padding", 0)
   for _, key in ipairs{ "stride", "dilation" } do
      if o[key] ~= nil then
         options.check_pair(name, o, key, 1)
      end
   end
   for _, key in ipairs{ "ceil_mode", "count_include_pad" } do
      if o[key] ~= nil then
         options.check_boolean(name, o, key)
      end
   end
end

local POOL = { kernel_size = required, stride = optional, padding = 0, ceil_mode = false }

--- MaxPool2d{ kernel_size =, stride = kernel_size, padding = 0, dilation = 1, ceil_mode = false }
simple("MaxPool2d", options.extend(POOL, { dilation = 1 }), check_pool, function(self, x)
   return F.max_pool2d(x, self.options)
end, repr_of("kernel_size", "stride", "padding", "dilation", "ceil_mode"))

--- AvgPool2d{ kernel_size =, stride = kernel_size, padding = 0, ceil_mode = false,
-- count_include_pad = true }
simple("AvgPool2d", options.extend(POOL, { count_include_pad = true }), check_pool, function(self, x)
   return F.avg_pool2d(x, self.options)
end, repr_of("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad"))

--- AdaptiveAvgPool2d{ output_size = } (an integer or {height, width}; 1 is global average pooling)
simple("AdaptiveAvgPool2d", { output_size = required }, function(name, o)
   options.check_pair(name, o, "output_size", 1)
end, function(self, x)
   return F.adaptive_avg_pool2d(x, self.options.output_size)
end, repr_of("output_size"))

--- Flatten{ start_dim = 2, end_dim = -1 }
-- @function Flatten
simple("Flatten", { start_dim = 2, end_dim = -1 }, function(name, o)
   for _, key in ipairs{ "start_dim", "end_dim" } do
      check_dim(name, { dim = o[key] })
   end
end, function(self, x)
   return x:flatten(self.options.start_dim, self.options.end_dim)
end, repr_of("start_dim", "end_dim"))

--- L2Normalize{ dim = 2, eps = 1e-12 }: unit Euclidean length.
-- @function L2Normalize
simple("L2Normalize", { dim = 2, eps = 1e-12 }, function(name, o)
   check_dim(name, o)
   options.check_number(name, o, "eps", 0, math.huge)
end, function(self, x)
   return F.normalize(x, self.options.dim, self.options.eps)
end, repr_of("dim"))

return parts.mark_plain(M)
