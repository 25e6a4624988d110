--- Normalisation of single images and pixels. (BatchNorm and LayerNorm are in siamese.nn.layers.)
-- @module siamese.nn.norms
local core = require "siamese.core"
local Module = require "siamese.nn.module"
local options = require "siamese.options"
local parts = require "siamese.nn.parts"

local F = core.F
local M = {}
local required = options.required

--- Group normalisation (Wu and He 2018) of [N,C,...]: each image by itself, over groups of neighbouring
-- channels.
-- @function GroupNorm
-- @tparam table opts `num_groups`, `num_channels` (required), `eps` (1e-5), `affine` (true)
-- @usage nn.GroupNorm{ num_groups = 8, num_channels = 64 }
M.GroupNorm = Module:extend("GroupNorm")

function M.GroupNorm:init(opts)
   local name = "nn.GroupNorm"
   local o = options.check(name, opts, { num_groups = required, num_channels = required, eps = 1e-5,
      affine = true })
   options.check_count(name, o, "num_groups", 1)
   options.check_count(name, o, "num_channels", 1)
   options.check_number(name, o, "eps", 0, math.huge)
   options.check_boolean(name, o, "affine")
   if o.num_channels % o.num_groups ~= 0 then
      core.raise(("%s: num_groups (%d) must divide num_channels (%d)"):format(name, o.num_groups,
         o.num_channels))
   end
   self.options = o
   if o.affine then
      self.weight = core.ones({ o.num_channels }, { requires_grad = true })
      self.bias = parts.parameter{ o.num_channels }
   end
end

function M.GroupNorm:forward(x)
   local o = self.options
   if core.is_tensor(x) and x.ndim >= 2 and x.shape[2] ~= o.num_channels then
      core.raise(("nn.GroupNorm: input [%s] has %d channels, num_channels is %d"):format(
         table.concat(x.shape, ","), x.shape[2], o.num_channels))
   end
   return F.group_norm(x, o.num_groups, self.weight, self.bias, o.eps)
end

function M.GroupNorm:extra_repr()
   local o = self.options
   return ("%d, %d, eps=%g, affine=%s"):format(o.num_groups, o.num_channels, o.eps, o.affine)
end

local function instance_norm(name, ndim, layout)
   local class = Module:extend(name)

   function class:init(opts)
      local title = "nn." .. name
      local o = options.check(title, opts, { num_features = required, eps = 1e-5, momentum = 0.1,
         affine = false, track_running_stats = false })
      options.check_count(title, o, "num_features", 1)
      options.check_number(title, o, "eps", 0, math.huge)
      options.check_number(title, o, "momentum", 0, 1)
      options.check_boolean(title, o, "affine")
      options.check_boolean(title, o, "track_running_stats")
      self.options = o
      if o.affine then
         self.weight = core.ones({ o.num_features }, { requires_grad = true })
         self.bias = parts.parameter{ o.num_features }
      end
      if o.track_running_stats then
         self:register_buffer("running_mean", core.zeros(o.num_features))
         self:register_buffer("running_var", core.ones(o.num_features))
         self:register_buffer("num_batches_tracked", core.tensor(0, { dtype = "int64" }))
      end
   end

   function class:forward(x)
      local o = self.options
      if not core.is_tensor(x) then
         core.raise(("nn.%s: expected a tensor, got %s"):format(name, type(x)))
      elseif x.ndim ~= ndim or x.shape[2] ~= o.num_features then
         core.raise(("nn.%s: input must be %s with C = %d, got [%s]"):format(name, layout, o.num_features,
            table.concat(x.shape, ",")))
      end
      return F.instance_norm(x, self.running_mean, self.running_var, self.weight, self.bias,
         { use_input_stats = self.training or not o.track_running_stats, momentum = o.momentum,
            eps = o.eps })
   end

   function class:extra_repr()
      local o = self.options
      return ("%d, eps=%g, momentum=%g, affine=%s, track_running_stats=%s"):format(o.num_features,
         o.eps, o.momentum, o.affine, o.track_running_stats)
   end
   return class
end

--- Instance normalisation (Ulyanov, Vedaldi and Lempitsky 2016) of [N,C,H,W]: each channel of each image by
-- itself. With running statistics these are used in evaluation; as in PyTorch they are the means over a
-- batch of the images' own.
-- @function InstanceNorm2d
-- @tparam table opts `num_features` (required), `eps` (1e-5), `momentum` (0.1), `affine` (false),
--   `track_running_stats` (false)
M.InstanceNorm2d = instance_norm("InstanceNorm2d", 4, "[N,C,H,W]")
--- Instance normalisation of [N,C,L]. Options as InstanceNorm2d's.
-- @function InstanceNorm1d
M.InstanceNorm1d = instance_norm("InstanceNorm1d", 3, "[N,C,L]")

--- LocalResponseNorm{ size =, alpha = 1e-4, beta = 0.75, k = 1 } of [N,C,L,...] over `size` neighbouring
-- channels (Krizhevsky, Sutskever and Hinton 2012, section 3.3); as in PyTorch alpha is divided by size.
-- @function LocalResponseNorm
parts.simple(M, "LocalResponseNorm", { size = required, alpha = 1e-4, beta = 0.75, k = 1.0 },
   function(name, o)
      options.check_count(name, o, "size", 1)
      for _, key in ipairs{ "alpha", "beta", "k" } do
         options.check_number(name, o, key, -math.huge, math.huge)
      end
   end, function(self, x)
      local o = self.options
      return F.local_response_norm(x, o.size, o.alpha, o.beta, o.k)
   end, parts.repr_of("size", "alpha", "beta", "k"))

return parts.mark_plain(M)
