--- Pooling beyond that of siamese.nn.layers.
-- @module siamese.nn.pooling
local core = require "siamese.core"
local Module = require "siamese.nn.module"
local init = require "siamese.nn.initialise"
local options = require "siamese.options"
local parts = require "siamese.nn.parts"

local F = core.F
local M = {}

--- AdaptiveMaxPool2d{ output_size = } (an integer or {height, width}; 1 is global maximum pooling)
-- @function AdaptiveMaxPool2d
parts.simple(M, "AdaptiveMaxPool2d", { output_size = options.required }, function(name, o)
   options.check_pair(name, o, "output_size", 1)
end, function(self, x)
   return F.adaptive_max_pool2d(x, self.options.output_size)
end, parts.repr_of("output_size"))

local function check_pool(name, o)
   options.check_count(name, o, "kernel_size", 1)
   options.check_count(name, o, "padding", 0)
   for _, key in ipairs{ "stride", "dilation" } do
      if o[key] ~= nil then
         options.check_count(name, o, key, 1)
      end
   end
   for _, key in ipairs{ "ceil_mode", "count_include_pad" } do
      if o[key] ~= nil then
         options.check_boolean(name, o, key)
      end
   end
end

local POOL = { kernel_size = options.required, stride = options.optional, padding = 0, ceil_mode = false }

--- MaxPool1d{ kernel_size =, stride = kernel_size, padding = 0, dilation = 1, ceil_mode = false } of [N,C,L]
-- @function MaxPool1d
parts.simple(M, "MaxPool1d", options.extend(POOL, { dilation = 1 }), check_pool, function(self, x)
   return F.max_pool1d(x, self.options)
end, parts.repr_of("kernel_size", "stride", "padding", "dilation", "ceil_mode"))

--- AvgPool1d{ kernel_size =, stride = kernel_size, padding = 0, ceil_mode = false,
-- count_include_pad = true } of [N,C,L]
-- @function AvgPool1d
parts.simple(M, "AvgPool1d", options.extend(POOL, { count_include_pad = true }), check_pool,
   function(self, x)
      return F.avg_pool1d(x, self.options)
   end, parts.repr_of("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad"))

--- AdaptiveAvgPool1d{ output_size = } of [N,C,L]: averages over as even bins as there are.
-- @function AdaptiveAvgPool1d
--- AdaptiveMaxPool1d{ output_size = } of [N,C,L]: maxima over them.
-- @function AdaptiveMaxPool1d
for _, kind in ipairs{ "Avg", "Max" } do
   local f = F[("adaptive_%s_pool1d"):format(kind:lower())]
   parts.simple(M, ("Adaptive%sPool1d"):format(kind), { output_size = options.required },
      function(name, o)
         options.check_count(name, o, "output_size", 1)
      end, function(self, x)
         return f(x, self.options.output_size)
      end, parts.repr_of("output_size"))
end

--- Generalised-mean pooling (Radenovic, Tolias and Chum 2018, eq. 3): input [N,C,H,W], output [N,C,1,1], of
-- each channel the mean of max(x, eps)^p to the power of 1 / p. p is learned; 1 is the average, a large one
-- near the maximum.
-- @function GeM
-- @tparam table opts `p` (3, where it begins), `eps` (1e-6)
-- @usage nn.Sequential{ backbone, nn.GeM{}, nn.Flatten{}, nn.L2Normalize{} }
M.GeM = Module:extend("GeM")

function M.GeM:init(opts)
   local o = options.check("nn.GeM", opts, { p = 3, eps = 1e-6 })
   options.check_number("nn.GeM", o, "p", -math.huge, math.huge)
   options.check_number("nn.GeM", o, "eps", 0, math.huge)
   if o.p == 0 then
      core.raise("nn.GeM: p must not be 0")
   end
   self.options = o
   self.p = init.constant_(parts.parameter{ 1 }, o.p)
end

function M.GeM:forward(x)
   return F.gem(x, self.p, self.options.eps)
end

function M.GeM:extra_repr()
   return ("p=%.4f, eps=%g"):format(self.p:item(), self.options.eps)
end

return parts.mark_plain(M)
